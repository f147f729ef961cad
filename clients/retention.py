"""Deletion when the time has come: what a run left at this node goes, and the log proves it.

For each item: an entry that it is due (kind, run, rule, how many files and bytes, a digest of them), synced; a note of what is under way; the
deletion; an entry that it is done, synced. A node that is killed in between finds the note when it is started again, and finishes.

Files are unlinked, not overwritten: on flash an overwrite reaches other cells anyway. The blocks of a journal then say nothing without the
node's storage key; what else a thief of blocks meets is the institution's disk encryption. In the file of releases SQLite overwrites what is
deleted. What whole files leave of a write that was cut short (`.partial`) goes with them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from clients.approvals import Approvals
from clients.home import Home
from clients.recorded import EARLIER, kept_results, read_results
from federation.kernel import suite
from federation.kernel.known import known
from federation.kernel.manifest import ColumnDeclaration, Manifest
from privacy.audit.entry import Entry, from_line
from privacy.retention import Due, Item, Kind, overdue, schedule
from privacy.store.audit_file import AuditFile
from privacy.store.audit_folder import AuditFolder
from privacy.store.durable import sync
from privacy.store.releases import ReleaseFile

_RESULTS: dict[Kind, tuple[str, ...]] = {
    "alignment": ("alignment.npz",), "scores": ("scores.parquet",),
    "model": ("share.json", "metrics.json", "curves.json", "validation.json", "target.json", "bins.toml", "bins.digest", "run.json"),
}  # fmt: skip
_TAIL = 1 << 16
"""Bytes; an entry's line has fewer."""
_DATABASE = ("", "-wal", "-shm", "-journal")
_JOURNAL = (*(f"{name}{side}" for name in (".db", ".relay") for side in _DATABASE), ".opening", ".consented", ".statement", ".statements")
"""The participant's journal and, at an agency, the relay's, with what SQLite has beside them; what was opened, with which consents; and the
statements of consents that came or were made."""


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

    def due(self, today: str = "") -> tuple[Due, ...]:
        """What is due today, and nothing of it deleted. today: as of `apply`."""
        return overdue(self.planned(), dt.date.fromisoformat((today or self._clock())[:10]))

    def resume(self) -> None:
        """When a node starts: finish what a killed process had begun."""
        self._finish()

    def apply(self, today: str = "") -> tuple[Due, ...]:
        """Delete what is due today, and finish what a killed process had begun; returns what was due. today: ISO 8601, not the clock's."""
        self._finish()
        due = self.due(today)
        for each in due:
            self._begin(each, today)
            self._finish()
        return due

    # -- what there is ----------------------------------------------------------------------------------------------------------

    def _items(self) -> Iterator[Item]:
        now, ends = self._clock(), self._ends()
        remembered = {entry.run for entry in self._releases().history()} if (self._home.root / "releases").exists() else set()
        last = next((event.manifest for event in reversed(self._approvals.events()) if event.event in ("finished", "failed")), "")
        results = {found.manifest: str(folder.relative_to(self._home.root)) for folder, found in kept_results(self._home)}
        if read_results(self._home) is None:  # those of an earlier version have no index, and are the last run's
            results.setdefault(last, "results")
        names: dict[str, str] = {}
        for manifest in self._manifests():
            names[manifest.run] = manifest.hash.hex()  # files go by the run's name: they are those of the last manifest that had it
        for manifest in self._manifests():
            digest = manifest.hash.hex()
            end = ends.get(digest) or (manifest.expires if manifest.expires <= now else None)
            if end is None:
                continue
            since = dt.date.fromisoformat(end[:10])
            yield from self._of(manifest, since, journal=names[manifest.run] == digest, results=results.get(digest), failure=digest == last)
            if self._key(manifest) in remembered:
                yield Item("releases", self._key(manifest), self._level(manifest), since, manifest=digest)
        yield from self._segments()

    def _of(self, manifest: Manifest, since: dt.date, *, journal: bool, results: str | None, failure: bool) -> Iterator[Item]:
        """The files of one run: those under its name, where the name is still its own, and in the folder of its results, where there is one."""
        digest, run = manifest.hash.hex(), manifest.run
        files: dict[Kind, list[str]] = {"proposal": [f"approvals/signed/{digest}.json"]}
        if journal:
            files["journal"] = [*(f"journal/{run}{suffix}" for suffix in _JOURNAL), f"exchange/{run}.answer"]
            files["proposal"].append(f"approvals/{run}.json")
        if results is not None:
            files |= {kind: [f"{results}/{name}" for name in names] for kind, names in _RESULTS.items()}
        if failure:
            files.setdefault("model", []).append("results/failure.json")
        for kind, names in files.items():
            written = (each for name in names for each in (name, f"{name}.partial"))  # a write that was cut short leaves the latter
            if there := tuple(name for name in written if (self._home.root / name).exists()):
                yield Item(kind, run, self._level(manifest), since, there, digest)

    def _level(self, manifest: Manifest) -> int:
        return max((column.level for column in self._columns(manifest)), default=1)

    def _segments(self) -> Iterator[Item]:
        """Segments of the log that another has followed."""
        folder = AuditFolder(self._home.root / "audit")
        for first in folder.segments()[:-1]:
            if (last := _last_entry(folder.segment(first))) is not None:
                name = f"entries {first} to {last.number}"
                yield Item("audit", name, 1, dt.date.fromisoformat(last.time[:10]), (f"audit/{first:012d}.jsonl",))

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

    def _begin(self, due: Due, today: str) -> None:
        """Say what goes, and note it, before anything goes. today: where someone has given another day than the clock's."""
        item = due.item
        contents = [(self._home.root / name).read_bytes() for name in item.files]
        digest = suite.digest("retention", *(suite.plain_digest(content) for content in contents)).hex()
        size = sum(map(len, contents))
        given = {"day_given": today} if today else {}
        self._log().append(
            "retention", item.run[:64], step="due", what=item.kind, rule=due.rule, files=len(item.files), bytes=size, digest=digest, **given
        )
        self._log().sync()
        self._home.keep(self._note, msgspec.json.encode(_UnderWay(item.kind, item.run, item.files, size, digest)))

    def _finish(self) -> None:
        """Carry out what was noted; nothing where nothing was."""
        if not self._note.exists():
            return
        noted = msgspec.json.decode(self._note.read_bytes(), type=known(_UnderWay))
        if noted.kind == "audit":
            self._cut_log(noted.files)
        folders = set()
        for name in noted.files:
            path = self._home.root / name
            path.unlink(missing_ok=True)
            folders.add(path.parent)
        for folder in folders:
            sync(folder)
            if folder.parent.name == EARLIER and not any(folder.iterdir()):
                folder.rmdir()
        if noted.kind == "releases":
            self._releases().forget(noted.run)
        self._log().append("retention", noted.run[:64], step="done", what=noted.kind, files=len(noted.files), digest=noted.digest)
        self._log().sync()
        self._note.unlink(missing_ok=True)

    def _cut_log(self, names: tuple[str, ...]) -> None:
        """The signed head where the next segment begins stays, so that what is left verifies."""
        gone = max(int(Path(name).stem) for name in names)
        following = [first for first in AuditFolder(self._home.root / "audit").segments() if first > gone]
        self._log().keep_from(min(following))


def _last_entry(segment: Path) -> Entry | None:
    """The last entry of a segment that is full; None where it is none, as `creditfed audit verify` will say."""
    with segment.open("rb") as file:
        file.seek(max(0, segment.stat().st_size - _TAIL))
        line = from_line(b"".join(file.readlines()[-1:]))
    return None if line is None else line.entry
