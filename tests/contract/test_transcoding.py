"""REST from annotations, against google-api-core's transcoder as an independent oracle."""

from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from google.api_core.path_template import transcode
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from starlette.datastructures import QueryParams

from gateway.console.events import EVENTS
from gateway.console.files import BUNDLE_DOWNLOAD, BUNDLE_UPLOAD
from gateway.console.pictures import DEEP_ZOOM, IMAGE_BYTES, THUMBNAIL, TILE
from gateway.console.uploads import CHUNK
from gateway.transcode.bind import bind_request
from gateway.transcode.rules import Binding, bindings, methods, permission_of
from inkwright.common.v1 import permission_pb2

BINDINGS = bindings()
DEEPEST = 4


def value_of(field: FieldDescriptor, depth: int) -> Any:
    """A JSON value for one field, none of it the default."""
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return f"ü {field.name}/1"
        case FieldDescriptor.TYPE_BOOL:
            return True
        case FieldDescriptor.TYPE_BYTES:
            return "AAEC"
        case FieldDescriptor.TYPE_ENUM:
            assert field.enum_type is not None
            return field.enum_type.values[-1].name
        case FieldDescriptor.TYPE_DOUBLE | FieldDescriptor.TYPE_FLOAT:
            return 0.25
        case FieldDescriptor.TYPE_MESSAGE:
            assert field.message_type is not None
            known = {"google.protobuf.Timestamp": "2025-11-22T10:00:00.125Z", "google.protobuf.FieldMask": "description,createTime"}
            return known.get(field.message_type.full_name) or object_of(field.message_type, depth + 1)
        case _:
            is_wide = field.cpp_type in (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)
            return str(2**53 + 1) if is_wide else 7


def object_of(message: Descriptor, depth: int = 0) -> dict[str, Any]:
    """A JSON object with every field set, one of each oneof, down to a depth."""
    built: dict[str, Any] = {}
    for field in message.fields:
        late = field.containing_oneof is not None and field.containing_oneof.fields[0] is not field
        if late or (field.message_type is not None and depth == DEEPEST):
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            built[field.json_name] = {"key": value_of(field.message_type.fields_by_name["value"], depth)}
        else:
            value = value_of(field, depth)
            built[field.json_name] = [value, value] if field.is_repeated else value
    return built


def full_request(binding: Binding) -> Message:
    """A request with every field set, names as the path wants them."""
    request = json_format.ParseDict(object_of(binding.method.input_type), binding.new_request())
    for path in binding.template.fields:
        segments = binding.template.text.partition(f"{{{path}=")[2].partition("}")[0].split("/")
        name = "/".join(f"id-{number}" if segment == "*" else segment for number, segment in enumerate(segments))
        *parents, leaf = path.split(".")
        target = request
        for parent in parents:
            target = getattr(target, parent)
        setattr(target, leaf, name)
    return request


def flattened(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in flattened(item, f"{prefix}.{key}" if prefix else key)]
    if isinstance(value, list):
        return [pair for item in value for pair in flattened(item, prefix)]
    return [(prefix, str(value).lower() if isinstance(value, bool) else str(value))]


@pytest.mark.parametrize("binding", BINDINGS, ids=lambda binding: binding.method.name)
def test_what_the_oracle_writes_is_what_we_read(binding: Binding) -> None:
    request = full_request(binding)
    option = {"method": binding.http_method.lower(), "uri": binding.template.text}
    written: Any = transcode([option | ({"body": binding.body} if binding.body else {})], request)  # type: ignore[no-untyped-call]
    body = orjson.dumps(json_format.MessageToDict(written["body"])) if binding.body else b""
    query = urlencode(flattened(json_format.MessageToDict(written["query_params"])))

    found = [(other, captured) for other in BINDINGS if (captured := other.template.match(written["uri"])) is not None]
    matched, captured = next((other, captured) for other, captured in found if other.http_method == binding.http_method)
    assert matched is binding
    assert bind_request(matched, captured, QueryParams(query).multi_items(), body) == request


def test_no_two_templates_claim_one_request() -> None:
    for binding in BINDINGS:
        path = binding.template.text.replace("{", "").replace("}", "")
        for field in binding.template.fields:
            path = path.replace(f"{field}=", "")
        path = path.replace("*", "some-id")
        claims = [other for other in BINDINGS if other.http_method == binding.http_method and other.template.match(path) is not None]
        assert claims == [binding], path


def test_only_annotated_methods_have_a_path_and_none_is_internal() -> None:
    bound = {binding.method.full_name for binding in BINDINGS}
    unbound = {method.name for method in methods() if method.full_name not in bound}
    assert unbound == {
        "ReadImage",
        "ReadThumbnail",
        "ReadTile",
        "WriteImageLabels",
        "UploadChunk",
        "ImportModel",
        "ReadBundle",
        "UploadLabels",
        "ExportLabels",
        "AcquireSuggestionInstance",
        "Predict",
        "GetProcess",
    }
    assert all(binding.permission != permission_pb2.INTERNAL_CALL for binding in BINDINGS)


def test_every_method_asks_for_a_permission() -> None:
    assert {permission_of(method) for method in methods()} <= set(permission_pb2.Permission.values()) - {0}


def test_hand_written_paths_meet_no_derived_one() -> None:
    paths = {
        IMAGE_BYTES: "/v1/projects/p/datasets/d/images/i:bytes",
        THUMBNAIL: "/v1/projects/p/datasets/d/images/i/thumbnail",
        DEEP_ZOOM: "/v1/projects/p/datasets/d/images/i/tiles.json",
        TILE: "/v1/projects/p/datasets/d/images/i/tiles/11/2_1.jpg",
        BUNDLE_DOWNLOAD: "/v1/projects/p/models/m:bundle",
        BUNDLE_UPLOAD: "/v1/projects/p/models/m:import",
        CHUNK: "/v1/projects/p/datasets/d/uploads/u:bytes",
        EVENTS: "/v1/projects/p/events",
    }
    for template, path in paths.items():
        assert template.match(path) is not None
        assert [binding.method.name for binding in BINDINGS if binding.template.match(path) is not None] == []
