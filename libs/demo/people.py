"""Who stands on the cards and forms: invented people, firms, places and numbers, in two pools that share nothing.

Names are built from syllables. Of the numbers, every run of three or more digits has an even digit sum in training and an odd one in
held-out images, so no telephone number, code, postcode, amount or year of one part can occur in the other.
"""

import re
import unicodedata
from dataclasses import dataclass
from itertools import product

import numpy as np

from libs.demo.fonts import Part

LONG_RUN = 3
"""Digit runs from this length on belong to one part; shorter ones (days, house numbers) are too few to divide."""

_PARITY: dict[Part, int] = {"train": 0, "heldout": 1}
_YEARS: dict[Part, tuple[int, ...]] = {"train": (2015, 2017, 2019, 2020, 2022, 2024, 2026), "heldout": (2014, 2016, 2018, 2021, 2023, 2025)}


def _words(listed: str) -> tuple[str, ...]:
    return tuple(listed.split())


@dataclass(frozen=True)
class WordPool:
    """What names of one part are made of: each tuple has no entry in common with the other part's."""

    given_names: tuple[str, ...]
    surname_heads: tuple[str, ...]
    surname_tails: tuple[str, ...]
    firm_heads: tuple[str, ...]
    firm_tails: tuple[str, ...]
    streets: tuple[str, ...]
    towns: tuple[str, ...]

    @property
    def surnames(self) -> frozenset[str]:
        """Every surname that can occur."""
        return frozenset(head + tail for head, tail in product(self.surname_heads, self.surname_tails))

    @property
    def firms(self) -> frozenset[str]:
        """Every firm that can occur, without its legal form."""
        return frozenset(head + tail for head, tail in product(self.firm_heads, self.firm_tails))


POOLS: dict[Part, WordPool] = {
    "train": WordPool(
        given_names=_words(
            "Édith Benedikt Céline Dagmar Emre Fátima Gunnar Helena Ivo Jóhanna Käthe Lívia Mateus Noémie Oskar Petra Quentin Rosalind "
            "Søren Tamara Ulrike Viktor Wilma Xavier Yusuf Zoë Aisling Bruno Chiara Désirée Eduardo Farid Gisèle Hugo Ingrid Jürgen"
        ),
        surname_heads=(
            "Bra",
            "Del",
            "Fen",
            "Gar",
            "Hol",
            "Jör",
            "Kär",
            "Lüt",
            "Mor",
            "Nys",
            "Pel",
            "Quin",
            "Ras",
            "Sköl",
            "Tor",
            "Vas",
            "Zem",
        ),
        surname_tails=("berg", "dano", "field", "gren", "hult", "ica", "lund", "mark", "nez", "otti", "quist", "ron", "strøm", "ville"),
        firm_heads=("Alto", "Bore", "Cal", "Dyna", "Ever", "Ferro", "Gale", "Helio", "Iso", "Kino", "Luma", "Meri"),
        firm_tails=("via", "dyne", "craft", "port", "nova", "press", "form", "wave"),
        streets=_words("Alder Birch Castle Dyer Elm Foundry Granary Harbour Ivy Juniper Kiln Linden Market Nettle"),
        towns=_words("Arnholt Belmara Corvey Dunvale Estrada Fährlach Gravena Hövelstadt Ilmora Jessen Künzau Lorient"),
    ),
    "heldout": WordPool(
        given_names=_words(
            "Amélie Boris Carmen Dominik Élodie Frida Gareth Hanna Ismael Judith Klaus Leonor Märta Nikolai Olga Paolo Ramón Sabine "
            "Thérèse Umberto Vera Walter Yolanda Zeno Anouk Björn Cosima Dorothea Ernesto Flora"
        ),
        surname_heads=(
            "And",
            "Bux",
            "Cor",
            "Dres",
            "Eck",
            "Frö",
            "Gil",
            "Har",
            "Ister",
            "Kan",
            "Lor",
            "Mül",
            "Ober",
            "Prim",
            "Sar",
            "Thal",
            "Wen",
        ),
        surname_tails=("acker", "bach", "coli", "der", "eaux", "fell", "gaard", "heim", "ini", "kamp", "mont", "rup", "sen", "worth"),
        firm_heads=("Aqua", "Blu", "Ceno", "Dura", "Equi", "Fabri", "Grano", "Hydro", "Inter", "Koda", "Lexi", "Nordi"),
        firm_tails=("tec", "lane", "mill", "gate", "plan", "stone", "line", "graph"),
        streets=_words("Abbey Bridge Chapel Dock Eagle Ferry Garden Hazel Island Kings Laurel Mill Orchard Park"),
        towns=_words("Ashcombe Brunnen Castelar Drossen Elmstadt Frösvik Gorano Halden Ingleby Küstrow Lindmar Montrave"),
    ),
}

