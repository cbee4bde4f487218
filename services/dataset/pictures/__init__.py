"""Thumbnails and tiles of images, made once and kept."""
