"""Logs to attack: a node's folder with a few runs in it, and the means of whoever has the disk, and of the node itself, which also has the key."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from federation.kernel import suite
from federation.kernel.secret import Secret
from privacy.audit.chain import Chain
from privacy.audit.entry import Entry, Line, from_line, leaf, to_line
from privacy.audit.findings import Report
from privacy.audit.heads import SignedHead, checkpoint_of
from privacy.audit.heads import to_line as head_line
from privacy.audit.verify import Log, verify
from privacy.store.audit_file import SEGMENT_BYTES, AuditFile
from privacy.store.audit_folder import HEADS, AuditFolder

KEY, PEER_KEY = Secret(bytes(range(32))), Secret(bytes(range(1, 33)))
PUBLIC, PEER_PUBLIC = suite.signing_public(KEY), suite.signing_public(PEER_KEY)
NOON = "2026-01-31T12:00:00Z"


def clock() -> Callable[[], str]:
    """A second later at every call."""
    seconds = itertools.count()
    return lambda: f"2026-01-31T{(n := next(seconds)) // 3600 % 24:02d}:{n // 60 % 60:02d}:{n % 60:02d}Z"


def audit_file(folder: Path, key: Secret = KEY, party: str = "bank", segment_bytes: int = SEGMENT_BYTES) -> AuditFile:
    return AuditFile(folder, key, clock(), party=party, segment_bytes=segment_bytes)


def fill(log: AuditFile, count: int, run: str = "run-1") -> AuditFile:
    """Decisions, as many as asked for."""
    for number in range(count):
        log.append("policy", run, rule="default-3", allowed=number % 3 > 0, rows=number)
    return log


def lines_of(folder: Path) -> list[bytes]:
    return list(AuditFolder(folder).lines())


def put_lines(folder: Path, lines: Sequence[bytes]) -> None:
    """Write all lines into one segment, in the place of those that were there."""
    for number in AuditFolder(folder).segments():
        AuditFolder(folder).segment(number).unlink()
    AuditFolder(folder).segment(0).write_bytes(b"".join(lines))


def renumbered(lines: Sequence[bytes]) -> list[bytes]:
    """Numbers made to fit, chains left as they are: for those who can write JSON and know no hash."""
    out = []
    for number, raw in enumerate(lines):
        line = from_line(raw)
        assert line is not None
        out.append(to_line(msgspec.structs.replace(line.entry, number=number), bytes.fromhex(line.chain)))
    return out


def rechained(entries: Sequence[Entry]) -> tuple[list[bytes], Chain]:
    """The lines of entries with numbers and chains that fit: for those who have read the program. Also the chain at the end."""
    chain, out = Chain(), []
    for number, entry in enumerate(entries):
        fitting = msgspec.structs.replace(entry, number=number)
        out.append(to_line(fitting, chain.append(leaf(fitting))))
    return out, chain


def rewrite(folder: Path, entries: Sequence[Entry], key: Secret = KEY) -> SignedHead:
    """What a node can do with its own key: another log, whole in itself, under new signatures. Returns its head."""
    lines, chain = rechained(entries)
    put_lines(folder, lines)
    checkpoint = checkpoint_of(chain, NOON, key)
    (folder / HEADS).write_bytes(head_line(checkpoint))
    return checkpoint.head


def decoded(lines: Sequence[bytes]) -> list[Entry]:
    return [line.entry for line in map(from_line, lines) if line is not None]


def copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


def check(folder: Path, witnessed: Sequence[SignedHead] = ()) -> Report:
    return verify(AuditFolder(folder).log(), {PUBLIC}, witnessed)


def names(report: Report) -> list[tuple[str, int]]:
    """The findings, as names and numbers."""
    return [(finding.fault.value, finding.number) for finding in report.findings]


def in_memory(lines: Sequence[bytes], heads: Sequence[bytes]) -> Log:
    def each() -> Iterator[bytes]:
        return iter(lines)

    return Log("bank", each, heads)


def line_of(raw: bytes) -> Line:
    line = from_line(raw)
    assert line is not None
    return line
