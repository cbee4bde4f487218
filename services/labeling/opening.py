"""Pages follow the dataset's index: opened, refreshed and closed here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from libs.runtime.errors import Conflict
from libs.runtime.names import DATASET, IMAGE, new_id
from services.labeling.domain import Edit, IndexedImage, LabelFile, PageState, open_page, refresh_page
from services.labeling.peers import Peers
from services.labeling.store import LabelingWork, Work


@dataclass(frozen=True)
class Sighting:
    """What was seen of some images of one dataset, to be taken over in a unit of work.

    Args:
        images: those that are there and usable.
        files: what lies beside each, by image id.
        revisions: of the pages there were before looking, by image id.
    """

    project: str
    dataset_id: str
    asked: tuple[str, ...]
    images: tuple[IndexedImage, ...]
    files: dict[str, LabelFile]
    revisions: dict[str, int]


async def look(work: Work, peers: Peers, names: Sequence[str]) -> Sighting:
    """Ask the dataset service about images of one dataset, at most 500.

    Raises:
        NoReadyInstance, Expired: it is away.
    """
    ids = [IMAGE.parse(name) for name in names]
    project, dataset_id = ids[0]["project"], ids[0]["dataset"]
    dataset = DATASET.format(project=project, dataset=dataset_id)
    asked = tuple(one["image"] for one in ids)
    async with work(read_only=True) as w:
        pages = await w.pages.many(project, dataset_id, asked)
    images = [image for image in await peers.images(dataset, names) if image.is_usable]
    files = await peers.label_files(dataset, images)
    there = tuple(image for image in images if image.image_id in files)
    return Sighting(project, dataset_id, asked, there, files, {image_id: page.revision for image_id, page in pages.items()})


async def take_over(w: LabelingWork, sighting: Sighting, *, dataset_deleted: bool = False) -> None:
    """Make the pages of the images what was seen: open new ones, refresh others, close those without an image.

    Raises:
        Conflict: a page changed since; look again.
    """
    pages = await w.pages.many(sighting.project, sighting.dataset_id, sighting.asked, lock=True)
    for page in pages.values():
        if page.revision != sighting.revisions.get(page.image_id):
            raise Conflict(f"{page.name} changed while its image was looked at.", name=page.name)
    present = {image.image_id: image for image in sighting.images}
    for image_id in sighting.asked:
        page_before, image = pages.get(image_id), present.get(image_id)
        if page_before is None:
            if image is not None:
                edit = open_page(new_id("pg"), sighting.project, sighting.dataset_id, image, sighting.files[image_id], at=w.now)
                await w.pages.save(edit)
            continue
        edit = Edit(page_before, await w.pages.content(page_before))
        if dataset_deleted or (image is None and page_before.state is not PageState.CLOSED):
            edit = replace(edit, page=page_before.closed(dataset_deleted=dataset_deleted, at=w.now))
        if image is not None:
            edit = refresh_page(edit.page, edit.content, image, sighting.files[image_id], at=w.now)
        if edit.page != page_before:
            await w.pages.save(edit)
