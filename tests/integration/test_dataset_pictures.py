"""Thumbnails and tiles of the running dataset service, from the folder and from OSS."""

import asyncio
import hashlib
import os
import signal
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from inkwright.dataset.v1 import dataset_pb2, picture_pb2
from libs.runtime.errors import Fault, ImageUndecodable, NotFound
from libs.runtime.grpc_client import call
from libs.runtime.testing import assert_eventually
from services.dataset.pictures.cache import PictureCache
from services.dataset.pictures.maker import PictureMaker
from services.dataset.pictures.pack import read_piece
from tests.integration.conftest import Databases
from tests.integration.pictures import write_image
from tests.integration.world import World, dataset_world

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, module_databases: Databases, storage: str) -> AsyncIterator[World]:
    async with dataset_world(tmp_path_factory.mktemp("world"), storage=storage) as running:
        yield running


@pytest.fixture
def world(shared: World, request: pytest.FixtureRequest) -> World:
    return shared.apart("d" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12])


async def only_image(world: World) -> dataset_pb2.Image:
    (image,) = (await world.images((await world.indexed()).name)).values()
    return image


async def thumbnail(world: World, image: dataset_pb2.Image, size_px: int = 0) -> NDArray[np.uint8]:
    reply = await call(world.dataset.ReadThumbnail, picture_pb2.ReadThumbnailRequest(name=image.name, size_px=size_px))
    return decoded(reply.data)


async def tile(world: World, image: dataset_pb2.Image, level: int, column: int = 0, row: int = 0) -> NDArray[np.uint8]:
    request = picture_pb2.ReadTileRequest(name=image.name, level=level, column=column, row=row)
    return decoded((await call(world.dataset.ReadTile, request)).data)


async def pyramid(world: World, image: dataset_pb2.Image) -> picture_pb2.TilePyramid:
    return await call(world.dataset.GetTilePyramid, picture_pb2.GetTilePyramidRequest(name=image.name))


def decoded(data: bytes) -> NDArray[np.uint8]:
    assert data.startswith(b"\xff\xd8\xff")
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), dtype=np.uint8)


def cached(world: World) -> list[Path]:
    return sorted((world.home / "dataset" / "pictures").glob("*/*/*.pack"))


def turned_jpeg(pixels: NDArray[np.uint8], orientation: int) -> bytes:
    """A JPEG whose EXIF says that it is to be turned."""
    exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    data = cv2.imencode(".jpg", pixels)[1].tobytes()
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


async def test_a_thumbnail_is_small_upright_and_made_once(world: World) -> None:
    # Left half dark; turned clockwise the dark half is on top.
    pixels = np.full((600, 1200, 3), 230, dtype=np.uint8)
    pixels[:, :600] = 20
    (world.folder / "a.jpg").write_bytes(turned_jpeg(pixels, 6))
    image = await only_image(world)
    before = cached(world)
    sizes = {size: (await thumbnail(world, image, size)).shape[:2] for size in (0, 1, 200, 256, 5000)}
    assert sizes == {0: (256, 128), 1: (64, 32), 200: (256, 128), 256: (256, 128), 5000: (1024, 512)}
    small = await thumbnail(world, image)
    assert small[:110].max() < 60
    assert small[146:].min() > 190
    assert len(set(cached(world)) - set(before)) == 3


async def test_a_small_image_is_not_enlarged(world: World) -> None:
    write_image(world.folder / "a.png", width_px=50, height_px=40)
    assert (await thumbnail(world, await only_image(world), 512)).shape[:2] == (40, 50)


