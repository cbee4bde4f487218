"""Datasets that were deleted and can still be had back."""
