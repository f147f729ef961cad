"""Sealing to a public key: HPKE draws a fresh key pair for every sealing inside the library, so it stands here and not in the pure kernel."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from federation.kernel.suite import HPKE


def seal_to(public: bytes, info: bytes, plaintext: bytes) -> bytes:
    """HPKE (RFC 9180, base mode, one message) to an X25519 public key, bound to info: the fresh public key and the ciphertext.

    Raises ValueError for a public key that is none.
    """
    return HPKE.encrypt(plaintext, X25519PublicKey.from_public_bytes(public), info)
