"""Shamir's secret sharing (Shamir 1979, "How to share a secret") of 32-byte secrets over the prime field of p = 2^521 - 1.

The shares at 1..n are a uniform polynomial of degree t - 1 whose value at 0 is the secret: any t give it back, and t - 1 are uniform whatever
it is. A prime above 2^512 leaves room to draw coefficients by reduction with a bias below 2^-200. There is no check that shares are right:
whoever reconstructs compares with a public key or a tag.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from federation.kernel.errors import LocalError
from federation.kernel.role import Randomness
from federation.kernel.secret import Secret

P = (1 << 521) - 1
SHARE_BYTES = 66
_SECRET_BYTES = 32
_DRAWN = 96
"""Bytes for a coefficient: 768 bits, so that reduction modulo p is within 2^-247 of uniform."""


def split(secret: Secret, threshold: int, places: Sequence[int], random: Randomness) -> dict[int, bytes]:
    """Shares of a 32-byte secret, 66 bytes each, by place; any `threshold` of them give it back.

    places: distinct whole numbers from 1 to P - 1. Raises LocalError for a threshold or places that share nothing: at P, as at 0, the share
    would be the secret itself.
    """
    raw = secret.reveal()
    if len(raw) != _SECRET_BYTES or not 1 <= threshold <= len(places) or len(set(places)) != len(places) or not _are_places(places):
        raise _bug("a secret of another length, a threshold out of range or places that are not distinct ones from 1 to p - 1")
    drawn = random.bytes(_DRAWN * (threshold - 1))
    coefficients = [int.from_bytes(drawn[i : i + _DRAWN], "little") % P for i in range(0, len(drawn), _DRAWN)]
    coefficients.append(int.from_bytes(raw, "little"))  # highest power first, the secret last: Horner's rule
    shares = {}
    for place in places:
        value = 0
        for coefficient in coefficients:
            value = (value * place + coefficient) % P
        shares[place] = value.to_bytes(SHARE_BYTES, "little")
    return shares


def is_share(share: bytes) -> bool:
    """Whether bytes are a share, in its one form."""
    return len(share) == SHARE_BYTES and int.from_bytes(share, "little") < P


def combine(shares: Mapping[int, bytes], threshold: int) -> Secret | None:
    """The secret from at least `threshold` shares by place (the lowest places are used), or None where they are not of a 32-byte secret.

    Raises LocalError for fewer shares, a threshold below 1, a place that is not from 1 to P - 1 (two that are the same modulo P among them),
    and bytes that are no share (`is_share`): whoever takes shares from a peer looks at them first.
    """
    if not 1 <= threshold <= len(shares):
        raise _bug(f"{len(shares)} shares of {threshold}")
    if not _are_places(shares) or not all(map(is_share, shares.values())):
        raise _bug("a place that is not from 1 to p - 1, or bytes that are no share")
    places = tuple(sorted(shares)[:threshold])
    value = sum(weight * int.from_bytes(shares[place], "little") for place, weight in zip(places, _weights(places), strict=True)) % P
    return Secret(value.to_bytes(SHARE_BYTES, "little")[:_SECRET_BYTES]) if value < 1 << 8 * _SECRET_BYTES else None


def _are_places(places: Iterable[int]) -> bool:
    return all(1 <= place < P for place in places)


def _bug(what: str) -> LocalError:
    return LocalError("shamir", what, "Report this bug.")


@lru_cache(maxsize=1024)
def _weights(places: tuple[int, ...]) -> tuple[int, ...]:
    """Lagrange's weights at 0: every secret that one set of members gives back uses the same."""
    out = []
    for i in places:
        above, below = 1, 1
        for j in places:
            if j != i:
                above = above * j % P
                below = below * (j - i) % P
        out.append(above * pow(below, -1, P) % P)
    return tuple(out)
