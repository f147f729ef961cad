"""The folder of one audit log, for whoever reads it: needs no key, writes nothing, and may be a copy on a stick.

000000000000.jsonl   a segment: the lines of entries from the number that is its name, up to the next segment
heads.jsonl          the log's own signed heads, one a line, each with what it takes to go on from it
kept-from.json       where retention deleted the first segments: the signed head from which the log was kept
lock                 held while a process writes
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from federation.kernel.errors import ConfigurationError
from privacy.audit.heads import from_line
from privacy.audit.verify import Log

HEADS, KEPT, LOCK = "heads.jsonl", "kept-from.json", "lock"
_SEGMENT = re.compile(r"\d{12}\.jsonl")


@dataclass(frozen=True)
class AuditFolder:
    """Paths and bytes of one log."""

    root: Path

    def segment(self, number: int) -> Path:
        """The path of the segment that begins with entry `number`."""
        return self.root / f"{number:012d}.jsonl"

    def segments(self) -> list[int]:
        """The first entries of the segments that belong to the log, in order: those before the kept-from head are as good as deleted."""
        if not self.root.is_dir():
            return []
        kept = self.kept_size()
        return sorted(number for path in self.root.iterdir() if _SEGMENT.fullmatch(path.name) and (number := int(path.stem)) >= kept)

    def kept(self) -> bytes | None:
        """The line of the kept-from head, or None where nothing was deleted."""
        try:
            return (self.root / KEPT).read_bytes()
        except FileNotFoundError:
            return None

    def kept_size(self) -> int:
        """How many first entries retention has deleted."""
        raw = self.kept()
        checkpoint = None if raw is None else from_line(raw)
        return 0 if checkpoint is None else checkpoint.head.size

    def lines(self, first: int = 0) -> Iterator[bytes]:
        """The lines of all segments from one on, each with its end; the last may lack it after a crash."""
        for number in self.segments():
            if number < first:
                continue
            with self.segment(number).open("rb") as file:
                yield from file

    def heads(self) -> list[bytes]:
        """The lines of the file of heads."""
        try:
            with (self.root / HEADS).open("rb") as file:
                return list(file)
        except FileNotFoundError:
            return []

    def log(self, name: str = "") -> Log:
        """The log, to be verified. Heads are read now, lines later: of a log that is being written, no head is beyond the lines."""
        return Log(name or self.root.resolve().parent.name, self.lines, self.heads(), self.kept())


def find(path: Path) -> AuditFolder:
    """The log at a path: an audit folder, or a node's home that holds one as `audit/`. Raises ConfigurationError where there is none."""
    for root in (path, path / "audit"):
        folder = AuditFolder(root)
        if folder.segments():
            return folder
    raise ConfigurationError(str(path), "no audit log is there", "Give a node's audit folder, or its home, which holds the folder audit/.")
