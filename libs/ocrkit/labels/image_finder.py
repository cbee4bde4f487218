"""The image that a label file speaks of: found by whatever name the file gives it, and measured."""

from dataclasses import dataclass, field, replace

from libs.ocrkit.image_io import read_header
from libs.ocrkit.labels.page import Finding
from libs.ocrkit.labels.source import IMAGE_SUFFIXES, Source, base_of, clean_name, is_image, joined, shown_name, split_suffix
from libs.runtime.errors import ImageUndecodable

_HEAD_BYTES = 64 * 1024
_MAX_IMAGE_BYTES = 256 * 1024 * 1024
_AMBIGUOUS = ""
_IMAGE_FOLDERS = ("images", "JPEGImages")


@dataclass(frozen=True)
class FoundImage:
    """An image a label file speaks of.

    Args:
        name: in the source; where the image is missing, what the label file calls it.
        width_px: of the upright image; 0 where that cannot be known.
        height_px: likewise.
        findings: what a person should know about it; with a ``failed`` one among them the labels cannot be used.
    """

    name: str
    width_px: int = 0
    height_px: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def is_usable(self) -> bool:
        """Whether boxes can be laid on it."""
        return self.width_px > 0


@dataclass
class ImageFinder:
    """Finds images in a source. Listing the source is put off until a name is not where it should be.

    Args:
        source: holds label files and images.
    """

    source: Source
    _index: dict[str, str] | None = field(default=None, init=False)

    def named(self, said: str, base: str, *, said_size: tuple[float, float] | None = None, line: int | None = None) -> FoundImage:
        """The image of a name.

        Args:
            said: as the label file says it: below the label file's folder, with that folder's own name, below any other folder, or
                with folders of another machine before it.
            base: folder of the label file.
            said_size: width and height by the label file, for an image that is missing.
            line: of the label file.
        """
        at = "" if line is None else f"Line {line}: "
        names = [name for spelling in dict.fromkeys((said, said.replace("\\", "/"))) if (name := clean_name(spelling)) is not None]
        if not names:
            message = f"{at}{shown_name(said)!r} is no name of a file in this folder; nothing outside it is read."
            return FoundImage(shown_name(said) or "?", findings=(Finding("failed", "NAME_REFUSED", message, line),))
        for name in names:
            for place in self._places(name, base):
                if is_image(place) and self.source.exists(place):
                    return self.measured(place, line=line)
        return self._elsewhere(names[-1], base, said_size, line)

    def _elsewhere(self, name: str, base: str, said_size: tuple[float, float] | None, line: int | None) -> FoundImage:
        """An image that is not where the label file says, or is nowhere."""
        at = "" if line is None else f"Line {line}: "
        places = (joined(base, name.split("/", parts)[-1]) for parts in range(1, name.count("/") + 1))
        found = next((place for place in places if is_image(place) and self.source.exists(place)), None)
        found = self._listed().get(base_of(name)) if found is None else found
        if found == _AMBIGUOUS:
            message = f"{at}several images are called {base_of(name)}; give each a name of its own."
            return FoundImage(name, findings=(Finding("failed", "IMAGE_AMBIGUOUS", message, line),))
        if found is not None:
            image = self.measured(found, line=line)
            message = f"{at}{name} is not there; {found} was taken for it."
            return replace(image, findings=(Finding("warning", "IMAGE_ELSEWHERE", message, line), *image.findings))
        if said_size is None or not all(1 <= side < 1e6 for side in said_size):
            message = f"{at}the image {name} is not there; put it beside the labels."
            return FoundImage(name, findings=(Finding("failed", "IMAGE_MISSING", message, line),))
        message = f"{at}the image {name} is not there; the size that the labels name was believed."
        return FoundImage(name, round(said_size[0]), round(said_size[1]), (Finding("warning", "IMAGE_MISSING", message, line),))

    def of_stem(self, stem: str) -> list[str]:
        """Images whose name is this one with an extension: in that folder, or else the only one anywhere in the source."""
        spellings = [stem + spelling for suffix in sorted(IMAGE_SUFFIXES) for spelling in (suffix, suffix.upper())]
        # A file system that does not tell capitals apart shows one file under both spellings.
        beside = {name.casefold(): name for name in reversed(spellings) if self.source.exists(name)}
        if beside:
            return sorted(beside.values())
        anywhere = self._listed().get(f"{base_of(stem)}/")
        return [anywhere] if anywhere else []

    def measured(self, name: str, *, line: int | None = None) -> FoundImage:
        """An image that is there, with its size."""
        try:
            with self.source.open(name) as stream:
                data = stream.read(_HEAD_BYTES)
                try:
                    header = read_header(data)
                except ImageUndecodable:
                    # A long EXIF block may push the size further back.
                    header = read_header(data + stream.read(_MAX_IMAGE_BYTES))
        except ImageUndecodable as fault:
            return FoundImage(name, findings=(Finding("failed", fault.reason, f"{name}: {fault.message}", line),))
        except OSError as error:
            message = f"{name} cannot be opened: {error.strerror}."
            return FoundImage(name, findings=(Finding("failed", "IMAGE_MISSING", message, line),))
        return FoundImage(name, header.width_px, header.height_px)

    def _places(self, name: str, base: str) -> list[str]:
        """Where an image of this name should be, the likeliest first."""
        first, _, rest = name.partition("/")
        places = [joined(base, name), *(joined(base, f"{folder}/{name}") for folder in _IMAGE_FOLDERS), name]
        # PPOCRLabel writes the folder's own name before the image's.
        return [joined(base, rest), *places] if rest and first == (base_of(base) or self.source.title) else places

    def _listed(self) -> dict[str, str]:
        """Images by file name, and by stem with ``/`` behind it; ``_AMBIGUOUS`` where there are several."""
        if self._index is None:
            self._index = {}
            for name in filter(is_image, self.source.names()):
                for key in (base_of(name), f"{base_of(split_suffix(name)[0])}/"):
                    self._index[key] = _AMBIGUOUS if key in self._index else name
        return self._index
