"""Signed heads: what a log was at a moment, under the node's identity key, and what a peer's head may be after one seen before.

A head binds size, Merkle root, chain hash and time. Parties exchange heads in every run (`Notice`), with proofs from those that the others say
they have seen, and each writes down what it saw: whoever later shows a shorter log, or another one, contradicts its own signature. Two heads of
one key that contradict each other are evidence alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from federation.kernel import suite
from federation.kernel.codec import decode
from federation.kernel.errors import PeerError
from federation.kernel.secret import Secret
from privacy.audit.chain import HASH_BYTES, Chain, consistent, peaks_root
from privacy.audit.entry import Entry, Fact

MOST_NOTICE = 1 << 17
_DOMAIN = "audit log head"
_SIGNATURE = 64
_EXPECTED = "a signed head of its audit log"


class SignedHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """size: entries; root, chain: 32 bytes, after them; time: ISO 8601 in UTC, by the signer's clock; key: its Ed25519 key."""

    size: int
    root: bytes
    chain: bytes
    time: str
    key: bytes
    signature: bytes = b""

    def bound(self) -> bytes:
        """What the signature is of, in a domain of its own: no other signature of the identity key can pass for one of a head."""
        return suite.digest(_DOMAIN, self.size, self.root, self.chain, self.time, self.key)

    def holds(self) -> bool:
        """Whether the signature is the key's, of just this head."""
        sizes = len(self.root) == len(self.chain) == HASH_BYTES and len(self.signature) == _SIGNATURE and self.size >= 0
        return sizes and suite.is_signing_public(self.key) and suite.verifies(self.key, self.bound(), self.signature)

    def contradicts(self, other: SignedHead) -> bool:
        """Whether no log can have both: the same number of entries, and others."""
        return self.size == other.size and (self.root, self.chain) != (other.root, other.chain)


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signed head with the roots of its complete subtrees, from which appending and verifying can go on without the entries before it."""

    head: SignedHead
    peaks: tuple[bytes, ...]

    def holds(self) -> bool:
        """Whether the head holds and the peaks are those of its root."""
        right = len(self.peaks) == self.head.size.bit_count() and peaks_root(self.peaks) == self.head.root
        return self.head.holds() and right

    def chain(self) -> Chain:
        """The chain after the head's last entry."""
        return Chain(self.head.size, self.head.chain, self.peaks)


_CHECKPOINTS = msgspec.json.Decoder(Checkpoint)


def to_line(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as a line of a file: JSON, bytes in base64."""
    return msgspec.json.encode(checkpoint) + b"\n"


def from_line(raw: bytes) -> Checkpoint | None:
    """The checkpoint that has just these bytes and holds, or None."""
    try:
        checkpoint = _CHECKPOINTS.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return checkpoint if to_line(checkpoint) == raw and checkpoint.holds() else None


def checkpoint_of(chain: Chain, time: str, key: Secret) -> Checkpoint:
    """Sign the head of a log, with what it takes to go on from it."""
    return Checkpoint(sign(chain, time, key), chain.peaks)


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That a log goes on from what it was at a size that a peer has seen: `chain.consistency`."""

    earlier: int
    path: tuple[bytes, ...]


class Notice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What peers get in a run: the head, and a proof for each size that one of them has seen before."""

    head: SignedHead
    proofs: tuple[Proof, ...] = ()

    def shows(self, before: SignedHead) -> bool:
        """Whether a proof shows that the log goes on from a head."""
        head = self.head
        return any(
            proof.earlier == before.size and consistent(before.size, before.root, head.size, head.root, proof.path) for proof in self.proofs
        )


class RolledBack(PeerError):
    """A peer's head has fewer entries than one that it signed before: it has gone back to an older log."""


class Forked(PeerError):
    """A peer's head has as many entries as one that it signed before, and others: it keeps two logs."""


class Unproven(PeerError):
    """A peer's head is of a log that it does not show to go on from a head that it signed before: it may have been written anew."""


def sign(chain: Chain, time: str, key: Secret) -> SignedHead:
    """The head of a log. key: the node's identity key."""
    bare = SignedHead(chain.size, chain.root(), chain.chain, time, suite.signing_public(key))
    return msgspec.structs.replace(bare, signature=suite.sign(key, bare.bound()))


def seen(raw: bytes, peer: str, identity: bytes) -> Notice:
    """A peer's notice, its head checked against its identity key. Raises PeerError."""
    if len(raw) > MOST_NOTICE:
        raise PeerError(peer, f"a notice of {len(raw)} bytes", _EXPECTED)
    notice = decode(raw, Notice, peer, MOST_NOTICE)
    if notice.head.key != identity or not notice.head.holds():
        raise PeerError(peer, "a head of an audit log that its identity key did not sign", _EXPECTED)
    return notice


def verdict(last: SignedHead | None, notice: Notice, told: SignedHead | None = None, newest: SignedHead | None = None) -> str:
    """What a peer's head is after the last one seen of the same key: "first", "same", "later", "unlinked", "rolled back", "forked", "unproven".

    told: the head of which the peer was told that it had been seen, so that it owes a proof from there; None where it was told nothing. What it
    does not show to go on from the last one, since it was told before that one came, is unlinked: taken for this run, and held to the last one
    at the next, lest an early signature let a log that was written anew take its place. newest: the last that was taken, linked or not.
    """
    head = notice.head
    if last is None:
        return "first"
    for held in (last, newest or last):
        if head.contradicts(held):
            return "forked"
        if head.size < held.size:
            return "rolled back"
    if head.size == last.size:
        return "same"
    if told is not None and not notice.shows(told):
        return "unproven"
    return "later" if told == last else "unlinked"


def require(peer: str, found: str, last: SignedHead | None, head: SignedHead) -> None:
    """Refuse a head by its verdict. Raises RolledBack, Forked or Unproven."""
    if last is None:
        return
    if found == "forked":
        raise Forked(
            peer,
            f"another audit log of {head.size} entries than it signed before (a fork)",
            "the log that it showed before, or one that goes on",
        )
    if found == "rolled back":
        raise RolledBack(peer, f"an audit log of {head.size} entries (rolled back)", f"one of at least {last.size}, which it signed before")
    if found == "unproven":
        what = f"an audit log of {head.size} entries without a proof that it goes on from one of {last.size} or fewer that it signed before"
        raise Unproven(peer, what, "the log that it showed before, gone on")


def to_facts(head: SignedHead) -> dict[str, Fact]:
    """A head as facts of an entry: whole, so that the entry is evidence."""
    return {
        "size": head.size,
        "root": head.root.hex(),
        "chain": head.chain.hex(),
        "time": head.time,
        "key": head.key.hex(),
        "signature": head.signature.hex(),
    }


def from_facts(facts: Mapping[str, Fact]) -> SignedHead | None:
    """The head in an entry's facts, or None where there is none whose signature holds."""
    try:
        parts = [bytes.fromhex(str(facts[name])) for name in ("root", "chain", "key", "signature")]
        head = SignedHead(int(facts["size"]), parts[0], parts[1], str(facts["time"]), parts[2], parts[3])
    except (KeyError, ValueError):
        return None
    return head if head.holds() else None


def heads_in(entries: Iterable[Entry]) -> list[SignedHead]:
    """The peers' heads that entries of a log hold, also those that were refused: these are the best evidence."""
    found = (from_facts(entry.facts) for entry in entries if entry.kind == "heads seen")
    return [head for head in found if head is not None]
