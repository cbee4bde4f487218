"""The public API's body: what is accepted, what is refused and how."""

import base64
import textwrap

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.public.body import Limits, decode_base64, parse_body
from libs.runtime.errors import Fault, ImageUndecodable, InvalidInput, TooLarge
from tests.gateway_world import bmp, element

LIMITS = Limits(max_items=3, max_image_bytes=5000, max_image_pixels=1600)
IMAGE = bmp(40, 40, number=0xFBEFBEFF)
TEXT = base64.b64encode(IMAGE).decode()


def parsed(*elements: object) -> list[bytes | Fault]:
    return [found.image for found in parse_body(orjson.dumps({"dataArray": elements}), LIMITS)]


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        base64.urlsafe_b64encode(IMAGE).decode(),
        TEXT.rstrip("="),
        base64.urlsafe_b64encode(IMAGE).decode().rstrip("="),
        "\r\n".join(textwrap.wrap(TEXT, 76)),
        "data:image/bmp;base64," + TEXT,
        "data:;base64," + "\n".join(textwrap.wrap(TEXT, 64)) + "\n",
    ],
    ids=["standard", "url-safe", "unpadded", "url-safe unpadded", "wrapped", "data URI", "wrapped data URI"],
)
def test_base64_as_it_is_met(text: str) -> None:
    assert "+" in TEXT or "/" in TEXT
    assert parsed({"body": text}) == [IMAGE]


@given(st.binary(min_size=1, max_size=200), st.integers(1, 80))
def test_any_bytes_survive_any_wrapping(data: bytes, width: int) -> None:
    text = base64.urlsafe_b64encode(data).decode()
    assert decode_base64("\n".join(textwrap.wrap(text, width))) == data


@pytest.mark.parametrize(
    "text", ["", "%%%%", "AAAA*AAA", "A", "AAAAA", "AA=A", "ÄÄÄÄ", "data:image/png,AAAA", "data:image/png;base64", "====", "AAAA===="]
)
def test_garbage_is_refused(text: str) -> None:
    [fault] = parsed({"body": text})
    assert type(fault) is InvalidInput


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"body": None},
        {"body": 5},
        {"body": ["AAAA"]},
        "AAAA",
        None,
        7,
        element(IMAGE, type="url"),
        element(IMAGE, type=None),
        element(IMAGE, name=5),
    ],
)
def test_a_malformed_element_is_refused(entry: object) -> None:
    [fault] = parsed(entry)
    assert type(fault) is InvalidInput


def test_a_faulty_element_leaves_the_others_alone() -> None:
    found = parse_body(orjson.dumps({"dataArray": [element(IMAGE, name="a"), {"name": "b"}, element(IMAGE)]}), LIMITS)
    assert [(one.name, one.image == IMAGE) for one in found] == [("a", True), ("b", False), ("", True)]


@pytest.mark.parametrize(
    "data", [b"GIF89a" + bytes(40), b"hello, this is no image", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"BM" + bytes(60)]
)
def test_what_is_no_image_of_ours_is_undecodable(data: bytes) -> None:
    [fault] = parsed(element(data))
    assert type(fault) is ImageUndecodable


@pytest.mark.parametrize("data", [bmp(50, 40), bmp(41, 40)], ids=["bytes", "pixels"])
def test_an_image_over_a_limit_is_too_large(data: bytes) -> None:
    [fault] = parsed(element(data))
    assert type(fault) is TooLarge


def test_pixels_are_counted_from_the_header_alone() -> None:
    # A header of 4 gigapixels with no pixel behind it: decoding it would fail in another way, or never end.
    [fault] = parsed(element(bmp(40, 40)[:18] + (65535).to_bytes(4, "little") * 2 + bmp(40, 40)[26:]))
    assert type(fault) is TooLarge
    assert "65535 x 65535" in fault.message


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"nonsense",
        b"[]",
        b"3",
        b"{}",
        b'{"dataArray": {}}',
        b'{"dataArray": []}',
        b'{"dataArray": null}',
        b"\xff\xfe{}",
        b"[" * 5000,
    ],
)
def test_a_malformed_body_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_body(raw, LIMITS)


def test_too_many_elements_are_refused() -> None:
    with pytest.raises(TooLarge):
        parsed(*[element(IMAGE)] * 4)


def test_a_byte_order_mark_and_unknown_keys_are_harmless() -> None:
    raw = b"\xef\xbb\xbf" + orjson.dumps({"dataArray": [element(IMAGE, extra=1)], "more": 2})
    assert parse_body(raw, LIMITS)[0].image == IMAGE
