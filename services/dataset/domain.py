"""What a dataset is: a folder of images and where its index stands. No I/O, no clock, no random."""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from libs.runtime.errors import Conflict, InvalidInput, WrongState
from libs.runtime.names import DATASET, IMAGE, LABELS, VERSION
from services.dataset.image import Image, ImageState, LabelState

MAX_DESCRIPTION: Final = 1_000
DEFAULT_CONNECTION: Final = "default"
"""To OSS, of datasets that name none."""


class NoImages(InvalidInput):
    """The folder holds no image."""

    reason = "NO_IMAGES"


class StorageNotOffered(InvalidInput):
    """A storage type this installation does not offer."""

    reason = "STORAGE_NOT_OFFERED"


class DatasetNotReady(WrongState):
    """No sync has finished yet."""

    reason = "DATASET_NOT_READY"


class StorageType(StrEnum):
    """Where the images lie."""

    LOCAL = "LOCAL"
    OSS = "OSS"


@dataclass(frozen=True)
class Place:
    """Where images lie.

    Args:
        storage_type: what kind of store.
        path: a folder, or ``oss://bucket/prefix/``.
        connection: name of the operator's connection to OSS; empty for a folder.
    """

    storage_type: StorageType
    path: str
    connection: str = ""


class DatasetState(StrEnum):
    """See ``Dataset.State`` in the proto."""

    INDEXING = "INDEXING"
    READY = "READY"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Counts:
    """Sums over the index; kept up to date image by image."""

    num_images: int = 0
    num_labeled: int = 0
    num_unlabeled: int = 0
    num_rejected: int = 0
    num_boxes: int = 0
    num_with_findings: int = 0
    num_submitted: int = 0
    """Of the labeled ones."""
    num_returned: int = 0
    """Of the labeled ones."""

    def exchange(self, old: Image | None, new: Image | None) -> "Counts":
        """The counts after ``old`` (None: a new image) became ``new`` (None: it is gone)."""
        counts = self
        for image, sign in ((old, -1), (new, 1)):
            if image is not None:
                counts = counts._plus(image, sign)
        return counts

    def _plus(self, image: Image, sign: int) -> "Counts":
        labeled = image.label_state is not LabelState.UNLABELED
        return Counts(
            num_images=self.num_images + sign,
            num_labeled=self.num_labeled + sign * (image.is_usable and labeled),
            num_unlabeled=self.num_unlabeled + sign * (image.is_usable and not labeled),
            num_rejected=self.num_rejected + sign * (not image.is_usable),
            num_boxes=self.num_boxes + sign * image.num_boxes,
            num_with_findings=self.num_with_findings + sign * bool(image.findings),
            num_submitted=self.num_submitted + sign * (image.is_usable and image.label_state is LabelState.SUBMITTED),
            num_returned=self.num_returned + sign * (image.is_usable and image.label_state is LabelState.RETURNED),
        )

    def of_kind(self, state: ImageState, label_state: LabelState) -> int:
        """How many images are in both states."""
        match state, label_state:
            case ImageState.REJECTED, LabelState.UNLABELED:
                return self.num_rejected
            case ImageState.REJECTED, _:
                # Only for the moment between a submission and the news that the image cannot be used any more.
                return 0
            case _, LabelState.UNLABELED:
                return self.num_unlabeled
            case _, LabelState.LABELED:
                return self.num_labeled - self.num_submitted - self.num_returned
            case _, LabelState.SUBMITTED:
                return self.num_submitted
            case _:
                return self.num_returned


@dataclass(frozen=True)
class Progress:
    """How far a running sync has come; ``cursor`` is the key up to which all is done, where another process goes on."""

    num_seen: int = 0
    num_changed: int = 0
    images_per_second: float = 0.0
    cursor: str = ""


