"""Deployments, their instances and their tokens."""
