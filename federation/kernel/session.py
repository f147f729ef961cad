"""The session: what is actually executed, and the keys of one party in it.

session = H(manifest, every party's hello, attempt). A hello carries a fresh 256-bit nonce, a run key, a key-agreement key and the commitment
to the party's data snapshot, and travels signed with the party's identity key, which the manifest pins. So no party and no coordinator can
bring about the same session twice, and the session (not the manifest) enters every key, mask, nonce, signature and draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, ClassVar

import msgspec

from federation.kernel import suite
from federation.kernel.codec import Message, encode
from federation.kernel.envelope import Channel
from federation.kernel.errors import PeerError
from federation.kernel.manifest import Manifest
from federation.kernel.passage import Passage
from federation.kernel.role import COORDINATOR, Received, Role, Run
from federation.kernel.secret import Secret

Entropy = Callable[[int], bytes]
LONGEST_NOTICE = 1 << 17
MANY, DEALERS = 64, 8
"""Above so many institutions hellos go by way of the coordinator, and so many deal the group key."""
_ROLL = 1 << 25


class Hello(Message, frozen=True, tag="session/hello"):
    """A party's fresh contribution: nonce (32 bytes), Ed25519 run key, X25519 agreement key, snapshot commitment (32 bytes).

    notice: the signed head of the party's audit log, and proofs that it goes on from those that others have seen, so that every run shows a log
    that forked, was rolled back or was written anew.
    """

    nonce: bytes
    run_key: bytes
    agreement_key: bytes
    commitment: bytes
    notice: Annotated[bytes, msgspec.Meta(max_length=LONGEST_NOTICE)] = b""


class Introduction(Message, frozen=True, tag="session/introduction"):
    """Where parties are too many to greet each other: a hello by way of the coordinator. certificate: the identity key's signature of it."""

    hello: Hello
    certificate: bytes


class Roll(Message, frozen=True, tag="session/roll"):
    """From the coordinator to every institution: everyone's introduction, its own too."""

    broadcast: ClassVar[bool] = True

    entries: dict[str, Introduction]


class Lot(Message, frozen=True, tag="session/lot"):
    """To the coordinator, once keys are pinned: the 32 bytes of which the sender's nonce was the digest."""

    lot: bytes


class Lots(Message, frozen=True, tag="session/lots"):
    """From the coordinator to every institution: everyone's lot."""

    broadcast: ClassVar[bool] = True

    entries: dict[str, bytes]


class GroupShare(Message, frozen=True, tag="session/group-share"):
    """One institution's 32 bytes towards the key that all institutions share and the coordinator does not."""

    share: bytes

    def __repr__(self) -> str:
        return "GroupShare()"


class Keys(msgspec.Struct, frozen=True):
    """One party's secrets of one session, kept only in its encrypted journal and erased with it.

    root: what its run key, agreement key and session secret are derived from; hellos: of every party; group: once agreed; lots: public
    randomness that nobody could choose, drawn where institutions are many; notice: what this party's hello says of its audit log.
    """

    root: bytes
    hellos: dict[str, Hello] = {}
    group: bytes = b""
    lots: bytes = b""
    notice: bytes = b""

    def __repr__(self) -> str:
        return f"Keys(of {len(self.hellos)} parties)"

    def _part(self, label: str) -> Secret:
        return suite.derive(Secret(self.root), label)

    @property
    def signing(self) -> Secret:
        """The Ed25519 run key."""
        return self._part("run key")

    @property
    def secret(self) -> Secret:
        """What the run's randomness comes from."""
        return self._part("session secret")

    @property
    def lot(self) -> bytes:
        """What this party's nonce is the digest of."""
        return self._part("nonce").reveal()

    def hello(self, commitment: bytes) -> Hello:
        """This party's hello. Its nonce commits it to its lot."""
        nonce = suite.digest("lot", self.lot)
        agreement = suite.agreement_public(self._part("agreement key"))
        return Hello(nonce, suite.signing_public(self.signing), agreement, commitment, self.notice)

    def session(self, manifest: Manifest) -> bytes:
        """The session identifier, 32 bytes."""
        ordered = [encode(self.hellos[name]) for name in (COORDINATOR, *manifest.signers)]
        return suite.digest("session", manifest.hash, manifest.attempt, *ordered)

    def pairs(self, manifest: Manifest, me: str) -> Pairs:
        """The secret shared with each other institution, and between the coordinator and a party that goes through an agency, which must not
        read what they say to each other; an agency shares none. Raises PeerError for a low-order key.
        """
        relayed = tuple(name for name in manifest.members if manifest.through(name))
        others: tuple[str, ...] = tuple(name for name in manifest.members if name != me) if me in manifest.members else ()
        others += (relayed if me == COORDINATOR else ()) + ((COORDINATOR,) if me in relayed else ())
        return Pairs(self._part("agreement key"), self.hellos, others)


