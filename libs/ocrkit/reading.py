"""Reading a whole folder without any server: what ``inkctl read`` does."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

from libs.ocrkit.bundle import Bundle, open_bundle
from libs.ocrkit.engines.engine import EngineName, load_engine
from libs.ocrkit.geometry import Quad
from libs.ocrkit.image_io import Scan
from libs.ocrkit.models import base_bundle_path
from libs.ocrkit.reader import Reader, ReadLine
from libs.runtime.errors import ImageUndecodable, InvalidInput, NotFound, TooLarge

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})


class TextJson(TypedDict):
    """A piece of text; ``pos`` are the four corners in pixels, clockwise from the text's top left."""

    label: str
    conf: float
    pos: list[list[float]]


class LineJson(TextJson):
    """One line of the answer, with its characters where they were asked for."""

    characters: NotRequired[list[TextJson]]


@dataclass(frozen=True)
class Unread:
    """An image that could not be read, and why."""

    path: Path
    message: str


@dataclass(frozen=True)
class FolderReading:
    """What a folder says.

    Args:
        pages: by stem, in the order of the names; an image without text has an empty list.
        unread: broken images; they are left out of ``pages``.
    """

    pages: dict[str, list[LineJson]]
    unread: tuple[Unread, ...]


def open_named_bundle(name_or_path: str) -> Bundle:
    """``base``, the name of a base model, or the path of a bundle.

    Raises:
        NotFound: the base was never downloaded, or there is no such file.
        BundleInvalid: the file is no bundle.
    """
    if name_or_path == "base":
        return open_bundle(base_bundle_path())
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return open_bundle(path)
    if "/" not in name_or_path and not path.suffix:
        return open_bundle(base_bundle_path(name_or_path))
    raise NotFound(f"There is no bundle at {path}.", path=path)


def read_folder(
    bundle: Bundle,
    images_dir: Path,
    *,
    engine: EngineName = "auto",
    num_threads: int,
    characters: bool = False,
    on_page: Callable[[Path, int, int], None] | None = None,
) -> FolderReading:
    """Read every JPG, PNG and BMP directly in a folder.

    Args:
        bundle: the model.
        images_dir: the folder.
        engine: what runs the model.
        num_threads: cores it may use.
        characters: whether each line comes with its characters.
        on_page: told of each image that is done: its path, how many are done, how many there are.

    Raises:
        NotFound: there is no such folder.
        InvalidInput: it holds no image, or two images of one stem.
        ForwardFailed: the model could not be run.
    """
    paths = list_images(images_dir)
    loaded = load_engine(bundle, engine=engine, num_threads=num_threads, mode="throughput")
    reader = Reader(bundle, loaded)
    pages: dict[str, list[LineJson]] = {}
    unread: list[Unread] = []
    readers = ThreadPoolExecutor(num_threads, thread_name_prefix="read")
    try:
        for number, (path, read) in enumerate(
            zip(paths, readers.map(lambda path: _read(reader, path, characters), paths), strict=True), start=1
        ):
            if isinstance(read, Unread):
                unread.append(read)
            else:
                pages[path.stem] = read
            if on_page:
                on_page(path, number, len(paths))
    finally:
        readers.shutdown(cancel_futures=True)
        loaded.close()
    return FolderReading(pages, tuple(unread))


def _read(reader: Reader, path: Path, characters: bool) -> list[LineJson] | Unread:
    try:
        return [line_to_json(line) for line in reader.read_scan(Scan(path.read_bytes()), characters=characters)]
    except OSError as error:
        return Unread(path, f"It cannot be opened: {error.strerror}.")
    except (ImageUndecodable, TooLarge) as fault:
        return Unread(path, fault.message)


def list_images(images_dir: Path) -> list[Path]:
    """The images directly in a folder, by name.

    Raises:
        NotFound: there is no such folder.
        InvalidInput: it holds no image, or two images of one stem.
    """
    if not images_dir.is_dir():
        raise NotFound(f"There is no folder {images_dir}.", path=images_dir)
    paths = sorted(path for path in images_dir.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not paths:
        raise InvalidInput(f"The folder {images_dir} holds no image; accepted are .jpg, .jpeg, .png and .bmp.", path=images_dir)
    by_stem: dict[str, Path] = {}
    for path in paths:
        other = by_stem.setdefault(path.stem, path)
        if other is not path:
            message = f"{other.name} and {path.name} differ only in their ending, the answer is by stem; rename one."
            raise InvalidInput(message, path=images_dir, stem=path.stem)
    return paths


def line_to_json(line: ReadLine) -> LineJson:
    """A line as it stands in the answer; hundredths of a pixel are more than the detector knows."""
    answer: LineJson = {"label": line.text, "conf": round(line.conf, 4), "pos": _pos(line.quad)}
    if line.characters:
        answer["characters"] = [
            {"label": character.text, "conf": round(character.conf, 4), "pos": _pos(character.quad)} for character in line.characters
        ]
    return answer


def _pos(quad: Quad) -> list[list[float]]:
    return [[round(x, 2), round(y, 2)] for x, y in quad.tolist()]
