"""What counts as the text of a box, and what as its other attributes."""

import re
import unicodedata
from collections.abc import Mapping

from libs.ocrkit.labels.page import Finding, ReadOptions

TEXT_ATTRIBUTES = ("text", "transcription", "content", "label_text", "ocr", "utf8_string", "文本", "OCR识别结果")
"""Attributes of these names are the text; the first that says something wins."""

UNREADABLE = "###"
"""How the formats of the trade write a text that nobody can read."""

ORIGINAL_TEXT = "original_text"
MAX_ATTRIBUTES = 200

_LINE_BREAKS = re.compile(r"\s*[\n\r\x0b\x0c\x85\u2028\u2029]\s*")
# What XML cannot carry, or what would break the lines and columns of the formats that consist of them.
_CONTROLS = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029\ufffe\uffff\ud800-\udfff]")


def settle_text(raw: str, options: ReadOptions, line: int | None = None) -> tuple[str, str, list[Finding]]:
    """A text as every format can carry it.

    Returns:
        The text, what it was before Unicode NFC (empty where that is the same or was not asked for), what was repaired.
    """
    at = "" if line is None else f"Line {line}: "
    findings: list[Finding] = []
    text = raw.strip()
    joined = _LINE_BREAKS.sub(" ", text)
    if joined != text:
        findings.append(Finding("repaired", "LINES_JOINED", f"{at}the text runs over several lines; they were joined by a space.", line))
    text = _CONTROLS.sub(" ", joined).strip()
    if _CONTROLS.search(joined):
        findings.append(Finding("repaired", "CONTROL_CHARACTERS", f"{at}the text holds control characters; spaces replace them.", line))
    composed = unicodedata.normalize("NFC", text) if options.nfc else text
    return composed, text if composed != text else "", findings


def is_no_text(text: str) -> bool:
    """Whether a text only says that there is one: empty, ``###`` or nothing but asterisks."""
    return text == UNREADABLE or not text.strip("*")


def settle_attributes(attributes: Mapping[str, str]) -> dict[str, str]:
    """Attributes as every format can carry them. Those that would be taken for the text get a 2 behind their name."""
    settled: dict[str, str] = {}
    for raw_name, raw_value in list(attributes.items())[:MAX_ATTRIBUTES]:
        name, value = (_CONTROLS.sub(" ", part).strip() for part in (raw_name, raw_value))
        while name in TEXT_ATTRIBUTES:
            name += "2"
        if name:
            settled.setdefault(name, value)
    return settled
