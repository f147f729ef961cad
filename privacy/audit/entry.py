"""One entry of the audit log, and the line that it is on disk.

An entry says that something was done: counts, digests, names of places, runs and parties. It never holds a value from the data; facts are short
so that nobody is tempted. What a reader needs of a kind (`NEEDED`) is there or the entry is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final, Literal, get_args

import msgspec

from federation.kernel.errors import LocalError

Kind = Literal[
    "founding",
    "configuration",
    "approval",
    "vote",
    "signature",
    "policy",
    "session",
    "vault",
    "sent",
    "received",
    "relayed",
    "release",
    "budget",
    "consent",
    "abort",
    "end",
    "heads seen",
    "retention",
    "pack",
    "rotation",
    "recovery",
]
"""founding: the log begins; configuration: a setting, key or policy file changed; approval: the institution let a run through, and by whom;
vote: a person's, for it or against; signature: an institution's on the manifest, as it came with the opening;
policy: a decision, with the id of its rule; session: a run was opened; vault: data were opened (counts);
sent, received: messages of one stage and one peer, as a digest; relayed: those that an agency let pass;
release: something left in clear; budget: reserved, spent, settled;
consent: the ledger changed, or was asked; abort, end: of a run; heads seen: a peer's signed head; retention: something was deleted;
pack: a validator was given what a model rests on;
rotation: a new segment begins; recovery: a torn line was cut.
"""
KINDS: Final[tuple[str, ...]] = get_args(Kind)
Fact = str | int | float | bool

NEEDED: Final[Mapping[str, frozenset[str]]] = {
    "approval": frozenset({"manifest", "party", "by", "snapshot"}),
    "vote": frozenset({"manifest", "party", "by", "verdict"}),
    "signature": frozenset({"manifest", "party", "snapshot", "signature"}),
    "session": frozenset({"manifest", "session"}),
    "sent": frozenset({"stage", "peer", "messages", "digest"}),
    "received": frozenset({"stage", "peer", "messages", "digest"}),
    "relayed": frozenset({"stage", "sender", "recipient", "messages", "digest"}),
    "heads seen": frozenset({"peer", "size", "root", "chain", "time", "key", "signature", "verdict"}),
    "rotation": frozenset({"party", "size", "root", "chain", "time", "key", "signature"}),
}
"""Facts without which the kinds that `compare`, `account` and `verify` read mean nothing."""

MOST_FACTS, MOST_NAME, MOST_TEXT, MOST_RUN = 32, 40, 200, 64
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_CHAIN = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)")


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """number: from 0, without gaps; time: ISO 8601 in UTC, by the node's clock; kind: one of `KINDS`; run: its id, or "" where there is none."""

    number: int
    time: str
    kind: Kind
    run: str
    facts: dict[str, Fact] = {}


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of a log's file. chain: the chain's hash after this entry, hexadecimal."""

    chain: str
    entry: Entry


_ENCODER = msgspec.json.Encoder(order="deterministic")
_DECODER = msgspec.json.Decoder(Line)


def entry(number: int, time: str, kind: Kind, run: str, facts: Mapping[str, Fact]) -> Entry:
    """An entry, once it is seen to be one. Raises LocalError, which names the fact and the rule and never the value."""
    place = f"audit entry of kind {kind!r}" if kind in KINDS else "audit entry"
    if kind not in KINDS:
        raise _refused(place, "a kind that there is not", f"Kinds are {', '.join(KINDS)}.")
    if number < 0 or not _TIME.fullmatch(time):
        raise _refused(place, "a time that is not ISO 8601 in UTC, or a number below 0", "Give the clock's time as 2026-01-31T12:00:00Z.")
    if len(run) > MOST_RUN or _CONTROL.search(run):
        raise _refused(place, f"a run's id of more than {MOST_RUN} characters or with control characters", "Give the run's id.")
    if len(facts) > MOST_FACTS:
        raise _refused(place, f"{len(facts)} facts, more than {MOST_FACTS}", "Write several entries.")
    lacking = sorted(NEEDED.get(kind, frozenset()) - facts.keys())
    if lacking:
        raise _refused(place, f"no fact {', '.join(lacking)}", "Give it: auditors compare it.")
    for name, value in facts.items():
        _check(place, name, value)
    return Entry(number, time, kind, run, dict(facts))


def _check(place: str, name: str, value: Fact) -> None:
    if len(name) > MOST_NAME or not _NAME.fullmatch(name):
        raise _refused(place, "a fact whose name is not a short lower-case word", "Names are like rows_matched.")
    if type(value) not in (str, int, float, bool):  # a numpy scalar, or a subclass that JSON would write another way
        raise _refused(place, f"fact {name!r} is not text, a number or true or false", "Convert it.")
    if isinstance(value, str) and (len(value) > MOST_TEXT or _CONTROL.search(value)):
        raise _refused(place, f"fact {name!r} has more than {MOST_TEXT} characters or control characters", "Write a count or a digest.")
    if isinstance(value, float) and not math.isfinite(value):
        raise _refused(place, f"fact {name!r} is not finite", "Leave it out.")
    if type(value) is int and not -(1 << 63) <= value < 1 << 63:
        raise _refused(place, f"fact {name!r} does not fit 64 bits", "Write it as text.")


def _refused(place: str, what: str, action: str) -> LocalError:
    return LocalError(place, what, action)


def leaf(of: Entry) -> bytes:
    """An entry's canonical bytes: JSON without spaces, facts in order of name. These are what is hashed."""
    return _ENCODER.encode(of)


def to_line(of: Entry, chain: bytes) -> bytes:
    """The entry's line, with its end."""
    return _ENCODER.encode(Line(chain.hex(), of)) + b"\n"


def from_line(raw: bytes) -> Line | None:
    """The line that has just these bytes, or None: malformed, not canonical, or without its end."""
    try:
        line = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return line if _CHAIN.fullmatch(line.chain) and _ENCODER.encode(line) + b"\n" == raw else None
