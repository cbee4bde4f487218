"""Random requests to a running installation, made from its own OpenAPI document."""
