"""Files that people bring into the folder of a dataset."""
