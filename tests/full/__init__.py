"""Tests that take long: part of `make full` alone."""
