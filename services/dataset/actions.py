"""What can be done with datasets and their index: one function a verb."""

from collections.abc import Sequence

from libs.runtime.errors import AlreadyExists, InvalidInput
from libs.runtime.names import check_id, new_id
from libs.runtime.paging import Cursor, Page
from services.dataset.connection_check import Step, check_connection
from services.dataset.domain import Dataset, DatasetState, NoImages, Place, StorageType, check_description, index_work
from services.dataset.image import Image, ImageState, LabelState
from services.dataset.indexing.sync import holds_image
from services.dataset.store import DatasetWork, Work
from services.dataset.stores import Stores

MAX_REQUEST_ID = 64
MAX_NAMES = 500


async def create_dataset(
    work: Work,
    stores: Stores,
    *,
    project: str,
    dataset_id: str,
    description: str,
    place: Place,
    request_id: str,
    allow_empty: bool = False,
) -> Dataset:
    """Register a place; its first sync is wanted from then on.

    A folder is looked into, and made where ``allow_empty`` and it is missing; what holds no image then is READY as it is.
    OSS is not: rights that are missing are named by the sync, and by ``check_connection`` before.

    Raises:
        InvalidName, AlreadyExists: the name breaks the rule or is taken.
        StorageNotOffered, PathNotFound, OutsideRoots, NoImages: nothing can be indexed there.
        InvalidInput: the description or the request id is too long, or there is no such connection.
    """
    check_id(dataset_id, "dataset")
    check_description(description)
    check_request_id(request_id)
    async with work(read_only=True) as w:
        earlier = await w.datasets.created_by(project, request_id)
        if earlier is not None:
            return earlier
        await _check_free(w, project, dataset_id)
    if allow_empty:
        place = await stores.made(place, dataset_id)
    store = await stores.open(place)
    is_empty = (allow_empty or place.storage_type is StorageType.LOCAL) and not await holds_image(store)
    if is_empty and not allow_empty:
        raise NoImages(f"{place.path} holds no JPG, PNG or BMP image; put images there, or give another folder.", path=place.path)
    async with work() as w:
        # Another call may have been faster while the folder was looked at.
        earlier = await w.datasets.created_by(project, request_id)
        if earlier is not None:
            return earlier
        await _check_free(w, project, dataset_id)
        dataset = Dataset(
            uid=new_id("ds"),
            project=project,
            dataset_id=dataset_id,
            description=description,
            storage_type=place.storage_type,
            path=place.path,
            connection=place.connection,
            state=DatasetState.READY if is_empty else DatasetState.INDEXING,
            sync_wanted=not is_empty,
            create_time=w.now,
            update_time=w.now,
        )
        w.datasets.add(dataset, request_id=request_id)
        await w.note_origin(index_work(dataset.uid))
        await w.commit()
    return dataset


async def get_dataset(work: Work, name: str) -> Dataset:
    """Read one.

    Raises:
        NotFound: no such dataset.
    """
    async with work(read_only=True) as w:
        return await w.datasets.get(name)


async def check_dataset_connection(work: Work, stores: Stores, name: str) -> list[Step]:
    """Whether a dataset's images can be read now.

    Raises:
        NotFound: no such dataset.
    """
    return await check_connection(stores, (await get_dataset(work, name)).place)


async def list_datasets(work: Work, project: str, *, size: int, after: Cursor) -> Page[Dataset]:
    """In order of their ids."""
    async with work(read_only=True) as w:
        return await w.datasets.page(project, size=size, after=after)


async def describe_dataset(work: Work, name: str, *, description: str, etag: str) -> Dataset:
    """Change the description.

    Raises:
        NotFound: no such dataset.
        Conflict: the etag is stale.
        InvalidInput: the description is too long.
    """
    async with work() as w:
        dataset = await w.datasets.get(name, lock=True)
        dataset.check_etag(etag)
        described = dataset.describe(description, at=w.now)
        await w.datasets.put(described)
        await w.commit()
    return described


async def want_sync(work: Work, name: str) -> Dataset:
    """Ask the indexer for a sync.

    Raises:
        NotFound: no such dataset.
    """
    async with work() as w:
        dataset = (await w.datasets.get(name, lock=True)).want_sync(at=w.now)
        await w.datasets.put(dataset)
        await w.note_origin(index_work(dataset.uid))
        await w.commit()
    return dataset


async def list_images(
    work: Work,
    name: str,
    *,
    size: int,
    after: Cursor,
    state: ImageState | None,
    label_state: LabelState | None,
    key: str,
    image_ids: Sequence[str],
    even_trashed: bool = False,
) -> tuple[Dataset, Page[Image], int]:
    """In key order, with the number of all that match (of a search by key at most 10,000).

    Raises:
        NotFound: no such dataset.
        DatasetInTrash: it is there, and ``even_trashed`` is not given.
        InvalidInput: more than 500 ids.
    """
    if len(image_ids) > MAX_NAMES:
        raise InvalidInput(f"{len(image_ids)} names were given; ask for at most {MAX_NAMES} at once.", num_names=len(image_ids))
    async with work(read_only=True) as w:
        dataset = await w.datasets.get(name, even_trashed=even_trashed)
        page, total = await w.images.page(
            dataset, size=size, after=after, state=state, label_state=label_state, key=key, image_ids=image_ids
        )
    return dataset, page, total


async def get_image(work: Work, name: str, image_id: str, *, even_trashed: bool = False) -> tuple[Dataset, Image]:
    """One row of the index of dataset ``name``.

    Raises:
        NotFound: no such dataset or image.
        DatasetInTrash: it is there, and ``even_trashed`` is not given.
    """
    async with work(read_only=True) as w:
        dataset = await w.datasets.get(name, even_trashed=even_trashed)
        return dataset, await w.images.get(dataset, image_id)


def check_request_id(request_id: str) -> None:
    """Not too long.

    Raises:
        InvalidInput: it is.
    """
    if len(request_id) > MAX_REQUEST_ID:
        raise InvalidInput(f"The request_id has {len(request_id)} characters; use at most {MAX_REQUEST_ID}.", field="request_id")


async def _check_free(w: DatasetWork, project: str, dataset_id: str) -> None:
    taken = await w.datasets.named(project, dataset_id)
    if taken is None:
        return
    if taken.is_trashed:
        message = f"{taken.name} is in the trash and keeps its name; restore or purge it, or choose another name."
        raise AlreadyExists(message, name=taken.name)
    raise AlreadyExists(f"There is a dataset {taken.name} already; choose another name.", name=taken.name)
