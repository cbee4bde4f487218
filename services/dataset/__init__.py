"""Datasets: an index of folders of images, their label files, and frozen versions."""
