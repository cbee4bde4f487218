"""The settings of reading a page that belong to the model, not to the installation: they travel in the bundle."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DetectorParams:
    """How a page is scaled for the detector and how its probability map becomes boxes.

    Args:
        target_short_side: pixels the shorter side is enlarged to; larger pages are not enlarged.
        max_side: pixels above which the longer side is reduced; it wins over ``target_short_side``.
        max_pixels: the same for the area; it keeps long receipts readable, which a limit of the side alone would not.
        max_upscale: no page is enlarged by more than this.
        threshold: probability above which a pixel counts as text.
        box_threshold: mean probability below which a box is dropped.
        unclip_ratio: how far a box grows, times area over outline; the map shows shrunken text.
        min_side_px: boxes whose shorter side is below this are dropped (pixels of the map, before growing).
        max_boxes: the best this many are kept.
        crop_margin: how far a box is grown on every side before its line is cut out, in heights of the line. The recognizer was made
            for lines with some paper around them, and every pixel of width costs time.
        min_text_conf: lines read with less confidence are dropped.
        conf_slope: of the line through the logits of confidences, fitted on validation lines: what is shown as 0.9 is right nine times
            of ten. Limits (``min_text_conf``, ``turn_below``) are of the confidence before.
        conf_offset: of the same line.
        turn_below: lines read with less confidence are read upside down as well, and the surer reading counts; 0 for never.
    """

    target_short_side: int = 736
    max_side: int = 2048
    max_pixels: int = 2_097_152
    max_upscale: float = 4.0
    threshold: float = 0.3
    box_threshold: float = 0.6
    unclip_ratio: float = 1.4
    min_side_px: float = 3.0
    max_boxes: int = 2000
    crop_margin: float = 0.0
    min_text_conf: float = 0.5
    conf_slope: float = 1.0
    conf_offset: float = 0.0
    turn_below: float = 0.0
