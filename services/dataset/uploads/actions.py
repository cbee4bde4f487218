"""What can be done with uploads: one function a verb."""

import asyncio
from dataclasses import replace

from libs.runtime.errors import InvalidInput
from libs.runtime.names import DATASET, UPLOAD, new_id
from libs.runtime.paging import Cursor, Page
from services.dataset.actions import check_request_id, create_dataset
from services.dataset.domain import Dataset, Place, StorageType
from services.dataset.store import Work
from services.dataset.stores import Stores
from services.dataset.uploads.staging import Staging, write_chunk
from services.dataset.uploads.upload import Outcome, Result, Upload, UploadOptions, UploadSource, UploadState, check_file

DEMO_IMAGES = 40
MAX_DEMO_IMAGES = 500
DEMO_ID = "demo"


async def create_upload(
    work: Work,
    staging: Staging,
    name: str,
    *,
    file_name: str,
    folder: str,
    size_bytes: int,
    sha256: str,
    options: UploadOptions,
    request_id: str,
    max_bytes: int,
) -> tuple[Dataset, Upload]:
    """Begin an upload into dataset ``name``, or find the one that was begun with this request id.

    Raises:
        NotFound: no such dataset.
        InvalidInput, TooLarge: see ``check_file``.
        NoReadyInstance: the disk has no room.
    """
    check_request_id(request_id)
    folder = check_file(file_name, folder, size_bytes, sha256, max_bytes=max_bytes)
    await asyncio.to_thread(staging.check_room, size_bytes)
    async with work() as w:
        # The lock keeps two calls with one request id apart.
        dataset = await w.datasets.get(name, lock=True)
        earlier = await w.uploads.begun_by(dataset, request_id)
        if earlier is not None:
            return dataset, earlier
        upload = Upload(
            upload_id=new_id("up"),
            dataset_uid=dataset.uid,
            file_name=file_name,
            folder=folder,
            size_bytes=size_bytes,
            sha256=sha256,
            options=options,
            create_time=w.now,
            update_time=w.now,
        )
        w.uploads.add(upload, request_id=request_id)
        await w.commit()
    return dataset, upload


async def take_chunk(work: Work, staging: Staging, name: str, *, offset_bytes: int, data: bytes) -> tuple[Dataset, Upload]:
    """Keep the next bytes of upload ``name``; they are on disk, and known to be, when this returns.

    Raises:
        NotFound: no such upload.
        Conflict: other bytes are wanted, or another call is writing.
        WrongState: no more bytes are wanted.
        TooLarge: more than a chunk or the file may have.
        NoReadyInstance: the disk is full; nothing is kept of this chunk.
    """
    dataset, upload = await get_upload(work, name)
    upload.check_offset(offset_bytes)
    upload.check_room(len(data))
    with staging.sole(upload.upload_id, is_new=offset_bytes == 0) as file:
        await asyncio.to_thread(write_chunk, file, offset_bytes, data)
        async with work() as w:
            upload = await w.uploads.get(dataset, upload.upload_id, lock=True)
            # Another call may have been faster between the look and the lock on the file.
            upload.check_offset(offset_bytes)
            upload = upload.received(len(data), at=w.now)
            await w.uploads.put(upload)
            await w.commit()
    return dataset, upload


async def get_upload(work: Work, name: str) -> tuple[Dataset, Upload]:
    """Read one.

    Raises:
        NotFound: no such upload.
    """
    dataset_name, upload_id = _ids(name)
    async with work(read_only=True) as w:
        dataset = await w.datasets.get(dataset_name)
        return dataset, await w.uploads.get(dataset, upload_id)


async def list_uploads(work: Work, name: str, *, size: int, after: Cursor) -> tuple[Dataset, Page[Upload]]:
    """Of dataset ``name``, the newest first.

    Raises:
        NotFound: no such dataset.
    """
    async with work(read_only=True) as w:
        dataset = await w.datasets.get(name)
        return dataset, await w.uploads.page(dataset, size=size, after=after)


async def list_upload_rows(work: Work, name: str, *, size: int, after: Cursor, result: Result | None) -> Page[Outcome]:
    """What became of each file of upload ``name``.

    Raises:
        NotFound: no such upload.
    """
    _, upload = await get_upload(work, name)
    async with work(read_only=True) as w:
        return await w.uploads.results(upload.upload_id, size=size, after=after, result=result)


async def delete_upload(work: Work, staging: Staging, name: str) -> None:
    """End and forget it; what it stored stays in the folder.

    Raises:
        NotFound: no such upload.
    """
    dataset_name, upload_id = _ids(name)
    async with work() as w:
        dataset = await w.datasets.get(dataset_name)
        upload = await w.uploads.get(dataset, upload_id, lock=True)
        if upload.sync_owed:
            # Nobody else knows of the files that it stored.
            locked = await w.datasets.get(dataset_name, lock=True)
            await w.datasets.put(locked.want_sync(at=w.now))
        await w.uploads.remove([upload_id])
        await w.commit()
    await asyncio.to_thread(staging.remove, upload_id)


async def create_demo(
    work: Work, stores: Stores, *, project: str, dataset_id: str, num_images: int, request_id: str
) -> tuple[Dataset, Upload]:
    """Create an empty dataset and want it filled with generated images.

    Raises:
        AlreadyExists: the name is taken by a dataset that was created otherwise.
        OutsideRoots, InvalidInput: see ``Stores.made``; or too many images are wanted.
    """
    if not 0 <= num_images <= MAX_DEMO_IMAGES:
        message = f"num_images must be 1 to {MAX_DEMO_IMAGES}, or left out for {DEMO_IMAGES}."
        raise InvalidInput(message, num_images=num_images, max_images=MAX_DEMO_IMAGES)
    dataset = await create_dataset(
        work,
        stores,
        project=project,
        dataset_id=dataset_id or DEMO_ID,
        description="Photographs of cards and forms that no camera took, generated by Inkwright.",
        place=Place(StorageType.LOCAL, ""),
        # The same id may have created another dataset, which is not to be filled.
        request_id=request_id and f"demo-{request_id}",
        allow_empty=True,
    )
    async with work() as w:
        dataset = await w.datasets.get(dataset.name, lock=True)
        # A call that was cut off between the two transactions is made whole by its repetition.
        for upload in (await w.uploads.page(dataset, size=1000, after=())).items:
            if upload.source is UploadSource.DEMO:
                return dataset, upload
        number = num_images or DEMO_IMAGES
        upload = Upload(new_id("up"), dataset.uid, "", "", number, w.now, w.now, source=UploadSource.DEMO, state=UploadState.PROCESSING)
        upload = replace(upload, received_bytes=number)
        w.uploads.add(upload, request_id="")
        await w.commit()
    return dataset, upload


def _ids(name: str) -> tuple[str, str]:
    ids = UPLOAD.parse(name)
    return DATASET.format(project=ids["project"], dataset=ids["dataset"]), ids["upload"]
