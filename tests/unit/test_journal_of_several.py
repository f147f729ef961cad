"""A journal that several processes open: who was overtaken is told so, and can replace nothing that another has written."""

from __future__ import annotations

from pathlib import Path

import pytest

from federation.carriage.journal_file import JournalFile, Overtaken
from federation.kernel.secret import Secret

KEY = Secret(bytes(range(32)))


def begun(path: Path, *, shared: bool = False) -> JournalFile:
    journal = JournalFile(path, KEY, shared=shared)
    assert journal.load() is None
    journal.answered(-1, b"", b"", b"first", {})
    return journal


def opened(path: Path, *, shared: bool = False) -> JournalFile:
    journal = JournalFile(path, KEY, shared=shared)
    assert journal.load() is not None
    return journal


@pytest.mark.parametrize("shared", [False, True])
def test_who_was_overtaken_notices_and_who_wrote_last_does_not(tmp_path: Path, shared: bool) -> None:
    first = begun(tmp_path / "run.db", shared=shared)
    second = opened(tmp_path / "run.db", shared=shared)
    for number in range(4):
        writer, other = (first, second) if number % 2 else (second, first)
        writer.load()
        assert not writer.overtaken()
        writer.answered(number, b"batch", b"reply %d" % number, None, {})
        assert other.overtaken() and not writer.overtaken()
    record = first.load()
    assert record is not None and record.number == 3 and record.reply == b"reply 3" and len(record.entries) == 4
    assert sorted(path.name for path in tmp_path.iterdir() if shared) == (["run.db"] if shared else [])
    first.close()
    second.close()


def test_a_write_on_top_of_what_was_not_read_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    first = begun(tmp_path / "run.db")
    second = opened(tmp_path / "run.db")
    first.keep("stage:key", b"the key that was used")
    first.answered(0, b"batch", b"sent", None, {})
    for write in (
        lambda: second.keep("stage:key", b"another key"),
        lambda: second.answered(0, b"batch", b"not sent", None, {}),
        lambda: second.answered(0, b"", b"not sent", b"another snapshot", {}),
    ):
        with pytest.raises(Overtaken):
            write()
    record = second.load()
    assert record is not None and record.reply == b"sent" and record.effects == {"stage:key": b"the key that was used"}
    second.answered(1, b"batch", b"sent too", None, {})
    assert first.overtaken()


def test_control_without_that_a_key_that_was_used_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = begun(tmp_path / "run.db")
    second = opened(tmp_path / "run.db")
    monkeypatch.setattr(JournalFile, "_require_latest", lambda _: None)
    first.keep("stage:key", b"the key that was used")
    second.keep("stage:key", b"another key")
    record = first.load()
    assert record is not None and record.effects == {"stage:key": b"another key"}


def test_a_journal_that_is_gone_counts_as_overtaken(tmp_path: Path) -> None:
    journal = begun(tmp_path / "run.db")
    (tmp_path / "run.db").unlink()
    assert journal.overtaken()