async def test_tiles_put_together_are_the_image(world: World) -> None:
    # Smooth, so that a JPEG loses nothing that matters; larger than the levels that are cut first.
    across, down = np.meshgrid(np.linspace(0, 255, 2700), np.linspace(0, 255, 700))
    pixels = np.stack([across, down, 255 - across], axis=2).astype(np.uint8)
    (world.folder / "a.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    image = await only_image(world)
    found = await pyramid(world, image)
    assert (found.width_px, found.height_px, found.tile_size_px, found.num_levels) == (2700, 700, 512, 13)
    rows = [np.hstack([await tile(world, image, 12, column, row) for column in range(6)]) for row in range(2)]
    whole = np.vstack(rows)
    assert whole.shape == pixels.shape
    assert np.abs(whole.astype(int) - pixels).max() < 8
    half = cv2.resize(pixels, (1350, 350), interpolation=cv2.INTER_AREA)
    assert np.abs((await tile(world, image, 11, 2)).astype(int) - half[:, 1024:]).max() < 8
    assert (await tile(world, image, 0)).shape == (1, 1, 3)
    for level, column, row in ((13, 0, 0), (12, 6, 0), (12, 0, 2), (-1, 0, 0), (12, -1, 0)):
        with pytest.raises(NotFound, match="no tile"):
            await tile(world, image, level, column, row)


async def test_many_who_want_the_same_picture_get_the_one_that_is_made(world: World) -> None:
    write_image(world.folder / "a.jpg", width_px=2000, height_px=1500)
    image = await only_image(world)
    before = cached(world)
    pictures = await asyncio.gather(*(thumbnail(world, image) for _ in range(20)))
    assert all(np.array_equal(one, pictures[0]) for one in pictures)
    (made,) = set(cached(world)) - set(before)
    # Used, not made anew: the file is the same one.
    inode = made.stat().st_ino
    await thumbnail(world, image)
    assert made.stat().st_ino == inode


async def test_a_damaged_picture_is_made_anew(world: World) -> None:
    write_image(world.folder / "a.jpg")
    image = await only_image(world)
    before = cached(world)
    good = await thumbnail(world, image)
    (made,) = set(cached(world)) - set(before)
    data = made.read_bytes()
    for damaged in (b"", data[:-5], data[:10], b"\0" * len(data), data[:-3] + b"xyz"):
        made.write_bytes(damaged)
        assert np.array_equal(await thumbnail(world, image), good)
        assert made.read_bytes() == data


async def test_a_changed_image_is_never_shown_as_the_old_one(world: World) -> None:
    write_image(world.folder / "a.png", width_px=400, height_px=300, grey=200)
    image = await only_image(world)
    assert (await thumbnail(world, image)).shape[:2] == (192, 256)
    write_image(world.folder / "a.png", width_px=300, height_px=400, grey=90)
    await world.sync(world.name)
    assert (await thumbnail(world, image)).shape[:2] == (256, 192)
    write_image(world.folder / "a.png", width_px=301, height_px=400, grey=90)
    with pytest.raises(Fault, match=r"a\.png was changed since it was indexed"):
        await thumbnail(world, image, 64)


def bomb(width_px: int, height_px: int) -> bytes:
    """A PNG of a few hundred bytes that says it is as large as that, and has one row."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"\0" * (width_px + 1))
    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


async def test_what_cannot_be_shown_is_named_and_stops_nobody_else(world: World) -> None:
    write_image(world.folder / "good.jpg")
    (world.folder / "bomb.png").write_bytes(bomb(50_000, 50_000))
    (world.folder / "liar.png").write_bytes(bomb(3_000, 2_000))
    (world.folder / "gif.jpg").write_bytes(b"GIF89a" + bytes(200))
    whole = write_image(world.folder / "cut.jpg", width_px=900, height_px=900).read_bytes()
    images = await world.images((await world.indexed()).name)
    (world.folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    await world.sync(world.name)
    images = await world.images(world.name)
    reasons = {}
    for key in ("bomb.png", "liar.png", "gif.jpg", "cut.jpg"):
        with pytest.raises(Fault, match=key.replace(".", r"\.")) as caught:
            await thumbnail(world, images[key])
        reasons[key] = caught.value.reason
    undecodable = "IMAGE_UNDECODABLE"
    assert reasons == {"bomb.png": "TOO_LARGE", "liar.png": undecodable, "gif.jpg": undecodable, "cut.jpg": undecodable}
    assert (await thumbnail(world, images["good.jpg"])).shape[:2] == (80, 120)


async def test_the_pictures_go_with_their_dataset_and_are_counted(world: World) -> None:
    write_image(world.folder / "a.jpg")
    write_image(world.folder / "b.jpg")
    images = await world.images((await world.indexed()).name)
    before = cached(world)
    for image in images.values():
        await thumbnail(world, image)
        await tile(world, image, 0)
    made = set(cached(world)) - set(before)
    found = await call(world.dataset.GetPictureCache, picture_pb2.GetPictureCacheRequest(name=world.name))
    assert (found.num_images, found.size_bytes) == (2, sum(path.stat().st_size for path in made))
    assert found.max_size_bytes == 1024**3
    await world.delete()
    await world.purge()
    await assert_eventually(lambda: not made & set(cached(world)))
    assert sorted(path.name for path in world.folder.iterdir()) == ["a.jpg", "b.jpg"]


async def test_the_cache_keeps_what_was_used_last(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path, 10_000)
    paths = [cache.path("ds_1", f"img_{number}", "tag", "256") for number in range(12)]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(1_000))
        os.utime(path, (number, number))
    os.utime(paths[0])
    cache.added(paths[-1])
    kept = [number for number, path in enumerate(paths) if path.exists()]
    assert kept == [0, *range(4, 12)]
    cache.forget("ds_1", "img_4")
    assert cache.size("ds_1").num_images == 8
    cache.forget("ds_1")
    assert cache.size("ds_1").total_size_bytes == 0


async def test_a_decoder_that_dies_or_hangs_ends_with_its_picture_only(tmp_path: Path) -> None:
    # Reading it takes as long as nobody writes.
    os.mkfifo(tmp_path / "endless")
    good = write_image(tmp_path / "good.png")
    hasty, patient = PictureMaker("hasty", timeout_seconds=0.5), PictureMaker("patient", timeout_seconds=60)
    try:
        with pytest.raises(ImageUndecodable, match=r"endless\.png: Decoding took longer than 0\.5 seconds"):
            await hasty.make("endless.png", tmp_path / "endless", tmp_path / "a.pack", {"size_px": 64})
        making = asyncio.create_task(patient.make("endless.png", tmp_path / "endless", tmp_path / "b.pack", {"size_px": 64}))
        await assert_eventually(lambda: patient.pid is not None)
        assert patient.pid is not None
        os.kill(patient.pid, signal.SIGKILL)
        with pytest.raises(ImageUndecodable, match=r"endless\.png: The decoder died"):
            await making
        await patient.make("good.png", good, tmp_path / "c.pack", {"size_px": 64})
        assert read_piece(tmp_path / "c.pack", "picture") is not None
    finally:
        await hasty.close()
        await patient.close()
