"""Inkwright on one machine: one supervisor starts, minds and stops every process."""
