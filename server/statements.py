"""Consent statements of agencies, carried to the platforms that they are for, and the platforms' acknowledgements back. All that is seen here
is for whom one is and how long it is: they are sealed between the two.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from federation.carriage.mailbox import Parcel
from federation.kernel.errors import PeerError
from federation.kernel.known import known
from federation.kernel.manifest import Manifest
from server.courier import Courier


def carry_first(courier: Courier, manifest: Manifest) -> None:
    """Before the platforms are asked to approve a run: the statements that it begins with. Raises as `carry`."""
    holders = {party.through for party in manifest.parties if party.consents_at_agency}
    answers = courier.exchange({name: Parcel("consents", manifest.run, b"") for name in sorted(holders)})
    carry(courier, manifest, {name: answer for name, answer in answers.items() if answer.payload})


def carry(courier: Courier, manifest: Manifest, told: Mapping[str, Parcel]) -> None:
    """told: by agency, what it has to tell. Raises LostNode, Refused, and PeerError where an agency speaks to others than its platforms."""
    for agency, parcel in told.items():
        try:
            statements = msgspec.msgpack.decode(parcel.payload, type=known(dict[str, bytes]))
        except msgspec.MsgspecError:
            raise PeerError(agency, "malformed bytes", "consent statements") from None
        if not statements or any(manifest.through(name) != agency for name in statements):
            raise PeerError(agency, "consent statements for nobody, or for others", "one for each platform that goes through it")
        answers = courier.exchange({name: Parcel("consents", manifest.run, raw) for name, raw in statements.items()})
        acknowledged = msgspec.msgpack.encode({name: answer.payload for name, answer in answers.items()})
        courier.exchange({agency: Parcel("heard", manifest.run, acknowledged)})
