"""Bytes of an XML file to a tree that can do no harm: no DTD, no entities, no network, bounded size and depth."""

import re

from lxml import etree

from libs.ocrkit.labels.page import Finding, LabelUnreadable

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 32

_DECLARATION = re.compile(r"\A\s*<\?\s*xml\b[^>]{0,200}>", re.IGNORECASE)
_DECLARED_ENCODING = re.compile(r"encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
# Python has codecs that are no encodings of text (punycode, unicode_escape …), some slow on purpose-made input.
_ENCODING = re.compile(
    r"utf-?8|utf-?16(-?[lb]e)?|us-ascii|ascii|latin-?1|iso-?8859-\d{1,2}|windows-125\d|cp125\d|cp936|gb18030|big5(-?hkscs)?"
    r"|shift[-_]jis|euc-(jp|kr)|koi8-r"
)
_BOMS: tuple[tuple[bytes, str], ...] = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)


def parse_xml(data: bytes) -> tuple[etree._Element, list[Finding]]:
    """Parse an XML file whose encoding or declaration may be wrong.

    Returns:
        The root (line numbers are those of the file) and what had to be repaired.

    Raises:
        LabelUnreadable: too large, too deep, not well-formed, or it brings a DTD.
    """
    if len(data) > MAX_BYTES:
        raise LabelUnreadable(f"The label file has {len(data)} bytes, more than {MAX_BYTES}.", size_bytes=len(data))
    text, findings = decode_text(data)
    declaration = _DECLARATION.match(text)
    if declaration:
        if not re.match(r"<\?xml\s[^<>]*\?>\Z", declaration.group().lstrip()):
            findings.append(Finding("repaired", "BROKEN_DECLARATION", "The XML declaration is malformed and was left out.", 1))
        # The line breaks stay, so that a reported line is the line of the file.
        text = "\n" * declaration.group().count("\n") + text[declaration.end() :]
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        line = text[: text.index("<!")].count("\n") + 1
        raise LabelUnreadable(f"Line {line}: a document type definition is not accepted; remove it.", line=line)
    parser = etree.XMLParser(encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_pis=True)
    try:
        root = etree.fromstring(text.strip(" \t\x00").encode("utf-8", "surrogatepass"), parser)
    except etree.XMLSyntaxError as error:
        line = error.lineno or 1
        raise LabelUnreadable(f"Line {line}: this is no well-formed XML ({error.msg}); repair the file.", line=line) from error
    if _deeper_than(root, MAX_DEPTH):
        raise LabelUnreadable(f"The XML is nested more than {MAX_DEPTH} levels deep; this is no label file.", depth=MAX_DEPTH)
    return root, findings


def decode_text(data: bytes) -> tuple[str, list[Finding]]:
    """Bytes to text: byte order mark, declaration, UTF-8, GB18030, Latin-1, in this order; the first that fits wins."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace"), []
    if data[:4:2] == b"\x00\x00" or data[1:4:2] == b"\x00\x00":
        encoding = "utf-16-be" if data[:1] == b"\x00" else "utf-16-le"
        return data.decode(encoding, "replace"), []
    declared = _DECLARED_ENCODING.search(data[:300].decode("latin-1"))
    wanted = declared.group(1).lower() if declared else "utf-8"
    # GB18030 holds GBK and GB2312 and forgives what their strict codecs do not.
    wanted = {"gb2312": "gb18030", "gbk": "gb18030", "utf8": "utf-8"}.get(wanted, wanted)
    known = (wanted,) if _ENCODING.fullmatch(wanted) else ()
    for encoding in dict.fromkeys((*known, "utf-8", "gb18030")):
        try:
            text = data.decode(encoding)
        except (UnicodeError, LookupError):
            continue
        if encoding == wanted:
            return text, []
        return text, [Finding("repaired", "WRONG_ENCODING", f"The file says {wanted} but is {encoding}; read as {encoding}.", 1)]
    message = f"The file is neither {wanted} nor UTF-8 nor GB18030; read as Latin-1, check its letters."
    return data.decode("latin-1"), [Finding("warning", "WRONG_ENCODING", message, 1)]


def _deeper_than(root: etree._Element, limit: int) -> bool:
    level = [root]
    for _ in range(limit):
        level = [child for element in level for child in element]
        if not level:
            return False
    return True
