"""Second implementations of what `federation.kernel.suite` and `federation.masked_sum.shamir` compute, in whole numbers: slow, not constant in time.

They share no code with the first ones: hmac of the standard library for HKDF (RFC 5869), and the formulas of FIPS 197 (AES-256), RFC 7748
(X25519) and Shamir 1979. The vectors of our own are written with them; `test_wycheproof` checks them against published vectors.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence

CURVE_P = (1 << 255) - 19
SHAMIR_P = (1 << 521) - 1


# -- HKDF-SHA256, RFC 5869 ----------------------------------------------------------------------------------------------------------


def hkdf(ikm: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    """Raises ValueError beyond 255 blocks."""
    if size > 255 * 32:
        raise ValueError("HKDF-SHA256 gives at most 8160 bytes")
    pseudorandom = hmac.new(salt or bytes(32), ikm, hashlib.sha256).digest()
    out, block = b"", b""
    for counter in range(1, -(-size // 32) + 1):
        block = hmac.new(pseudorandom, block + info + bytes([counter]), hashlib.sha256).digest()
        out += block
    return out[:size]


def framed(parts: Sequence[bytes]) -> bytes:
    """Each part after its length, 8 bytes little-endian."""
    return b"".join(len(part).to_bytes(8, "little") + part for part in parts)


def derived(key: bytes, context: Sequence[bytes], size: int) -> bytes:
    """`suite.derive`: no salt, the suite's name first in the context."""
    return hkdf(key, b"", framed([b"creditfed-1", *context]), size)


# -- AES-256, FIPS 197 --------------------------------------------------------------------------------------------------------------


def _times(a: int, b: int) -> int:
    """The product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1."""
    out = 0
    while b:
        out ^= a * (b & 1)
        a, b = (a << 1) ^ (0x11B if a & 0x80 else 0), b >> 1
    return out


def _substituted(byte: int) -> int:
    """The inverse in GF(2^8) (x^254), then the affine map of section 5.1.1."""
    inverse, power = 1, byte
    for _ in range(7):
        power = _times(power, power)
        inverse = _times(inverse, power)
    out = 0x63
    for turn in range(5):
        out ^= (inverse << turn | inverse >> (8 - turn)) & 0xFF
    return out


BOX = [_substituted(byte) for byte in range(256)]
TWICE = [_times(byte, 2) for byte in range(256)]


def _round_keys(key: bytes) -> list[list[int]]:
    words, constant = [list(key[i : i + 4]) for i in range(0, 32, 4)], 1
    for i in range(8, 60):
        word = words[-1]
        if i % 8 == 0:
            word = [BOX[b] for b in word[1:] + word[:1]]
            word[0] ^= constant
            constant = _times(constant, 2)
        elif i % 8 == 4:
            word = [BOX[b] for b in word]
        words.append([a ^ b for a, b in zip(words[i - 8], word, strict=True)])
    return [[b for word in words[i : i + 4] for b in word] for i in range(0, 60, 4)]


def aes256(key: bytes, block: bytes) -> bytes:
    """One block enciphered."""
    keys = _round_keys(key)
    state = [a ^ b for a, b in zip(block, keys[0], strict=True)]
    for number in range(1, 15):
        moved = [BOX[state[(i + 4 * (i % 4)) % 16]] for i in range(16)]  # SubBytes and ShiftRows
        if number < 14:
            mixed = []
            for column in (moved[i : i + 4] for i in range(0, 16, 4)):
                whole = column[0] ^ column[1] ^ column[2] ^ column[3]
                mixed += [b ^ whole ^ TWICE[b ^ column[(j + 1) % 4]] for j, b in enumerate(column)]
            moved = mixed
        state = [a ^ b for a, b in zip(moved, keys[number], strict=True)]
    return bytes(state)


def keystream(key: bytes, offset: int, words: int) -> bytes:
    """Words of 8 bytes of AES-256-CTR (SP 800-38A) from `offset` words on, block number big-endian."""
    first, last = offset // 2, -(-(offset + words) // 2)
    raw = b"".join(aes256(key, block.to_bytes(16, "big")) for block in range(first, last))
    return raw[8 * (offset % 2) :][: 8 * words]


# -- X25519, RFC 7748 ---------------------------------------------------------------------------------------------------------------


def x25519(private: bytes, public: bytes) -> bytes:
    """The ladder of section 5; zeros for a point of low order."""
    scalar = int.from_bytes(private, "little") & ~7 & ((1 << 255) - 1) | 1 << 254
    u = int.from_bytes(public, "little") & ((1 << 255) - 1)
    x2, z2, x3, z3 = 1, 0, u, 1
    for place in range(254, -1, -1):
        bit = scalar >> place & 1
        if bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, aa, bb = d * a, c * b, a * a, b * b
        x3, z3 = (da + cb) ** 2 % CURVE_P, u * (da - cb) ** 2 % CURVE_P
        x2, z2 = aa * bb % CURVE_P, (aa - bb) * (aa + 121665 * (aa - bb)) % CURVE_P
        if bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return (x2 * pow(z2, CURVE_P - 2, CURVE_P) % CURVE_P).to_bytes(32, "little")


# -- Shamir's sharing ---------------------------------------------------------------------------------------------------------------


def shares(secret: int, coefficients: Sequence[int], places: Sequence[int]) -> dict[int, int]:
    """The values at `places` of secret + c1 x + c2 x^2 + ..., each power computed alone."""
    return {x: (secret + sum(c * x ** (k + 1) for k, c in enumerate(coefficients))) % SHAMIR_P for x in places}


def at_zero(points: Mapping[int, int]) -> int:
    """The value at 0 of the polynomial through the points, by Neville's scheme (no Lagrange weights)."""
    xs, ys = list(points), list(points.values())
    for width in range(1, len(xs)):
        ys = [
            (xs[i] * ys[i + 1] - xs[i + width] * ys[i]) * pow(xs[i] - xs[i + width], -1, SHAMIR_P) % SHAMIR_P
            for i in range(len(xs) - width)
        ]
    return ys[0] % SHAMIR_P
