"""Versions of datasets, their differences, and test sets."""
