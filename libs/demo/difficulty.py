"""How hard the generated photographs are: one set of ranges, the same for training and held-out images."""

from dataclasses import dataclass

Range = tuple[float, float]
"""Lowest and highest value; drawn uniformly, once an image."""


@dataclass(frozen=True, slots=True)
class Difficulty:
    """Ranges of what a phone camera, paper and printers do to text.

    Args:
        photo_width_px: width of the photograph; its height is three quarters of it.
        card_width: of a card, as a share of the photograph's width.
        form_width: of a form, as a share of the photograph's width; people go nearer to small print.
        tilt_deg: how far the camera leaves the perpendicular, about each of the two axes of the sheet (sign drawn).
        roll_deg: how far the sheet lies turned (sign drawn).
        defocus_sigma_px: standard deviation of the Gaussian blur.
        motion_px: length of the motion blur, any direction.
        noise_levels: standard deviation of the sensor noise at middle grey, in grey levels of 255.
        light_drop: share of light lost from the brightest to the darkest corner.
        shadow_depth: share of light a soft shadow takes away.
        shadow_chance: how many photographs have such a shadow.
        ink_strength: contrast of printed text, 1 is full ink.
        text_scale: factor on all sizes of text.
        jpeg_quality: of the file.
        form_share: how many images are forms; the others are business cards.
        dot_matrix_share: how many forms are filled in by a dot-matrix printer; the others by a typewriter face.
        dot_dropout: share of dots that a worn print head leaves out.
        narrow_share: how many cards are set in a narrow face.
        tracking_em: letter spacing of the lines that are set spaced out.
    """

    photo_width_px: Range = (1000, 1600)
    card_width: Range = (0.60, 0.82)
    form_width: Range = (0.84, 0.96)
    tilt_deg: Range = (0, 20)
    roll_deg: Range = (0, 8)
    defocus_sigma_px: Range = (0.5, 1.2)
    motion_px: Range = (0, 3)
    noise_levels: Range = (2, 7)
    light_drop: Range = (0.1, 0.5)
    shadow_depth: Range = (0.15, 0.45)
    shadow_chance: float = 0.5
    ink_strength: Range = (0.65, 1.0)
    text_scale: Range = (0.9, 1.1)
    jpeg_quality: Range = (55, 88)
    form_share: float = 0.5
    dot_matrix_share: float = 0.5
    dot_dropout: Range = (0.0, 0.06)
    narrow_share: float = 0.25
    tracking_em: Range = (0.12, 0.35)
