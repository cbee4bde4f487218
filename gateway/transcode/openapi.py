"""The OpenAPI 3.1 document: derived from the bindings, joined by the hand-written paths."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.transcode.rules import Binding
from gateway.transcode.schemas import Schema, Schemas, comments
from inkwright.common.v1 import errors_pb2, permission_pb2

Paths = Mapping[str, Mapping[str, Any]]

ERROR_SCHEMA: Schema = {
    "type": "object",
    "description": "Every refusal and failure of the management API.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "status", "reason", "message", "metadata", "requestId"],
            "properties": {
                "code": {"type": "integer", "description": "The HTTP status."},
                "status": {"type": "string", "description": "Name of the gRPC status."},
                "reason": {"type": "string", "enum": errors_pb2.ErrorReason.keys()[1:]},
                "message": {"type": "string", "description": "A sentence that says what to do next."},
                "metadata": {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "description": "Every changing word of the message.",
                },
                "requestId": {"type": "string", "description": "Found again in every log line of the request."},
            },
        }
    },
}

ERROR_RESPONSE: Schema = {
    "description": "Refused or failed.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}


MANAGEMENT_SECURITY: Final[list[dict[str, list[str]]]] = [{"token": []}, {"session": []}]
"""What opens the management API: the one or the other."""


def openapi_document(
    bindings: Sequence[Binding], hand_written: Sequence[Paths], schemas: Mapping[str, Schema], version: str
) -> dict[str, Any]:
    """Build the document.

    Args:
        bindings: of the annotated methods.
        hand_written: path items of the routes that no annotation describes.
        schemas: components that those refer to.
        version: of the product.
    """
    collected = Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for binding in bindings:
        path, parameters = binding.template.documented()
        operation = _operation(binding, parameters, collected)
        if links := _links(binding, bindings):
            operation["responses"]["200"]["links"] = links
        paths.setdefault(path, {})[binding.http_method.lower()] = operation
    for group in hand_written:
        for path, item in group.items():
            paths.setdefault(path, {}).update(item)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Inkwright",
            "version": version,
            "description": "Teaches an OCR reader your own documents: label, train, deploy and call.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {"Error": ERROR_SCHEMA, **schemas, **dict(sorted(collected.components.items()))},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A user's token, or the installation's own."},
                "session": {"type": "apiKey", "in": "cookie", "name": "inkwright_session", "description": "Of a user who has signed in."},
                "deploymentToken": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "The deployment's token, as it is or after `Bearer `.",
                },
            },
        },
    }


def path_parameters(names: Sequence[str]) -> list[Schema]:
    """OpenAPI parameters of path segments."""
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _operation(binding: Binding, parameters: Sequence[str], schemas: Schemas) -> dict[str, Any]:
    method = binding.method
    operation: dict[str, Any] = {
        "operationId": method.name,
        "tags": [method.containing_service.name],
        "security": MANAGEMENT_SECURITY,
        "x-inkwright-permission": permission_pb2.Permission.keys()[binding.permission],
        "parameters": path_parameters(parameters) + _query_parameters(binding, schemas),
        "responses": {
            "200": {"description": "Done.", "content": {"application/json": {"schema": schemas.of_message(method.output_type)}}},
            "default": ERROR_RESPONSE,
        },
    }
    if text := comments().get(method.full_name):
        operation["description"] = text
    if binding.body:
        content = {"application/json": {"schema": _body_schema(binding, schemas)}}
        operation["requestBody"] = {"required": binding.body != "*", "content": content}
    return operation


def _links(binding: Binding, bindings: Sequence[Binding]) -> dict[str, Any]:
    """What can be done next with what a create method made: its id was the caller's choice, in the query."""
    path, names = binding.template.documented()
    chosen = [field for field in binding.method.input_type.fields if field.name.endswith("_id") and field.name != "request_id"]
    if not binding.method.name.startswith("Create") or not chosen:
        return {}
    own = chosen[0].name.removesuffix("_id")
    known = {name: f"$request.path.{name}" for name in names} | {own: f"$request.query.{chosen[0].json_name}"}
    return {
        other.method.name: {"operationId": other.method.name, "parameters": {name: known[name] for name in others}}
        for other in bindings
        for others in [other.template.documented()[1]]
        if other.template.documented()[0].startswith(f"{path}/{{{own}}}") and set(others) == set(known)
    }


def _body_schema(binding: Binding, schemas: Schemas) -> Schema:
    if binding.body != "*":
        return schemas.of_field(binding.method.input_type.fields_by_name[binding.body])
    fields = [field for field in binding.method.input_type.fields if field.name not in binding.template.fields]
    return {"type": "object", "properties": {field.json_name: schemas.of_field(field) for field in fields}}


def _query_parameters(binding: Binding, schemas: Schemas) -> list[Schema]:
    if binding.body == "*":
        return []
    taken = {binding.body, *binding.template.fields}
    return [_query_parameter(field, schemas) for field in _query_fields(binding.method.input_type) if field.name not in taken]


def _query_fields(message: Descriptor) -> list[FieldDescriptor]:
    return [field for field in message.fields if field.message_type is None or field.message_type.full_name.startswith("google.protobuf.")]


def _query_parameter(field: FieldDescriptor, schemas: Schemas) -> Schema:
    schema = schemas.of_field(field)
    parameter: Schema = {"name": field.json_name, "in": "query", "schema": schema}
    if "description" in schema:
        parameter["description"] = schema.pop("description")
    return parameter
