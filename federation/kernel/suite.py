"""The cipher suite, in one place: every primitive that creditfed uses, each from the `cryptography` library.

`creditfed-1`: Ed25519 (RFC 8032), X25519 (RFC 7748), HKDF-SHA256 (RFC 5869), ChaCha20-Poly1305 (RFC 8439), AES-256-CTR (SP 800-38A),
SHA-256; for files HPKE of X25519, HKDF-SHA256 and ChaCha20-Poly1305 (RFC 9180). The manifest names the suite, and no protocol names a
primitive, so that another suite can be added here alone.
"""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache

import numpy as np
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.bindings import crypto_core_ed25519_is_valid_point
from numpy.typing import NDArray

from federation.kernel.errors import LocalError
from federation.kernel.secret import Secret

NAME = "creditfed-1"
KEY_BYTES = 32
NONCE_BYTES = 12
MOST_DERIVED = 255 * 32
"""Bytes that HKDF-SHA256 gives at most."""
MOST_SEALED = (1 << 31) - 1
"""Bytes that the library seals at most, and its limit for a header."""
HPKE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
"""What is sealed to a public key (RFC 9180, base mode). Sealing draws a key pair, so it is the carriage's (`carriage.sealing`)."""
HPKE_BYTES = 32 + 16
"""What HPKE adds to a plaintext: the fresh public key, and the tag."""
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
    """HKDF-SHA256 of a key under a framed context, 1 to 8,160 bytes. Raises LocalError for another length."""
    if not 1 <= length <= MOST_DERIVED:
        raise _bug("a derived key of a length that HKDF-SHA256 does not have")
    kdf = HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=frame(NAME, *context))
    return Secret(kdf.derive(key.reveal()))


def signing_public(private: Secret) -> bytes:
    """The Ed25519 public key of a 32-byte private key. Raises LocalError for another length."""
    return Ed25519PrivateKey.from_private_bytes(_private(private)).public_key().public_bytes_raw()


def sign(private: Secret, message: bytes) -> bytes:
    """Ed25519 signature, 64 bytes. Raises LocalError for a private key that is not of 32 bytes."""
    return Ed25519PrivateKey.from_private_bytes(_private(private)).sign(message)


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
    """The X25519 public key of a 32-byte private key. Raises LocalError for another length."""
    return X25519PrivateKey.from_private_bytes(_private(private)).public_key().public_bytes_raw()


def is_agreement_public(public: bytes) -> bool:
    """Whether bytes are an X25519 public key that agrees on a secret: of 32 bytes, canonical, and not of small order.

    RFC 7748 takes a number beyond the field, and one with the high bit set, for the number that it stands for: one key would have two names.
    """
    if len(public) != KEY_BYTES or int.from_bytes(public, "little") >= (1 << 255) - 19:
        return False
    try:
        agree(Secret(bytes(KEY_BYTES)), public)
    except ValueError:
        return False
    return True


def agree(private: Secret, public: bytes) -> Secret:
    """X25519 shared secret. Raises ValueError for a low-order or malformed public key, which is a peer's, and LocalError for a private key that
    is not of 32 bytes, which is not.
    """
    return Secret(X25519PrivateKey.from_private_bytes(_private(private)).exchange(X25519PublicKey.from_public_bytes(public)))


def seal(key: Secret, nonce: int, header: bytes, plaintext: bytes) -> bytes:
    """ChaCha20-Poly1305 with the header as associated data. A nonce is used once for a key.

    Raises LocalError for a key that is not of 32 bytes, a nonce below 0 or from 2^96 on, and 2 GiB or more of header or plaintext.
    """
    counted = _counted(key, nonce)
    if max(len(header), len(plaintext)) > MOST_SEALED:
        raise _bug("2 GiB or more to be sealed at once")
    return ChaCha20Poly1305(key.reveal()).encrypt(counted, plaintext, header)


def unseal(key: Secret, nonce: int, header: bytes, ciphertext: bytes) -> bytes | None:
    """The plaintext, or None when the ciphertext or header is not what was sealed: too short, too long, altered, under another key or nonce.

    What came from a peer never raises. Raises LocalError for a key that is not of 32 bytes and a nonce below 0 or from 2^96 on.
    """
    counted = _counted(key, nonce)
    if max(len(header), len(ciphertext)) > MOST_SEALED:
        return None
    try:
        return ChaCha20Poly1305(key.reveal()).decrypt(counted, ciphertext, header)
    except InvalidTag:
        return None


def open_sealed(private: Secret, info: bytes, sealed: bytes) -> bytes | None:
    """The plaintext that was sealed to this X25519 key (HPKE) with the same info, or None; what came from a peer never raises.

    Raises LocalError for a private key that is not of 32 bytes.
    """
    key = X25519PrivateKey.from_private_bytes(_private(private))
    try:
        return HPKE.decrypt(sealed, key, info)
    except (InvalidTag, ValueError):
        return None


def _counted(key: Secret, nonce: int) -> bytes:
    """The nonce's bytes, once key and nonce are known to be ones: the library's own errors for them are of no type of ours."""
    if len(key) != KEY_BYTES:
        raise _bug("a sealing key that is not of 32 bytes")
    if not 0 <= nonce < 1 << 8 * NONCE_BYTES:
        raise _bug("a nonce that 12 bytes do not hold")
    return nonce.to_bytes(NONCE_BYTES, "little")


def _private(key: Secret) -> bytes:
    if len(key) != KEY_BYTES:
        raise _bug("a private key that is not of 32 bytes")
    return key.reveal()


def _bug(what: str) -> LocalError:
    return LocalError("cipher suite", what, "Report this bug.")


def keystream(key: Secret, words: int, offset: int = 0) -> NDArray[np.uint64]:
    """AES-256-CTR keystream of a single-purpose key as (words,) uint64, starting `offset` words in.

    The counter block number is word // 2, so any stretch can be had without the ones before it. Raises LocalError for a key of another
    length, which AES would take for a weaker one, and for a stretch before the first word or past the last of 2^129.
    """
    if len(key) != KEY_BYTES:
        raise _bug("a keystream's key that is not of 32 bytes")
    if words < 0 or not 0 <= offset <= (1 << 129) - words:
        raise _bug("a stretch of keystream that there is not")
    skip = offset % 2
    out = np.empty(words + skip, np.uint64)
    encryptor = Cipher(AES(key.reveal()), CTR((offset // 2).to_bytes(16, "big"))).encryptor()
    view = memoryview(out).cast("B")  # type: ignore[arg-type]  # an array is a buffer
    for start in range(0, len(view), _CHUNK):
        piece = view[start : start + _CHUNK]
        encryptor.update_into(_ZEROS[: len(piece)], piece)
    return out[skip:]
