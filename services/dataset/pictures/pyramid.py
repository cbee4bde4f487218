"""Arithmetic of Deep Zoom pyramids and sizes of thumbnails. No I/O."""

from dataclasses import dataclass
from typing import Final

TILE_PX: Final = 512
THUMBNAIL_SIZES: Final = (64, 128, 256, 512, 1024)
"""Sizes that are made: a cache with every size that somebody asks for would hold each picture many times."""
DEFAULT_THUMBNAIL: Final = 256
_OVERVIEW_PX: Final = 2_500


@dataclass(frozen=True)
class Pyramid:
    """Of an upright image of this size in pixels, both at least 1."""

    width_px: int
    height_px: int

    @property
    def num_levels(self) -> int:
        """Level 0 is one pixel, each further one has twice the sides, the last one is the image."""
        return (max(self.width_px, self.height_px) - 1).bit_length() + 1

    def level_size(self, level: int) -> tuple[int, int]:
        """Width and height of a level in pixels."""
        by = 1 << (self.num_levels - 1 - level)
        return -(-self.width_px // by), -(-self.height_px // by)

    def holds(self, level: int, column: int, row: int) -> bool:
        """Whether there is such a tile."""
        if not 0 <= level < self.num_levels:
            return False
        width, height = self.level_size(level)
        return 0 <= column * TILE_PX < width and 0 <= row * TILE_PX < height

    def levels_with(self, level: int) -> tuple[int, int]:
        """First and last of the levels that are cut together with this one.

        What a viewer shows first comes out of a reduced decode, in a fraction of the time that the whole image takes.
        """
        last = self.num_levels - 1
        overview = next((one for one in range(last, 0, -1) if max(self.level_size(one)) <= _OVERVIEW_PX), 0)
        return (0, overview) if level <= overview else (overview + 1, last)


def thumbnail_size(size_px: int) -> int:
    """The size that is made where this one is asked for."""
    wanted = size_px if size_px > 0 else DEFAULT_THUMBNAIL
    return next((size for size in THUMBNAIL_SIZES if size >= wanted), THUMBNAIL_SIZES[-1])
