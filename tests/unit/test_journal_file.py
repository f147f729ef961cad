"""A journal on disk shows nothing, takes no foreign row, and after kill -9 between any two batches is whole."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from federation.carriage import journal_file
from federation.carriage.journal_file import JournalFile
from federation.carriage.sealed_file import SealedFile
from federation.kernel.errors import DataError
from federation.kernel.journal import Journal, MemoryJournal
from federation.kernel.secret import Secret

KEY, OTHER = Secret(bytes(range(32))), Secret(bytes(32))
CANARY = b"canary of a snapshot, batch, reply or effect"


def filled(journal: Journal) -> Journal:
    """A stage that began at batch 2, and two batches since."""
    journal.answered(-1, b"", b"", CANARY + b" first", {})
    journal.answered(0, CANARY + b" batch 0", CANARY + b" reply 0", None, {})
    journal.keep("old:", CANARY + b" old effect")
    journal.answered(1, b"", CANARY + b" reply 1", CANARY + b" second", {"fit 1:kept": CANARY + b" carried"})
    journal.answered(2, CANARY + b" batch 2", CANARY + b" reply 2", None, {})
    journal.keep("fit 1:new", CANARY + b" effect")
    journal.answered(3, CANARY + b" batch 3", CANARY + b" reply 3", None, {})
    return journal


def rows(path: Path, statement: str, *values: object) -> None:
    """Somebody with the disk and without the key."""
    with sqlite3.connect(path) as db:
        for part in statement.split(";"):
            db.execute(part, values)
    db.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    filled(JournalFile(tmp_path / "journal" / "run.db", KEY))
    return tmp_path / "journal" / "run.db"


def test_on_disk_and_in_memory_a_journal_keeps_the_same(path: Path) -> None:
    assert JournalFile(path, KEY).load() == filled(MemoryJournal()).load()
    assert JournalFile(path.with_name("none.db"), KEY).load() is None


@pytest.mark.parametrize("piece", [1, 7, 40, 1000])
def test_a_value_in_pieces_is_the_value_and_none_can_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(journal_file, "PIECE", piece)
    path = tmp_path / "run.db"
    filled(JournalFile(path, KEY))
    filled(JournalFile(path, KEY))  # once more over what is there: shorter values leave nothing of longer ones
    assert JournalFile(path, KEY).load() == filled(MemoryJournal()).load()
    with sqlite3.connect(path) as db:
        pieces = db.execute("SELECT name, piece FROM rest").fetchall()
    db.close()
    print(f"{len(pieces)} further pieces of at most {piece} bytes")
    assert bool(pieces) == (piece < 1000)
    for name, number in pieces[:: max(1, len(pieces) // 9)]:
        copy = tmp_path / f"without-{name.replace(':', '-').replace(' ', '-')}-{number}.db"
        with sqlite3.connect(path) as source, sqlite3.connect(copy) as target:
            source.backup(target)
        source.close()
        target.close()
        rows(copy, "DELETE FROM rest WHERE name = ? AND piece = ?", name, number)
        with pytest.raises(DataError, match="does not decrypt"):
            JournalFile(copy, KEY).load()


def test_what_is_stored_does_not_show_and_nobody_else_may_open_it(path: Path) -> None:
    files = list(path.parent.iterdir())
    assert path in files
    for file in files:
        assert CANARY[:12] not in file.read_bytes(), file.name
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_control_stored_unsealed_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JournalFile, "_seal", lambda _self, _name, value: value)
    filled(JournalFile(tmp_path / "run.db", KEY))
    assert any(CANARY[:12] in file.read_bytes() for file in tmp_path.iterdir())


def test_another_key_opens_nothing_and_no_value_is_quoted(path: Path) -> None:
    with pytest.raises(DataError, match="does not decrypt") as caught:
        JournalFile(path, OTHER).load()
    assert CANARY.decode() not in str(caught.value)


def test_what_is_given_with_a_batch_is_kept_beside_the_effects_of_its_stage(tmp_path: Path) -> None:
    journal = JournalFile(tmp_path / "run.db", KEY)
    journal.answered(-1, b"", b"", b"snapshot", {})
    journal.keep("fit 1:new", b"effect")
    for number in (0, 1):
        journal.answered(number, b"batch", b"reply", None, {"sent": b"after %d" % number})
    journal.close()
    record = JournalFile(tmp_path / "run.db", KEY).load()
    assert record is not None and record.effects == {"fit 1:new": b"effect", "sent": b"after 1"}


TAMPER = {
    "two batches exchanged": "UPDATE entry SET number = -number; UPDATE entry SET number = 5 + number",
    "snapshot and reply exchanged": "UPDATE kept SET value = (SELECT value FROM kept other WHERE other.name <> kept.name)",
    "an effect under another label": "UPDATE effect SET label = 'fit 1:other' WHERE label = 'fit 1:new'",
    "an effect of another": "UPDATE effect SET value = (SELECT value FROM effect other WHERE other.label <> effect.label)",
    "a batch under another number": "UPDATE entry SET number = 4 WHERE number = 3",
    "a batch left out": "DELETE FROM entry WHERE number = 2",
    "the last batch left out": "DELETE FROM entry WHERE number = 3",
    "all batches left out": "DELETE FROM entry",
    "a batch twice": "INSERT INTO entry SELECT 4, value FROM entry WHERE number = 3",
    "no reply": "DELETE FROM kept WHERE name = 'reply'",
    "no snapshot": "DELETE FROM kept WHERE name = 'snapshot'",
    "a bit flipped": "UPDATE entry SET value = CAST(substr(value, 1, 20) || 'x' || substr(value, 22) AS BLOB) WHERE number = 2",
    "a value cut off": "UPDATE entry SET value = substr(value, 1, 5) WHERE number = 2",
    "an empty value": "UPDATE entry SET value = x''",
}


@pytest.mark.parametrize("how", TAMPER)
def test_a_row_that_was_touched_is_refused(path: Path, how: str) -> None:
    assert JournalFile(path, KEY).load() is not None
    rows(path, TAMPER[how])
    with pytest.raises(DataError):
        JournalFile(path, KEY).load()


def test_control_without_names_in_the_seal_exchanged_batches_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seal, unseal = JournalFile._seal, JournalFile._unseal
    monkeypatch.setattr(JournalFile, "_seal", lambda self, _name, value: seal(self, "", value))
    monkeypatch.setattr(JournalFile, "_unseal", lambda self, _name, blob: unseal(self, "", blob))
    filled(JournalFile(tmp_path / "run.db", KEY))
    rows(tmp_path / "run.db", TAMPER["two batches exchanged"])
    record = JournalFile(tmp_path / "run.db", KEY).load()
    assert record is not None
    assert record.entries == [CANARY + b" batch 3", CANARY + b" batch 2"]


def test_a_row_of_another_run_does_not_decrypt_under_its_own_key(path: Path) -> None:
    rows(path, "UPDATE entry SET value = ? WHERE number = 2", JournalFile(path, OTHER)._seal("entry:2", b"forged"))
    with pytest.raises(DataError):
        JournalFile(path, KEY).load()


def test_a_write_that_fails_halfway_leaves_what_was(path: Path) -> None:
    journal = JournalFile(path, KEY)
    before = journal.load()
    with pytest.raises(TypeError):
        journal.answered(4, b"", b"reply", b"snapshot", {"a": b"fine", "b": None})  # type: ignore[dict-item]  # after rows were deleted
    assert journal.load() == before == JournalFile(path, KEY).load()
    journal.answered(4, b"batch 4", b"reply 4", None, {})
    record = JournalFile(path, KEY).load()
    assert record is not None
    assert record.number == 4


_WRITER = """
import sys
from pathlib import Path
from federation.carriage import journal_file
from federation.carriage.journal_file import JournalFile
from federation.kernel.secret import Secret
journal = JournalFile(Path(sys.argv[1]), Secret(bytes(range(32))))
record = journal.load()
number = -1 if record is None else record.number
if record is None:
    journal.answered(-1, b"", b"", b"snapshot -1", {})
