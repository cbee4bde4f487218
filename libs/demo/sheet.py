"""A printed sheet: text set in millimetres, with the quad of each line."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from libs.demo.dot_matrix import dot_matrix_mask
from libs.demo.fonts import Face, load_face
from libs.ocrkit.geometry import Quad, quad_from_box

Color = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

_MARGIN_EM = 0.07
"""Room around the ink in a quad: a careful labeller draws no tighter."""


@dataclass(frozen=True, eq=False)
class Line:
    """One line of text and where its ink stands, pixels of the sheet counted from its upper left edge."""

    text: str
    quad: Quad


@dataclass(frozen=True)
class Type:
    """How a line is set.

    Args:
        face: of the font.
        size_mm: the em.
        color: of the ink.
        tracking_em: extra space after each character.
    """

    face: Face
    size_mm: float
    color: Color
    tracking_em: float = 0.0


@dataclass(eq=False)
class Sheet:
    """Paper being printed on. Places are millimetres from its upper left corner.

    Args:
        width_mm: of the paper.
        height_mm: of the paper.
        px_per_mm: resolution it is drawn at.
        paper: its colour.
        ink_strength: 1 prints full ink, less lets the paper through.
        rng: the only source of chance.
    """

    width_mm: float
    height_mm: float
    px_per_mm: float
    paper: Color
    ink_strength: float
    rng: np.random.Generator
    lines: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._image = Image.new("RGB", (self._px(self.width_mm), self._px(self.height_mm)), self.paper)
        self._draw = ImageDraw.Draw(self._image)

    @property
    def image(self) -> NDArray[np.uint8]:
        """What was printed: uint8 (H, W, 3), red-green-blue."""
        return np.asarray(self._image)

    def _px(self, mm: float) -> int:
        return round(mm * self.px_per_mm)

    def _ink(self, color: Color, behind: Color | None = None) -> Color:
        paper = behind or self.paper
        red, green, blue = (round(under + self.ink_strength * (over - under)) for over, under in zip(color, paper, strict=True))
        return red, green, blue

    def fill(self, x_mm: float, y_mm: float, width_mm: float, height_mm: float, color: Color) -> None:
        """A filled area."""
        self._draw.rectangle((self._px(x_mm), self._px(y_mm), self._px(x_mm + width_mm), self._px(y_mm + height_mm)), fill=color)

    def rule(self, x_mm: float, y_mm: float, width_mm: float, color: Color) -> None:
        """A thin horizontal line."""
        y = self._px(y_mm)
        self._draw.line((self._px(x_mm), y, self._px(x_mm + width_mm), y), fill=self._ink(color), width=max(1, self._px(0.2)))

    def frame(self, x_mm: float, y_mm: float, width_mm: float, height_mm: float, color: Color) -> None:
        """A thin box."""
        box = (self._px(x_mm), self._px(y_mm), self._px(x_mm + width_mm), self._px(y_mm + height_mm))
        self._draw.rectangle(box, outline=self._ink(color), width=max(1, self._px(0.15)))

    def width_of(self, text: str, set_in: Type) -> float:
        """Advance width of a line in millimetres."""
        font = self._font(set_in)
        return (font.getlength(text) + len(text) * set_in.tracking_em * font.size) / self.px_per_mm

    def text(self, x_mm: float, y_mm: float, text: str, set_in: Type, *, align: float = 0.0, behind: Color | None = None) -> None:
        """Print a line and remember it.

        Args:
            x_mm: its left end (``align`` 0), middle (0.5) or right end (1).
            y_mm: its base line.
            text: what it says.
            set_in: how.
            align: see ``x_mm``.
            behind: colour under it where that is not the paper.
        """
        font = self._font(set_in)
        x = x_mm * self.px_per_mm - align * self.width_of(text, set_in) * self.px_per_mm
        y, color, spacing = float(self._px(y_mm)), self._ink(set_in.color, behind), set_in.tracking_em * font.size
        runs = [text] if spacing == 0 else list(text)
        boxes = []
        for run in runs:
            self._draw.text((x, y), run, font=font, fill=color, anchor="ls")
            if run.strip():
                boxes.append(self._draw.textbbox((x, y), run, font=font, anchor="ls"))
            x += font.getlength(run) + spacing
        self._remember(text, boxes, font.size)

    def comb(self, x_mm: float, y_mm: float, text: str, set_in: Type, *, pitch_mm: float, lines: Color) -> None:
        """Print one character into each cell of a comb field; ``y_mm`` is the base line."""
        font = self._font(set_in)
        height, drop = pitch_mm * 1.25, pitch_mm * 0.3
        for index in range(len(text)):
            self.frame(x_mm + index * pitch_mm, y_mm + drop - height, pitch_mm, height, lines)
        boxes = []
        for index, character in enumerate(text):
            wobble = float(self.rng.uniform(-0.06, 0.06)) * pitch_mm
            place = ((x_mm + (index + 0.5) * pitch_mm + wobble) * self.px_per_mm, y_mm * self.px_per_mm + wobble)
            self._draw.text(place, character, font=font, fill=self._ink(set_in.color), anchor="ms")
            boxes.append(self._draw.textbbox(place, character, font=font, anchor="ms"))
        self._remember(text, boxes, font.size)

    def dots(self, x_mm: float, y_mm: float, text: str, set_in: Type, *, dropout: float) -> None:
        """Print a line with the pins of a dot-matrix printer; ``dropout`` is the share of dots that fail."""
        mask = dot_matrix_mask(text, set_in.face, size_px=set_in.size_mm * self.px_per_mm, dropout=dropout, rng=self.rng)
        rows, columns = np.nonzero(mask.ink > 0.25)
        x, y = self._px(x_mm), self._px(y_mm) - mask.baseline_px
        self._image.paste(self._ink(set_in.color), (x, y), Image.fromarray((mask.ink * 255).astype(np.uint8)))
        box = (x + columns.min(), y + rows.min(), x + columns.max() + 1, y + rows.max() + 1)
        self._remember(text, [box], set_in.size_mm * self.px_per_mm)

    def _font(self, set_in: Type) -> ImageFont.FreeTypeFont:
        return load_face(set_in.face, max(6, self._px(set_in.size_mm)))

    def _remember(self, text: str, boxes: list[tuple[float, float, float, float]], em_px: float) -> None:
        edges = np.array(boxes, np.float64)
        margin = _MARGIN_EM * em_px
        (left, top), (right, bottom) = edges[:, :2].min(axis=0) - margin, edges[:, 2:].max(axis=0) + margin
        height, width = self._image.height, self._image.width
        quad = quad_from_box(max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
        self.lines.append(Line(text, quad))
