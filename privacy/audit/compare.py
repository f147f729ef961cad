"""Several parties' accounts of one run: they ran the same thing, what one sent the other received, and each one's log is the one it showed.

The logs are verified together first (`verify_together`): the heads that a party saw of another must be in the other's log. Then the entries of
the run are compared (`compare`): manifest, session, signatures, digests of messages stage by stage, consent statements.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Literal

from privacy.audit.entry import Entry
from privacy.audit.findings import Report
from privacy.audit.heads import SignedHead, heads_in
from privacy.audit.lines import entries
from privacy.audit.verify import Log, verify

Subject = Literal["manifest", "session", "signature", "messages", "consent", "head"]
_Told = dict[tuple[str, ...], frozenset[tuple[object, ...]]]


@dataclass(frozen=True)
class Account:
    """What one party's log says of a run. key: its identity key, hexadecimal; entries: of this run, in order."""

    party: str
    key: str
    entries: tuple[Entry, ...]

    def of(self, kind: str) -> tuple[Entry, ...]:
        """The entries of one kind."""
        return tuple(entry for entry in self.entries if entry.kind == kind)

    def last_session(self) -> frozenset[str]:
        """The session that was opened last, and "" for messages recorded without one."""
        return frozenset({"", *(str(entry.facts["session"]) for entry in self.of("session")[-1:])})


@dataclass(frozen=True)
class Difference:
    """Where accounts disagree. parties: whose; what: the stage or party concerned and how, without any fact's content."""

    subject: Subject
    parties: tuple[str, ...]
    what: str

    def __str__(self) -> str:
        return f"{self.subject}: {' and '.join(self.parties)}: {self.what}"


def verify_together(logs: Sequence[Log], keys: Mapping[str, Collection[bytes]] | None = None) -> tuple[Report, ...]:
    """A report on each log, checked against the heads that all the others hold of it. keys: of each log by its name, or None (see `verify`)."""
    held: dict[str, list[SignedHead]] = {log.name: heads_in(entries(log.lines())) for log in logs}
    return tuple(
        verify(log, None if keys is None else keys[log.name], [head for name, seen in held.items() if name != log.name for head in seen])
        for log in logs
    )


def account(log: Log, report: Report, run: str) -> Account:
    """A log's account of a run."""
    key = report.head.key.hex() if report.head is not None else ""
    return Account(report.party, key, tuple(entry for entry in entries(log.lines()) if entry.run == run))


def compare(accounts: Sequence[Account]) -> tuple[Difference, ...]:
    """Where the accounts of one run disagree; empty where they agree. An account without entries of the run is left out."""
    there = [account for account in accounts if account.entries]
    found: list[Difference] = []
    for first, second in combinations(there, 2):
        found += _same("manifest", first, second, lambda of: _told(of, ("session",), (), ("manifest",)))
        found += _same("session", first, second, lambda of: _told(of, ("session",), (), ("session",)))
        found += _same("signature", first, second, _signatures)
    for sender, receiver in permutations(there, 2):
        found += _messages(sender, receiver)
        found += _relayed(sender, receiver)
        found += _stated(sender, receiver)
        opened = sender.of("session") and receiver.of("session")
        if opened and all(entry.facts.get("key") != sender.key for entry in receiver.of("heads seen")):
            found.append(Difference("head", (receiver.party,), f"recorded no head of the log of {sender.party} in this run"))
    return tuple(found)


def _told(of: Account, kinds: tuple[str, ...], place: tuple[str, ...], facts: tuple[str, ...]) -> _Told:
    """What an account says at each place: by the facts that name the place, the facts told."""
    told: _Told = {}
    for entry in of.entries:
        if entry.kind in kinds:
            where = tuple(str(entry.facts.get(name, "")) for name in place)
            told[where] = told.get(where, frozenset()) | {tuple(entry.facts.get(name) for name in facts)}
    return told


def _signatures(of: Account) -> _Told:
    """Who signed what, by institution."""
    return _told(of, ("signature",), ("party",), ("manifest", "signature"))


