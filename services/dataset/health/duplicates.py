"""Groups of images that show the same, and whether they cross what should be apart.

A million images take about 200 MB for the seconds in which groups are found, 40 MB after that.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.near_duplicates import first_of_groups
from services.dataset.health.report import Code, Found


class Member(NamedTuple):
    """A usable image that could be looked at."""

    key: str
    image_id: str
    is_labeled: bool
    dhash: int
    content: int


class Groups:
    """All images of a dataset, added in key order; an image is named by its number in that order."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.uint64]] = []
        self._folders: list[NDArray[np.int32]] = []
        self._last_folder: str | None = None
        self._num_folders = 0

    def add(self, members: Sequence[Member]) -> None:
        """The next images."""
        rows = [(one.dhash, one.content, one.is_labeled) for one in members]
        self._parts.append(np.array(rows, dtype=np.uint64))
        self._folders.append(np.array([self._folder(one.key) for one in members], dtype=np.int32))

    def find(self) -> None:
        """Once all are added."""
        all_N3 = np.concatenate(self._parts) if self._parts else np.zeros((0, 3), dtype=np.uint64)
        folders = np.concatenate(self._folders) if self._folders else np.zeros(0, dtype=np.int32)
        self._parts, self._folders = [], []
        labeled = all_N3[:, 2].astype(np.int32)
        self._near = first_of_groups(all_N3[:, 0])
        self._near_sizes = np.bincount(self._near, minlength=len(self._near))
        _, first, which = np.unique(all_N3[:, 1], return_index=True, return_inverse=True)
        self._same = first[which]
        self._same_sizes = np.bincount(self._same, minlength=len(self._same))
        self._mixes_folders = _differs(self._near, folders)
        self._mixes_labels = _differs(self._near, labeled)

    def findings(self, number: int, members: Sequence[Member]) -> list[Found]:
        """Of the images from ``number`` on."""
        found: list[Found] = []
        for index, member in enumerate(members, start=number):
            near, same = int(self._near[index]), int(self._same[index])
            num_near, num_same = int(self._near_sizes[near]), int(self._same_sizes[same])
            codes = {
                Code.EXACT_DUPLICATE: (same, num_same, num_same > 1),
                Code.NEAR_DUPLICATE: (near, num_near, num_near > num_same),
                Code.CROSSES_FOLDERS: (near, num_near, bool(self._mixes_folders[near])),
                Code.CROSSES_LABELS: (near, num_near, bool(self._mixes_labels[near])),
            }
            for code, (group, size, is_so) in codes.items():
                if is_so:
                    detail = f"group {group + 1} of {size} images"
                    found.append(Found(code, member.image_id, member.key, detail, f"{group:010} {member.key}"))
        return found

    def _folder(self, key: str) -> int:
        folder, slash, _ = key.partition("/")
        if not slash:
            return 0
        # In key order all images below one folder come one after the other.
        if folder != self._last_folder:
            self._last_folder = folder
            self._num_folders += 1
        return self._num_folders


def _differs(groups: NDArray[np.int64], values: NDArray[np.int32]) -> NDArray[np.bool_]:
    """By number of a group's first image, whether not all of the group have the same value."""
    differs = np.zeros(len(groups), dtype=np.bool_)
    differs[groups[values != values[groups]]] = True
    return differs
