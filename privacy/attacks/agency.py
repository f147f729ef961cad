"""Attacks by a licensed credit agency on what it relays and states, and by a coordinator that would go past it or give old statements.

The agency holds its own identity key, every header and every body as it travels; the coordinator holds every envelope and no agency's key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from federation.kernel import suite
from federation.kernel.envelope import Envelope
from federation.kernel.passage import countersign
from federation.kernel.secret import Secret
from privacy.attacks.session import Alteration
from privacy.consent.decide import Ask
from privacy.consent.statement import Statement, Told, seal
from privacy.consent.subject import HASH_BYTES


def altered_and_countersigned(alter: Alteration, agency: str, identity: Secret) -> Alteration:
    """An agency that alters an envelope as a carrier would, and signs what came of it."""

    def attack(envelope: Envelope) -> Envelope | None:
        after = alter(msgspec.structs.replace(envelope, countersigned=()))
        return None if after is None else countersign(after, agency, identity)

    return attack


def forged(like: Envelope, body: bytes, agency: str, identity: Secret) -> Envelope:
    """An envelope in a party's name that the agency made up: it has no key of that party, and signs with its own."""
    draft = msgspec.structs.replace(like, body=body, signature=b"", countersigned=())
    return countersign(msgspec.structs.replace(draft, signature=suite.sign(identity, draft.signed())), agency, identity)


def past_the_agency(envelope: Envelope) -> Envelope:
    """A coordinator that hands an envelope straight to its recipient, with a countersignature of its own making."""
    return msgspec.structs.replace(envelope, countersigned=(bytes(64),))


def readable(relayed: Iterable[Envelope], needle: bytes) -> int:
    """In how many of the bodies that an agency relays a known text shows."""
    return sum(needle in envelope.body for envelope in relayed)


def _asking(**changes: object) -> Callable[[Statement], Statement]:
    def alter(statement: Statement) -> Statement:
        ask = statement.ask
        parts = {"purpose": ask.purpose, "columns": ask.columns, "recipients": ask.recipients} | changes
        return msgspec.structs.replace(statement, ask=Ask(**parts))  # type: ignore[arg-type]

    return alter


def _saying(**changes: object) -> Callable[[Statement], Statement]:
    return lambda statement: msgspec.structs.replace(statement, **changes)


OTHER_STATEMENTS: dict[str, Callable[[Statement], Statement]] = {
    "another manifest": _saying(manifest=bytes(suite.KEY_BYTES)),
    "another platform": _saying(platform="platform-b"),
    "another agency": _saying(agency="agency-b"),
    "another purpose": _asking(purpose="research"),
    "no column": _asking(columns=()),
    "other columns": _asking(columns=(("balance", 3),)),
    "a lower level": lambda s: _asking(columns=tuple((name, level - 1) for name, level in s.ask.columns))(s),
    "a recipient less": lambda s: _asking(recipients=s.ask.recipients[:-1])(s),
    "other recipients": _asking(recipients=("bank", "court")),
    "yesterday": lambda s: msgspec.structs.replace(s, day=s.day - 1),
    "tomorrow": lambda s: msgspec.structs.replace(s, day=s.day + 1),
    "a later number": _saying(number=1),
    "chained to another": _saying(former=bytes(suite.KEY_BYTES)),
    "a subject twice": lambda s: msgspec.structs.replace(s, subjects=s.subjects[:HASH_BYTES] + s.subjects),
    "subjects out of order": lambda s: msgspec.structs.replace(s, subjects=s.subjects[HASH_BYTES:] + s.subjects[:HASH_BYTES]),
    "half a subject": lambda s: msgspec.structs.replace(s, subjects=s.subjects[:-1]),
}
"""What an agency's statement may be about instead of this run: of another run, or made by an agency that is hostile or in error."""


def restated(told: Told, statement: Statement, identity: Secret, shared: Secret) -> Told:
    """Another statement on the way of one, by whoever has these keys."""
    return msgspec.structs.replace(told, sealed=seal(statement, identity, shared, told.nonce))
