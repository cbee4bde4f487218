"""Path templates of ``google.api.http``, compiled to regular expressions.

Grammar: segments separated by ``/``, each a literal, ``*`` (one segment), ``**`` (the rest) or ``{field=segments}``, and at the end
perhaps ``:verb``.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

_TOKEN = re.compile(r"\{([\w.]+)(?:=([^{}]+))?\}|[^{}]+")
_WILDCARD = re.compile(r"\*\*|\*")
# Without the colon in the excluded set, `*` would swallow the verb: `/datasets/receipts:sync`.
_WILDCARD_REGEX = {"*": "[^/:]+", "**": "[^:]+"}


@dataclass(frozen=True)
class PathTemplate:
    """A compiled template.

    Args:
        text: as written in the annotation.
        fields: dotted field paths, in the order of the regex's groups.
    """

    text: str
    regex: re.Pattern[str]
    fields: tuple[str, ...]

    @property
    def rank(self) -> tuple[int, int]:
        """Sorts templates so that the more precise one is tried first: longer before shorter, literals before wildcards."""
        return -self.text.count("/"), len(_WILDCARD.findall(self.text))

    def match(self, raw_path: str) -> dict[str, str] | None:
        """Field values of a path that fits, ``None`` of one that does not.

        Args:
            raw_path: percent-encoded as it came, so that an encoded slash cannot pose as a separator.
        """
        found = self.regex.fullmatch(raw_path)
        if found is None:
            return None
        return {field: unquote(value) for field, value in zip(self.fields, found.groups(), strict=True)}

    def documented(self) -> tuple[str, tuple[str, ...]]:
        """The OpenAPI form and its parameters: ``/v1/projects/{project}/datasets/{dataset}``, ``("project", "dataset")``."""
        path = _TOKEN.sub(lambda token: (token[2] or "*") if token[1] else token[0], self.text)
        parameters: list[str] = []

        def named(wildcard: re.Match[str]) -> str:
            collection = path[: wildcard.start()].rstrip("/").rpartition("/")[2]
            parameters.append(collection.removesuffix("s"))
            return f"{{{parameters[-1]}}}"

        return _WILDCARD.sub(named, path), tuple(parameters)


def compile_template(text: str) -> PathTemplate:
    """Compile one template.

    Raises:
        ValueError: braces that do not fit.
    """
    regex, fields, position = "", [], 0
    for token in _TOKEN.finditer(text):
        if token.start() != position:
            break
        position = token.end()
        if token[1]:
            regex += f"({_segments(token[2] or '*')})"
            fields.append(token[1])
        else:
            regex += _segments(token[0])
    if position != len(text):
        raise ValueError(f"the path template {text!r} cannot be read at {text[position:]!r}")
    return PathTemplate(text, re.compile(regex), tuple(fields))


def _segments(text: str) -> str:
    regex, position = "", 0
    for wildcard in _WILDCARD.finditer(text):
        regex += re.escape(text[position : wildcard.start()]) + _WILDCARD_REGEX[wildcard[0]]
        position = wildcard.end()
    return regex + re.escape(text[position:])
