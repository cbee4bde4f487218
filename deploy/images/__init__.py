"""Images: the Dockerfile, and a way to build it without an engine."""
