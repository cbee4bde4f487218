"""What people's folders really hold: each oddity is told on its row, through the running service, and nothing beside it suffers."""

import hashlib
import struct
import zlib
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image

from inkwright.dataset.v1 import dataset_pb2
from tests.integration.conftest import Databases
from tests.integration.pictures import write_image, write_labels
from tests.integration.world import World, dataset_world
from tests.oss_server import Trouble
from tests.oss_server.objects import stored
from tests.oss_server.trouble import Kind

pytestmark = pytest.mark.asyncio(loop_scope="module")

USABLE, REJECTED = dataset_pb2.Image.USABLE, dataset_pb2.Image.REJECTED
GOOD = "good.jpg"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, module_databases: Databases, storage: str) -> AsyncIterator[World]:
    async with dataset_world(tmp_path_factory.mktemp("world"), storage=storage) as running:
        yield running


@pytest.fixture
def world(shared: World, request: pytest.FixtureRequest) -> World:
    world = shared.apart("d" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12])
    write_labels(write_image(world.folder / GOOD).with_suffix(".xml"), [("hello", (5, 5, 50, 30))])
    return world


def png(width_px: int, height_px: int) -> bytes:
    """A PNG whose header says this size, with next to no data behind it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 4096)) + chunk(b"IEND", b"")


def encoded(kind: str, **options: object) -> bytes:
    pixels = BytesIO()
    Image.new("RGB", (80, 60), "white").save(pixels, kind, **options)
    return pixels.getvalue()


def cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


IMAGES = {
    "empty.jpg": (b"", REJECTED),
    "text.png": (b"<html>not found</html>", REJECTED),
    "cut.jpg": (cut(encoded("JPEG")), REJECTED),
    "half.png": (cut(encoded("PNG")), REJECTED),
    "part.bmp": (cut(encoded("BMP")), REJECTED),
    # What the bytes are counts, not what the name says.
    "png-inside.jpg": (encoded("PNG"), USABLE),
    "jpeg-inside.png": (encoded("JPEG"), USABLE),
    "gif-inside.jpg": (encoded("GIF"), REJECTED),
    "webp-inside.jpg": (encoded("WEBP"), REJECTED),
    "tiff-inside.png": (encoded("TIFF"), REJECTED),
    "bomb.png": (png(30_000, 30_000), REJECTED),
    "wide.png": (png(50_000, 40), REJECTED),
    "tall.png": (png(40, 50_000), REJECTED),
    "endless.png": (png(2**31 - 1, 2**31 - 1), REJECTED),
}


async def test_images_that_lie_are_told_one_by_one(world: World) -> None:
    for name, (data, _) in IMAGES.items():
        (world.folder / name).write_bytes(data)
    assert (await world.indexed()).state == dataset_pb2.Dataset.READY
    images = await world.images(world.name)
    assert {name: images[name].state for name in IMAGES} == {name: state for name, (_, state) in IMAGES.items()}
    for name, (_, state) in IMAGES.items():
        if state == REJECTED:
            [finding] = images[name].findings
            assert finding.severity == dataset_pb2.Finding.REJECTED
            assert finding.code.isupper()
            assert finding.message.endswith(".")
    assert (images[GOOD].state, images[GOOD].num_boxes) == (USABLE, 1)


def one_box(name: str, before: str = "") -> str:
    bounds = "<xmin>1</xmin><ymin>1</ymin><xmax>60</xmax><ymax>30</ymax>"
    return f"{before}<annotation><object><name>{name}</name><bndbox>{bounds}</bndbox></object></annotation>"


ENTITIES = '<!ENTITY a "aaaaaaaaaa">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1 if n else str()};" * 10}">' for n in range(9))
BOMB = one_box("&a8;", f"<!DOCTYPE b [{ENTITIES}]>")
OUTSIDE = one_box("&e;", '<!DOCTYPE b [<!ENTITY e SYSTEM "file:///etc/passwd">]>')
CHINESE = one_box("发票号码", '<?xml version="1.0" encoding="UTF-8"?>')


async def test_label_files_that_attack_or_lie_are_told_on_their_rows(world: World) -> None:
    files = {
        "bomb": BOMB.encode(),
        "outside": OUTSIDE.encode(),
        "gbk": CHINESE.encode("gbk"),
        "deep": b"<annotation>" + b"<a>" * 5_000 + b"</a>" * 5_000 + b"</annotation>",
        "binary": bytes(range(256)) * 20,
        "empty": b"",
        "huge": b"<annotation>" + b" " * 20_000_000 + b"</annotation>",
    }
    for name, data in files.items():
        write_image(world.folder / f"{name}.jpg")
        (world.folder / f"{name}.xml").write_bytes(data)
    assert (await world.indexed()).state == dataset_pb2.Dataset.READY
    images = await world.images(world.name)
    assert images[GOOD].num_boxes == 1
    # Declared as UTF-8, written in GBK: the text is read, and what was done about it is told.
    [box] = (await world.labels(images["gbk.jpg"])).boxes
    assert box.text == "发票号码"
    assert [finding.severity for finding in images["gbk.jpg"].findings] == [dataset_pb2.Finding.REPAIRED]
    for name in ("bomb", "outside"):
        read = await world.labels(images[f"{name}.jpg"])
        texts = "".join(box.text for box in read.boxes)
        assert len(texts) < 100
        assert "root:" not in texts
        assert images[f"{name}.jpg"].findings
    for name in ("deep", "binary", "empty", "huge"):
        image = images[f"{name}.jpg"]
        assert image.state == USABLE
        assert (image.label_state, image.num_boxes) == (dataset_pb2.Image.UNLABELED, 0)
        assert [finding.code for finding in image.findings] == ["LABEL_UNREADABLE"]


NAMES = ("with space.jpg", "发票/第 一 页.jpg", "a?b.jpg", "a&b=c.jpg", "100%.jpg", "a+b#c.jpg", "a../b..jpg", "quote'\".jpg", "-rf.jpg")


async def test_any_name_is_found_labelled_and_read(world: World) -> None:
    for number, name in enumerate(NAMES):
        write_labels(write_image(world.folder / name, grey=100 + number).with_suffix(".xml"), [(f"t{number}", (5, 5, 50, 30))])
    await world.indexed()
    images = await world.images(world.name)
    assert set(images) == {GOOD, *NAMES}
    for number, name in enumerate(NAMES):
        assert [box.text for box in (await world.labels(images[name])).boxes] == [f"t{number}"]
        assert await world.read(images[name]) == (world.folder / name).read_bytes()


async def test_names_that_only_a_bucket_can_have_are_found_too(world: World, tmp_path: Path) -> None:
    if world.oss is None:
        # No file system has them, and a link out of the folder is its own kind of oddity.
        write_image(tmp_path / "elsewhere.jpg")
        (world.folder / "link.jpg").symlink_to(tmp_path / "elsewhere.jpg")
        (world.folder / "nowhere.jpg").symlink_to(tmp_path / "nothing.jpg")
        (world.folder / "folder.jpg").mkdir()
        await world.indexed()
        assert "folder.jpg" not in await world.images(world.name)
        assert [image.state for key, image in (await world.images(world.name)).items() if key == GOOD] == [USABLE]
        return
    image, labels = (world.folder / GOOD).read_bytes(), (world.folder / "good.xml").read_bytes()
    bucket = world.oss.new_bucket("odd")
    names = ("a//b", "/c", "a/b..", " lead", "tab\tin")
    # Parts that begin with a point are hidden, here as in a folder: no client may turn such a key into another one.
    hidden = ("..", "../up", "a/./b", "a/../good", "end/")
    for name in (*names, *hidden):
        bucket.put(f"p/{name}.jpg", stored(image))
        bucket.put(f"p/{name}.xml", stored(labels))
    await world.create(path="oss://odd/p/")
    await world.synced(world.name, 1)
    images = await world.images(world.name)
    assert set(images) == {f"{name}.jpg" for name in names}
    for one in images.values():
        assert (await world.labels(one)).boxes[0].text == "hello"
        assert await world.read(one) == image


async def test_a_bucket_that_falls_silent_is_waited_for(world: World) -> None:
    if world.oss is None:
        (world.folder / "late.jpg").symlink_to("good.jpg")
        await world.indexed()
        assert GOOD in await world.images(world.name)
        return
    world.oss.troubles = [Trouble(Kind.UNHEARD, after=1, times=1), Trouble.throttled(after=2, times=2)]
    assert (await world.indexed()).counts.num_labeled == 1
