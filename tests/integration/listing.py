"""Filling a folder, and listing a store to its end."""

from pathlib import Path

from libs.runtime.object_store import ObjectInfo, ObjectStore


def fill(root: Path, *keys: str) -> None:
    """Files whose content is their key."""
    for key in keys:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(key.encode())


async def all_keys(store: ObjectStore, *, prefix: str = "", limit: int = 1000) -> list[str]:
    """Every key, page by page."""
    found: list[ObjectInfo] = []
    after: str | None = None
    while True:
        page = await store.list(prefix, after=after, limit=limit)
        assert len(page.items) <= limit
        found += page.items
        if page.next_after is None:
            return [item.key for item in found]
        after = page.next_after
