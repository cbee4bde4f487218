"""Which resource a request is about."""

from google.protobuf.message import Message

MAX_LENGTH = 400
"""No name is as long; what is longer is nonsense, and cut."""


def resource_of(request: object) -> str:
    """The name in a request, as far as it says one; at most 400 characters.

    ``name`` itself; the resource to be made, from ``parent`` and an id such as ``dataset_id``; the parent; else the ``name`` of the
    resource that is changed. Empty for a request that streams, or names nothing.
    """
    return _named(request)[:MAX_LENGTH] if isinstance(request, Message) else ""


def _named(request: Message) -> str:
    fields = request.DESCRIPTOR.fields_by_name
    if "name" in fields:
        return str(getattr(request, "name"))  # noqa: B009 - the field is known only at run time
    parent = str(getattr(request, "parent", ""))
    for name in fields:
        if name.endswith("_id") and name != "request_id" and (wanted := getattr(request, name)):
            return f"{parent}/{name.removesuffix('_id')}s/{wanted}".lstrip("/")
    if parent:
        return parent
    for field in request.DESCRIPTOR.fields:
        if field.message_type is not None and not field.is_repeated and "name" in field.message_type.fields_by_name:
            return str(getattr(request, field.name).name)
    return ""
