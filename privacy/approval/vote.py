"""A person's vote on a run, a study, or a change of who may vote or of the budget, signed with that person's own key; what votes come to.

A vote is about a hash (of a manifest, a study, a run's name, a change), so it holds for just those bytes. The last vote of a person counts: who
approved may revoke. An approver whose key was revoked has no vote, then or before.

Votes are lines of a file that others than their authors can write to. A line cannot be made up, but one from before could be copied to the end:
an approval therefore counts only where it was also signed for a later second than every vote of that person that is against.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from federation.kernel import suite
from federation.kernel.secret import Secret
from privacy.levels import PersonRole

Verdict = Literal["approve", "refuse", "revoke"]


class Approver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person who may vote: name, role, public Ed25519 key (hexadecimal), and whether the key was revoked."""

    name: str
    role: PersonRole
    key: str
    revoked: bool = False


class Vote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """about: 32 bytes; time: ISO 8601, UTC; signature: 64 bytes over all of it and the institution's name."""

    approver: str
    about: bytes
    verdict: Verdict
    time: str
    signature: bytes


def about_name(run: str) -> bytes:
    """What a vote against every manifest of a name is about, 32 bytes: a coordinator can propose another one under the name at any time."""
    return suite.digest("run's name", run)


def about_approver(change: Literal["add", "revoke"], approver: Approver) -> bytes:
    """What an owner signs who lets a person vote, or no longer, 32 bytes: just this name, role and key."""
    return suite.digest("approver", change, approver.name, approver.role, approver.key)


def about_budget(dataset: str, purpose: str, limits: bytes) -> bytes:
    """What a person signs who sets limits, 32 bytes. limits: all of them as they hold then, encoded."""
    return suite.digest("budget", dataset, purpose, limits)


def _statement(institution: str, approver: str, about: bytes, verdict: str, time: str) -> bytes:
    return suite.frame("vote", institution, approver, about, verdict, time)


def cast(institution: str, approver: str, about: bytes, verdict: Verdict, time: str, key: Secret) -> Vote:
    """A signed vote."""
    return Vote(approver, about, verdict, time, suite.sign(key, _statement(institution, approver, about, verdict, time)))


def holds(vote: Vote, institution: str, approver: Approver) -> bool:
    """Whether a vote is this approver's, at this institution, under a key that was not revoked."""
    if vote.approver != approver.name or approver.revoked:
        return False
    statement = _statement(institution, vote.approver, vote.about, vote.verdict, vote.time)
    return suite.verifies(bytes.fromhex(approver.key), statement, vote.signature)


class Standing(msgspec.Struct, frozen=True):
    """What the votes about one hash come to. approved: names of owners whose last vote approves; against: of whoever refused or revoked."""

    approved: tuple[str, ...] = ()
    against: tuple[str, ...] = ()


def standing(votes: Iterable[Vote], about: bytes, institution: str, approvers: Mapping[str, Approver]) -> Standing:
    """Count each person's last vote that holds. Only owners approve; an owner or a risk officer may be against, which outweighs all."""
    given: dict[str, list[Vote]] = {}
    for vote in votes:
        approver = approvers.get(vote.approver)
        if vote.about == about and approver is not None and holds(vote, institution, approver):
            given.setdefault(vote.approver, []).append(vote)
    for_it = {name for name, mine in given.items() if _approves(mine) and approvers[name].role == "owner"}
    against = {name for name, mine in given.items() if not _approves(mine) and approvers[name].role in ("owner", "risk officer")}
    keys = {bytes.fromhex(approvers[name].key): name for name in sorted(for_it)}  # two names with one key are one person
    return Standing(tuple(sorted(keys.values())), tuple(sorted(against)))


def has_approved(votes: Iterable[Vote], about: bytes, institution: str, approvers: Mapping[str, Approver], key: str) -> bool:
    """Whether the person who has this key (hexadecimal) approves already, under whichever name and role."""
    names = {name: approver for name, approver in approvers.items() if approver.key == key}
    given: dict[str, list[Vote]] = {}
    for vote in votes:
        if vote.about == about and vote.approver in names and holds(vote, institution, names[vote.approver]):
            given.setdefault(vote.approver, []).append(vote)
    return any(_approves(mine) for mine in given.values())


def _approves(mine: Sequence[Vote]) -> bool:
    """Whether a person's votes about one hash, in the order of the file, come to an approval."""
    latest_against = max((vote.time for vote in mine if vote.verdict != "approve"), default="")
    return mine[-1].verdict == "approve" and mine[-1].time > latest_against
