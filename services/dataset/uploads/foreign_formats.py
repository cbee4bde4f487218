"""Formats that are no images to Inkwright, and become some on request; by the endings of their names."""

from typing import Final

DOCUMENTS: Final = frozenset({".pdf", ".tif", ".tiff"})
"""Each page becomes an image."""
PICTURES: Final = frozenset({".webp", ".gif"})
"""They are converted as they are."""
