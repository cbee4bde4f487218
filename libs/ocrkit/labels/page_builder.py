"""Boxes of a label file, as they are read, to a page."""

from collections.abc import Mapping

from libs.ocrkit.labels.page import Finding, ReadOptions, TextBox
from libs.ocrkit.labels.shapes import Shape, fit_shape
from libs.ocrkit.labels.texts import ORIGINAL_TEXT, is_no_text, settle_attributes, settle_text

MAX_BOXES = 20_000
MAX_FINDINGS = 200


class PageBuilder:
    """Applies the rules that all formats share: clip to the image, trim the text, tell what is unreadable, report each repair.

    Args:
        width_px: of the upright image.
        height_px: likewise.
        options: what a person asked for.
    """

    def __init__(self, width_px: int, height_px: int, options: ReadOptions) -> None:
        self.width_px, self.height_px = width_px, height_px
        self.boxes: list[TextBox] = []
        self._options = options
        self._findings: list[Finding] = []
        self._num_untold = 0

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that was noticed, bounded: a damaged file of a million lines is told of in some."""
        if not self._num_untold:
            return tuple(self._findings)
        message = f"{self._num_untold} further findings of this file are not listed."
        return (*self._findings, Finding("skipped", "MORE_FINDINGS", message))

    def note(self, *findings: Finding) -> None:
        """Keep findings for the report."""
        for finding in findings:
            if len(self._findings) < MAX_FINDINGS:
                self._findings.append(finding)
            else:
                self._num_untold += 1

    def skip(self, code: str, message: str, line: int | None = None) -> None:
        """Report a box that is left out."""
        self.note(Finding("skipped", code, f"{message[0].upper()}{message[1:]}" if line is None else f"Line {line}: {message}", line))

    def add(
        self,
        shape: Shape | None,
        raw_text: str,
        *,
        unreadable: bool = False,
        attributes: Mapping[str, str] | None = None,
        line: int | None = None,
    ) -> None:
        """Take a box over, or report why not.

        Args:
            shape: None where the file shows none that can be read.
            raw_text: as the file has it.
            unreadable: whether the file says so; a text that is none says so as well.
            attributes: everything else.
            line: of the label file.
        """
        if shape is None:
            self.skip("NO_SHAPE", "the object has no box that can be read; it was left out.", line)
            return
        if len(self.boxes) >= MAX_BOXES:
            self.skip("TOO_MANY", f"a page has at most {MAX_BOXES} boxes; this one was left out.", line)
            return
        fitted, findings = fit_shape(shape, self.width_px, self.height_px, line)
        self.note(*findings)
        if fitted is None:
            return
        text, original, findings = settle_text(raw_text, self._options, line)
        self.note(*findings)
        kept = settle_attributes(attributes or {})
        if original:
            kept[ORIGINAL_TEXT] = original
        self.boxes.append(TextBox(fitted.quad, text, unreadable or is_no_text(text), kept, fitted.outline))
