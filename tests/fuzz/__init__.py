"""Random requests to a running installation, made from its own OpenAPI document, and damaged files for the readers of labels."""
