"""What can be wrong with a log, each by its own name and the number of the first entry that it concerns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from privacy.audit.heads import SignedHead


class Fault(StrEnum):
    """The names. What each means for a reader is in `MEANING`."""

    FLIPPED = "flipped"
    INSERTED = "inserted"
    REMOVED = "removed"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    ROLLED_BACK = "rolled back"
    FORKED = "forked"
    REWRITTEN = "rewritten"
    BAD_HEAD = "bad head"
    NO_HEAD = "no head"


MEANING = {
    Fault.FLIPPED: "the bytes of an entry are not those that were written",
    Fault.INSERTED: "an entry was put in afterwards",
    Fault.REMOVED: "entries are missing between others, or before the first",
    Fault.REORDERED: "entries stand in another order than they were written",
    Fault.TRUNCATED: "the log ends before a head that it carries itself",
    Fault.ROLLED_BACK: "the log, with its heads, is an older one: a peer holds a head of a longer one",
    Fault.FORKED: "the same key signed two logs: peers hold heads of one size that differ",
    Fault.REWRITTEN: "the log is whole in itself and not the one of which a head was signed",
    Fault.BAD_HEAD: "a signed head is malformed, altered or of another key",
    Fault.NO_HEAD: "nothing in the log is signed",
}


@dataclass(frozen=True)
class Finding:
    """fault: its name; number: the first entry concerned; what: the details, with no fact of any entry."""

    fault: Fault
    number: int
    what: str

    def __str__(self) -> str:
        return f"{self.fault.value} at entry {self.number:,}: {self.what}"


@dataclass(frozen=True)
class Report:
    """What verification of one log found.

    start: the first entry that is there (above 0 after retention); size: entries in all; root, chain: after the last; party: as the log names
    its node; head: the latest signed head that fits; unsigned: entries after it, which the signature does not cover yet; checked: witnesses'
    heads that were compared; notes: what is no fault and should be known.
    """

    start: int
    size: int
    root: bytes
    chain: bytes
    party: str
    head: SignedHead | None
    unsigned: int
    checked: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return not self.findings
