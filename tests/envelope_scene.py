"""Runs of the small program whose envelopes are in hostile hands, and the honest run that they are compared with."""

from __future__ import annotations

from functools import cache
from typing import Any

from federation.kernel import suite
from federation.kernel.envelope import Channel, Envelope
from federation.kernel.secret import Secret
from tests.post import Post, identity
from tests.talk import NAMES, post, result


@cache
def honest(salt: bytes = b"") -> Post:
    here = post(salt=salt)
    here.play()
    result(here)
    return here


def spoiled(name: str, at: int, change: Any) -> Post:
    """A run in which the batch with this number to this party is what `change` makes of it."""

    def delivers(here: Post, to: str, number: int, batch: tuple[Envelope, ...]) -> bytes:
        return here.parties[to].deliver(number, change(here, batch) if (to, number) == (name, at) else batch)

    here = post(delivers=delivers)
    here.play()
    return here


def channels(pair: Secret | None) -> tuple[Channel, Channel]:
    publics = {name: suite.signing_public(identity(name)) for name in NAMES}
    one, other = ({"platform": pair}, {"bank": pair}) if pair else (None, None)
    return Channel("bank", bytes(32), identity("bank"), publics, one), Channel("platform", bytes(32), identity("platform"), publics, other)
