"""Management REST derived from the ``google.api.http`` annotations of the protos."""