class Pairs(Mapping[str, Secret]):
    """Secrets shared with others, each agreed when it is first asked for: of thousands of institutions one speaks with few."""

    def __init__(self, mine: Secret, hellos: Mapping[str, Hello], others: tuple[str, ...]) -> None:
        self._mine, self._hellos, self._others = mine, hellos, frozenset(others)
        self._agreed: dict[str, Secret] = {}
        if len(others) < MANY:
            for peer in others:
                self[peer]  # a bad key shows at once

    def __getitem__(self, peer: str) -> Secret:
        if peer not in self._others:
            raise KeyError(peer)
        if peer not in self._agreed:
            try:
                self._agreed[peer] = suite.agree(self._mine, self._hellos[peer].agreement_key)
            except ValueError:
                raise PeerError(peer, "a low-order agreement key", "an X25519 public key") from None
        return self._agreed[peer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._others)

    def __len__(self) -> int:
        return len(self._others)


def opening_session(manifest: Manifest) -> bytes:
    """The identifier under which hellos travel, before there is a session."""
    return suite.digest("opening", manifest.hash, manifest.attempt)


def opening_channel(manifest: Manifest, me: str, identity: Secret) -> Channel:
    """Envelopes signed with identity keys and not encrypted: hellos are public."""
    return Channel(me, opening_session(manifest), identity, manifest.identities(), passed=Passage.of(manifest).require)


def open_session(run: Run, manifest: Manifest, hello: Hello, identity: Secret) -> Role[dict[str, Hello]]:
    """Exchange hellos: each with each, or where institutions are many, certified and by way of the coordinator."""
    if len(manifest.members) > MANY:
        return introduce(run, hello, certify(manifest, run.me, hello, identity), manifest)
    return greet(run, hello, tuple(agency.name for agency in manifest.agencies))


def require_approved(hellos: Mapping[str, Hello], approved: Mapping[str, bytes]) -> None:
    """Raises PeerError where an institution brings other data than it signed for. approved: the snapshot of each one's signature, 32 bytes."""
    for name, snapshot in approved.items():
        if hellos[name].commitment != snapshot:
            raise PeerError(name, "a commitment to other data than it signed the manifest for", "the snapshot of its signature")


def session_channel(manifest: Manifest, me: str, keys: Keys) -> Channel:
    """Envelopes signed with run keys and, between institutions, encrypted."""
    publics = {name: hello.run_key for name, hello in keys.hellos.items()}
    return Channel(me, keys.session(manifest), keys.signing, publics, keys.pairs(manifest, me), Passage.of(manifest).require)


def greet(run: Run, mine: Hello, agencies: tuple[str, ...] = ()) -> Role[dict[str, Hello]]:
    """Exchange hellos with everyone, agencies too; returns all of them by party."""
    others = [name for name in (COORDINATOR, *run.members, *agencies) if name != run.me]
    received: Received = yield from run.step("hello", dict.fromkeys(others, mine), dict.fromkeys(others, Hello))
    return _checked({name: received.of(name, Hello) for name in others} | {run.me: mine})


