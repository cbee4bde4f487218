"""Search in the texts of labels."""
