"""The owner's BFV key pair, whose random half the owner does not choose.

A public key is (p0, p1) with p0 = -(p1 s + e). An owner who chose p1 (zero, say) would read the holder's fresh encryptions of zero and with
them the holder's columns. So p1 is expanded by both sides from the session, the owner, the holder and the place (AES-256-CTR as the
extendable output), and the owner sends p0 alone. SEAL makes the secret and the noise; only the known half is exchanged afterwards:
p0' + p1' s = -e, hence p0 = p0' + (p1' - p1) s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from federation.encrypted_linear.seal_bytes import DEGREE, Seal, Words, parameters
from federation.kernel import suite
from federation.kernel.role import Run
from federation.kernel.secret import Secret


@dataclass(frozen=True)
class KeyPair:
    """secret: SEAL's SecretKey; p0: (4, N) uint64 in NTT form, what the holder is sent."""

    secret: Seal
    p0: Words


def common_half(session: bytes, owner: str, holder: str, place: str, primes: tuple[int, ...]) -> Words:
    """p1, uniform modulo each prime by rejection, (len(primes), N) uint64; public, and the same on both sides."""
    out = np.empty((len(primes), DEGREE), np.uint64)
    for row, prime in enumerate(primes):
        key = suite.derive(Secret(suite.digest("encrypted_linear p1", session)), owner, holder, place, row)
        mask = np.uint64((1 << prime.bit_length()) - 1)
        words = suite.keystream(key, 4 * DEGREE) & mask
        kept = words[words < np.uint64(prime)][:DEGREE]
        assert len(kept) == DEGREE, "a prime fills at least half of its power of two"
        out[row] = kept
    return out


def fresh_pair(run: Run, owner: str, holder: str, place: str) -> KeyPair:
    """A key pair for one holder and one place in the session, its secret stored before it is used."""
    own = parameters()
    raw = run.effect(f"secret key {holder} {place}", lambda: own.secret_bytes(own.seal.KeyGenerator(own.context).secret_key()))
    secret = own.secret_key(raw)
    public = own.public_residues(own.seal.KeyGenerator(own.context, secret).create_public_key())
    p1 = common_half(run.session, owner, holder, f"{run.address} {place}", own.primes)
    return KeyPair(secret, spliced(public, p1, own.secret_residues(raw), own.primes))


def spliced(public: Words, p1: Words, secret: Words, primes: tuple[int, ...]) -> Words:
    """p0 for the given p1, from a key (p0', p1') of the same secret: p0' + (p1' - p1) s, pointwise in NTT form, (4, N)."""
    out = np.empty_like(p1)
    for row, prime in enumerate(primes):
        old0, old1, new1, s = (part.astype(object) for part in (public[0, row], public[1, row], p1[row], secret[row]))
        out[row] = ((old0 + (old1 - new1) * s) % prime).astype(np.uint64)
    return out


def holders_view(run: Run, owner: str, place: str, p0: Words) -> Seal:
    """The owner's public key as the holder puts it together. p0: checked residues."""
    own = parameters()
    p1 = common_half(run.session, owner, run.me, f"{run.address} {place}", own.primes)
    return own.public_key(np.stack([p0, p1]))
