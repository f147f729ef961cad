"""HPKE's base mode (RFC 9180, sections 4.1 and 5.1), written from the paper as a second implementation: X25519, HKDF-SHA256, ChaCha20-Poly1305."""

from __future__ import annotations

import hmac
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

KEM = b"KEM" + (0x20).to_bytes(2, "big")
SUITE = b"HPKE" + (0x20).to_bytes(2, "big") + (1).to_bytes(2, "big") + (3).to_bytes(2, "big")


def extract(suite: bytes, salt: bytes, label: bytes, key: bytes) -> bytes:
    """LabeledExtract."""
    return hmac.digest(salt, b"HPKE-v1" + suite + label + key, sha256)


def expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """LabeledExpand, of one block."""
    return hmac.digest(key, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info + b"\x01", sha256)[:length]


def schedule(shared: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Key and base nonce."""
    context = b"\x00" + extract(SUITE, b"", b"psk_id_hash", b"") + extract(SUITE, b"", b"info_hash", info)
    secret = extract(SUITE, shared, b"secret", b"")
    return expand(SUITE, secret, b"key", context, 32), expand(SUITE, secret, b"base_nonce", context, 12)


def shared_secret(agreed: bytes, fresh: bytes, recipient: bytes) -> bytes:
    """ExtractAndExpand of DHKEM."""
    return expand(KEM, extract(KEM, b"", b"eae_prk", agreed), b"shared_secret", fresh + recipient, 32)


def seal(fresh: bytes, recipient: bytes, info: bytes, aad: bytes, plaintext: bytes) -> bytes:
    """One message. fresh: the private half of the fresh key pair; recipient: an X25519 public key."""
    private = X25519PrivateKey.from_private_bytes(fresh)
    public = private.public_key().public_bytes_raw()
    key, nonce = schedule(shared_secret(private.exchange(X25519PublicKey.from_public_bytes(recipient)), public, recipient), info)
    return public + ChaCha20Poly1305(key).encrypt(nonce, plaintext, aad)


def open_(private: bytes, sealed: bytes, info: bytes, aad: bytes) -> bytes:
    """The other way."""
    mine = X25519PrivateKey.from_private_bytes(private)
    public = mine.public_key().public_bytes_raw()
    key, nonce = schedule(shared_secret(mine.exchange(X25519PublicKey.from_public_bytes(sealed[:32])), sealed[:32], public), info)
    return ChaCha20Poly1305(key).decrypt(nonce, sealed[32:], aad)
