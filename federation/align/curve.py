"""Points of Curve25519 and secret exponents that commute (RFC 7748; Bernstein 2006).

A point is the u-coordinate of a point of the prime-order subgroup, 32 bytes little-endian; an exponent is a clamped scalar, a multiple of 8
in [2^254, 2^255). X25519 of clamped scalars commutes on u-coordinates: a(bP) = b(aP).

Hashing: SHA-256 of session, place and id, then Elligator 2 to edwards25519 with the cofactor cleared (Bernstein, Hamburg, Krasnova and
Lange 2013, section 5; libsodium's `crypto_core_ed25519_from_uniform`), then u = (1 + y) / (1 - y). The result is always on the curve, never
on its twist. One map reaches half of the points; that is enough where the hash is a random oracle, as the map can be sampled and inverted.

Invariant: what a peer sends passes `received_points` before any secret touches it; the library refuses results of zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias, TypeVar

import numpy as np
from nacl.bindings import crypto_core_ed25519_from_uniform, crypto_scalarmult
from nacl.exceptions import RuntimeError as SodiumError
from numpy.typing import NDArray

from federation.kernel import suite
from federation.kernel.codec import Array
from federation.kernel.errors import PeerError
from federation.kernel.role import Randomness
from federation.kernel.secret import Secret

Points: TypeAlias = NDArray[np.uint8]
"""(n, 32) uint8, one u-coordinate a row."""

C = TypeVar("C", bound=Sequence[bytes] | bytes)

POINT_BYTES = 32
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
"""The order of the prime-order subgroup."""

_CHUNK = 4096
"""Points that one thread takes at a time: about an eighth of a second of exponentiations."""

# u-coordinates of the points of order 1, 2, 4 and 8 on the curve or its twist (RFC 7748 section 6.1; libsodium's list), all below P
_LOW_ORDER = (
    0,
    1,
    P - 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)


@dataclass
class Progress:
    """Counts finished points; `total` may be corrected once the others' sizes are known."""

    show: Callable[[int, int], None]
    total: int
    done: int = 0

    def add(self, points: int) -> None:
        """Some more are done."""
        self.done += points
        self.show(self.done, self.total)


def hash_to_curve(keys: Sequence[bytes], *place: bytes | str, workers: int, progress: Progress) -> Points:
    """The points of keys, (n, 32), separated by place (session, stage and path): the same key elsewhere is an unrelated point."""

    def mapped(chunk: Sequence[bytes]) -> bytes:
        return _montgomery([crypto_core_ed25519_from_uniform(suite.digest("align/hash to curve", *place, key)) for key in chunk])

    return _in_chunks(mapped, [keys[start : start + _CHUNK] for start in range(0, len(keys), _CHUNK)], workers, progress)


def exponentiate(secret: Secret, points: Points, sender: str, *, workers: int, progress: Progress) -> Points:
    """The secret times point, for every point, (n, 32), on `workers` threads (libsodium releases the interpreter lock).

    Raises PeerError, naming who sent the points, where a result is zero.
    """
    scalar = secret.reveal()

    def raised(chunk: bytes) -> bytes:
        try:
            return b"".join([crypto_scalarmult(scalar, chunk[at : at + POINT_BYTES]) for at in range(0, len(chunk), POINT_BYTES)])
        except SodiumError:
            raise PeerError(sender, "a point whose multiple is zero", "points of large order") from None

    return _in_chunks(raised, [points[start : start + _CHUNK].tobytes() for start in range(0, len(points), _CHUNK)], workers, progress)


def fresh_exponent(stream: Randomness) -> Secret:
    """A uniform clamped scalar: 251 random bits between the fixed ones."""
    return _scalar((1 << 254) | (stream.below(1 << 251) << 3))


