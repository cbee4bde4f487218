"""Path, query and body into a request, on a message that has every kind of field."""

from typing import Any, cast

import orjson
import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, field_mask_pb2, timestamp_pb2
from google.protobuf.descriptor import FileDescriptor

from gateway.transcode.bind import UnknownField, bind_request
from gateway.transcode.rules import Binding, bindings
from inkwright.common.v1 import permission_pb2
from libs.runtime.errors import InvalidInput

Field = descriptor_pb2.FieldDescriptorProto
PACKAGE = "inkwright.bindtest.v1"


def message(name: str, *fields: tuple[str, int, str, bool]) -> descriptor_pb2.DescriptorProto:
    built = descriptor_pb2.DescriptorProto(name=name)
    for number, (field, kind, type_name, repeated) in enumerate(fields, start=1):
        label = Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL
        built.field.add(name=field, number=number, type=cast("Any", kind), type_name=type_name or None, label=label)
    return built


def method_file(name: str, rule: dict[str, str], *, permission: int, streaming: bool = False) -> FileDescriptor:
    """A file with one method under one HTTP rule."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"bindtest/{name}.proto", package=PACKAGE, syntax="proto3", dependency=["bindtest/messages.proto"]
    )
    method = file.service.add(name=f"{name}Service").method.add(
        name=name, input_type=f".{PACKAGE}.SaveRequest", output_type=f".{PACKAGE}.Thing", server_streaming=streaming
    )
    for key, value in rule.items():
        setattr(method.options.Extensions[annotations_pb2.http], key, value)
    if permission:
        method.options.Extensions[permission_pb2.permission] = cast("Any", permission)
    descriptor_pool.Default().Add(file)
    return descriptor_pool.Default().FindFileByName(file.name)


def declare() -> None:
    file = descriptor_pb2.FileDescriptorProto(
        name="bindtest/messages.proto",
        package=PACKAGE,
        syntax="proto3",
        dependency=[timestamp_pb2.DESCRIPTOR.name, field_mask_pb2.DESCRIPTOR.name],
    )
    file.message_type.append(message("Inner", ("deep_text", Field.TYPE_STRING, "", False), ("count", Field.TYPE_INT32, "", False)))
    file.message_type.append(
        message(
            "Thing",
            ("name", Field.TYPE_STRING, "", False),
            ("long_text", Field.TYPE_STRING, "", False),
            ("big", Field.TYPE_INT64, "", False),
            ("tags", Field.TYPE_STRING, "", True),
            ("is_on", Field.TYPE_BOOL, "", False),
            ("colour", Field.TYPE_ENUM, f".{PACKAGE}.Colour", False),
            ("when", Field.TYPE_MESSAGE, ".google.protobuf.Timestamp", False),
            ("inner", Field.TYPE_MESSAGE, f".{PACKAGE}.Inner", False),
            ("inners", Field.TYPE_MESSAGE, f".{PACKAGE}.Inner", True),
            ("raw", Field.TYPE_BYTES, "", False),
            ("ratio", Field.TYPE_DOUBLE, "", False),
            ("etag", Field.TYPE_STRING, "", False),
        )
    )
    file.message_type.append(
        message(
            "SaveRequest",
            ("thing", Field.TYPE_MESSAGE, f".{PACKAGE}.Thing", False),
            ("update_mask", Field.TYPE_MESSAGE, ".google.protobuf.FieldMask", False),
            ("request_id", Field.TYPE_STRING, "", False),
            ("name", Field.TYPE_STRING, "", False),
        )
    )
    colour = file.enum_type.add(name="Colour")
    for number, name in enumerate(("COLOUR_UNSPECIFIED", "RED", "BLUE")):
        colour.value.add(name=name, number=number)
    descriptor_pool.Default().Add(file)


declare()
VIEW = permission_pb2.VIEW


def bound(name: str, **rule: str) -> Binding:
    return bindings([method_file(name, rule, permission=VIEW)])[0]


PATCH = bound("PatchThing", patch="/v1/{thing.name=things/*}", body="thing")
WHOLE = bound("PostThing", post="/v1/{name=things/*}:save", body="*")
READ = bound("GetThing", get="/v1/{name=things/*}")


def bind(binding: Binding, *query: tuple[str, str], body: object = None, name: str = "things/t") -> Any:
    path = binding.template.fields[0]
    return bind_request(binding, {path: name}, query, b"" if body is None else orjson.dumps(body))


def test_a_body_field_takes_the_body_and_the_path_fills_what_is_nested() -> None:
    request = bind(PATCH, ("request_id", "r1"), body={"longText": "Ä", "big": "9007199254740993", "colour": "BLUE"})
    assert (request.thing.name, request.thing.long_text, request.thing.big, request.thing.colour) == ("things/t", "Ä", 2**53 + 1, 2)
    assert request.request_id == "r1"


def test_proto_names_are_accepted_beside_json_names() -> None:
    assert bind(PATCH, ("requestId", "r1"), body={"long_text": "a"}).thing.long_text == "a"


def test_an_absent_mask_means_the_fields_present() -> None:
    body: dict[str, object] = {
        "name": "things/t",
        "etag": "e",
        "longText": "",
        "isOn": None,
        "tags": [],
        "inner": {"deepText": "x"},
        "when": "2025-01-01T00:00:00Z",
    }
    assert list(bind(PATCH, body=body).update_mask.paths) == ["long_text", "is_on", "tags", "inner.deep_text", "when"]


@pytest.mark.parametrize("written", ["longText,inner.deepText", "long_text,inner.deep_text"])
def test_a_given_mask_wins(written: str) -> None:
    request = bind(PATCH, ("updateMask", written), body={"longText": "a", "big": "1"})
    assert list(request.update_mask.paths) == ["long_text", "inner.deep_text"]


def test_only_a_patch_gets_a_mask() -> None:
    assert not bind(WHOLE, body={"thing": {"longText": "a"}}).HasField("update_mask")


def test_every_kind_of_query_value() -> None:
    request = bind(
        READ,
        ("thing.tags", "a"),
        ("thing.tags", "b"),
        ("thing.isOn", "true"),
        ("thing.colour", "RED"),
        ("thing.when", "2025-11-22T10:00:00Z"),
        ("thing.inner.count", "-3"),
        ("thing.raw", "AAE="),
        ("thing.ratio", "0.5"),
        ("thing.big", "9007199254740993"),
        ("updateMask", "long_text"),
    )
    thing = request.thing
    assert (list(thing.tags), thing.is_on, thing.colour, thing.inner.count, thing.raw) == (["a", "b"], True, 1, -3, b"\0\1")
    assert (thing.when.seconds, thing.ratio, thing.big, list(request.update_mask.paths)) == (1763805600, 0.5, 2**53 + 1, ["long_text"])


@pytest.mark.parametrize(
    "query",
    [
        ("nope", "1"),
        ("thing", "x"),
        ("thing.nope", "x"),
        ("thing.big.more", "1"),
        ("thing.inners.count", "1"),
        ("thing.inner", "x"),
        ("name", "things/other"),
        ("", "x"),
    ],
)
def test_an_unknown_query_key_is_refused_by_name(query: tuple[str, str]) -> None:
    with pytest.raises(UnknownField) as caught:
        bind(READ, query)
    assert caught.value.metadata["field"] == query[0]


def test_the_body_s_field_and_any_key_beside_a_whole_body_are_no_query_keys() -> None:
    with pytest.raises(UnknownField):
        bind(PATCH, ("thing.longText", "a"), body={})
    with pytest.raises(UnknownField):
        bind(WHOLE, ("requestId", "a"), body={})


@pytest.mark.parametrize(
    "query",
    [
        (("thing.isOn", "yes"),),
        (("thing.colour", "GREEN"),),
        (("thing.inner.count", "3000000000"),),
        (("thing.inner.count", "many"),),
        (("thing.when", "yesterday"),),
        (("requestId", "a"), ("request_id", "b")),
    ],
)
def test_a_query_value_that_does_not_fit_is_refused(query: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(InvalidInput):
        bind(READ, *query)


@pytest.mark.parametrize(
    ("body", "field"), [({"nope": 1}, "nope"), ({"inner": {"nope": 1}}, "inner.nope"), ({"inners": [{}, {"nope": 1}]}, "inners.nope")]
)
def test_an_unknown_body_key_is_refused_by_its_path(body: object, field: str) -> None:
    with pytest.raises(UnknownField) as caught:
        bind(PATCH, body=body)
    assert caught.value.metadata["field"] == field


@pytest.mark.parametrize("raw", [b"{", b"[]", b'"x"', b"\xff", b'{"big": "x"}', b'{"inner": 3}', b'{"longText": "a", "long_text": "b"}'])
def test_a_body_that_does_not_fit_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidInput):
        bind_request(PATCH, {"thing.name": "things/t"}, (), raw)


def test_a_name_in_the_body_must_be_the_path_s() -> None:
    assert bind(PATCH, body={"name": "things/t"}).thing.name == "things/t"
    with pytest.raises(InvalidInput, match="path says"):
        bind(PATCH, body={"name": "things/other"})


def test_an_empty_body_is_an_empty_object() -> None:
    assert bind(WHOLE).name == "things/t"


@pytest.mark.parametrize(
    ("name", "permission", "streaming", "rule", "problem"),
    [
        ("NoPermission", 0, False, {}, "no permission"),
        ("InternalOne", permission_pb2.INTERNAL_CALL, False, {"get": "/v1/x"}, "internal"),
        ("StreamingOne", VIEW, True, {"get": "/v1/x"}, "streams"),
        ("NoSuchField", VIEW, False, {"get": "/v1/{nope=things/*}"}, "no field nope"),
        ("NoString", VIEW, False, {"get": "/v1/{thing.big=things/*}"}, "no string"),
        ("NoMessage", VIEW, False, {"post": "/v1/things", "body": "request_id"}, "no message"),
    ],
)
def test_a_broken_rule_fails_the_start(name: str, permission: int, streaming: bool, rule: dict[str, str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        bindings([method_file(name, rule, permission=permission, streaming=streaming)])