TITLES = (
    "Sales Manager",
    "Head of Logistics",
    "Senior Engineer",
    "Account Director",
    "Quality & Safety",
    "Legal Counsel",
    "Purchasing",
    "Field Service",
    "Managing Partner",
    "Export Coordinator",
)
_LEGAL_FORMS = ("Ltd.", "GmbH", "S.A.", "B.V.", "AG", "Sdn. Bhd.", "Oy", "& Co.")
_STREET_KINDS = ("Street", "Road", "Lane", "Square", "Way")
_PHONES = (
    "+60 ##-### ####",
    "+44 ## #### ####",
    "+49 (0)## / ### ## ##",
    "+1 (###) ###-####",
    "+33 # ## ## ## ##",
    "(0##) ####-###",
    "+65 #### ####",
)
_POSTCODES = ("#####", "####", "@@# #@@", "@-####")
_DOMAINS = ("com", "net", "co", "eu", "org")
_CODE_LETTERS = "ABCDEFGHJKLMNOPQRSTUVWXYZ"
_CODES = ("@@-####-@", "@##-0#-##", "####/@@-##", "@@@ ###.###", "#@#-####@", "@0#-####")
_CURRENCIES = ("€ {}", "{} €", "£{}", "RM {}", "$ {}", "CHF {}")


class Registry:
    """Draws invented people of one part.

    Args:
        part: whose pools.
        rng: the only source of chance.
    """

    def __init__(self, part: Part, rng: np.random.Generator) -> None:
        self._part = part
        self._pool = POOLS[part]
        self._rng = rng

    def pick(self, choices: tuple[str, ...]) -> str:
        """One of the choices."""
        return choices[int(self._rng.integers(len(choices)))]

    def person(self) -> str:
        """Given name and surname, such as ``Helena Torlund``."""
        return f"{self.pick(self._pool.given_names)} {self.pick(self._pool.surname_heads)}{self.pick(self._pool.surname_tails)}"

    def firm(self) -> str:
        """One invented word."""
        return self.pick(self._pool.firm_heads) + self.pick(self._pool.firm_tails)

    def legal_form(self) -> str:
        """Such as ``GmbH``."""
        return self.pick(_LEGAL_FORMS)

    def street(self) -> str:
        """Street and house number, either first."""
        street = f"{self.pick(self._pool.streets)} {self.pick(_STREET_KINDS)}"
        number = self._filled(self.pick(("^", "^#", "^#", "^##")))
        return f"{number} {street}" if self._rng.random() < 0.6 else f"{street} {number}{self.pick(('', '', 'a', 'b'))}"

    def town(self) -> str:
        """Postcode and town, either first."""
        code, town = self._filled(self.pick(_POSTCODES)), self.pick(self._pool.towns)
        return f"{code} {town}" if self._rng.random() < 0.7 else f"{town} {code}"

    def phone(self) -> str:
        """A telephone number, grouped as one of several countries does."""
        return self._filled(self.pick(_PHONES))

    def email(self, person: str, firm: str) -> str:
        """The address of a person at a firm."""
        given, surname = (_plain(word) for word in person.lower().split(" "))
        local = self.pick((f"{given}.{surname}", f"{given[0]}.{surname}", f"{given[0]}{surname}", f"{surname}_{given[0]}"))
        return f"{local}@{firm.lower()}.{self.pick(_DOMAINS)}"

    def website(self, firm: str) -> str:
        """The site of a firm."""
        return f"www.{firm.lower()}.{self.pick(_DOMAINS)}"

    def date(self) -> str:
        """A day, written as one of several offices does."""
        day, month = int(self._rng.integers(1, 29)), int(self._rng.integers(1, 13))
        year = _YEARS[self._part][int(self._rng.integers(len(_YEARS[self._part])))]
        months = _words("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC")
        styles = (
            f"{day:02}/{month:02}/{year}",
            f"{year}-{month:02}-{day:02}",
            f"{day:02}.{month:02}.{year}",
            f"{day:02} {months[month - 1]} {year}",
        )
        return self.pick(styles)

    def hours(self) -> str:
        """Opening hours, with the en dash of good typesetting."""
        start, end = int(self._rng.integers(6, 11)), int(self._rng.integers(15, 22))
        return f"{start:02}:{self.pick(('00', '30'))}–{end:02}:{self.pick(('00', '15', '30', '45'))}"

    def amount(self) -> str:
        """A sum of money with its sign."""
        return self.pick(_CURRENCIES).format(self._filled(self.pick(("^#.##", "^##.##", "^,###.##"))))

    def code(self) -> str:
        """A reference in capitals and digits, grouped as one of several offices does."""
        return self._filled(self.pick(_CODES))

    def serial(self, num_digits: int) -> str:
        """A number with leading zeros kept."""
        return self._filled("#" * num_digits)

    def _filled(self, pattern: str) -> str:
        """``@`` becomes a letter, ``#`` a digit, ``^`` a digit that is not zero; all else stays."""
        return re.sub(r"@|[0-9#^]+", lambda found: self._letter() if found.group() == "@" else self._run(found.group()), pattern)

    def _letter(self) -> str:
        return _CODE_LETTERS[int(self._rng.integers(len(_CODE_LETTERS)))]

    def _run(self, pattern: str) -> str:
        digits = [int(sign) if sign.isdigit() else int(self._rng.integers(sign == "^", 10)) for sign in pattern]
        if len(digits) >= LONG_RUN and sum(digits) % 2 != _PARITY[self._part]:
            last = max(index for index, sign in enumerate(pattern) if sign == "#")
            digits[last] = (digits[last] + 1) % 10
        return "".join(map(str, digits))


def _plain(word: str) -> str:
    """A word as it goes into an address: letters of ASCII only."""
    return "".join(sign for sign in unicodedata.normalize("NFD", word.replace("ø", "o")) if sign.isascii())
