"""The public API's request body: JSON to images, every limit checked before anything is decoded into pixels."""

import binascii
from dataclasses import dataclass
from typing import Any

import orjson
import pybase64

from libs.ocrkit.image_header import read_header
from libs.runtime.errors import Fault, InvalidInput, TooLarge

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WHITESPACE = b" \t\r\n\v\f"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True)
class Limits:
    """What one request may hold."""

    max_items: int
    max_image_bytes: int
    max_image_pixels: int


@dataclass(frozen=True)
class Element:
    """One entry of ``dataArray``: the bytes of an image file, or what is wrong with this entry alone."""

    name: str
    image: bytes | Fault


def parse_body(raw: bytes, limits: Limits) -> list[Element]:
    """Take a request body apart; its Content-Type does not matter.

    Raises:
        InvalidInput: no JSON object with a list ``dataArray`` of at least one element.
        TooLarge: more elements than allowed.
    """
    try:
        body = orjson.loads(raw.removeprefix(_BYTE_ORDER_MARK))
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"The body is no JSON: {error}.", problem=error) from error
    if not isinstance(body, dict):
        raise InvalidInput("The body must be a JSON object with the key dataArray.")
    if "dataArray" not in body:
        raise InvalidInput('dataArray is missing; send {"dataArray": [{"body": "<base64 of a JPG, PNG or BMP>"}]}.')
    entries = body["dataArray"]
    if not isinstance(entries, list) or not entries:
        raise InvalidInput("dataArray must be a list of at least one element.")
    if len(entries) > limits.max_items:
        raise TooLarge(
            f"dataArray has {len(entries)} elements, at most {limits.max_items} are allowed; send several requests.",
            num_items=len(entries),
            max_items=limits.max_items,
        )
    return [_element(entry, limits) for entry in entries]


def _element(entry: Any, limits: Limits) -> Element:
    name = entry.get("name") if isinstance(entry, dict) else None
    try:
        image: bytes | Fault = _image(entry, limits)
    except Fault as fault:
        image = fault
    return Element(name if isinstance(name, str) else "", image)


def _image(entry: Any, limits: Limits) -> bytes:
    if not isinstance(entry, dict):
        raise InvalidInput("Each element of dataArray must be an object with the key body.")
    if not isinstance(entry.get("name", ""), str | None):
        raise InvalidInput("name must be a string.")
    if entry.get("type", "stream") != "stream":
        raise InvalidInput('type must be "stream"; leave it out.')
    text = entry.get("body")
    if not isinstance(text, str) or not text:
        raise InvalidInput("body must be the base64 of a JPG, PNG or BMP file.")
    image = decode_base64(text)
    if len(image) > limits.max_image_bytes:
        raise TooLarge(
            f"The image has {len(image)} bytes, at most {limits.max_image_bytes} are allowed; send a smaller one.",
            size_bytes=len(image),
            max_bytes=limits.max_image_bytes,
        )
    header = read_header(image)
    if header.width_px * header.height_px > limits.max_image_pixels:
        size = f"{header.width_px} x {header.height_px}"
        raise TooLarge(
            f"The image has {size} pixels, at most {limits.max_image_pixels} are allowed; send a smaller one.",
            width_px=header.width_px,
            height_px=header.height_px,
            max_pixels=limits.max_image_pixels,
        )
    return image


def decode_base64(text: str) -> bytes:
    """Decode base64 as it is met in the wild: standard or url-safe, wrapped, unpadded, behind a ``data:`` prefix.

    Raises:
        InvalidInput: any other character, or a length that no bytes have.
    """
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise InvalidInput("A data URI must say ;base64 and have a comma before its data.")
    try:
        return pybase64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return _decode_tolerantly(text)


def _decode_tolerantly(text: str) -> bytes:
    try:
        plain = text.encode("ascii").translate(_URL_SAFE, _WHITESPACE)
        padding = b"" if plain.endswith(b"=") else b"=" * (-len(plain) % 4)
        return pybase64.b64decode(plain + padding, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("body is no base64; encode the bytes of the image file with standard base64.") from error
