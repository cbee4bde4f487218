"""Subjects on the bus, built in one place."""

import re
from typing import Final

from google.protobuf.message import Message

EVENT_PREFIX: Final = "inkwright.evt.v1"
DEAD_PREFIX: Final = "inkwright.dead"

_TOKEN = re.compile(r"[A-Za-z0-9_-]+")


def fact_subject(service: str, resource: str, fact: type[Message], id: str) -> str:
    """``inkwright.evt.v1.dataset.image.images_indexed.<id>``; ``*`` for any service, resource or id, ``>`` for any id.

    Raises:
        ValueError: a part that is no subject token.
    """
    for token in (service, resource):
        _check(token, "*")
    _check(id, "*", ">")
    return f"{EVENT_PREFIX}.{service}.{resource}.{snake_case(fact.DESCRIPTOR.name)}.{id}"


def snake_case(name: str) -> str:
    """``PageSubmitted`` becomes ``page_submitted``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def is_token(text: str) -> bool:
    """Whether a text can be one part of a subject."""
    return _TOKEN.fullmatch(text) is not None


def _check(token: str, *wildcards: str) -> None:
    if token not in wildcards and not is_token(token):
        raise ValueError(f"{token!r} cannot be a part of a subject")
