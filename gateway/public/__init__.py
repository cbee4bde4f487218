"""The public predict API, in the shapes of PAI's OCR page."""
