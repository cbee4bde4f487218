"""HTTP request to gRPC request: path, query and body into the fields that the rule names."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import orjson
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from gateway.transcode.rules import Binding
from libs.runtime.errors import InvalidInput

NEVER_MASKED = frozenset({"name", "etag"})
"""Fields of a resource that say which one is meant, not what to change."""


class UnknownField(InvalidInput):
    """A key that the request does not have."""

    reason = "UNKNOWN_FIELD"


def bind_request(binding: Binding, captured: Mapping[str, str], query: Sequence[tuple[str, str]], body: bytes) -> Message:
    """Build the gRPC request.

    Args:
        captured: values of the path's fields.
        query: decoded pairs in their order.
        body: JSON, or nothing.

    Raises:
        UnknownField: a key of the query or the body that does not exist.
        InvalidInput: a value that does not fit its field, or a body that contradicts the path.
    """
    request = binding.new_request()
    if binding.body:
        target: Message = request if binding.body == "*" else getattr(request, binding.body)
        content = _read_object(body)
        _check_known(binding.body_type, content, "")
        target.SetInParent()
        _parse(content, target, "body")
        _fill_update_mask(binding, request, content)
    if query:
        _parse(_query_object(binding, query), request, "query")
    for path, value in captured.items():
        _set_from_path(request, path, value)
    return request


def _read_object(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"The body is no JSON: {error}.", problem=error) from error
    if not isinstance(value, dict):
        raise InvalidInput("The body must be a JSON object.")
    return value


def _parse(value: dict[str, Any], target: Message, where: str) -> None:
    try:
        json_format.ParseDict(value, target)
    except json_format.ParseError as error:
        problem = str(error)[:500]
        raise InvalidInput(f"The {where} does not fit {target.DESCRIPTOR.name}: {problem}", problem=problem) from error


@cache
def _fields(message: Descriptor) -> dict[str, FieldDescriptor]:
    """A message's fields by JSON name and by proto name; both are accepted."""
    return {key: field for field in message.fields for key in (field.name, field.json_name)}


def _is_plain_message(message: Descriptor | None) -> bool:
    """Whether the JSON form is an object with the message's own fields."""
    return message is not None and not message.full_name.startswith("google.protobuf.")


def _check_known(message: Descriptor, value: Mapping[str, Any], prefix: str) -> None:
    seen: set[str] = set()
    for key, item in value.items():
        field = _fields(message).get(key)
        if field is None:
            raise _unknown(prefix + key, message)
        if field.name in seen:
            raise InvalidInput(f"{(prefix + key)[:100]!r} stands in the body under both of its names.", field=(prefix + key)[:100])
        seen.add(field.name)
        inner = field.message_type
        children: list[Any] = [item]
        if inner is not None and inner.GetOptions().map_entry:
            inner = inner.fields_by_name["value"].message_type
            children = list(item.values()) if isinstance(item, dict) else []
        elif isinstance(item, list):
            children = item
        if inner is not None and _is_plain_message(inner):
            for child in children:
                if isinstance(child, dict):
                    _check_known(inner, child, f"{prefix}{key}.")


def _unknown(path: str, message: Descriptor) -> UnknownField:
    known = ", ".join(field.json_name for field in message.fields) or "none"
    return UnknownField(f"There is no field {path[:100]!r}; known are: {known}.", field=path[:100], known=known)


def _query_object(binding: Binding, query: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The query as the JSON object that would say the same."""
    request = binding.method.input_type
    built: dict[str, Any] = {}
    for key, text in query:
        fields = _query_path(binding, key)
        leaf = fields[-1]
        place = built
        for field in fields[:-1]:
            place = place.setdefault(field.name, {})
        if leaf.is_repeated:
            place.setdefault(leaf.name, []).append(_json_value(leaf, text))
        elif leaf.name in place:
            raise InvalidInput(f"{key[:100]!r} stands twice in the query of {request.name}.", field=key[:100])
        else:
            place[leaf.name] = _json_value(leaf, text)
    return built


def _query_path(binding: Binding, key: str) -> list[FieldDescriptor]:
    """The fields a query key walks through; the last one takes the value."""
    message: Descriptor | None = binding.method.input_type
    fields: list[FieldDescriptor] = []
    for part in key.split("."):
        field = _fields(message).get(part) if message is not None else None
        if field is None or (fields and fields[-1].is_repeated):
            raise _unknown(key, binding.method.input_type)
        fields.append(field)
        message = field.message_type
    path = ".".join(field.name for field in fields)
    taken = binding.body == "*" or binding.body == fields[0].name or path in binding.template.fields
    if taken or _is_plain_message(fields[-1].message_type):
        raise _unknown(key, binding.method.input_type)
    return fields


def _json_value(field: FieldDescriptor, text: str) -> str | bool:
    if field.type == FieldDescriptor.TYPE_BOOL:
        if text not in ("true", "false"):
            raise InvalidInput(f"{field.name} must be true or false, not {text[:100]!r}.", field=field.name, value=text[:100])
        return text == "true"
    if field.message_type is not None and field.message_type.full_name == FieldMask.DESCRIPTOR.full_name:
        # The JSON form of a mask is in lowerCamelCase; people write the names of the protos as well.
        return re.sub(r"_([a-z])", lambda letter: letter[1].upper(), text)
    return text


def _set_from_path(request: Message, path: str, value: str) -> None:
    *parents, leaf = path.split(".")
    target: Message = request
    for parent in parents:
        target = getattr(target, parent)
    given = getattr(target, leaf)
    if given not in ("", value):
        raise InvalidInput(f"The body says {path} is {given[:100]!r}, the path says {value[:100]!r}.", field=path)
    setattr(target, leaf, value)


def _fill_update_mask(binding: Binding, request: Message, body: Mapping[str, Any]) -> None:
    mask = getattr(request, "update_mask", None)
    if binding.http_method == "PATCH" and binding.body != "*" and isinstance(mask, FieldMask):
        mask.paths.extend(_present(binding.body_type, body))


def _present(message: Descriptor | None, value: Mapping[str, Any]) -> list[str]:
    assert message is not None
    paths: list[str] = []
    for key, item in value.items():
        field = _fields(message)[key]
        if field.name in NEVER_MASKED:
            continue
        nested = _is_plain_message(field.message_type) and not field.is_repeated and isinstance(item, dict)
        paths += [f"{field.name}.{path}" for path in _present(field.message_type, item)] if nested else [field.name]
    return paths
