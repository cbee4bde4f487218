"""Checks the files of an upload and lays them into the dataset's folder, never over another one."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libs.ocrkit.labels.xml_text import MAX_BYTES as MAX_LABEL_BYTES
from libs.runtime.child import Child
from libs.runtime.errors import AlreadyExists, InvalidInput, NotFound
from libs.runtime.object_store import ObjectStore
from services.dataset.image import MAX_IMAGE_BYTES, Severity
from services.dataset.indexing.measure import measure
from services.dataset.pairing import LABEL_SUFFIX, is_image, suffix_of
from services.dataset.uploads.foreign_formats import DOCUMENTS, PICTURES
from services.dataset.uploads.source import Entry, Refused, held
from services.dataset.uploads.upload import Outcome, Result, UploadOptions

MAX_DOCUMENT_BYTES: Final = 2 * 1024**3
DOCUMENT_SECONDS: Final = 1_800
MAX_NAMES_TRIED: Final = 100

# Their decoders come with patents on HEVC and under LGPL and GPL, so that they are not part of an installation.
_REFUSED_PICTURES = frozenset({".heic", ".heif", ".avif"})


@dataclass(frozen=True)
class Taker:
    """Takes the files of one upload.

    Args:
        scratch: gives an empty folder for what is made of a document. Blocks.
    """

    store: ObjectStore
    options: UploadOptions
    scratch: Callable[[], Path]

    async def take(self, group: Sequence[Entry]) -> list[Outcome]:
        """What became of an image and the label files beside it.

        Raises:
            NoReadyInstance, Forbidden: the store cannot be written to now, or not at all.
            OSError: the disk cannot be read.
        """
        outcomes: list[Outcome] = []
        number: int | None = None
        for entry in group:
            suffix = suffix_of(entry.key)
            try:
                if entry.refusal is not None:
                    raise entry.refusal
                if is_image(entry.key):
                    outcome, taken = await self._image(entry)
                    number = number or taken
                    outcomes.append(outcome)
                elif suffix == LABEL_SUFFIX:
                    self._check_pair(group, has_image=number is not None)
                    outcomes.append(await self._label(entry, number or 1))
                elif suffix in DOCUMENTS or suffix in PICTURES:
                    outcomes += [outcome async for outcome in self._foreign(entry, suffix)]
                else:
                    raise _of_no_use(suffix)
            except Refused as refused:
                outcomes.append(refused_outcome(entry.name, refused))
            except (InvalidInput, NotFound) as fault:
                outcomes.append(Outcome(entry.name, Result.FAILED, reason=fault.reason, message=fault.message))
        return outcomes

    def _check_pair(self, group: Sequence[Entry], *, has_image: bool) -> None:
        """A label file that came with an image must not lie beside another one of that name."""
        if not has_image and any(is_image(entry.key) for entry in group):
            raise Refused("IMAGE_NOT_STORED", "Its image was not stored; send both again when that is repaired.")
        if not has_image and self.options.rename:
            message = "Which image a label file belongs to is not known where images are renamed; send both in one ZIP."
            raise Refused("LABEL_ALONE", message)

    async def _image(self, entry: Entry) -> tuple[Outcome, int]:
        _check_size(entry, MAX_IMAGE_BYTES, "store the image smaller")
        data = await asyncio.to_thread(entry.read)
        pixels = await asyncio.to_thread(measure, data)
        for finding in pixels.findings:
            if finding.severity is Severity.REJECTED:
                raise Refused(finding.code, finding.message)
        numbers = range(1, MAX_NAMES_TRIED) if self.options.rename else range(1, 2)
        return await self._lay(entry.name, entry.key, data, numbers)

    async def _label(self, entry: Entry, number: int) -> Outcome:
        _check_size(entry, MAX_LABEL_BYTES, "a label file of one image is smaller")
        data = await asyncio.to_thread(entry.read)
        outcome, _ = await self._lay(entry.name, entry.key, data, range(number, number + 1))
        return outcome

    async def _lay(self, name: str, key: str, data: bytes, numbers: range) -> tuple[Outcome, int]:
        """Store under the first free of the numbered names, 1 being the name itself; and which number that was."""
        for number in numbers:
            numbered = _numbered(key, number)
            try:
                await self.store.write_new(numbered, data)
            except AlreadyExists:
                if await self._holds(numbered, data):
                    return Outcome(name, Result.ALREADY_THERE, numbered), number
            else:
                return Outcome(name, Result.STORED, numbered), number
        if key.endswith(LABEL_SUFFIX):
            message = f"The folder has another label file {key}; it is never replaced by an upload. Remove it, or rename this one."
        elif len(numbers) > 1:
            message = f"The folder has {len(numbers)} other images named like {key}; rename this one, then send it again."
        else:
            message = f"The folder has another {key}. Rename this one, or let it be renamed (--rename), then send it again."
        raise Refused("ALREADY_EXISTS", message)

    async def _holds(self, key: str, data: bytes) -> bool:
        info = await self.store.head(key)
        return info.size_bytes == len(data) and await self.store.read(key) == data

    async def _foreign(self, entry: Entry, suffix: str) -> AsyncIterator[Outcome]:
        if suffix in DOCUMENTS and not self.options.split_pages:
            message = "Documents are no images; send it again with split_pages (--split-pages), which makes a PNG of each page."
            raise Refused("DOCUMENT", message)
        if suffix in PICTURES and not self.options.convert:
            raise Refused("FORMAT_NOT_READ", "WebP and GIF are not read; send it again with convert (--convert), which makes a PNG of it.")
        _check_size(entry, MAX_DOCUMENT_BYTES, "split it")
        folder = await asyncio.to_thread(self.scratch)
        path = await asyncio.to_thread(entry.on_disk, folder / f"source{suffix}")
        stem = entry.key[: -len(suffix)]
        number = 0
        async for page in _pages(path, folder, suffix):
            number += 1
            is_document = suffix in DOCUMENTS
            key = f"{stem}-p{number:04}.png" if is_document else f"{stem}.png"
            data = await asyncio.to_thread(page.read_bytes)
            page.unlink()
            for outcome in await self.take([held(f"{entry.name}#page={number}" if is_document else entry.name, key, data)]):
                yield outcome


async def _pages(path: Path, folder: Path, suffix: str) -> AsyncIterator[Path]:
    """PNG files of the pages, made in another process."""
    orders = {"path": str(path), "folder": str(folder), "suffix": suffix}
    child = await Child.start([sys.executable, "-m", "services.dataset.uploads.foreign_images"], name="foreign-images", orders=orders)
    try:
        async with asyncio.timeout(DOCUMENT_SECONDS):
            async for said in child.events():
                if "reason" in said:
                    raise Refused(said["reason"], said["message"])
                yield Path(said["file"])
            ended = await child.wait()
    except TimeoutError as error:
        raise Refused("TOO_SLOW", f"Its pages were not decoded within {DOCUMENT_SECONDS} seconds; split it, or save it again.") from error
    finally:
        child.kill()
        await child.wait()
    if not ended.ok:
        raise Refused("IMAGE_UNDECODABLE", f"Its decoder ended in the middle ({ended}); save it again, or convert it yourself.")


def refused_outcome(name: str, refused: Refused) -> Outcome:
    """The row of a file nothing can be made of."""
    result = Result.SKIPPED if refused.is_skipped else Result.FAILED
    return Outcome(name, result, reason=refused.reason, message=refused.message)


def _check_size(entry: Entry, max_bytes: int, what_to_do: str) -> None:
    if entry.size_bytes > max_bytes:
        raise Refused("TOO_LARGE", f"The file has {entry.size_bytes} bytes, more than the {max_bytes} allowed; {what_to_do}.")


def _numbered(key: str, number: int) -> str:
    suffix = suffix_of(key)
    return key if number == 1 else f"{key[: len(key) - len(suffix)]}-{number}{suffix}"


def _of_no_use(suffix: str) -> Refused:
    if suffix in _REFUSED_PICTURES:
        return Refused("FORMAT_NOT_READ", "HEIC and AVIF are not read; save it as JPEG (on a phone: camera format 'most compatible').")
    if suffix == ".zip":
        return Refused("NESTED_ZIP", "A ZIP within a ZIP is not unpacked; send it by itself.", is_skipped=True)
    return Refused("NOT_AN_IMAGE", "Neither an image (JPG, PNG, BMP) nor a label file (XML).", is_skipped=True)
