"""The page about label formats says what the code holds; ``python -m tests.unit.test_label_formats_docs`` writes its tables anew."""

import re
from pathlib import Path

from libs.ocrkit.labels.format import Format
from libs.ocrkit.labels.formats.all_formats import FORMATS
from libs.ocrkit.labels.holding import Loss

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"


def tables() -> dict[str, str]:
    """Each table by the name of the comment that stands before it."""
    formats = ["| format | what it is |", "|---|---|"]
    formats += [f"| `{key}` | {one.title} |" for key, one in FORMATS.items()]
    losses = ["| | " + " | ".join(f"`{key}`" for key in FORMATS) + " |", "|---|" + "---|" * len(FORMATS)]
    for loss in Loss:
        cells = [_cell(loss, one) for one in FORMATS.values()]
        losses.append(f"| {loss.value} | " + " | ".join(cells) + " |")
    return {"formats": "\n".join(formats), "losses": "\n".join(losses)}


def _cell(loss: Loss, label_format: Format) -> str:
    if loss is Loss.ATTRIBUTES and label_format.holds.attributes:
        return "only " + ", ".join(f"`{name}`" for name in sorted(label_format.holds.attributes))
    return "" if loss in label_format.holds.lacks else "✓"


def written(page: str) -> str:
    """The page with its tables as they should be."""
    for name, table in tables().items():
        before, opening, rest = re.split(rf"(<!-- {name}:[^\n]*-->\n)", page)
        page = before + opening + table + "\n" + rest[rest.index(f"<!-- /{name} -->") :]
    return page


def test_the_tables_are_those_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert written(page) == page
    assert all(f"| `{key}` |" in page for key in FORMATS)
    assert all(loss.value in page for loss in Loss)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
