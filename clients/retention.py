"""Deletion when the time has come: what a run left at this node goes, and the log proves it.

For each item: an entry that it is due (kind, run, rule, how many files and bytes, a digest of them), synced; a note of what is under way; the
deletion; an entry that it is done, synced. A node that is killed in between finds the note when it looks again, and finishes. Files are
unlinked, not overwritten: on flash an overwrite reaches other cells anyway. Journals are encrypted, so that their blocks say nothing; for
the rest the institution's disk encryption is what a thief of blocks meets.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from clients.approvals import Approvals
from clients.home import Home
from federation.kernel import suite
from federation.kernel.known import known
from federation.kernel.manifest import ColumnDeclaration, Manifest
from privacy.retention import Due, Item, Kind, overdue, schedule
from privacy.store.audit_file import AuditFile
from privacy.store.releases import ReleaseFile

_RESULTS: dict[Kind, tuple[str, ...]] = {
    "alignment": ("alignment.npz",), "scores": ("scores.parquet",),
    "model": ("share.json", "metrics.json", "curves.json", "validation.json", "bins.toml", "bins.digest", "failure.json", "run.json"),
}  # fmt: skip
_JOURNAL = (".db", ".db-wal", ".db-shm", ".db-journal", ".opening", ".consented")


class _UnderWay(msgspec.Struct, frozen=True):
    kind: str
    run: str
    files: tuple[str, ...]
    bytes: int
    digest: str


class Retention:
    """One node's. key: a run's name in the memory of releases; own: days set in node.toml; log: opened when something is deleted."""

    def __init__(
        self, home: Home, own: dict[str, int], log: Callable[[], AuditFile], releases: Callable[[], ReleaseFile],
        key: Callable[[Manifest], str], clock: Callable[[], str],
    ) -> None:  # fmt: skip
        self._home, self._own, self._log, self._releases, self._key, self._clock = home, own, log, releases, key, clock
        self._approvals = Approvals(home)

    def planned(self) -> tuple[Due, ...]:
        """All that runs have left here and when it goes, soonest first; of runs that have ended or expired."""
        return schedule(self._items(), self._own)

    def apply(self) -> tuple[Due, ...]:
        """Delete what is due today, and finish what a killed process had begun; returns what was due."""
        self._finish()
        due = overdue(self.planned(), dt.date.fromisoformat(self._clock()[:10]))
        for each in due:
            self._begin(each)
            self._finish()
        return due

    # -- what there is ----------------------------------------------------------------------------------------------------------

    def _items(self) -> Iterator[Item]:
        now, ends = self._clock(), self._ends()
        remembered = {entry.run for entry in self._releases().history()} if (self._home.root / "releases").exists() else set()
        last = next((event.manifest for event in reversed(self._approvals.events()) if event.event in ("finished", "failed")), "")
        names: dict[str, str] = {}
        for manifest in self._manifests():
            names[manifest.run] = manifest.hash.hex()  # files go by the run's name: they are those of the last manifest that had it
        for manifest in self._manifests():
            digest = manifest.hash.hex()
            end = ends.get(digest) or (manifest.expires if manifest.expires <= now else None)
            if end is None:
                continue
            level = max((column.level for column in self._columns(manifest)), default=1)
            since = dt.date.fromisoformat(end[:10])
            if names[manifest.run] == digest:
                yield from self._files("journal", manifest.run, level, since, (f"journal/{manifest.run}{suffix}" for suffix in _JOURNAL))
                yield from self._files(
                    "proposal", manifest.run, level, since, (f"approvals/{manifest.run}.json", f"approvals/signed/{digest}.json")
                )
            if digest == last:
                for kind, files in _RESULTS.items():
                    yield from self._files(kind, manifest.run, level, since, (f"results/{name}" for name in files))
            if self._key(manifest) in remembered:
                yield Item("releases", self._key(manifest), level, since)

    def _files(self, kind: Kind, run: str, level: int, since: dt.date, names: Iterator[str] | tuple[str, ...]) -> Iterator[Item]:
        there = tuple(name for name in names if (self._home.root / name).exists())
        if there:
            yield Item(kind, run, level, since, there)

    def _manifests(self) -> Iterator[Manifest]:
        seen = set()
        for event in self._approvals.events():
            if event.manifest not in seen and (manifest := self._approvals.signed(event.manifest)) is not None:
                seen.add(event.manifest)
                yield manifest

    def _ends(self) -> dict[str, str]:
        return {event.manifest: event.time for event in self._approvals.events() if event.event in ("finished", "failed")}

    def _columns(self, manifest: Manifest) -> tuple[ColumnDeclaration, ...]:
        me = str(self._home.config()["name"])
        return manifest.party(me).columns if me in manifest.members else ()

    # -- one deletion -----------------------------------------------------------------------------------------------------------

    @property
    def _note(self) -> Path:
        return self._home.root / "retention" / "under-way"

    def _begin(self, due: Due) -> None:
        """Say what goes, and note it, before anything goes."""
        item = due.item
        contents = [(self._home.root / name).read_bytes() for name in item.files]
        digest = suite.digest("retention", *(suite.plain_digest(content) for content in contents)).hex()
        size = sum(map(len, contents))
        self._log().append(
            "retention", item.run[:64], step="due", what=item.kind, rule=due.rule, files=len(item.files), bytes=size, digest=digest
        )
        self._log().sync()
        self._home.keep(self._note, msgspec.json.encode(_UnderWay(item.kind, item.run, item.files, size, digest)))

    def _finish(self) -> None:
        """Carry out what was noted; nothing where nothing was."""
        if not self._note.exists():
            return
        noted = msgspec.json.decode(self._note.read_bytes(), type=known(_UnderWay))
        folders = set()
        for name in noted.files:
            path = self._home.root / name
            path.unlink(missing_ok=True)
            folders.add(path.parent)
        for folder in folders:
            _sync(folder)
        if noted.kind == "releases":
            self._releases().forget(noted.run)
        self._log().append("retention", noted.run[:64], step="done", what=noted.kind, files=len(noted.files), digest=noted.digest)
        self._log().sync()
        self._note.unlink()


def _sync(folder: Path) -> None:
    """A deletion is on disk when the folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
