"""Verification of one log with public keys alone: its lines, its own signed heads, and the heads of it that peers hold.

Three layers, each for those whom the one before does not stop. The chain (`lines`) names what was done by someone who changes a file. The signed
heads stop whoever recomputes the chain but has no key. The heads that peers hold stop the node itself, which has the key: it can go back to an
older log, keep two, or write all of it anew, and each contradicts a head that it signed and a peer wrote down.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from privacy.audit.chain import Chain
from privacy.audit.entry import Entry
from privacy.audit.findings import Fault, Finding, Report
from privacy.audit.heads import Checkpoint, SignedHead, from_line
from privacy.audit.lines import Walk

_Place = tuple[bytes, bytes]


@dataclass(frozen=True)
class Log:
    """A log as it lies on disk. name: what to call it; lines: gives its lines from the first kept entry, each time anew; heads: lines of the
    file of signed heads; kept: the line of the `kept-from` head, where retention has deleted what was before it.
    """

    name: str
    lines: Callable[[], Iterable[bytes]]
    heads: Sequence[bytes]
    kept: bytes | None = None


@dataclass
class _Seen:
    """What the walk notes on its way: roots at the sizes that heads speak of, the party's name, what retention recorded."""

    wanted: frozenset[int]
    places: dict[int, _Place]
    party: str = ""
    kept: frozenset[tuple[object, object]] = frozenset()

    def each(self, entry: Entry) -> None:
        if entry.kind in ("founding", "rotation"):
            self.party = str(entry.facts.get("party", "")) or self.party
        elif entry.kind == "retention":
            self.kept |= {(entry.facts.get("kept_size"), entry.facts.get("kept_root"))}

    def after(self, chain: Chain) -> None:
        if chain.size in self.wanted:
            self.places[chain.size] = (chain.root(), chain.chain)


def verify(log: Log, keys: Collection[bytes] | None = None, witnessed: Iterable[SignedHead] = ()) -> Report:
    """Everything that is wrong with a log, by name and entry.

    keys: the node's Ed25519 identity keys (more than one where it was renewed), or None to believe the key in the log's own last head, which
    proves nothing about who wrote it. witnessed: heads that others hold; those of other keys, or whose signature does not hold, are left out.
    """
    findings, notes = list[Finding](), list[str]()
    own = _own_heads(log, keys, findings)
    if keys is None:
        keys = {own[-1].head.key} if own else set()
        notes.append("no key was given: the log was checked against the key that it names itself")
    theirs = [head for head in dict.fromkeys(witnessed) if head.key in keys and head.holds()]
    start = _start(log, keys, findings)
    heads = [checkpoint.head for checkpoint in own]
    seen = _Seen(frozenset(head.size for head in (*heads, *theirs)), {start.size: (start.root(), start.chain)})
    walk = Walk(log.lines, start, seen.each, seen.after)
    end = walk.run()
    findings += walk.findings
    if log.kept is not None and not walk.findings and (start.size, start.root().hex()) not in seen.kept:
        findings.append(Finding(Fault.REMOVED, 0, f"the first {start.size:,} were deleted and no entry of retention says so"))
    limit = min((finding.number for finding in walk.findings), default=walk.size)
    fitting = _heads_fit(heads, theirs, seen.places, start.size, limit, walk.size, findings)
    if walk.size and not own:
        findings.append(Finding(Fault.NO_HEAD, start.size, "there is no signed head"))
    if limit < walk.size and any(head.size > limit for head in (*heads, *theirs)):
        notes.append(f"heads of more than {limit:,} entries could not be checked: the log is broken there")
    if any(head.size < start.size for head in theirs):
        notes.append(f"heads of fewer than {start.size:,} entries could not be checked: retention has deleted these")
    if walk.torn:
        notes.append("the last line has no end, as after a crash: the node cuts it when it opens the log next")
    last = max(fitting, key=lambda head: head.size, default=None)
    return Report(
        start=start.size,
        size=walk.size,
        root=end.root(),
        chain=end.chain,
        party=seen.party or log.name,
        head=last,
        unsigned=walk.size - (last.size if last else start.size),
        checked=sum(start.size <= head.size <= limit for head in theirs),
        findings=tuple(findings),
        notes=tuple(notes),
    )


def _own_heads(log: Log, keys: Collection[bytes] | None, findings: list[Finding]) -> list[Checkpoint]:
    """The log's own heads that hold under its keys, as they lie in its file."""
    own: list[Checkpoint] = []
    for number, raw in enumerate(log.heads):
        checkpoint = from_line(raw)
        if checkpoint is None or (keys is not None and checkpoint.head.key not in keys):
            at = own[-1].head.size if own else 0
            why = "malformed, altered or with a wrong signature" if checkpoint is None else "of a key that is not the node's"
            findings.append(Finding(Fault.BAD_HEAD, at, f"signed head {number:,} is {why}"))
        else:
            own.append(checkpoint)
    return own


def _start(log: Log, keys: Collection[bytes], findings: list[Finding]) -> Chain:
    """Where the walk begins: at nothing, or at the signed head from which retention kept."""
    if log.kept is None:
        return Chain()
    kept = from_line(log.kept)
    if kept is None or kept.head.key not in keys:
        findings.append(Finding(Fault.BAD_HEAD, 0, "the head from which retention kept is malformed, altered or of another key"))
        return Chain()
    return kept.chain()


def _heads_fit(
    own: Sequence[SignedHead],
    theirs: Sequence[SignedHead],
    places: dict[int, _Place],
    start: int,
    limit: int,
    size: int,
    findings: list[Finding],
) -> list[SignedHead]:
    """Compare heads with the log; returns those of the log's own that fit. limit: up to where the lines are in order."""
    forked = _forks(own, findings) | _forks(theirs, findings)
    fits = {head for head in (*own, *theirs) if places.get(head.size) == (head.root, head.chain)}
    fitting = sorted(head.size for head in fits)
    for heads, beyond, whose in ((own, Fault.TRUNCATED, "a head in its own file"), (theirs, Fault.ROLLED_BACK, "a head that a peer holds")):
        longest = max((head.size for head in heads), default=0)
        if longest > size:
            findings.append(Finding(beyond, size, f"{whose} is of {longest:,} entries"))
        wrong = [head for head in heads if start <= head.size <= limit and head not in fits and head.size not in forked]
        if wrong:
            first = min(head.size for head in wrong)
            since = max((fit for fit in fitting if fit < first), default=start)
            findings.append(Finding(Fault.REWRITTEN, since, f"{whose}, of {first:,} entries, is not of this log"))
    return [head for head in own if head in fits]


def _forks(heads: Sequence[SignedHead], findings: list[Finding]) -> set[int]:
    """The sizes at which heads of one key contradict each other."""
    first: dict[tuple[bytes, int], SignedHead] = {}
    forked: set[int] = set()
    for head in heads:
        if first.setdefault((head.key, head.size), head).contradicts(head) and head.size not in forked:
            forked.add(head.size)
            findings.append(Finding(Fault.FORKED, head.size, f"two heads of {head.size:,} entries, both signed, differ"))
    return forked
