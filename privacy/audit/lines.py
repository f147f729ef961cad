"""A walk over the lines of a log: every entry where it must be, bound to all before it; and where not, what was done to the file.

Someone who alters a file without recomputing what follows leaves the chain's hashes of the other lines as witnesses: from them follows whether
an entry was changed, put in, taken out or moved, also where the numbers were made to fit. Someone who recomputes them all is found by the heads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from privacy.audit.chain import Chain, leaf_hash, link
from privacy.audit.entry import Entry, Line, from_line, leaf
from privacy.audit.findings import Fault, Finding

MOST_FINDINGS = 100
AHEAD = 16
"""Lines in view: so many entries put in, or taken out with the numbers made to fit, are named for what they are; more show as flipped."""


@dataclass
class Walk:
    """A walk and what it met. lines: gives all lines from the first, each time anew; start: the chain before the first of them.

    each: called with every entry that is in order; after: with the chain after it, until the first finding. torn: the last line has no end, as
    after a crash, and is not counted.
    """

    lines: Callable[[], Iterable[bytes]]
    start: Chain
    each: Callable[[Entry], None] = lambda _entry: None
    after: Callable[[Chain], None] = lambda _chain: None
    findings: list[Finding] = field(default_factory=list)
    torn: bool = False
    size: int = 0

    def run(self) -> Chain:
        """Walk to the end; returns the chain over what is there. `size` is then how many entries the log has by its own count."""
        self._tree, self._number = self.start.copy(), self.start.size
        self._chain: bytes | None = self.start.chain  # before entry `_number`; None: not known, after lines that tell nothing
        self._shift, self._pass = 0, 0
        self._displaced = set[int]()
        self._suspects: list[tuple[int, bytes, Line]] = []
        self._numbers: set[int] | None = None
        lines, self._view = iter(self.lines()), deque[bytes]()
        while True:
            while len(self._view) <= AHEAD and (raw := next(lines, None)) is not None:
                self._view.append(raw)
            if not self._view:
                break
            self._step(self._view.popleft())
        self._pair_suspects()
        self.size = self._number
        return self._tree

    def _step(self, raw: bytes) -> None:
        if self._pass:
            self._pass -= 1
        elif not self._view and not raw.endswith(b"\n"):
            self.torn = True
        elif (line := from_line(raw)) is None:
            self._unreadable()
        elif self._real(line) == self._number and (self._chain is None or self._follows(self._chain, line)):
            self._accept(line)
        else:
            self._diagnose(line)

    def _real(self, line: Line) -> int:
        """The number that an entry was written with, as far as is known."""
        return line.entry.number - self._shift

    def _follows(self, chain: bytes, line: Line, number: int | None = None) -> bool:
        """Whether a line is the one after a chain, under its true number or the one given."""
        wanted = self._number if number is None else number
        entry = line.entry if line.entry.number == wanted else msgspec.structs.replace(line.entry, number=wanted)
        return link(chain, leaf_hash(leaf(entry))).hex() == line.chain

    def _accept(self, line: Line) -> None:
        self._go_on(line, bytes.fromhex(line.chain))
        self.each(line.entry)
        if not self.findings:
            self.after(self._tree)

    def _go_on(self, line: Line, chain: bytes | None) -> None:
        """Past a line. chain: after it, where that can be told."""
        self._tree.append(leaf(line.entry))
        self._chain, self._number = chain, self._number + 1

    def _find(self, fault: Fault, what: str) -> None:
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(fault, self._number, what))

    def _next(self) -> Line | None:
        return from_line(self._view[0]) if self._view else None

    def _unreadable(self) -> None:
        after = self._next()
        if after is not None and self._chain is not None and self._follows(self._chain, after):
            self._find(Fault.INSERTED, "a line that is no entry stands between two that follow each other")
            return
        if after is not None and self._chain is None and self._real(after) == self._number:
            return  # another piece of the same line
        self._find(Fault.FLIPPED, "the line is not an entry in canonical form")
        self._chain, self._number = None, self._number + 1

    def _diagnose(self, line: Line) -> None:
        number = self._real(line)
        if self._chain is not None and number != self._number and self._follows(self._chain, line):
            self._find(Fault.FLIPPED, "the entry's number is not the one that was written")
            self._go_on(line, bytes.fromhex(line.chain))
        elif number > self._number:
            self._too_late(line, number)
        elif number < self._number:
            self._passed(line, number)
        else:
            self._in_place(line)

    def _too_late(self, line: Line, number: int) -> None:
        """An entry with a later number than the one that is due."""
        after = self._next()
        if self._number not in self._all_numbers():
            self._find(Fault.REMOVED, f"{number - self._number:,} missing before entry {number:,}")
            moved = True
        else:
            self._find(Fault.REORDERED, f"entry {number:,} stands in its place")
            self._displaced.add(self._number)
            moved = after is not None and self._real(after) == number + 1  # one was moved back; else two changed places
        self._number = number if moved else self._number
        self._go_on(line, bytes.fromhex(line.chain) if moved else None)

    def _passed(self, line: Line, number: int) -> None:
        """An entry whose number has been passed already."""
        after = self._next()
        if number not in self._displaced:
            self._find(Fault.INSERTED, f"a second entry {number:,}")
        elif after is None or self._real(after) == self._number + 1:  # it stands where another should
            self._go_on(line, None)

    def _in_place(self, line: Line) -> None:
        """The number that is due, and not the entry: the lines in view tell what was done, since no two chains meet by chance."""
        chain, written, after = self._chain, bytes.fromhex(line.chain), self._next()
        assert chain is not None
        view = [from_line(raw) for raw in self._view]
        for place, other in enumerate(view):
            if other is None or not self._follows(chain, other):
                continue
            beyond = view[place + 1] if place + 1 < len(view) else None
            if place == 0 and self._follows(bytes.fromhex(other.chain), line, self._number + 1):
                self._find(Fault.REORDERED, f"it and entry {self._number + 1:,} changed places and numbers")
                self._go_on(line, None)
                self._go_on(other, written)
                self._pass = 1
                return
            if beyond is None or self._follows(bytes.fromhex(other.chain), beyond, self._number + 1):
                self._find(Fault.INSERTED, f"{place + 1:,} put in: an entry further on follows the one before")
                self._shift, self._pass = other.entry.number - self._number, place
                return
        for gap in range(1, AHEAD + 1):
            if after is not None and self._real(after) == self._number + 1 and self._follows(written, after, self._number + gap + 1):
                self._find(Fault.REMOVED, f"{gap:,} missing, and those after were given their numbers")
                self._shift, self._number = self._shift - gap, self._number + gap
                self._go_on(line, written)
                return
        self._find(Fault.FLIPPED, "the entry is not the one that the chain binds")
        self._suspects.append((self._number, chain, line))
        trusted = after is None or self._follows(written, after, self._number + 1)
        self._go_on(line, written if trusted else None)

    def _all_numbers(self) -> set[int]:
        """The number of every readable line."""
        if self._numbers is None:
            self._numbers = {self._real(line) for line in map(from_line, self.lines()) if line is not None}
        return self._numbers

    def _pair_suspects(self) -> None:
        """Two entries that changed places and numbers: each is where the other was, and follows what was before the other."""
        moved: set[int] = set()
        for number, chain, _ in self._suspects[:MOST_FINDINGS]:
            for other, _, candidate in self._suspects[:MOST_FINDINGS]:
                if other != number and self._follows(chain, candidate, number):
                    moved |= {number, other}
        for place, finding in enumerate(self.findings):
            if finding.fault is Fault.FLIPPED and finding.number in moved:
                self.findings[place] = Finding(Fault.REORDERED, finding.number, "it stands in another's place, under its number")


def entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    """The entries of lines, unverified; what is not one is passed over."""
    for raw in lines:
        line = from_line(raw)
        if line is not None:
            yield line.entry
