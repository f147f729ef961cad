"""Whose results lie at a node, with the digest of each: the index beside them, by which they are compared with what is made again.

The last run's lie in results/, and those of each run before it in results/earlier/RUN, until retention deletes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import msgspec

from clients.home import Home
from federation.kernel import suite
from federation.kernel.known import known
from federation.kernel.participant import Participant
from privacy.store.durable import sync

INDEX, EARLIER = "run.json", "earlier"


class Results(msgspec.Struct, frozen=True):
    """Whose results lie in the folder. files: name -> SHA-256, hexadecimal."""

    run: str
    manifest: str
    session: str
    model: str
    files: dict[str, str]

    @classmethod
    def of(cls, participant: Participant[Any], contents: Mapping[str, bytes]) -> Self:
        """Of a finished run. contents: name -> the file as it was made."""
        manifest, files = participant.manifest, {name: suite.plain_digest(content).hex() for name, content in contents.items()}
        return cls(manifest.run, manifest.hash.hex(), participant.session.hex(), participant.state.model_hash.hex(), files)

    @property
    def digest(self) -> str:
        """Of all files, as the audit log has it in the run's last entry, hexadecimal."""
        return results_digest(self.files)


def results_digest(files: Mapping[str, str]) -> str:
    """One digest of files by name."""
    return suite.digest("results", *(part for name in sorted(files) for part in (name, files[name]))).hex()


def read_results(home: Home) -> Results | None:
    """Whose results are the last at a node; None where there are none, or of an earlier version."""
    return _read(home.root / "results")


def _read(folder: Path) -> Results | None:
    try:
        return msgspec.json.decode((folder / INDEX).read_bytes(), type=known(Results))
    except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
        return None


def kept_results(home: Home) -> Iterator[tuple[Path, Results]]:
    """Each run's results that are here, with their folder: the last run's first."""
    results = home.root / "results"
    for folder in (results, *sorted((results / EARLIER).glob("*"))):
        if (found := _read(folder)) is not None:
            yield folder, found


def results_of(home: Home, manifest: str) -> tuple[Path, Results] | None:
    """A run's results and where they lie. manifest: its hash, hexadecimal."""
    return next(((folder, found) for folder, found in kept_results(home) if found.manifest == manifest), None)


def put_away(home: Home, manifest: str) -> None:
    """Make room for the results of a run: those of another go to a folder of their own. The index goes last, so that a process that is killed
    meanwhile is followed by one that finishes. manifest: hash of the run whose results come.
    """
    results, last = home.results, read_results(home)
    if last is None or last.manifest == manifest:
        return
    folder = results / EARLIER / last.run
    if (there := _read(folder)) is not None and there.manifest != last.manifest:  # a name may be drafted again
        folder = results / EARLIER / f"{last.run}-{last.manifest}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in (*last.files, INDEX):
        if (results / name).exists():
            (results / name).replace(folder / name)
    for changed in (folder, folder.parent, results):
        sync(changed)
