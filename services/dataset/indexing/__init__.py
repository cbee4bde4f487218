"""Indexing: a folder of images and label files becomes an index."""
