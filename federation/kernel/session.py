"""The session: what is actually executed, and the keys of one party in it.

session = H(manifest, every party's hello, attempt). A hello carries a fresh 256-bit nonce, a run key, a key-agreement key and the commitment
to the party's data snapshot, and travels signed with the party's identity key, which the manifest pins. So no party and no coordinator can
bring about the same session twice, and the session (not the manifest) enters every key, mask, nonce, signature and draw.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from federation.kernel import suite
from federation.kernel.codec import Message, encode
from federation.kernel.envelope import Channel
from federation.kernel.errors import PeerError
from federation.kernel.manifest import Manifest
from federation.kernel.role import COORDINATOR, Received, Role, Run
from federation.kernel.secret import Secret

Entropy = Callable[[int], bytes]


class Hello(Message, frozen=True, tag="session/hello"):
    """A party's fresh contribution: nonce (32 bytes), Ed25519 run key, X25519 agreement key, snapshot commitment (32 bytes)."""

    nonce: bytes
    run_key: bytes
    agreement_key: bytes
    commitment: bytes


class GroupShare(Message, frozen=True, tag="session/group-share"):
    """One institution's 32 bytes towards the key that all institutions share and the coordinator does not."""

    share: bytes

    def __repr__(self) -> str:
        return "GroupShare()"


class Keys(msgspec.Struct, frozen=True):
    """One party's secrets of one session, kept only in its encrypted journal and erased with it.

    root: what its run key, agreement key and session secret are derived from; hellos: of every party; group: once agreed.
    """

    root: bytes
    hellos: dict[str, Hello] = {}
    group: bytes = b""

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

    def hello(self, commitment: bytes) -> Hello:
        """This party's hello."""
        nonce = self._part("nonce").reveal()
        return Hello(nonce, suite.signing_public(self.signing), suite.agreement_public(self._part("agreement key")), commitment)

    def session(self, manifest: Manifest) -> bytes:
        """The session identifier, 32 bytes."""
        ordered = [encode(self.hellos[name]) for name in (COORDINATOR, *manifest.members)]
        return suite.digest("session", manifest.hash, manifest.attempt, *ordered)

    def pairs(self, manifest: Manifest, me: str) -> dict[str, Secret]:
        """The secret shared with each other institution. Raises PeerError for a low-order key."""
        if me == COORDINATOR:
            return {}
        out = {}
        for peer in manifest.members:
            if peer != me:
                try:
                    out[peer] = suite.agree(self._part("agreement key"), self.hellos[peer].agreement_key)
                except ValueError:
                    raise PeerError(peer, "a low-order agreement key", "an X25519 public key") from None
        return out


def opening_session(manifest: Manifest) -> bytes:
    """The identifier under which hellos travel, before there is a session."""
    return suite.digest("opening", manifest.hash, manifest.attempt)


def opening_channel(manifest: Manifest, me: str, identity: Secret) -> Channel:
    """Envelopes signed with identity keys and not encrypted: hellos are public."""
    return Channel(me, opening_session(manifest), identity, manifest.identities())


def session_channel(manifest: Manifest, me: str, keys: Keys) -> Channel:
    """Envelopes signed with run keys and, between institutions, encrypted."""
    publics = {name: hello.run_key for name, hello in keys.hellos.items()}
    return Channel(me, keys.session(manifest), keys.signing, publics, keys.pairs(manifest, me))


def greet(run: Run, mine: Hello) -> Role[dict[str, Hello]]:
    """Exchange hellos with everyone; returns all of them by party."""
    others = [name for name in (COORDINATOR, *run.members) if name != run.me]
    received: Received = yield from run.step("hello", dict.fromkeys(others, mine), dict.fromkeys(others, Hello))
    hellos = {name: received.of(name, Hello) for name in others} | {run.me: mine}
    for name, hello in hellos.items():
        if any(len(part) != suite.KEY_BYTES for part in (hello.nonce, hello.run_key, hello.agreement_key, hello.commitment)):
            raise PeerError(name, "a hello of the wrong size", "four parts of 32 bytes")
        if not suite.is_signing_public(hello.run_key):
            raise PeerError(name, "a run key under which signatures do not bind", "an Ed25519 public key")
    if len({hello.run_key for hello in hellos.values()}) != len(hellos):
        raise PeerError(COORDINATOR, "two parties with one run key", "a run key of its own for every party")
    return hellos


def agree_on_group_key(run: Run) -> Role[bytes]:
    """A key from a share of every institution; the coordinator has no share and no part in it."""
    mine = run.random("group share").bytes(suite.KEY_BYTES)
    received = yield from run.step("share", dict.fromkeys(run.peers, GroupShare(mine)), dict.fromkeys(run.peers, GroupShare))
    shares = {name: received.of(name, GroupShare).share for name in run.peers} | {run.me: mine}
    for name, share in shares.items():
        if len(share) != suite.KEY_BYTES:
            raise PeerError(name, "a group share of the wrong size", "32 bytes")
    return suite.digest("group", *(shares[name] for name in run.members))
