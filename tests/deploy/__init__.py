"""Checks of what installs Inkwright: chart, Compose file, images."""
