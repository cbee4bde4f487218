"""Label files of large syncs are read in a process of their own."""

import os
import signal

from libs.ocrkit.labels.voc import write_voc
from services.dataset.image import LabelBox
from services.dataset.indexing.label_reader import FEW, LabelReader
from services.dataset.indexing.stored_labels import stored_labels
from services.dataset.label_file import LabelFile, box_to_file, labels_from_bytes
from tests.integration.processes import is_alive


def label_file(number: int) -> LabelFile:
    box = LabelBox(f"b{number}", ((1, 2), (90, 2), (90, 20), (1, 20)), f"Zeile {number}")
    data = write_voc([box_to_file(box)], filename=f"{number}.jpg", width_px=100, height_px=50)
    return LabelFile(data if number % 7 else data[:-9], f"etag-{number}", 100, 50)


FILES = [label_file(number) for number in range(FEW)]
EXPECTED = [stored_labels(labels_from_bytes(file)) for file in FILES]


def child_of(reader: LabelReader) -> int:
    assert reader._child is not None
    return reader._child.pid


async def test_the_child_says_what_would_be_said_here() -> None:
    reader = LabelReader()
    try:
        assert await reader.read(FILES) == EXPECTED
        assert reader._child is None
        assert await reader.read([]) == []
        assert await reader.read(FILES[:20]) == EXPECTED[:20]
        pid = child_of(reader)
        assert is_alive(pid)
    finally:
        await reader.close()
    assert not is_alive(pid)


async def test_files_of_a_child_that_died_are_read_all_the_same() -> None:
    reader = LabelReader()
    try:
        await reader.read(FILES)
        await reader.read(FILES)
        os.kill(child_of(reader), signal.SIGKILL)
        assert await reader.read(FILES) == EXPECTED
        assert await reader.read(FILES[:3]) == EXPECTED[:3]
    finally:
        await reader.close()
