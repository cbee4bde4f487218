"""Every format there is."""

from libs.ocrkit.labels.format import Format
from libs.ocrkit.labels.formats.coco_text import CocoText
from libs.ocrkit.labels.formats.doctr import DoctrDetection, DoctrRecognition
from libs.ocrkit.labels.formats.gt_txt import GtTxt
from libs.ocrkit.labels.formats.icdar2013 import Icdar2013
from libs.ocrkit.labels.formats.icdar2015 import Icdar2015
from libs.ocrkit.labels.formats.itag import Itag
from libs.ocrkit.labels.formats.label_studio import LabelStudio
from libs.ocrkit.labels.formats.lines_of_crops import ICDAR_REC, PAIRS, PPOCR_REC
from libs.ocrkit.labels.formats.ppocrlabel import PpocrLabel
from libs.ocrkit.labels.formats.voc import Voc
from libs.runtime.errors import InvalidInput

_LISTED: tuple[Format, ...] = (
    Voc(),
    PpocrLabel(),
    Icdar2015(),
    Icdar2013(),
    CocoText(),
    LabelStudio(),
    Itag(),
    DoctrDetection(),
    DoctrRecognition(),
    PPOCR_REC,
    ICDAR_REC,
    PAIRS,
    GtTxt(),
)
FORMATS = {one.key: one for one in _LISTED}
"""By key; where two formats could be meant, the first is."""


def format_of(key: str) -> Format:
    """The format of a key.

    Raises:
        InvalidInput: there is none; the message lists those there are.
    """
    if key not in FORMATS:
        raise InvalidInput(f"{key!r} is no format of labels; there are {', '.join(FORMATS)}.", format=key)
    return FORMATS[key]
