"""A folder of images in which every defect that a survey knows is planted, and where."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from libs.ocrkit.image_io import decode_image
from tests.integration.pictures import Bounds, write_labels

CAMERA = "Acme Snapper 9"
_WIDTH, _HEIGHT = 240, 160
Box = tuple[str, Bounds]


@dataclass
class SickFolder:
    """What was planted.

    Args:
        expected: keys of images by the code of the finding, both in order.
        texts: of every box whose label counts.
        heights: of every box that counts, in pixels.
        sizes: width and height of every usable image.
    """

    folder: Path
    expected: dict[str, list[str]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    heights: list[float] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)

    def picture(self, key: str, *codes: str, boxes: Sequence[Box] | None = None, size: tuple[int, int] = (_WIDTH, _HEIGHT)) -> Path:
        """Noise that no other key has, with the labels given."""
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        seed = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16)
        # Rough, so that two pictures are no near-duplicates.
        rough = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), dtype=np.uint8)
        written, data = cv2.imencode(path.suffix, cv2.resize(rough, size, interpolation=cv2.INTER_NEAREST))
        assert written
        path.write_bytes(data.tobytes())
        self.sizes.append(size)
        self.labels(key, boxes)
        self.expect(key, *codes)
        return path

    def labels(self, key: str, boxes: Sequence[Box] | None) -> None:
        """The label file of an image, its boxes within the image."""
        if boxes is not None:
            write_labels((self.folder / key).with_suffix(".xml"), boxes)
            self.texts += [text for text, _ in boxes]
            self.heights += [y1 - y0 for _, (_, y0, _, y1) in boxes]

    def expect(self, key: str, *codes: str) -> None:
        """A finding of these codes on it."""
        for code in codes:
            self.expected[code] = sorted([*self.expected.get(code, []), key])

    @property
    def characters(self) -> Counter[str]:
        """Of all texts."""
        return Counter("".join(self.texts))


def sick_folder(folder: Path) -> SickFolder:
    """All planted defects, each once at least; every label is in ASCII but where it says so."""
    sick = SickFolder(folder)
    line: Bounds = (10, 10, 200, 40)
    for number in range(14):
        sick.picture(f"b-many/page{number:02}.png", boxes=[("aeiou aeiou", line)])
    sick.picture("a/empty.png", "EMPTY_TEXT", boxes=[("", line), ("aeiou", (10, 50, 100, 70))])
    sick.picture("a/twice.png", "DUPLICATE_BOX", boxes=[("aeiou", line), ("aeiou", (11, 10, 200, 41))])
    sick.picture("a/long.png", "TEXT_TOO_LONG", boxes=[("a" * 30, (10, 10, 40, 40))])
    sick.picture(
        "a/alike.png", "LOOK_ALIKE", "UNKNOWN_CHARACTER", "RARE_CHARACTER", boxes=[("aeiou\u00a0aeiou", line), ("aeiou", line_below(0))]
    )
    sick.picture("a/rare.png", "RARE_CHARACTER", boxes=[("aeiou Q", line)])
    sick.picture("a/unknown.png", "RARE_CHARACTER", "UNKNOWN_CHARACTER", boxes=[("aeiou 漢", line)])
    sick.picture("a/unlabeled.png")
    outside = sick.picture("a/outside.png", "OUTSIDE_IMAGE")
    write_labels(outside.with_suffix(".xml"), [("aeiou", (300, 10, 400, 40))])
    flat = sick.picture("a/flat.png", "NO_AREA")
    write_labels(flat.with_suffix(".xml"), [("aeiou", (10, 10, 10, 40))])
    broken = sick.picture("a/noxml.png", "LABEL_UNREADABLE")
    broken.with_suffix(".xml").write_text("<annotation>\n<object>\n<name>hello</oops>\n")

    _rejected(sick)
    _stored_oddly(sick)
    _copies(sick)
    sick.expected["SMALL_FOLDER"] = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.*")
        if path.suffix in (".png", ".jpg") and path.parent != folder and path.name not in ("text.png", "tiny.png")
    )
    return sick


def line_below(number: int) -> Bounds:
    """Places that do not overlap."""
    return (10, 60 + 20 * number, 200, 78 + 20 * number)


def _rejected(sick: SickFolder) -> None:
    (sick.folder / "a" / "text.png").write_text("this is no image")
    sick.expect("a/text.png", "UNREADABLE")
    sick.picture("a/tiny.png", "SIDE_TOO_SHORT", size=(30, 200))
    sick.sizes.pop()


def _stored_oddly(sick: SickFolder) -> None:
    pixels = sick.picture("odd/deep.png", "SIXTEEN_BIT")
    cv2.imwrite(str(pixels), decode_image(pixels.read_bytes()).astype(np.uint16) * 257)
    for key, code in (("odd/cmyk.jpg", "CMYK"), ("odd/turned.jpg", "EXIF_TURNED")):
        path = sick.picture(key, code)
        with Image.open(path) as image:
            if code == "CMYK":
                image.convert("CMYK").save(path)
            else:
                exif = Image.Exif()
                exif[0x0112], exif[0x010F], exif[0x0110] = 6, "Acme", "Snapper 9"
                image.save(path, exif=exif)
                sick.sizes[-1] = (_HEIGHT, _WIDTH)
    path = sick.picture("odd/moving.png", "ANIMATED")
    with Image.open(path) as image:
        image.save(path, save_all=True, append_images=[image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)], default_image=False)


def _copies(sick: SickFolder) -> None:
    """One picture in two folders, labelled once; another saved again with other settings."""
    first = sick.picture("b-many/same.png", boxes=[("aeiou", (10, 10, 200, 40))])
    (sick.folder / "c").mkdir()
    shutil.copy(first, sick.folder / "c" / "same.png")
    sick.sizes.append((_WIDTH, _HEIGHT))
    for key in ("b-many/same.png", "c/same.png"):
        sick.expect(key, "EXACT_DUPLICATE", "CROSSES_FOLDERS", "CROSSES_LABELS")
    again = sick.picture("d/near.png")
    near = decode_image(again.read_bytes())
    cv2.imwrite(str(sick.folder / "d" / "near-again.jpg"), near, [cv2.IMWRITE_JPEG_QUALITY, 90])
    sick.sizes.append((_WIDTH, _HEIGHT))
    for key in ("d/near.png", "d/near-again.jpg"):
        sick.expect(key, "NEAR_DUPLICATE")
