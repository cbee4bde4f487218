"""Our scorer: what was read against Pascal-VOC labels.

    python -m tests.bench.score DIR READ.json [--loose]

``READ.json`` is what ``inkctl read`` writes, ``{stem: [{"label", "conf", "pos": [[x, y] * 4]}]}`` in pixels. Every label file of ``DIR``
counts, whether its image was read or not.
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from pathlib import Path
from typing import Protocol
from xml.etree import ElementTree

import numpy as np
import shapely
from numpy.typing import NDArray

from libs.ocrkit.metrics import MATCH_IOU, edit_distance, fold
from libs.ocrkit.reading import LineJson

Corners = Sequence[Sequence[float]]
"""Four points, x and y in pixels."""

_ONE_GLYPH = str.maketrans("oil", "011")
"""What labellers of plates and markers use loosely for one another; applied to folded text."""

_EMPTY_UNION_PX2 = 1e-9


@dataclass(frozen=True)
class PlacedText:
    """What stands where, as labelled or as read."""

    text: str
    corners: Corners


class Folding(Protocol):
    """What is taken for the same text."""

    def __call__(self, text: str) -> str:
        """A text without what does not count."""


def fold_loosely(text: str) -> str:
    """Text without regard to case, white space, hyphens, and to which of 0 and O, 1, I and L was written."""
    return fold(text).replace("-", "").translate(_ONE_GLYPH)


@dataclass(frozen=True)
class Counts:
    """What is counted on a page; pages add up.

    Args:
        truth: labelled lines.
        read: lines of the reader.
        found: pairs that cover each other.
        exact: pairs that say the same.
        folded: pairs that say the same once folded.
        edits: edit distances of the pairs and the lengths of all lines without a partner.
        characters: of the labels.
        folded_edits: as ``edits``, of folded text.
        folded_characters: as ``characters``, of folded text.
    """

    truth: int = 0
    read: int = 0
    found: int = 0
    exact: int = 0
    folded: int = 0
    edits: int = 0
    characters: int = 0
    folded_edits: int = 0
    folded_characters: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def measures(self) -> dict[str, float]:
        """Shares in [0, 1] (an error rate may exceed it), four digits: precision, recall and h-mean of places; then of texts as well."""
        both = max(1, self.truth + self.read)
        exact = {
            "det_p": self.found / max(1, self.read),
            "det_r": self.found / max(1, self.truth),
            "det_h": 2 * self.found / both,
            "e2e_exact": 2 * self.exact / both,
            "e2e_folded": 2 * self.folded / both,
            "e2e_r_exact": self.exact / max(1, self.truth),
            "e2e_r_folded": self.folded / max(1, self.truth),
            "cer": self.edits / max(1, self.characters),
            "fcer": self.folded_edits / max(1, self.folded_characters),
        }
        return {name: round(value, 4) for name, value in exact.items()}


def score_folder(labels: Path, read: Mapping[str, Sequence[LineJson]], *, loose: bool = False, stems: Sequence[str] = ()) -> Counts:
    """Score what was read of a folder.

    Args:
        labels: folder of VOC files.
        read: lines by stem; an image that is missing counts as one in which nothing was found.
        loose: fold loosely.
        stems: only these; empty takes every label file.

    Raises:
        OSError: a label file is missing.
        ElementTree.ParseError: one is no XML.
    """
    fold_text = fold_loosely if loose else fold
    wanted = stems or sorted(path.stem for path in labels.glob("*.xml"))
    pages = (
        count_page(
            labelled((labels / f"{stem}.xml").read_bytes()),
            [PlacedText(line["label"], line["pos"]) for line in read.get(stem, ())],
            fold_text,
        )
        for stem in wanted
    )
    return reduce(Counts.__add__, pages, Counts())


def labelled(voc: bytes) -> list[PlacedText]:
    """Every object of a VOC file as it stands: nothing is clipped, stripped or left out, the polygon goes before the box."""
    lines = []
    for entry in ElementTree.fromstring(voc).iter("object"):
        polygon, box = entry.find("polygon"), entry.find("bndbox")
        if polygon is not None:
            corners = [[_number(polygon, f"{axis}{point}") for axis in "xy"] for point in range(1, 5)]
        elif box is not None:
            left, top, right, bottom = (_number(box, side) for side in ("xmin", "ymin", "xmax", "ymax"))
            corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
        else:
            raise ValueError("an object has neither polygon nor bndbox")
        lines.append(PlacedText(entry.findtext("name") or "", corners))
    return lines


def count_page(truth: Sequence[PlacedText], read: Sequence[PlacedText], fold_text: Folding = fold) -> Counts:
    """Pair the lines of a page and count."""
    pairs = pair([line.corners for line in truth], [line.corners for line in read])
    texts = [(truth[i].text, read[j].text) for i, j in pairs]
    paired_truth, paired_read = ({side[which] for side in pairs} for which in (0, 1))
    texts_alone = [line.text for i, line in enumerate(truth) if i not in paired_truth]
    texts_alone += [line.text for j, line in enumerate(read) if j not in paired_read]
    folded = [(fold_text(a), fold_text(b)) for a, b in texts]
    return Counts(
        truth=len(truth),
        read=len(read),
        found=len(pairs),
        exact=sum(a == b for a, b in texts),
        folded=sum(a == b for a, b in folded),
        edits=_edits(texts) + sum(len(text) for text in texts_alone),
        characters=sum(len(line.text) for line in truth),
        folded_edits=_edits(folded) + sum(len(fold_text(text)) for text in texts_alone),
        folded_characters=sum(len(fold_text(line.text)) for line in truth),
    )


def pair(truth: Sequence[Corners], read: Sequence[Corners]) -> list[tuple[int, int]]:
    """Pairs of positions with an IoU of at least 0.5, one to one, best first, on a tie the later lines.

    Not ``metrics.match_lines``, which takes the earlier ones and exactly one half as a match: published figures are counted this way.
    """
    if not truth or not read:
        return []
    a, b = _shapes(truth), _shapes(read)
    shared = shapely.area(shapely.intersection(a[:, None], b[None, :]))
    iou = shared / (shapely.area(a)[:, None] + shapely.area(b)[None, :] - shared + _EMPTY_UNION_PX2)
    candidates = sorted(((float(iou[i, j]), int(i), int(j)) for i, j in np.argwhere(iou >= MATCH_IOU)), reverse=True)
    pairs: list[tuple[int, int]] = []
    left, right = set(range(len(truth))), set(range(len(read)))
    for _, i, j in candidates:
        if i in left and j in right:
            left.remove(i)
            right.remove(j)
            pairs.append((i, j))
    return pairs


def _shapes(outlines: Iterable[Corners]) -> NDArray[np.object_]:
    """Polygons; of one whose edges cross each other, what a buffer without width leaves."""
    polygons = np.asarray(shapely.polygons(np.array(list(outlines), dtype=np.float64)), dtype=np.object_)
    return np.where(shapely.is_valid(polygons), polygons, np.asarray(shapely.buffer(polygons, 0), dtype=np.object_))


def _edits(pairs: Iterable[tuple[str, str]]) -> int:
    return sum(edit_distance(a, b) for a, b in pairs)


def _number(entry: ElementTree.Element, name: str) -> float:
    return float(entry.findtext(name) or "nan")


def main() -> None:
    """Score one file."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.score", description="Score what was read against Pascal-VOC labels.")
    parser.add_argument("labels", type=Path, metavar="DIR")
    parser.add_argument("read", type=Path, metavar="READ.json")
    parser.add_argument("--loose", action="store_true", help="take 0 and O, 1, I and L for the same and leave hyphens out")
    options = parser.parse_args()
    counts = score_folder(options.labels, json.loads(options.read.read_bytes()), loose=options.loose)
    print(json.dumps({"truth": counts.truth, "read": counts.read} | counts.measures()))


if __name__ == "__main__":
    main()
