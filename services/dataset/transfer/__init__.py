"""Labels from other formats into a dataset, and out of it."""
