"""The audit log of one node on disk: append-only, hash-chained, signed; one writer at a time, of any thread or process.

What a caller may count on:

- `append` returns when the line has been handed to the operating system: it outlives the process (kill -9), not the machine's power.
- `sync` returns when all lines are on disk. It is done by itself after `EVERY` appended entries, before every head, and at every rotation, so
  that a signed head is never of more entries than the disk has. Before something leaves the node, call it.
- A line that was cut short by a crash is cut off by the next process that writes, which records that it did (`recovery`). A log that is
  broken in another way is never written to: DataError.

The lock (`flock`) is taken for each append and for no longer, first when something is written: constructing and reading take none. Whoever holds
it first reads what others appended since.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from federation.kernel import suite
from federation.kernel.codec import encode
from federation.kernel.errors import DataError, PeerError
from federation.kernel.secret import Secret
from privacy.audit import heads
from privacy.audit.chain import Chain, consistency, leaf_hash
from privacy.audit.entry import Entry, Fact, Kind, Line, entry, from_line, leaf, to_line
from privacy.audit.heads import Checkpoint, SignedHead
from privacy.audit.lines import entries
from privacy.store.audit_folder import HEADS, KEPT, LOCK, AuditFolder
from privacy.store.durable import put, sync

EVERY = 256
SEGMENT_BYTES = 16 << 20
_FULL = "Make room on the disk. The entry was not written, and the log is as it was."
_BROKEN = "Nothing was written. Run `creditfed audit verify` on the folder, keep a copy of it, and move it away to begin another log."


class AuditFile:
    """A node's audit log. folder: made at the first append; signing_key: the node's identity key; clock: ISO 8601 in UTC.

    party: the node's name, as its peers know it; segment_bytes: a segment that has grown to this is followed by another.
    """

    def __init__(
        self, folder: Path, signing_key: Secret, clock: Callable[[], str], *, party: str = "", segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self._folder, self._key, self._clock = AuditFolder(folder), signing_key, clock
        self._public, self._party, self._limit = suite.signing_public(signing_key), party, segment_bytes
        self._mutex = threading.RLock()
        self._held = False
        self._chain, self._segment, self._offset = Chain(), -1, 0
        self._last: SignedHead | None = None
        self._unsynced = self._torn = 0
        self._peers: dict[bytes, SignedHead] | None = None
        self._newest: dict[bytes, SignedHead] = {}

    def append(self, kind: Kind, run: str, /, **facts: Fact) -> Entry:
        """Write an entry; returns it. Raises LocalError for facts that an entry does not take, DataError for a broken log or a full disk."""
        with self._writing():
            return self._append(kind, run, facts)

    def sync(self) -> None:
        """Return when every entry appended by this object is on disk."""
        with self._mutex:
            if self._unsynced:
                with self._writing():
                    self._sync()

    def head(self) -> SignedHead:
        """Sign the log as it is now; everything before it is on disk."""
        with self._writing():
            return self._sign().head

    def notice(self, seen: Iterable[int] = ()) -> bytes:
        """The head as peers get it, with a proof from each size of which they say that they saw a head of this log, as far as it has one."""
        with self._writing():
            proofs = (self._proof(size) for size in sorted(set(seen), reverse=True))
            return encode(heads.Notice(self._sign().head, tuple(proof for proof in proofs if proof is not None)))

    def last_seen(self, identity: bytes) -> int | None:
        """Of how many entries the last head of a key was that this log accepted; None where there was none."""
        with self._writing():
            last = self._seen_heads().get(identity)
            return None if last is None else last.size

    def saw(self, peer: str, identity: bytes, notice: bytes, run: str = "", told: int | None = None) -> SignedHead:
        """Check a peer's head against its key and the last one seen of that key, and record it, refused or not.

        told: the size that the peer was told had been seen of its log (`last_seen` then), from which it owes a proof; None where none was.
        Raises PeerError for bytes that are no head, RolledBack and Forked for a head that contradicts an earlier one, Unproven where the proof
        is not there or does not hold.
        """
        found = heads.seen(notice, peer, identity)
        with self._writing():
            last = self._seen_heads().get(identity)
            verdict = heads.verdict(last, found, self._told(identity, last, told), self._newest.get(identity))
            self._append("heads seen", run, {**heads.to_facts(found.head), "peer": peer, "verdict": verdict})
            try:
                heads.require(peer, verdict, last, found.head)
            except PeerError:
                self._sync()
                raise
        return found.head

    def entries(self, run: str | None = None) -> Iterator[Entry]:
        """The entries that are on file, of all runs or of one; takes no lock and verifies nothing."""
        return (found for found in entries(self._folder.lines()) if run is None or found.run == run)

    def keep_from(self, number: int) -> int:
        """Retention: delete the segments that lie wholly before an entry; returns the first entry that is left.

        The log says so in an entry, and the signed head at the cut stays, so that what is left verifies. Peers' last heads that would go are
        recorded anew.
        """
        with self._writing():
            cut = max((first for first in self._folder.segments() if first <= number), default=0)
            before = [first for first in self._folder.segments() if first < cut]
            if not before:
                return self._folder.kept_size()
            kept = next((found for found in self._checkpoints() if found.head.size == cut), None)
            if kept is None:
                raise DataError(str(self._folder.root), f"no signed head of {cut:,} entries, at which a segment begins", _BROKEN)
            self._carry_peers(cut)
            facts: dict[str, Fact] = {"kept_size": cut, "kept_root": kept.head.root.hex(), "segments": len(before)}
            self._append("retention", "", facts)
            self._sign()
            put(self._folder.root / KEPT, heads.to_line(kept))
            for first in before:
                self._folder.segment(first).unlink()
            return cut

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """The right to write, on top of all that any process has written."""
        with self._mutex:
            if self._held:
                yield
                return
            self._folder.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._folder.root / LOCK, os.O_CREAT | os.O_RDWR, 0o600)  # anew: a forked process would share the lock
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                self._held = True
                self._catch_up()
                yield
            finally:
                self._held = False
                os.close(descriptor)

    def _catch_up(self) -> None:
        """Read what is not known yet: everything since the last signed head at first, later what other processes appended."""
        if self._segment < 0 or not self._folder.segment(self._segment).exists():
            self._begin()
        while True:
            self._read_on()
            following = self._folder.segment(self._chain.size)
            if self._chain.size == self._segment or not following.exists():
                break
            self._segment, self._offset = self._chain.size, 0
        self._finish_start()

    def _begin(self) -> None:
        """Start from the last signed head, in the segment where it lies."""
        self._offset, self._last, self._peers, self._newest = 0, None, None, {}
        segments = self._folder.segments()
        checkpoint = next(self._checkpoints(), None)
        if not segments:
            if checkpoint is not None:
                raise self._broken("signed heads and no entries")
            self._chain, self._segment = Chain(), 0
            return
        if checkpoint is None:
            if segments[0] != 0:
                raise self._broken("no first segment")
            self._chain, self._segment = Chain(), 0
            return
        self._last = checkpoint.head
        self._segment = max((first for first in segments if first < checkpoint.head.size), default=-1)
        if self._segment < 0:
            raise self._broken("no segment for the last signed head")
        self._chain = checkpoint.chain()
        self._offset = self._offset_of(checkpoint.head)

    def _offset_of(self, head: SignedHead) -> int:
        """Where the entry after a head begins in the current segment. Raises DataError where the entry before it is not the head's."""
        offset = 0
        with self._folder.segment(self._segment).open("rb") as file:
            for place, raw in enumerate(file, self._segment + 1):
                offset += len(raw)
                if place == head.size:
                    line = from_line(raw)
                    if line is None or line.entry.number != head.size - 1 or line.chain != head.chain.hex():
                        break
                    return offset
        raise self._broken(f"a signed head of {head.size:,} entries that are not there")

    def _read_on(self) -> None:
        """Take in the lines after the offset; a last one without its end is cut off, which is recorded."""
        path = self._folder.segment(self._segment)
        if not path.exists() or path.stat().st_size == self._offset:
            return
        with path.open("rb") as file:
            file.seek(self._offset)
            for raw in file:
                if not raw.endswith(b"\n"):
                    self._cut(path, len(raw))
                    return
                line = from_line(raw)
                if line is None or line.entry.number != self._chain.size or self._taken(line) != line.chain:
                    self._segment = -1  # begin anew at the next call
                    raise self._broken("an entry that does not follow the one before it")
                self._offset += len(raw)
                self._note_peer(line.entry)

    def _taken(self, line: Line) -> str:
        return self._chain.append(leaf(line.entry)).hex()

    def _cut(self, path: Path, count: int) -> None:
        os.truncate(path, self._offset)
        self._torn = count

    def _finish_start(self) -> None:
        """Begin a log, or the segment that a crash left empty; sign where nothing is signed yet."""
        if self._chain.size == 0:
            self._put_entry("founding", "", {"party": self._party, "key": self._public.hex(), "format": 1})
        elif self._offset == 0:
            self._put_rotation()
        if self._torn:
            self._put_entry("recovery", "", {"cut_bytes": self._torn})
            self._torn = 0
            self._sync()
        if self._last is None:
            self._sign()

    def _append(self, kind: Kind, run: str, facts: dict[str, Fact]) -> Entry:
        """Under the lock."""
        if self._offset >= self._limit:
            self._sign()
            self._segment, self._offset = self._chain.size, 0
            self._put_rotation()
        written = self._put_entry(kind, run, facts)
        if self._unsynced >= EVERY:
            self._sync()
        return written

    def _put_rotation(self) -> None:
        """A segment's first entry: the head of all before it."""
        head = self._last if self._last is not None and self._last.size == self._chain.size else self._sign().head
        self._put_entry("rotation", "", {**heads.to_facts(head), "party": self._party})

    def _put_entry(self, kind: Kind, run: str, facts: dict[str, Fact]) -> Entry:
        """Hand a line to the operating system, whole or not at all; then take it in."""
        made = entry(self._chain.size, self._clock(), kind, run, facts)
        after = self._chain.copy()
        line = to_line(made, after.append(leaf(made)))
        path = self._folder.segment(self._segment)
        _write_whole(path, self._offset, line)
        self._chain, self._offset, self._unsynced = after, self._offset + len(line), self._unsynced + 1
        self._note_peer(made)
        return made

    def _sync(self) -> None:
        """Put the current segment on disk; those before it were when it began."""
        sync(self._folder.segment(self._segment))
        self._unsynced = 0

    def _sign(self) -> Checkpoint:
        """Sign the log as it is and keep the head, unless that was done already."""
        if self._last is not None and self._last.size == self._chain.size and self._last.key == self._public:
            return Checkpoint(self._last, self._chain.peaks)
        self._sync()
        checkpoint = heads.checkpoint_of(self._chain, self._clock(), self._key)
        path = self._folder.root / HEADS
        new = not path.exists()
        with os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR, 0o600), "r+b") as file:
            _seek_whole(file)
            file.write(heads.to_line(checkpoint))
            file.flush()
            os.fsync(file.fileno())
        if new:
            sync(self._folder.root)
        self._last = checkpoint.head
        return checkpoint

    def _checkpoints(self) -> Iterator[Checkpoint]:
        """The log's own heads that hold, the last one first."""
        return (found for raw in reversed(self._folder.heads()) if (found := heads.from_line(raw)) is not None)

    def _seen_heads(self) -> dict[bytes, SignedHead]:
        """The last head accepted of every key, from the log itself."""
        if self._peers is None:
            self._peers = {}
            for raw in self._folder.lines():
                if b'"heads seen"' in raw and (line := from_line(raw)) is not None:
                    self._note_peer(line.entry)
        return self._peers

    def _note_peer(self, seen: Entry) -> None:
        if self._peers is None or seen.kind != "heads seen" or not _accepted(seen):
            return
        head = heads.from_facts(seen.facts)
        if head is not None:
            self._newest[head.key] = head
            if seen.facts["verdict"] != "unlinked":
                self._peers[head.key] = head

    def _told(self, identity: bytes, last: SignedHead | None, size: int | None) -> SignedHead | None:
        """The head of a size that was accepted of a key: the last one, unless another run has brought a later one since."""
        if size is None or last is None or last.size == size:
            return last if size is not None else None
        before = (heads.from_facts(found.facts) for found in self.entries() if found.kind == "heads seen" and _accepted(found))
        return next((head for head in before if head is not None and (head.key, head.size) == (identity, size)), last)

    def _proof(self, size: int) -> heads.Proof | None:
        """That the log goes on from a size at which it was signed; None where it was not, or retention has deleted what came next."""
        signed = next((checkpoint for checkpoint in self._checkpoints() if checkpoint.head.size == size), None)
        first = max((first for first in self._folder.segments() if first <= size), default=None)
        if not size or signed is None or first is None:
            return None
        later = [
            leaf(found.entry) for raw in self._folder.lines(first) if (found := from_line(raw)) is not None and found.entry.number >= size
        ]
        return heads.Proof(size, consistency(signed.peaks, size, [leaf_hash(raw) for raw in later]))

    def _carry_peers(self, cut: int) -> None:
        """Record anew the peers' last heads whose entries are about to be deleted."""
        last: dict[bytes, Entry] = {}
        for found in self.entries():
            if found.kind == "heads seen" and (head := heads.from_facts(found.facts)) is not None and head in self._seen_heads().values():
                last[head.key] = found
        for found in last.values():
            if found.number < cut:
                self._append("heads seen", found.run, {**found.facts, "verdict": "carried over"})

    def _broken(self, what: str) -> DataError:
        return DataError(str(self._folder.root), f"the audit log has {what}", _BROKEN)


def _accepted(seen: Entry) -> bool:
    """Whether a peer's head was accepted; one that was refused is kept as evidence alone."""
    return seen.facts["verdict"] not in ("rolled back", "forked", "unproven")


def _seek_whole(file: BinaryIO) -> None:
    """Go to the end, or to the beginning of a last line that a crash cut short."""
    end = file.seek(0, os.SEEK_END)
    if end:
        file.seek(end - 1)
        if file.read(1) != b"\n":
            file.seek(0)
            file.seek(file.read().rfind(b"\n") + 1)
            file.truncate()


def _write_whole(path: Path, offset: int, line: bytes) -> None:
    """Put a line at the end of a segment, or nothing of it. Raises DataError."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        if os.write(descriptor, line) != len(line):
            os.ftruncate(descriptor, offset)
            raise DataError(str(path), "the disk took only part of an entry", _FULL)
    except OSError as error:
        raise DataError(str(path), f"an entry could not be written ({error.strerror})", _FULL) from None
    finally:
        os.close(descriptor)
    if offset == 0:
        sync(path.parent)
