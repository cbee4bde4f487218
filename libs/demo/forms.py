"""Filled-in forms in three designs."""

from collections.abc import Callable

import numpy as np

from libs.demo.difficulty import Difficulty
from libs.demo.fonts import Family, Part, Style, families
from libs.demo.people import Registry
from libs.demo.sheet import Color, Sheet, Type

WIDTH_MM, HEIGHT_MM = 148.0, 105.0

_PAPERS: tuple[Color, ...] = ((250, 250, 248), (252, 246, 222), (232, 242, 236), (250, 234, 232))
_PRINTS: tuple[Color, ...] = ((40, 60, 110), (50, 50, 50), (110, 40, 44), (28, 84, 66))
_RIBBONS: tuple[Color, ...] = ((34, 34, 38), (44, 40, 84), (58, 56, 60))


class _Clerk:
    """What all forms share: the registry, the printed face, and the machine that fills the fields in."""

    def __init__(self, part: Part, rng: np.random.Generator, difficulty: Difficulty) -> None:
        self.rng = rng
        self.registry = Registry(part, rng)
        self._printed = self._family(part, "sans", "serif", "narrow")
        self._typed = self._family(part, "mono")
        self.print_color = _PRINTS[int(rng.integers(len(_PRINTS)))]
        self._ribbon = _RIBBONS[int(rng.integers(len(_RIBBONS)))]
        self._scale = float(rng.uniform(*difficulty.text_scale))
        self._tracking = float(rng.uniform(*difficulty.tracking_em))
        self._dotted = rng.random() < difficulty.dot_matrix_share
        self._dropout = float(rng.uniform(*difficulty.dot_dropout))

    def _family(self, part: Part, *styles: Style) -> Family:
        found = families(part, *styles, numero="mono" not in styles)
        return found[int(self.rng.integers(len(found)))]

    def printed(self, size_mm: float, *, bold: bool = False, tracked: bool = False) -> Type:
        """The face of what stands on the empty form."""
        face = self._printed.bold if bold else self._printed.regular
        return Type(face, size_mm * self._scale, self.print_color, self._tracking if tracked else 0.0)

    def typed(self, size_mm: float = 3.7) -> Type:
        """The face of what is filled in."""
        return Type(self._typed.regular, size_mm * self._scale, self._ribbon)

    def fill_in(self, sheet: Sheet, x_mm: float, y_mm: float, text: str) -> None:
        """Fill a field: capitals, not quite on the line, by one machine for the whole form."""
        y = y_mm + float(self.rng.uniform(-0.6, 0.3))
        if self._dotted:
            sheet.dots(x_mm, y, text.upper(), self.typed(), dropout=self._dropout)
        else:
            sheet.text(x_mm, y, text.upper(), self.typed())

    def field(self, sheet: Sheet, x_mm: float, y_mm: float, width_mm: float, caption: str, value: str) -> None:
        """A small caption above a ruled line, and the value on the line."""
        sheet.text(x_mm, y_mm - 5.6, caption.upper(), self.printed(2.6, tracked=True))
        sheet.rule(x_mm, y_mm + 1.0, width_mm, self.print_color)
        self.fill_in(sheet, x_mm + 2, y_mm, value)


def _registration(sheet: Sheet, clerk: _Clerk) -> None:
    people = clerk.registry
    sheet.text(10, 14, people.pick(("REGISTRATION", "VISITOR SLIP", "MEMBER RECORD", "APPLICATION")), clerk.printed(5.2, bold=True))
    sheet.text(138, 14, f"№ {people.serial(6)}", clerk.printed(4.4, bold=True), align=1.0)
    person, firm = people.person(), people.firm()
    clerk.field(sheet, 10, 31, 76, "Name", person)
    clerk.field(sheet, 94, 31, 44, "Date", people.date())
    clerk.field(sheet, 10, 48, 128, "Address", f"{people.street()}, {people.town()}")
    clerk.field(sheet, 10, 65, 60, "Telephone", people.phone())
    clerk.field(sheet, 78, 65, 60, "Reference", people.code())
    clerk.field(sheet, 10, 82, 76, "E-mail", people.email(person, firm))
    sheet.text(10, 96, f"Please keep this slip · {people.hours()}", clerk.printed(2.8))


def _delivery(sheet: Sheet, clerk: _Clerk) -> None:
    people = clerk.registry
    firm = people.firm()
    sheet.text(10, 13, f"{firm} {people.legal_form()}", clerk.printed(4.8, bold=True))
    sheet.text(10, 18.5, f"{people.street()} · {people.town()} · {people.phone()}", clerk.printed(2.8))
    sheet.text(10, 30, people.pick(("DELIVERY NOTE", "PACKING LIST", "SERVICE REPORT")), clerk.printed(3.4, tracked=True))
    sheet.text(138, 30, f"№ {people.serial(5)}/{people.serial(2)}", clerk.printed(3.8, bold=True), align=1.0)
    sheet.frame(10, 35, 128, 46, clerk.print_color)
    for x_mm, caption in ((13, "Item"), (60, "Lot"), (110, "Amount")):
        sheet.text(x_mm, 39.8, caption, clerk.printed(2.9, bold=True))
    for row in range(3):
        y_mm = 51 + row * 13
        sheet.rule(10, y_mm - 9, 128, clerk.print_color)
        clerk.fill_in(sheet, 13, y_mm, people.code())
        clerk.fill_in(sheet, 60, y_mm, people.date())
        clerk.fill_in(sheet, 108, y_mm, people.amount())
    clerk.field(sheet, 78, 97, 60, "Received by", people.person())


def _permit(sheet: Sheet, clerk: _Clerk) -> None:
    people = clerk.registry
    sheet.text(
        74, 13, people.pick(("PARKING PERMIT", "TEMPORARY PASS", "KEY RECEIPT")), clerk.printed(4.4, bold=True, tracked=True), align=0.5
    )
    sheet.text(74, 19, f"{people.firm()} {people.legal_form()} · {people.town()}", clerk.printed(2.9), align=0.5)
    for index, (caption, value) in enumerate(
        (("Card number", people.serial(10)), ("Vehicle", people.code()), ("Account", people.serial(8)))
    ):
        y_mm = 36 + index * 17
        sheet.text(10, y_mm - 7.6, caption, clerk.printed(2.8))
        sheet.comb(10, y_mm, value, clerk.typed(4.3), pitch_mm=6.2, lines=clerk.print_color)
    clerk.field(sheet, 88, 36, 50, "Valid until", people.date())
    clerk.field(sheet, 88, 53, 50, "Paid", people.amount())
    clerk.field(sheet, 10, 90, 76, "Holder", people.person())
    sheet.text(138, 96, f"№ {people.serial(7)}", clerk.printed(3.4), align=1.0)


_DESIGNS: tuple[Callable[[Sheet, _Clerk], None], ...] = (_registration, _delivery, _permit)


def print_form(part: Part, rng: np.random.Generator, difficulty: Difficulty, *, width_px: float) -> Sheet:
    """Print and fill in one form.

    Args:
        part: whose fonts, names and numbers.
        rng: the only source of chance.
        difficulty: ranges of ink, sizes and printers.
        width_px: of the sheet to be drawn.
    """
    clerk = _Clerk(part, rng, difficulty)
    paper = _PAPERS[int(rng.integers(len(_PAPERS)))]
    sheet = Sheet(WIDTH_MM, HEIGHT_MM, width_px / WIDTH_MM, paper, float(rng.uniform(*difficulty.ink_strength)), rng)
    _DESIGNS[int(rng.integers(len(_DESIGNS)))](sheet, clerk)
    return sheet
