"""Business cards in four designs."""

from collections.abc import Callable

import numpy as np

from libs.demo.difficulty import Difficulty
from libs.demo.fonts import Family, Part, families
from libs.demo.people import TITLES, Registry
from libs.demo.sheet import Color, Sheet, Type

WIDTH_MM, HEIGHT_MM = 90.0, 55.0

_PAPERS: tuple[Color, ...] = ((250, 249, 246), (244, 240, 230), (236, 238, 240), (252, 252, 252))
_DARKS: tuple[Color, ...] = ((28, 34, 46), (24, 52, 58), (62, 24, 34), (36, 36, 36), (20, 46, 84))
_ACCENTS: tuple[Color, ...] = ((178, 44, 40), (22, 96, 140), (196, 120, 24), (30, 118, 84), (96, 60, 128))


class _Designer:
    """What all designs share: the people, the faces, the sizes, the colours of one card."""

    def __init__(self, part: Part, rng: np.random.Generator, difficulty: Difficulty) -> None:
        self.rng = rng
        self.registry = Registry(part, rng)
        narrow = rng.random() < difficulty.narrow_share
        styled = families(part, "narrow") if narrow else families(part, "sans", "serif")
        self.family: Family = styled[int(rng.integers(len(styled)))]
        self.scale = float(rng.uniform(*difficulty.text_scale)) * (1.15 if narrow else 1.0)
        self.tracking = float(rng.uniform(*difficulty.tracking_em))
        self.dark, self.accent = _DARKS[int(rng.integers(len(_DARKS)))], _ACCENTS[int(rng.integers(len(_ACCENTS)))]
        self.person, self.firm = self.registry.person(), self.registry.firm()

    def type(self, size_mm: float, color: Color, *, bold: bool = False, tracked: bool = False) -> Type:
        """A face of the card's family."""
        face = self.family.bold if bold else self.family.regular
        return Type(face, size_mm * self.scale, color, self.tracking if tracked else 0.0)

    def title(self) -> str:
        """What the person does."""
        return self.registry.pick(TITLES)

    def contacts(self) -> list[str]:
        """Telephone, mobile, mail and site with their leading words, as one of several houses writes them."""
        phone, mobile, mail = self.registry.phone(), self.registry.phone(), self.registry.email(self.person, self.firm)
        site = self.registry.website(self.firm)
        styles = (
            (f"T {phone}", f"M {mobile}", f"E {mail}", f"W {site}"),
            (f"Tel.: {phone}", f"Mob.: {mobile}", mail, site),
            (f"Tel {phone}", f"Fax {mobile}", mail, site),
            (phone, f"{mobile} (mobile)", mail, f"{site} · {self.registry.hours()}"),
        )
        return list(styles[int(self.rng.integers(len(styles)))])


def _left(sheet: Sheet, design: _Designer) -> None:
    sheet.text(7, 10.5, f"{design.firm} {design.registry.legal_form()}", design.type(4.6, design.accent, bold=True))
    sheet.text(7, 22, design.person, design.type(4.2, design.dark, bold=True))
    sheet.text(7, 26.2, design.title(), design.type(2.7, design.dark))
    for index, line in enumerate([design.registry.street(), design.registry.town(), *design.contacts()]):
        sheet.text(7, 33 + index * 3.7, line, design.type(2.6, design.dark))


def _centred(sheet: Sheet, design: _Designer) -> None:
    middle = WIDTH_MM / 2
    sheet.text(middle, 13, design.person.upper(), design.type(3.6, design.dark, tracked=True), align=0.5)
    sheet.text(middle, 18.5, design.title().upper(), design.type(2.3, design.accent, tracked=True), align=0.5)
    sheet.rule(middle - 12, 23, 24, design.accent)
    sheet.text(middle, 30, f"{design.firm} {design.registry.legal_form()}", design.type(3.0, design.dark, bold=True), align=0.5)
    contacts = design.contacts()
    address = f"{design.registry.street()} · {design.registry.town()}"
    for index, line in enumerate([address, f"{contacts[0]} | {contacts[1]}", *contacts[2:]]):
        sheet.text(middle, 35.5 + index * 4.1, line, design.type(2.4, design.dark), align=0.5)


def _banded(sheet: Sheet, design: _Designer) -> None:
    band, paper = design.dark, (246, 246, 244)
    sheet.fill(0, 0, 27, HEIGHT_MM, band)
    sheet.text(13.5, 26, design.firm.upper()[:8], design.type(3.4, paper, bold=True), align=0.5, behind=band)
    sheet.text(13.5, 31, f"est. {design.registry.date()[-4:]}", design.type(2.3, paper), align=0.5, behind=band)
    sheet.text(32, 13, design.person, design.type(4.0, design.dark, bold=True))
    sheet.text(32, 17.5, design.title(), design.type(2.6, design.accent))
    for index, line in enumerate([*design.contacts(), design.registry.street(), design.registry.town()]):
        sheet.text(32, 26.5 + index * 4.2, line, design.type(2.5, design.dark))


def _dark(sheet: Sheet, design: _Designer) -> None:
    light, soft = (238, 236, 228), (196, 190, 172)
    right = WIDTH_MM - 7
    sheet.text(7, 11, design.firm.upper(), design.type(3.4, soft, tracked=True))
    sheet.text(right, 24, design.person, design.type(4.0, light, bold=True), align=1.0)
    sheet.text(right, 28.3, design.title(), design.type(2.6, soft), align=1.0)
    for index, line in enumerate([*design.contacts()[:3], f"{design.registry.street()}, {design.registry.town()}"]):
        sheet.text(right, 36.5 + index * 4.2, line, design.type(2.5, light), align=1.0)
    sheet.text(7, 49, f"{design.registry.hours()} h", design.type(2.5, soft))


_DESIGNS: tuple[Callable[[Sheet, _Designer], None], ...] = (_left, _centred, _banded, _dark)


def print_card(part: Part, rng: np.random.Generator, difficulty: Difficulty, *, width_px: float) -> Sheet:
    """Print one business card.

    Args:
        part: whose fonts, names and numbers.
        rng: the only source of chance.
        difficulty: ranges of ink and sizes.
        width_px: of the sheet to be drawn.
    """
    designer = _Designer(part, rng, difficulty)
    design = _DESIGNS[int(rng.integers(len(_DESIGNS)))]
    paper = designer.dark if design is _dark else _PAPERS[int(rng.integers(len(_PAPERS)))]
    sheet = Sheet(WIDTH_MM, HEIGHT_MM, width_px / WIDTH_MM, paper, float(rng.uniform(*difficulty.ink_strength)), rng)
    design(sheet, designer)
    return sheet
