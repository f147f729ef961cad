"""The cipher suite, in one place: every primitive that creditfed uses, each from the `cryptography` library.

`creditfed-1`: Ed25519 (RFC 8032), X25519 (RFC 7748), HKDF-SHA256 (RFC 5869), ChaCha20-Poly1305 (RFC 8439), AES-256-CTR (SP 800-38A),
SHA-256. The manifest names the suite, and no protocol names a primitive, so that another suite can be added here alone.
"""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache

import numpy as np
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.bindings import crypto_core_ed25519_is_valid_point
from numpy.typing import NDArray

from federation.kernel.secret import Secret

NAME = "creditfed-1"
KEY_BYTES = 32
_CHUNK = 1 << 18
_ZEROS = memoryview(bytes(_CHUNK))


def frame(*parts: bytes | str | int) -> bytes:
    """Join parts so that no two different lists of parts give the same bytes (each carries its length)."""
    out = bytearray()
    for part in parts:
        raw = part if isinstance(part, bytes) else str(part).encode()
        out += struct.pack("<Q", len(raw)) + raw
    return bytes(out)


def digest(*parts: bytes | str | int) -> bytes:
    """SHA-256 of the framed parts, 32 bytes."""
    return hashlib.sha256(frame(*parts)).digest()


def plain_digest(data: bytes) -> bytes:
    """SHA-256 of bytes, 32 bytes: for large ones, which `digest` would copy."""
    return hashlib.sha256(data).digest()


def derive(key: Secret, *context: bytes | str | int, length: int = KEY_BYTES) -> Secret:
    """HKDF-SHA256 of a key under a framed context."""
    kdf = HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=frame(NAME, *context))
    return Secret(kdf.derive(key.reveal()))


def signing_public(private: Secret) -> bytes:
    """The Ed25519 public key of a 32-byte private key."""
    return Ed25519PrivateKey.from_private_bytes(private.reveal()).public_key().public_bytes_raw()


def sign(private: Secret, message: bytes) -> bytes:
    """Ed25519 signature, 64 bytes."""
    return Ed25519PrivateKey.from_private_bytes(private.reveal()).sign(message)


@lru_cache(maxsize=1 << 14)
def verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether an Ed25519 signature holds; malformed keys and signatures do not.

    Answers are remembered: where thousands of banks live in one process, each would check the same thousands of signatures.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def is_signing_public(public: bytes) -> bool:
    """Whether bytes are an Ed25519 public key under which a signature binds its message: canonical, on the curve, of the large order.

    RFC 8032 does not ask for the last; under a key of small order one signature holds for many messages (libsodium's check).
    """
    return len(public) == KEY_BYTES and bool(crypto_core_ed25519_is_valid_point(public))


def agreement_public(private: Secret) -> bytes:
    """The X25519 public key of a 32-byte private key."""
    return X25519PrivateKey.from_private_bytes(private.reveal()).public_key().public_bytes_raw()


def agree(private: Secret, public: bytes) -> Secret:
    """X25519 shared secret. Raises ValueError for a low-order or malformed public key."""
    return Secret(X25519PrivateKey.from_private_bytes(private.reveal()).exchange(X25519PublicKey.from_public_bytes(public)))


def seal(key: Secret, nonce: int, header: bytes, plaintext: bytes) -> bytes:
    """ChaCha20-Poly1305 with the header as associated data. A nonce is used once for a key."""
    return ChaCha20Poly1305(key.reveal()).encrypt(nonce.to_bytes(12, "little"), plaintext, header)


def unseal(key: Secret, nonce: int, header: bytes, ciphertext: bytes) -> bytes | None:
    """The plaintext, or None when the ciphertext or header is not what was sealed."""
    try:
        return ChaCha20Poly1305(key.reveal()).decrypt(nonce.to_bytes(12, "little"), ciphertext, header)
    except InvalidTag:
        return None


def keystream(key: Secret, words: int, offset: int = 0) -> NDArray[np.uint64]:
    """AES-256-CTR keystream of a single-purpose key as (words,) uint64, starting `offset` words in.

    The counter block number is word // 2, so any stretch can be had without the ones before it. Raises ValueError for a key of another
    length, which AES would take for a weaker one.
    """
    if len(key.reveal()) != KEY_BYTES:
        msg = "a keystream's key has 32 bytes"
        raise ValueError(msg)
    skip = offset % 2
    out = np.empty(words + skip, np.uint64)
    encryptor = Cipher(AES(key.reveal()), CTR((offset // 2).to_bytes(16, "big"))).encryptor()
    view = memoryview(out).cast("B")  # type: ignore[arg-type]  # an array is a buffer
    for start in range(0, len(view), _CHUNK):
        piece = view[start : start + _CHUNK]
        encryptor.update_into(_ZEROS[: len(piece)], piece)
    return out[skip:]