def blinding(stream: Randomness, key: Secret) -> tuple[Secret, Secret]:
    """A fresh exponent t and the clamped form of key / t: applying one and then the other is applying the key.

    The quotient mod L, lifted to the one multiple of 8 below 8 L, is clamped about every second time; t is drawn again until it is.
    """
    numerator, eighth = int.from_bytes(key.reveal(), "little"), pow(8, -1, L)
    while True:
        t = fresh_exponent(stream)
        quotient = numerator * pow(int.from_bytes(t.reveal(), "little"), -1, L) % L
        lifted = quotient * eighth % L * 8  # congruent to the quotient mod L, and 0 mod 8
        if 1 << 254 <= lifted < 1 << 255:
            return t, _scalar(lifted)


def received_points(array: Array, sender: str, rows: int) -> Points:
    """A peer's points after checking that there are `rows` of them, each canonical (below p), none of low order, and all distinct.

    Raises PeerError.
    """
    points: Points = array.read(sender, "|u1", (rows, POINT_BYTES))
    words = as_words(points)
    top, rest = np.uint64((1 << 63) - 1), np.uint64((1 << 64) - 1)
    beyond = (words[:, 3] == top) & (words[:, 1] == rest) & (words[:, 2] == rest) & (words[:, 0] >= np.uint64((1 << 64) - 19))
    if bool(((words[:, 3] > top) | beyond).any()):
        raise PeerError(sender, "points that are not canonical", "u-coordinates below 2^255 - 19")
    for u in _LOW_ORDER:
        if bool((words == np.frombuffer(u.to_bytes(POINT_BYTES, "little"), "<u8")).all(axis=1).any()):
            raise PeerError(sender, "points of low order", "points of large order")
    if rows and int(groups(points).max()) + 1 != rows:
        raise PeerError(sender, "a point more than once", "distinct points")
    return points


def as_words(points: Points) -> NDArray[np.uint64]:
    """The same rows as little-endian words, (n, 4)."""
    return np.ascontiguousarray(points).view("<u8").reshape(len(points), 4)


def groups(points: Points) -> NDArray[np.int64]:
    """A number for each row, (n,), equal for equal rows and counting from 0 without gaps.

    Sorted by the first word, which nearly always tells points apart; by all four where it does not (anyone may craft that).
    """
    words = as_words(points)
    order = np.argsort(words[:, 0], kind="stable")
    differs = _steps(words[order])
    if bool((differs[1:] & (words[order[1:], 0] == words[order[:-1], 0])).any()):
        order = np.lexsort(words.T)
        differs = _steps(words[order])
    out = np.empty(len(words), np.int64)
    out[order] = np.cumsum(differs) - 1
    return out


def _steps(ordered: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Where a row differs from the one before it, (n,); the first does."""
    out = np.ones(len(ordered), bool)
    out[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return out


def _scalar(value: int) -> Secret:
    return Secret(value.to_bytes(POINT_BYTES, "little"))


def _montgomery(edwards: Sequence[bytes]) -> bytes:
    """Give u = (1 + y) / (1 - y) mod p of edwards25519 points, concatenated, with one inversion for all (Montgomery's trick)."""
    heights = [int.from_bytes(point, "little") & ((1 << 255) - 1) for point in edwards]
    products = list(accumulate(((1 - y) % P for y in heights), lambda left, right: left * right % P, initial=1))
    inverse = pow(products.pop(), -1, P)  # y = 1 is the neutral element, which a hash meets with probability 2^-252
    out = []
    for y, product in zip(reversed(heights), reversed(products), strict=True):
        out.append(((1 + y) * (inverse * product % P) % P).to_bytes(POINT_BYTES, "little"))
        inverse = inverse * (1 - y) % P
    return b"".join(reversed(out))


def _in_chunks(work: Callable[[C], bytes], chunks: Sequence[C], workers: int, progress: Progress) -> Points:
    """The chunks' results, in order, (n, 32)."""

    def results() -> Iterator[bytes]:
        with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
            for result in pool.map(work, chunks):
                progress.add(len(result) // POINT_BYTES)
                yield result

    return np.frombuffer(b"".join(results()), np.uint8).reshape(-1, POINT_BYTES)
