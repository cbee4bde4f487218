"""Pages of documents: upright, in eight bits, within their limits."""

from pathlib import Path

import pypdfium2
import pytest
from PIL import Image

from services.dataset.uploads import foreign_images
from services.dataset.uploads.foreign_images import Unusable, pages


def test_a_page_of_sixteen_bits_keeps_its_shades(tmp_path: Path) -> None:
    deep = Image.new("I;16", (40, 30), 0x8000)
    deep.save(tmp_path / "deep.tif")
    (page,) = pages(tmp_path / "deep.tif", ".tif")
    assert (page.mode, page.size, page.getpixel((5, 5))) == ("L", (40, 30), 0x80)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (40, 30), (0, 0, 0, 0)).save(tmp_path / "print.tif")
    (page,) = pages(tmp_path / "print.tif", ".tif")
    assert page.getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_page_with_an_orientation_comes_upright(compression: str | None, tmp_path: Path) -> None:
    sheet = Image.new("L", (40, 30))
    sheet.paste(255, (0, 0, 40, 10))
    exif = sheet.getexif()
    exif[0x0112] = 6
    sheet.save(tmp_path / "turned.tif", exif=exif, compression=compression)
    (page,) = pages(tmp_path / "turned.tif", ".tif")
    assert page.size == (30, 40)
    assert [page.getpixel((x, 5)) for x in (0, 19, 20, 29)] == [0, 0, 255, 255]


def test_too_many_pages_or_pixels_are_refused_before_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = pypdfium2.PdfDocument.new()
    for _ in range(3):
        document.new_page(14_000, 14_000)
    document.save(tmp_path / "large.pdf")
    with pytest.raises(Unusable) as refused:
        list(pages(tmp_path / "large.pdf", ".pdf"))
    assert refused.value.reason == "TOO_LARGE"
    monkeypatch.setattr(foreign_images, "MAX_PAGES", 2)
    with pytest.raises(Unusable) as refused:
        list(pages(tmp_path / "large.pdf", ".pdf"))
    assert refused.value.reason == "TOO_MANY_PAGES"


def test_a_file_is_read_as_what_its_name_says_and_nothing_else(tmp_path: Path) -> None:
    Image.new("L", (40, 30)).save(tmp_path / "lie.webp", format="GIF")
    with pytest.raises(OSError, match="cannot identify"):
        list(pages(tmp_path / "lie.webp", ".webp"))
