"""JSON schemas of protobuf messages, with the comments of the protos as descriptions."""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

Schema = dict[str, Any]

_WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.FieldMask": {"type": "string", "description": "Field names, separated by commas."},
    "google.protobuf.Empty": {"type": "object", "additionalProperties": False},
}
_SCALARS: dict[int, Schema] = {
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "format": "int64", "minimum": 0},
    # JavaScript's numbers end at 2^53, so protobuf's JSON writes these as text.
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64"},
    FieldDescriptor.TYPE_UINT64: {"type": "string", "format": "uint64"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}


@cache
def comments() -> Mapping[str, str]:
    """The comment above each message, field, enum, service and method, by full name.

    The generated Python has none at run time, so they come from the descriptors written beside it.
    """
    data = resources.files("inkwright").joinpath("descriptors.binpb").read_bytes()
    found: dict[str, str] = {}
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        if not file.package.startswith("inkwright."):
            continue
        for location in file.source_code_info.location:
            text = " ".join(location.leading_comments.split())
            if text and location.path:
                found[f"{file.package}.{_name_at(file, list(location.path))}"] = text
    return found


def _name_at(file: Any, path: list[int]) -> str:
    """``Dataset.path`` for the path of numbers that protoc gives a comment's place."""
    names: list[str] = []
    place = file
    for number, index in zip(path[::2], path[1::2], strict=False):
        place = getattr(place, place.DESCRIPTOR.fields_by_number[number].name)[index]
        names.append(getattr(place, "name", ""))
    return ".".join(names)


class Schemas:
    """Collects the component schemas that a document refers to."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def of_message(self, message: Descriptor) -> Schema:
        """A schema of the message: a reference, except for well-known types."""
        if message.full_name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[message.full_name])
        name = _component(message.full_name)
        if name not in self.components:
            schema: Schema = {"type": "object"}
            # Before its fields, so that a message that holds itself ends here.
            self.components[name] = schema
            _describe(schema, message.full_name)
            schema["properties"] = {field.json_name: self.of_field(field) for field in message.fields}
        return _reference(name)

    def of_field(self, field: FieldDescriptor) -> Schema:
        """A schema of one field, repeated and map fields included."""
        schema: Schema
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            schema = {"type": "object", "additionalProperties": self._of_one(field.message_type.fields_by_name["value"])}
        elif field.is_repeated:
            schema = {"type": "array", "items": self._of_one(field)}
        else:
            schema = self._of_one(field)
        return _describe(schema, field.full_name)

    def _of_one(self, field: FieldDescriptor) -> Schema:
        if field.message_type is not None:
            return self.of_message(field.message_type)
        if field.enum_type is not None:
            return self._of_enum(field.enum_type)
        return dict(_SCALARS[field.type])

    def _of_enum(self, enum: EnumDescriptor) -> Schema:
        name = _component(enum.full_name)
        if name not in self.components:
            lines = [comments().get(enum.full_name, "")]
            for value in enum.values:
                # Values live in the scope around their enum.
                meaning = comments().get(f"{enum.full_name}.{value.name}")
                lines += [f"`{value.name}`: {meaning}"] if meaning else []
            self.components[name] = {"type": "string", "enum": [value.name for value in enum.values]}
            if text := "\n".join(filter(None, lines)):
                self.components[name]["description"] = text
        return _reference(name)


def _component(full_name: str) -> str:
    return full_name.removeprefix("inkwright.")


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _describe(schema: Schema, full_name: str) -> Schema:
    if text := comments().get(full_name):
        schema["description"] = text
    return schema
