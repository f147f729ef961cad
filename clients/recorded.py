"""Whose results lie at a node, with the digest of each: the index beside them, by which they are compared with what is made again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import msgspec

from clients.home import Home
from federation.kernel import suite
from federation.kernel.known import known
from federation.kernel.participant import Participant

INDEX = "run.json"


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
    """Whose results lie at a node; None where there are none, or of an earlier version."""
    try:
        return msgspec.json.decode((home.root / "results" / INDEX).read_bytes(), type=known(Results))
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
