"""The health of a dataset: what a survey finds in it, and writing look-alikes as usual code points."""
