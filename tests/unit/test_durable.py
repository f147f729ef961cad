"""A file that is kept is on disk, whole, and so is its name: what a power cut may take is neither."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from clients.home import Home
from privacy.store import durable


def names_on_disk(folder: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> list[tuple[str, list[str]]]:
    """What is synced, in order, and the names that the folder has at that moment."""
    real, seen = os.fsync, list[tuple[str, list[str]]]()

    def watched(descriptor: int) -> None:
        seen.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), sorted(path.name for path in folder.iterdir())))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", watched)
        act()
    return seen


@pytest.mark.parametrize("keep", [Home.keep, durable.put], ids=["a node's file", "any"])
def test_the_folder_is_synced_once_the_file_has_its_name(
    keep: Callable[[Path, bytes], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.opening"
    seen = names_on_disk(tmp_path, monkeypatch, lambda: keep(path, b"whole"))
    assert seen == [(f"{path}.partial", ["run.opening.partial"]), (str(tmp_path), ["run.opening"])]
    assert path.read_bytes() == b"whole" and path.stat().st_mode & 0o077 == 0


def test_a_new_keys_name_is_on_disk_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    seen = names_on_disk(folder, monkeypatch, lambda: Home(tmp_path).key("identity"))
    assert seen[-1] == (str(folder), ["identity.key"])


def test_control_a_file_whose_folder_is_not_synced_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "sync", lambda _: None)
    seen = names_on_disk(tmp_path, monkeypatch, lambda: durable.put(tmp_path / "run.opening", b"whole"))
    assert [place for place, _ in seen] == [str(tmp_path / "run.opening.partial")]


def test_a_file_that_is_written_is_all_that_is_there(tmp_path: Path) -> None:
    path = durable.put(tmp_path / "deep" / "result.json", b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["result.json"]


def test_a_write_that_fails_leaves_the_old_file_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = durable.put(tmp_path / "result.json", b"old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        durable.put(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]
