"""Labelling: pages, their operations, submission, and suggestions by models."""