while True:
    number += 1
    stage = number % 5 == 4
    journal.keep(f"effect {number}", b"effect %d" % number * 1000)
    journal.answered(number, b"batch %d" % number * 1000, b"reply %d" % number * 1000, b"snapshot %d" % number if stage else None, {})
    print(number, flush=True)
"""


def test_killed_with_signal_9_at_any_moment_it_is_whole_and_has_all_that_was_answered(tmp_path: Path) -> None:
    path, last = tmp_path / "run.db", -1
    for life in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
        )
        assert writer.stdout is not None
        for _ in range(3 + 2 * life):
            last = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        said = writer.stdout.read().split()
        writer.wait()
        writer.stdout.close()
        last = int(said[-1]) if said else last
        record = JournalFile(path, KEY).load()
        assert record is not None
        assert record.number in (last, last + 1)  # one more may be on disk than was said to be
        assert record.reply == b"reply %d" % record.number * 1000
        start = record.number - len(record.entries)
        assert record.entries == [b"batch %d" % n * 1000 for n in range(start + 1, record.number + 1)]
        assert record.snapshot == b"snapshot %d" % start
        last = record.number
    print(f"6 lives, {last + 1} batches, 0 lost, 0 torn")


def test_a_sealed_file_is_whole_or_refused_and_shows_nothing(tmp_path: Path) -> None:
    file = SealedFile(tmp_path / "outbox", KEY)
    assert file.load() is None
    file.store(CANARY)
    file.store(CANARY + b"2")
    assert file.load() == CANARY + b"2"
    assert CANARY[:12] not in (tmp_path / "outbox").read_bytes()
    assert stat.S_IMODE((tmp_path / "outbox").stat().st_mode) == 0o600
    sealed = (tmp_path / "outbox").read_bytes()
    for bad in (sealed[:-1], sealed[:5], b"", bytes([*sealed[:-1], sealed[-1] ^ 1])):
        (tmp_path / "outbox").write_bytes(bad)
        with pytest.raises(DataError):
            file.load()
    (tmp_path / "other").write_bytes(sealed)
    with pytest.raises(DataError):
        SealedFile(tmp_path / "other", KEY).load()
    with pytest.raises(DataError):
        SealedFile(tmp_path / "outbox", OTHER).load()
