"""Manifests that were drafted and are not run yet: institutions sign a hash, so that what is asked again later must be the same bytes.

A draft is kept under its run's name with the digest of what it was made from (run file, descriptions); it is drafted anew when either has
changed, or when it has expired.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from federation.kernel import suite
from federation.kernel.errors import CreditfedError
from federation.kernel.manifest import Description, Manifest
from federation.kernel.manifest_rules import read_manifest
from privacy.store.durable import put
from server.run_file import RunFile

_SESSION = (".db", ".db-wal", ".db-shm", ".db-journal", ".outbox", ".outbox.partial")
"""What a run's sessions leave in the coordinator's folder of journals, beside the run's name."""


def forget_session(folder: Path, run: str) -> None:
    """Delete what a run's sessions left in the coordinator's folder of journals."""
    for suffix in _SESSION:
        (folder / f"{run}{suffix}").unlink(missing_ok=True)


class _Kept(msgspec.Struct, frozen=True):
    made_from: bytes
    manifest: bytes


@dataclass(frozen=True)
class Drafts:
    """The coordinator's folder of drafts. forgotten: told of the name of each run of which nothing is left here, since it has expired."""

    folder: Path
    forgotten: Callable[[str], object] = lambda _: None

    def manifest(
        self, run_file: RunFile, run: str, descriptions: tuple[Description, ...], now: dt.datetime, draft: Callable[[], Manifest]
    ) -> Manifest:
        """The kept draft of a run, or a new one from `draft`, kept from now on."""
        self._forget_expired(now)
        made_from = suite.digest("draft", run_file.digest, run, *sorted(msgspec.json.encode(said, order="sorted") for said in descriptions))
        path = self.folder / f"{run}.json"
        kept = self._kept(path)
        if kept is not None and kept.made_from == made_from:
            try:
                manifest = read_manifest(kept.manifest)
            except CreditfedError:
                manifest = None  # of another version of creditfed
            if manifest is not None and now.strftime("%Y-%m-%dT%H:%M:%SZ") < manifest.expires:
                return manifest
        manifest = draft()
        self.folder.mkdir(parents=True, exist_ok=True)
        put(path, msgspec.json.encode(_Kept(made_from, manifest.canonical())))
        return manifest

    def _forget_expired(self, now: dt.datetime) -> None:
        """Drafts that no node would answer any more go, for their manifests name columns and keys; so do what sessions of the run left here."""
        for path in self.folder.glob("*.json"):
            kept = self._kept(path)
            try:
                over = kept is None or read_manifest(kept.manifest).expires <= now.strftime("%Y-%m-%dT%H:%M:%SZ")
            except CreditfedError:
                over = True
            if over:
                forget_session(self.folder.parent / "journal", path.stem)
                path.unlink(missing_ok=True)
                self.forgotten(path.stem)

    @staticmethod
    def _kept(path: Path) -> _Kept | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=_Kept)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None
