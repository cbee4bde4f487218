"""Ways to run Inkwright."""
