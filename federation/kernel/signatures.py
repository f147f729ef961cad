"""Every institution's signature of a manifest and of the rows that it approves it for: what opens a run, and nothing less does."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from federation.kernel import suite
from federation.kernel.errors import PeerError
from federation.kernel.manifest import Manifest
from federation.kernel.role import COORDINATOR
from federation.kernel.secret import Secret


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One institution's signature of a manifest and of the snapshot of its data that it approves it for, with its identity key.

    snapshot: the commitment to the rows that may be used, 32 bytes (of an agency, which has none, to its consent statements, zeros where it
    makes none), which the party's hello must repeat; seen: of how many entries the last head was that this party has of another's audit log:
    the other owes a proof that its log goes on from it.
    """

    party: str
    snapshot: bytes
    signature: bytes
    seen: dict[str, int] = {}


def _approval(manifest_hash: bytes, party: str, snapshot: bytes, seen: Mapping[str, int]) -> bytes:
    return suite.frame("approve", manifest_hash, party, snapshot, *(part for name in sorted(seen) for part in (name, seen[name])))


def sign_manifest(
    manifest: Manifest, party: str, snapshot: bytes, identity: Secret, seen: Mapping[str, int] = MappingProxyType({})
) -> Signature:
    """This party's approval of a manifest, for the data that the snapshot commits to."""
    signature = suite.sign(identity, _approval(manifest.hash, party, snapshot, seen))
    return Signature(party, snapshot, signature, dict(seen))


def check_signatures(manifest: Manifest, signatures: tuple[Signature, ...]) -> dict[str, bytes]:
    """Every party and agency signed just this manifest, once; returns the snapshots that they signed. Raises PeerError."""
    identities = manifest.identities()
    if sorted(s.party for s in signatures) != sorted(manifest.signers):
        raise PeerError(COORDINATOR, "signatures of other parties", "one signature of each party of the manifest")
    approved = manifest.hash  # once: among many banks the hash is the larger work
    for signature in signatures:
        party = signature.party
        if len(signature.snapshot) != suite.KEY_BYTES:
            raise PeerError(COORDINATOR, f"a signature of {party} with a snapshot of the wrong size", "32 bytes")
        if any(not 0 < size < 1 << 63 for size in signature.seen.values()):
            raise PeerError(COORDINATOR, f"a signature of {party} that speaks of a log of no size", "sizes of logs that it has seen")
        if not suite.verifies(identities[party], _approval(approved, party, signature.snapshot, signature.seen), signature.signature):
            raise PeerError(COORDINATOR, f"a signature of {party} that does not hold", "its signature of this manifest")
    return {signature.party: signature.snapshot for signature in signatures}


class Opening(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A manifest's canonical bytes and every institution's signature. seen: of audit logs, by the coordinator, as in a `Signature`."""

    manifest: bytes
    signatures: tuple[Signature, ...]
    seen: dict[str, int] = {}

    def seen_of(self, party: str) -> frozenset[int]:
        """The sizes from which a party owes a proof that its audit log goes on."""
        return frozenset(seen[party] for seen in (self.seen, *(signature.seen for signature in self.signatures)) if party in seen)