def introduce(run: Run, mine: Hello, certificate: bytes, manifest: Manifest) -> Role[dict[str, Hello]]:
    """`greet` for many: hellos go to the coordinator, who hands all of them to all. certificate: of `mine`, by `certify`.

    The coordinator cannot change one: each carries the signature of the identity key that the manifest pins.
    """
    if run.me == COORDINATOR:
        received = yield from run.step("hello", expect=dict.fromkeys(run.members, Introduction))
        entries = {name: received.of(name, Introduction) for name in run.members} | {COORDINATOR: Introduction(mine, certificate)}
        yield from run.step("roll", dict.fromkeys(run.members, Roll(entries)))
    else:
        sent = {COORDINATOR: Introduction(mine, certificate)}
        received = yield from run.step("hello", sent, {COORDINATOR: Roll}, _ROLL)
        entries = received.of(COORDINATOR, Roll).entries
    identities = manifest.identities()
    if set(entries) != set(identities) or entries[run.me].hello != mine:
        raise PeerError(COORDINATOR, "a roll of other parties, or another hello of this one", "everyone's hello as it was sent")
    opening = opening_session(manifest)
    for name, entry in entries.items():
        if not suite.verifies(identities[name], certified(opening, name, entry.hello), entry.certificate):
            raise PeerError(COORDINATOR, f"a hello of {name} whose certificate does not hold", "one signed with its identity key")
    return _checked({name: entry.hello for name, entry in entries.items()})


def certified(opening: bytes, name: str, hello: Hello) -> bytes:
    """What a certificate signs. opening: the identifier of the opening session."""
    return suite.digest("introduction", opening, name, encode(hello))


def certify(manifest: Manifest, name: str, hello: Hello, identity: Secret) -> bytes:
    """A party's certificate of its own hello, 64 bytes."""
    return suite.sign(identity, certified(opening_session(manifest), name, hello))


def _checked(hellos: dict[str, Hello]) -> dict[str, Hello]:
    for name, hello in hellos.items():
        if any(len(part) != suite.KEY_BYTES for part in (hello.nonce, hello.run_key, hello.agreement_key, hello.commitment)):
            raise PeerError(name, "a hello of the wrong size", "four parts of 32 bytes")
        if len(hello.notice) > LONGEST_NOTICE:
            raise PeerError(name, "a notice of the wrong size", f"at most {LONGEST_NOTICE} bytes")
        if not suite.is_signing_public(hello.run_key):
            raise PeerError(name, "a run key under which signatures do not bind", "an Ed25519 public key")
    if len({hello.run_key for hello in hellos.values()}) != len(hellos):
        raise PeerError(COORDINATOR, "two parties with one run key", "a run key of its own for every party")
    return hellos


def draw_lots(run: Run, mine: bytes, hellos: Mapping[str, Hello]) -> Role[bytes]:
    """Public randomness, 32 bytes, that nobody could choose: everyone was committed to its lot when keys were pinned, and all lots are in it.

    Commit and reveal (Blum 1981): whoever keeps its lot back ends the run, and that is all that it can do.
    """
    if run.me == COORDINATOR:
        received = yield from run.step("lot", expect=dict.fromkeys(run.members, Lot))
        lots = {name: received.of(name, Lot).lot for name in run.members}
        yield from run.step("lots", dict.fromkeys(run.members, Lots(lots)))
    else:
        received = yield from run.step("lot", {COORDINATOR: Lot(mine)}, {COORDINATOR: Lots}, _ROLL)
        lots = received.of(COORDINATOR, Lots).entries
    if set(lots) != set(run.members) or any(suite.digest("lot", lot) != hellos[name].nonce for name, lot in lots.items()):
        raise PeerError(COORDINATOR, "lots that were not those committed to", "every institution's lot")
    return suite.digest("lots", *(lots[name] for name in run.members))


def agree_on_group_key(run: Run) -> Role[bytes]:
    """A key from a share of every institution; the coordinator has no share and no part in it. Of many institutions the first few deal.

    Any institution in league with the coordinator gives it the key, however many dealt; alone it learns nothing as long as one dealer does not.
    """
    dealers = run.members[:DEALERS] if len(run.members) > MANY else run.members
    mine = {run.me: run.random("group share").bytes(suite.KEY_BYTES)} if run.me in dealers else {}
    sent = dict.fromkeys(run.peers, GroupShare(mine[run.me])) if mine else {}
    others = tuple(name for name in dealers if name != run.me)
    received = yield from run.step("share", sent, dict.fromkeys(others, GroupShare))
    shares = {name: received.of(name, GroupShare).share for name in others} | mine
    for name, share in shares.items():
        if len(share) != suite.KEY_BYTES:
            raise PeerError(name, "a group share of the wrong size", "32 bytes")
    return suite.digest("group", *(shares[name] for name in dealers))
