"""Plain pairs as Tesseract takes them: ``img.png`` and ``img.gt.txt``."""

from collections.abc import Iterator

from libs.ocrkit.labels.format import LabelFile
from libs.ocrkit.labels.formats.crops import CROPS_HOLD, CropWriter, crop_row
from libs.ocrkit.labels.page import Row
from libs.ocrkit.labels.source import split_suffix
from libs.ocrkit.labels.target import Target
from libs.ocrkit.labels.text_file import open_text

_SUFFIX = ".gt.txt"
_MAX_CHARS = 100_000


class GtTxt:
    """A text file beside each crop."""

    key = "gt-txt"
    title = "Plain pairs as Tesseract takes them: `img.png` and `img.gt.txt`"
    holds = CROPS_HOLD

    def claims(self, name: str, head: str) -> bool:
        """By the file's name."""
        return name.lower().endswith(_SUFFIX)

    def read(self, file: LabelFile) -> Iterator[Row]:
        """The row of its image."""
        names = file.images.of_stem(file.name[: -len(_SUFFIX)])
        if not names:
            yield file.failed("IMAGE_MISSING", "no image of this name lies beside it; put the image there.")
        with open_text(file.source, file.name) as (text, findings):
            content = text.read(_MAX_CHARS)
            if text.read(1):
                yield file.failed("LINE_TOO_LONG", f"the file has more than {_MAX_CHARS} characters; the text of one image is expected.")
                return
        for name in names:
            yield crop_row(file, file.images.measured(name), content, findings=tuple(findings))

    def writer(self, target: Target) -> CropWriter:
        """Begin to write."""
        return CropWriter(target, "", ".png", lambda name, text: target.write_new(split_suffix(name)[0] + _SUFFIX, f"{text}\n".encode()))
