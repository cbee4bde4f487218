"""Synthetic lines of a whole alphabet, as they would be cut from scans and photographs.

Training mixes them in so that a model keeps the characters its pages do not show; the evaluation measures on others what it kept.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.fonts import Face, Part, drawable, faces_of
from libs.ocrkit.replay_image import render_line
from libs.ocrkit.replay_text import TextSource, is_settable

__all__ = ["ReplayLine", "replay_lines", "unrendered"]

_ITALIC = 0.2


@dataclass(frozen=True, eq=False)
class ReplayLine:
    """A line and what it says.

    Args:
        image: uint8 (48, W, 3), blue-green-red, as ``warp_line`` gives it.
        text: no white space at the ends, inner spaces single.
        family: of the font.
    """

    image: NDArray[np.uint8]
    text: str
    family: str


def replay_lines(characters: Collection[str], num_lines: int, *, seed: int, part: Part) -> list[ReplayLine]:
    """Render lines in which each of the characters comes up about equally often.

    Args:
        characters: the alphabet, one code point each; the space only ever stands between words.
        num_lines: how many.
        seed: equal seeds give equal lines on a machine with equal fonts.
        part: the two parts share no font family, unless there is only one.

    Returns:
        ``num_lines`` lines, or none where no font has any of the characters; ``unrendered`` names those that are in no line.
    """
    rng = np.random.default_rng([seed, ("training", "check").index(part)])
    wanted = frozenset(characters)
    by_family: dict[str, list[Face]] = {}
    for face in faces_of(part):
        by_family.setdefault(face.family, []).append(face)
    settable = wanted - unrendered(wanted, part=part)
    if not settable - {" "}:
        return []
    texts = TextSource(settable, rng)
    lines: list[ReplayLine] = []
    for _ in range(num_lines):
        first = texts.next_due()
        fitting = [faces for faces in by_family.values() if any(first in drawable(face, wanted) for face in faces)]
        family = fitting[int(rng.integers(len(fitting)))]
        face = _one_of([face for face in family if first in drawable(face, wanted)], rng)
        text = texts.line(first, drawable(face, wanted) & settable)
        lines.append(ReplayLine(render_line(text, face, rng), text, face.family))
    return lines


def unrendered(characters: Collection[str], *, part: Part) -> frozenset[str]:
    """Those of the characters that no line can hold: no font of the part has them, or they need more than a glyph after the other."""
    wanted = frozenset(characters)
    return frozenset(
        character
        for character in wanted
        if not is_settable(character) or not any(character in drawable(face, wanted) for face in faces_of(part))
    )


def _one_of(faces: list[Face], rng: np.random.Generator) -> Face:
    """Any face of a family, slanted ones as rarely as on documents."""
    italic = rng.random() < _ITALIC
    chosen = [face for face in faces if face.italic == italic] or faces
    return chosen[int(rng.integers(len(chosen)))]