def _same(subject: Subject, first: Account, second: Account, of: Callable[[Account], _Told]) -> list[Difference]:
    """Places of which both speak and say other things. What only one of them recorded is no contradiction."""
    mine, theirs = of(first), of(second)
    return [
        Difference(subject, (first.party, second.party), f"recorded another one{f' of {where[0]}' if where else ''}")
        for where in sorted(mine.keys() & theirs.keys())
        if mine[where] != theirs[where]
    ]


def _messages(sender: Account, receiver: Account) -> list[Difference]:
    """What one sent to the other, stage by stage. What only one recorded counts in the session in which both came to the run's end."""
    mine, theirs = _exchanged(sender, "sent"), _exchanged(receiver, "received")
    last = sender.last_session() & receiver.last_session() if sender.of("end") and receiver.of("end") else frozenset()
    parties, found = (sender.party, receiver.party), list[Difference]()
    for session, stage in sorted({place[:2] for place in (*mine, *theirs)}):
        sent, received = mine.get((session, stage, receiver.party)), theirs.get((session, stage, sender.party))
        if sent is not None and received is not None:
            if sent != received:
                found.append(Difference("messages", parties, f"stage {stage}: what was received is not what was sent"))
        elif (sent or received) and session in last:
            who, told = (receiver.party, theirs) if sent else (sender.party, mine)
            if not any(place[:2] == (session, stage) and " " in place[2] for place in told):  # "40 institutions": one digest for all
                found.append(Difference("messages", parties, f"stage {stage}: {who} recorded nothing"))
    return found


def _relayed(agency: Account, other: Account) -> list[Difference]:
    """What an agency let pass from or to another party, stage by stage, against what that party sent or received."""
    told = _told(agency, ("relayed",), ("session", "stage", "sender", "recipient"), ("messages", "digest"))
    ways = {place: what for place, what in told.items() if other.party in place[2:]}
    if not agency.of("relayed"):
        return []
    sent, received = _exchanged(other, "sent"), _exchanged(other, "received")
    parties, found = (agency.party, other.party), list[Difference]()
    for (session, stage, sender, recipient), what in sorted(ways.items()):
        theirs = sent.get((session, stage, recipient)) if sender == other.party else received.get((session, stage, sender))
        if theirs is not None and theirs != what:
            found.append(Difference("messages", parties, f"stage {stage}: what was relayed from {sender} to {recipient} is another"))
        elif theirs is None and _ended_together(agency, other, session):
            found.append(Difference("messages", parties, f"stage {stage}: {other.party} recorded nothing of what was relayed"))
    partners = {place[2] for place in ways} | {place[3] for place in ways}
    for direction, exchanged in (("sent", sent), ("received", received)):
        for session, stage, peer in sorted(exchanged):
            way = (session, stage, other.party, peer) if direction == "sent" else (session, stage, peer, other.party)
            if peer in partners and peer != other.party and way not in told and _ended_together(agency, other, session):
                what_lacks = f"stage {stage}: {agency.party} recorded nothing of what {other.party} {direction}"
                found.append(Difference("messages", parties, what_lacks))
    return found


def _stated(agency: Account, platform: Account) -> list[Difference]:
    """The consent statements that an agency made for a platform, against those that the platform worked by."""
    made = _told(agency, ("consent",), ("change", "platform"), ("number", "statement"))
    ways = {change: made.get((change, platform.party), frozenset()) for change in ("statement made", "statement heard")}
    heard = _told(platform, ("consent",), ("change", "agency"), ("number", "statement")).get(("statement heard", agency.party), frozenset())
    parties, found = (agency.party, platform.party), list[Difference]()
    if heard - ways["statement made"]:
        found.append(Difference("consent", parties, f"{platform.party} worked by a consent statement that {agency.party} did not record"))
    if ways["statement heard"] - heard:
        found.append(Difference("consent", parties, f"{agency.party} recorded an acknowledgement that {platform.party} did not"))
    return found


def _ended_together(first: Account, second: Account, session: str) -> bool:
    """Whether it is the session in which both came to the run's end."""
    return bool(first.of("end") and second.of("end")) and session in first.last_session() & second.last_session()


def _exchanged(of: Account, kind: str) -> _Told:
    """Messages and digests by session, stage and peer."""
    return _told(of, (kind,), ("session", "stage", "peer"), ("messages", "digest"))
