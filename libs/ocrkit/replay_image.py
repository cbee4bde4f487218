"""A text as a line that was printed, scanned or photographed, found by a detector and cut out.

Letters in names: H height, W width, 3 blue-green-red.
"""

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from libs.ocrkit.fonts import EM_PX, Face, load_face
from libs.ocrkit.geometry import Quad, quad_from_box
from libs.ocrkit.preprocess import VERTICAL_RATIO, warp_line
from libs.ocrkit.replay_text import tells_its_case
from libs.ocrkit.training.augment import JitterConfig, distort, jitter_quad

__all__ = ["render_line"]

_MARGIN_PX = EM_PX
_EM_ON_PAGE_PX = (17.0, 60.0)
_BOX = JitterConfig(grow_low=0.0, grow_high=0.22, turn_rad=0.02)
_CORNER = 0.015
_NEIGHBOURS = 0.25
_RULE = 0.06
_OVEREXPOSED = 0.35
"""How often the paper is plain white, as most scanners make it."""
_INVERTED = 0.06
_COLOURED = 0.12
_DISTORTED = 0.25
_LEAST_CONTRAST = 70.0


def render_line(text: str, face: Face, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Print, scan and cut out one line.

    Args:
        text: not empty; the face draws each of its characters.
        face: what it is set in.
        rng: all chance comes from it.

    Returns:
        uint8 (48, W, 3), blue-green-red, as ``warp_line`` gives it.
    """
    ink_HW, quad = _set(text, face, rng)
    low, high = _EM_ON_PAGE_PX
    scale = float(np.exp(rng.uniform(np.log(low), np.log(high)))) / EM_PX
    height, width = ink_HW.shape
    size = max(2, round(width * scale * rng.uniform(0.9, 1.12))), max(2, round(height * scale))
    small_HW = np.asarray(cv2.resize(ink_HW, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
    page_HW3 = _scanned(_printed(small_HW, rng), rng)
    box = jitter_quad(quad * (np.array(size) / (width, height)), rng, _BOX)
    box += rng.uniform(-_CORNER, _CORNER, (4, 2)) * (box[3, 1] - box[0, 1])
    line_HW3 = warp_line(page_HW3, box)
    return distort(line_HW3, rng, inverted=0.0) if rng.random() < _DISTORTED else line_HW3


def _set(text: str, face: Face, rng: np.random.Generator) -> tuple[NDArray[np.float32], Quad]:
    """Ink of the text and of what stands around it, float32 (H, W) in [0, 1], and the text's own box in it."""
    font = load_face(face)
    gap = rng.uniform(0.9, 1.6)
    tracking = rng.uniform(0.02, 0.12) * EM_PX if rng.random() < 0.15 else 0.0
    positions = [0.0]
    for character, following in pairwise(text):
        # The advance of the pair, not of the character: it holds the kerning.
        advance = font.getlength(character + following) - font.getlength(following)
        positions.append(positions[-1] + (gap if character == " " else 1.0) * advance + tracking)
    top, bottom = _height(text, face)
    left = font.getbbox(text[0], anchor="ls")[0]
    right = positions[-1] + font.getbbox(text[-1], anchor="ls")[2]
    # What is narrower than high would be taken for text that runs downwards.
    sides = max(0.0, (bottom - top) - (right - left) * VERTICAL_RATIO * 0.8)
    canvas = Image.new("L", (round(right - left + sides) + 2 * _MARGIN_PX, round(bottom - top) + 2 * _MARGIN_PX))
    draw = ImageDraw.Draw(canvas)
    x, y = _MARGIN_PX + sides / 2 - left, _MARGIN_PX - top
    lines_y = [y]
    if rng.random() < _NEIGHBOURS:
        pitch = rng.uniform(1.15, 1.6) * EM_PX
        lines_y += [y - pitch, y + pitch]
    for line_y in lines_y:
        shift = 0.0 if line_y == y else rng.uniform(-2.0, 2.0) * EM_PX
        for character, position in zip(text, positions, strict=True):
            draw.text((x + shift + position, line_y), character, font=font, fill=255, anchor="ls")
    if rng.random() < _RULE:
        rule_y = y + bottom + rng.uniform(0.05, 0.3) * EM_PX
        draw.line((0, rule_y, canvas.width, rule_y), fill=255, width=int(rng.integers(2, 5)))
    quad = quad_from_box(_MARGIN_PX, _MARGIN_PX, _MARGIN_PX + right - left + sides, _MARGIN_PX + bottom - top)
    return np.asarray(canvas, dtype=np.float32) / np.float32(255), quad


def _height(text: str, face: Face) -> tuple[float, float]:
    """Top and bottom of the ink, seen from the base line.

    A line of which no character tells how large it is set (``cos``, ``- .``) is as high as one with capitals: on a page its
    neighbours say so.
    """
    font = load_face(face)
    says_size = any(tells_its_case(character) or character.isdecimal() for character in text)
    boxes = [font.getbbox(character, anchor="ls") for character in {*text, "x" if says_size else "H"} - {" "}]
    return min(box[1] for box in boxes), max(box[3] for box in boxes)


def _printed(ink_HW: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Ink on paper, float32 (H, W, 3): each with its tone and tint, the light uneven, the ink fading here and there."""
    if rng.random() < 0.2:
        ink_HW = ink_HW * (1 - _uneven(ink_HW, rng) * np.float32(rng.uniform(0.1, 0.35)))
    if rng.random() < 0.2:
        # A soft threshold above or below the middle makes strokes thinner or thicker.
        ink_HW = np.clip((cv2.GaussianBlur(ink_HW, (0, 0), 0.7) - rng.uniform(0.05, 0.3)) * 1.6, 0, 1).astype(np.float32)
    tone = rng.uniform(246, 262) if rng.random() < _OVEREXPOSED else rng.uniform(185, 250)
    paper, ink = rng.normal(tone, 3, 3), rng.normal(rng.uniform(5, 95), 4, 3)
    if rng.random() < _COLOURED:
        ink = rng.uniform(10, 150, 3)
    if rng.random() < _COLOURED:
        paper = rng.uniform(150, 255, 3)
    if paper.mean() - ink.mean() < _LEAST_CONTRAST:
        ink = ink - _LEAST_CONTRAST
    if rng.random() < _INVERTED:
        paper, ink = ink, paper
    page_HW3 = paper.astype(np.float32) + (ink - paper).astype(np.float32) * ink_HW[..., None]
    if rng.random() < 0.4:
        page_HW3 = page_HW3 - _uneven(ink_HW, rng)[..., None] * np.float32(rng.uniform(5, 45))
    return page_HW3


def _uneven(like_HW: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Soft patches, float32 (H, W) in [0, 1]."""
    height, width = like_HW.shape
    coarse = rng.random((3, max(3, 2 * width // height))).astype(np.float32)
    return np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1).astype(np.float32)


def _scanned(page_HW3: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """As a scanner or camera gives it: a little blurred, noisy, compressed."""
    if rng.random() < 0.5:
        page_HW3 = np.asarray(cv2.GaussianBlur(page_HW3, (0, 0), rng.uniform(0.3, 0.9)), dtype=np.float32)
    if rng.random() < 0.5:
        page_HW3 = page_HW3 + rng.standard_normal(page_HW3.shape, dtype=np.float32) * np.float32(rng.uniform(1, 8))
    image_HW3 = np.clip(page_HW3, 0, 255).astype(np.uint8)
    if rng.random() < 0.6:
        packed = cv2.imencode(".jpg", image_HW3, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 96))])[1]
        image_HW3 = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), dtype=np.uint8)
    return image_HW3
