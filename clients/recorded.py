"""The results of a run, with the digest of each: written to the node's home, or only made, to be compared with what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from clients.home import Home
from federation.kernel import suite
from federation.kernel.known import known

INDEX = "run.json"


class Results(msgspec.Struct, frozen=True):
    """Whose results lie in the folder. files: name -> SHA-256, hexadecimal."""

    run: str
    manifest: str
    session: str
    model: str
    files: dict[str, str]

    @property
    def digest(self) -> str:
        """Of all files, as the audit log has it in the run's last entry, hexadecimal."""
        return results_digest(self.files)


def results_digest(files: Mapping[str, str]) -> str:
    """One digest of files by name."""
    return suite.digest("results", *(part for name in sorted(files) for part in (name, files[name]))).hex()


@dataclass(frozen=True)
class Recorded(Home):
    """A home that keeps count of the results that are written. stored: whether they go to disk, or nothing does."""

    stored: bool = True
    files: dict[str, str] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a result, or only note it."""
        raw = content.encode() if isinstance(content, str) else content
        self.files[name] = suite.plain_digest(raw).hex()
        if self.stored:
            return super().write(name, raw)
        self.contents[name] = raw
        return self.root / "results" / name


def read_results(home: Home) -> Results | None:
    """Whose results lie at a node; None where there are none, or of an earlier version."""
    try:
        return msgspec.json.decode((home.root / "results" / INDEX).read_bytes(), type=known(Results))
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