@dataclass(frozen=True)
class Dataset:
    """A folder of images and where its index stands.

    Args:
        uid: never used again, other than the name.
        sync_wanted: a sync was asked for and has not finished.
        revision: goes up with every change that the etag stands for.
    """

    uid: str
    project: str
    dataset_id: str
    description: str
    storage_type: StorageType
    path: str
    state: DatasetState
    create_time: datetime
    update_time: datetime
    connection: str = ""
    error_message: str = ""
    counts: Counts = field(default_factory=Counts)
    sync_number: int = 0
    sync_wanted: bool = True
    progress: Progress = field(default_factory=Progress)
    revision: int = 1
    trash_time: datetime | None = None
    """When it was moved to the trash."""
    purge_time: datetime | None = None
    """When it is deleted for good; given where ``trash_time`` is."""

    @property
    def is_trashed(self) -> bool:
        """Whether it is in the trash."""
        return self.trash_time is not None

    @property
    def name(self) -> str:
        """``projects/{project}/datasets/{dataset}``."""
        return DATASET.format(project=self.project, dataset=self.dataset_id)

    @property
    def place(self) -> Place:
        """Where its images lie."""
        return Place(self.storage_type, self.path, self.connection)

    @property
    def etag(self) -> str:
        """Stands for this revision of this dataset."""
        return hashlib.sha256(f"{self.uid}/{self.revision}".encode()).hexdigest()[:16]

    def image_name(self, image_id: str) -> str:
        """``projects/{project}/datasets/{dataset}/images/{image}``."""
        return IMAGE.format(project=self.project, dataset=self.dataset_id, image=image_id)

    def labels_name(self, image_id: str) -> str:
        """``projects/{project}/datasets/{dataset}/images/{image}/labels``."""
        return LABELS.format(project=self.project, dataset=self.dataset_id, image=image_id)

    def version_name(self, version_id: str) -> str:
        """``projects/{project}/datasets/{dataset}/versions/{version}``."""
        return VERSION.format(project=self.project, dataset=self.dataset_id, version=version_id)

    def check_etag(self, etag: str) -> None:
        """Accept an empty etag or the current one.

        Raises:
            Conflict: another one.
        """
        if etag and etag != self.etag:
            raise Conflict(f"{self.name} was changed by somebody else; read it again, then repeat.", name=self.name)

    def describe(self, description: str, *, at: datetime) -> "Dataset":
        """Change the description.

        Raises:
            InvalidInput: more than 1,000 characters.
        """
        return replace(self, description=check_description(description), revision=self.revision + 1, update_time=at)

    def want_sync(self, *, at: datetime) -> "Dataset":
        """Ask for a sync; one that is wanted already is the same one."""
        if self.sync_wanted:
            return self
        state = DatasetState.INDEXING if self.sync_number == 0 else self.state
        return replace(self, sync_wanted=True, state=state, progress=Progress(), revision=self.revision + 1, update_time=at)

    def trashed(self, *, at: datetime, until: datetime) -> "Dataset":
        """In the trash until then."""
        return replace(self, trash_time=at, purge_time=until, revision=self.revision + 1, update_time=at)

    def restored(self, *, at: datetime) -> "Dataset":
        """Out of the trash."""
        return replace(self, trash_time=None, purge_time=None, revision=self.revision + 1, update_time=at)

    def counted(self, old: Image | None, new: Image | None) -> "Dataset":
        """With the counts after one image changed."""
        return replace(self, counts=self.counts.exchange(old, new))

    def moved_on(self, progress: Progress) -> "Dataset":
        """A sync came further."""
        return replace(self, progress=progress)

    def synced(self, *, at: datetime) -> "Dataset":
        """The sync is finished."""
        return replace(
            self,
            state=DatasetState.READY,
            error_message="",
            sync_number=self.sync_number + 1,
            sync_wanted=False,
            progress=Progress(),
            revision=self.revision + 1,
            update_time=at,
        )

    def sync_failed(self, message: str, *, at: datetime) -> "Dataset":
        """The folder could not be read; the index stays as it is."""
        return replace(
            self,
            state=DatasetState.FAILED,
            error_message=message,
            sync_wanted=False,
            progress=Progress(),
            revision=self.revision + 1,
            update_time=at,
        )

    def check_freezable(self) -> None:
        """A version can be frozen once a sync has finished.

        Raises:
            DatasetNotReady: none has.
        """
        if self.sync_number == 0:
            message = f"{self.name} is {self.state}: no sync of it has finished. Wait until it is READY, then freeze it."
            raise DatasetNotReady(message, name=self.name, state=self.state)


def index_work(uid: str) -> str:
    """What the indexer's work on a dataset is called where its origin is noted."""
    return f"index/{uid}"


def check_description(description: str) -> str:
    """Return it.

    Raises:
        InvalidInput: more than 1,000 characters.
    """
    if len(description) > MAX_DESCRIPTION:
        message = f"The description has {len(description)} characters; use at most {MAX_DESCRIPTION}."
        raise InvalidInput(message, field="description", length=len(description))
    return description
