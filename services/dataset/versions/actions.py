"""What can be done with versions and test sets: one function a verb."""

from collections.abc import Sequence
from dataclasses import dataclass

from inkwright.dataset.v1.dataset_events_pb2 import VersionFrozen
from libs.runtime.errors import InvalidInput
from libs.runtime.names import DATASET, VERSION
from libs.runtime.paging import Cursor, Page
from services.dataset.actions import MAX_NAMES, check_request_id
from services.dataset.domain import Dataset
from services.dataset.store import DatasetWork, Work
from services.dataset.versions.diff import DiffCounts, Difference
from services.dataset.versions.version import MAX_FURTHER, Version, VersionEntry, VersionFilter


@dataclass(frozen=True)
class TestSetChange:
    """What a change of a test set did; ``num_test`` is how many images it has now."""

    __test__ = False

    num_changed: int
    num_test: int


async def freeze_dataset(
    work: Work, name: str, *, further: Sequence[str], filter: VersionFilter, request_id: str
) -> tuple[Dataset, Version]:
    """Freeze what the filter takes of the index, and of those of further datasets of the project.

    Raises:
        NotFound: no such dataset.
        DatasetNotReady: no sync of one of them has finished.
        InvalidInput: the request id is missing or too long, the filter is wrong, or a further dataset is not one of the project's.
    """
    if not request_id:
        raise InvalidInput("Give a request_id of 1 to 64 characters, so that a repeated call freezes only once.", field="request_id")
    check_request_id(request_id)
    filter.check()
    if len(further) > MAX_FURTHER:
        raise InvalidInput(f"{len(further)} further datasets were given; use at most {MAX_FURTHER}.", num_datasets=len(further))
    for other in further:
        _check_project(DATASET.parse(other)["project"], DATASET.parse(name)["project"], other)
    async with work() as w:
        # In order of their names: two calls that freeze the same datasets must not wait for each other.
        datasets = {other: await w.datasets.get(other, lock=True) for other in sorted({name, *further})}
        dataset = datasets[name]
        version = await w.versions.frozen_by(dataset, request_id)
        if version is None:
            for one in datasets.values():
                one.check_freezable()
            before = await w.versions.page(dataset, size=1, after=())
            version = await w.versions.freeze(dataset, list(datasets.values()), filter, request_id=request_id, at=w.now)
            for old in before.items:
                # The difference that is asked for most; of a million images it takes seconds that nobody should wait for.
                await w.version_diffs.counts(old, version)
            fact = VersionFrozen(
                version=dataset.version_name(version.version_id),
                digest=version.digest,
                num_images=version.num_images,
                num_labeled=version.num_labeled,
                request_id=request_id,
            )
            w.tell(fact, resource="version", id=version.version_id)
            await w.commit()
    return dataset, version


async def get_version(work: Work, name: str) -> tuple[Dataset, Version]:
    """Read one.

    Raises:
        NotFound: no such dataset or version.
    """
    async with work(read_only=True) as w:
        return await _version(w, name)


async def list_versions(work: Work, name: str, *, size: int, after: Cursor) -> tuple[Dataset, Page[Version]]:
    """Newest first.

    Raises:
        NotFound: no such dataset.
    """
    async with work(read_only=True) as w:
        dataset = await w.datasets.get(name)
        return dataset, await w.versions.page(dataset, size=size, after=after)


async def list_version_entries(work: Work, name: str, *, size: int, after: Cursor) -> tuple[Version, Page[VersionEntry]]:
    """The manifest of a version, by dataset, then in key order.

    Raises:
        NotFound: no such dataset or version.
    """
    async with work(read_only=True) as w:
        _, version = await _version(w, name)
        return version, await w.versions.entries(version, size=size, after=after)


async def diff_versions(work: Work, name: str, other: str, *, size: int, after: Cursor) -> tuple[DiffCounts, Page[Difference]]:
    """What changed from version ``name`` to version ``other``.

    Raises:
        NotFound: no such version.
        InvalidInput: they are of different projects.
    """
    _check_project(VERSION.parse(other)["project"], VERSION.parse(name)["project"], other)
    async with work() as w:
        (_, old), (_, new) = await _version(w, name), await _version(w, other)
        counts = await w.version_diffs.counts(old, new)
        page = await w.version_diffs.page(old, new, size=size, after=after)
        await w.commit()
    return counts, page


async def set_test_images(work: Work, name: str, *, is_test: bool, image_ids: Sequence[str], key_prefix: str) -> TestSetChange:
    """Take images, or all whose keys begin with a prefix, into the test set or out of it.

    Raises:
        NotFound: no such dataset or image.
        InvalidInput: neither images nor a prefix, both, or more than 500 images.
    """
    if bool(image_ids) == bool(key_prefix):
        raise InvalidInput("Name images (names or keys), or give a key_prefix, not both.", field="key_prefix")
    if len(image_ids) > MAX_NAMES:
        raise InvalidInput(f"{len(image_ids)} images were given; name at most {MAX_NAMES} at once.", num_names=len(image_ids))
    async with work() as w:
        dataset = await w.datasets.get(name, lock=True)
        await w.test_sets.check_known(dataset, image_ids)
        change = w.test_sets.add if is_test else w.test_sets.remove
        num_changed = await change(dataset, image_ids, key_prefix)
        num_test = await w.test_sets.count(dataset)
        await w.commit()
    return TestSetChange(num_changed, num_test)


async def list_test_images(work: Work, name: str, *, size: int, after: Cursor) -> tuple[Dataset, Page[tuple[str, str]], int]:
    """Ids and keys of the test set in key order, and how many it has.

    Raises:
        NotFound: no such dataset.
    """
    async with work(read_only=True) as w:
        dataset = await w.datasets.get(name)
        return dataset, await w.test_sets.page(dataset, size=size, after=after), await w.test_sets.count(dataset)


async def _version(w: DatasetWork, name: str) -> tuple[Dataset, Version]:
    ids = VERSION.parse(name)
    dataset = await w.datasets.get(DATASET.format(project=ids["project"], dataset=ids["dataset"]))
    return dataset, await w.versions.get(dataset, ids["version"])


def _check_project(project: str, wanted: str, name: str) -> None:
    if project != wanted:
        raise InvalidInput(f"{name} is not of projects/{wanted}; both must belong to one project.", name=name)
