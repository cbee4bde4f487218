"""The open fonts of the demo, from PyPI wheels; training and held-out images share no family."""

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from PIL import ImageFont

from libs.runtime.errors import NotFound

Part = Literal["train", "heldout"]
Style = Literal["sans", "serif", "narrow", "mono"]


@dataclass(frozen=True)
class Face:
    """One weight of a family.

    Args:
        package: import name of the wheel that carries it.
        file: inside the package's folder ``files``.
        variation: named weight of a variable font; None for a plain one.
    """

    package: str
    file: str
    variation: str | None = None

    @property
    def path(self) -> Path:
        """Where the font file lies.

        Raises:
            NotFound: the package is not installed.
        """
        spec = importlib.util.find_spec(self.package)
        folders = (spec.submodule_search_locations or []) if spec else []
        for folder in folders:
            path = Path(folder) / "files" / self.file
            if path.is_file():
                return path
        package = self.package.replace("_", "-")
        raise NotFound(f"The demo font {self.file} is missing; install the package {package}.", package=package, file=self.file)


@dataclass(frozen=True)
class Family:
    """A typeface in a normal and a bold weight.

    Args:
        numero: it has the sign ``№``.
    """

    name: str
    style: Style
    regular: Face
    bold: Face
    numero: bool = True


def _family(name: str, style: Style, package: str, regular: str, bold: str, *, numero: bool = True) -> Family:
    return Family(name, style, Face(package, regular), Face(package, bold), numero)


def _variable(name: str, style: Style, package: str, file: str) -> Family:
    return Family(name, style, Face(package, file, "Regular"), Face(package, file, "Bold"))


FAMILIES: dict[Part, tuple[Family, ...]] = {
    "train": (
        _family("Lato", "sans", "font_lato", "Lato-Regular.ttf", "Lato-Bold.ttf", numero=False),
        _family("Roboto", "sans", "font_roboto", "Roboto-Regular.ttf", "Roboto-Bold.ttf"),
        _family("Manrope", "sans", "font_manrope", "Manrope-Medium.ttf", "Manrope-Bold.ttf"),
        _family("Source Serif Pro", "serif", "font_source_serif_pro", "SourceSerifPro-Regular.otf", "SourceSerifPro-Bold.otf"),
        _variable("Archivo Narrow", "narrow", "fontpkg_archivo_narrow", "ArchivoNarrow[wght].ttf"),
        _family("IBM Plex Mono", "mono", "fontpkg_ibm_plex_mono", "IBMPlexMono-Regular.ttf", "IBMPlexMono-SemiBold.ttf"),
        _variable("Roboto Mono", "mono", "fontpkg_roboto_mono", "RobotoMono[wght].ttf"),
    ),
    "heldout": (
        _family("Source Sans Pro", "sans", "font_source_sans_pro", "SourceSansPro-Regular.otf", "SourceSansPro-Bold.otf"),
        _family("Hanken Grotesk", "sans", "font_hanken_grotesk", "HankenGrotesk-Regular.otf", "HankenGrotesk-Bold.otf"),
        _family("Caladea", "serif", "font_caladea", "Caladea-Regular.ttf", "Caladea-Bold.ttf"),
        _family(
            "Barlow Condensed",
            "narrow",
            "fontpkg_barlow_condensed",
            "BarlowCondensed-Regular.ttf",
            "BarlowCondensed-SemiBold.ttf",
            numero=False,
        ),
        _variable("JetBrains Mono", "mono", "fontpkg_jetbrains_mono", "JetBrainsMono[wght].ttf"),
    ),
}


def families(part: Part, *styles: Style, numero: bool = False) -> tuple[Family, ...]:
    """The families of one part in the given styles; with ``numero`` only those that have the sign ``№``."""
    return tuple(family for family in FAMILIES[part] if family.style in styles and (family.numero or not numero))


@lru_cache(maxsize=256)
def load_face(face: Face, size_px: int) -> ImageFont.FreeTypeFont:
    """The face at a size (pixels per em).

    Raises:
        NotFound: its package is not installed.
    """
    font = ImageFont.truetype(str(face.path), size_px)
    if face.variation is not None:
        font.set_variation_by_name(face.variation)
    return font
