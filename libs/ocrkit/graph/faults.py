"""What can be wrong with a graph that a user brings as a base model."""

from libs.runtime.errors import InvalidInput

__all__ = ["GraphUnsupported", "HeadNotFound"]


class GraphUnsupported(InvalidInput):
    """The graph uses an operator, an attribute or a layout that cannot be trained here."""


class HeadNotFound(InvalidInput):
    """The graph does not end in a CTC head of the expected number of classes."""
