"""Compiled graphs between processes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from libs.ocrkit.engines.kept import KeptGraphs


def test_what_is_kept_is_found_by_another(tmp_path: Path) -> None:
    KeptGraphs(tmp_path / "new" / "folder").keep("a", b"compiled")
    others = KeptGraphs(tmp_path / "new" / "folder")
    assert others.find("a") == b"compiled"
    assert others.find("b") is None
    others.keep("a", b"compiled anew")
    assert KeptGraphs(tmp_path / "new" / "folder").find("a") == b"compiled anew"
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["a"]


@pytest.mark.parametrize("harm", [lambda data: data[:-1], lambda data: b"", lambda data: data[:-1] + b"?"])
def test_a_damaged_file_counts_as_none(tmp_path: Path, harm: Callable[[bytes], bytes]) -> None:
    kept = KeptGraphs(tmp_path)
    kept.keep("a", b"compiled")
    (tmp_path / "a").write_bytes(harm((tmp_path / "a").read_bytes()))
    assert kept.find("a") is None


def test_those_not_used_for_longest_make_room(tmp_path: Path) -> None:
    kept = KeptGraphs(tmp_path, max_bytes=400)
    for age, key in enumerate("dcba"):
        kept.keep(key, bytes(60))
        os.utime(tmp_path / key, (1000 - age, 1000 - age))
    assert kept.find("a") == bytes(60)
    kept.keep("e", bytes(60))
    assert {path.name for path in tmp_path.iterdir()} == {"a", "c", "d", "e"}


def test_where_nothing_can_be_kept_nothing_is_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    kept = KeptGraphs(tmp_path / "file" / "folder")
    kept.keep("a", b"compiled")
    assert kept.find("a") is None


def test_the_folder_is_the_one_for_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    KeptGraphs().keep("a", b"compiled")
    assert (tmp_path / "inkwright" / "compiled" / "a").is_file()


def test_a_user_without_a_home_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    kept = KeptGraphs()
    kept.keep("a", b"compiled")
    assert kept.find("a") is None
    assert not list(tmp_path.iterdir())
