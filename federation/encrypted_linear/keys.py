"""The owner's key for one holder, and the halves of keys and ciphertexts that neither side may choose.

SEAL makes a public key (p0, p1) with p0 = -(p1 s + e) and a ciphertext (c0, c1) with c0 = -(c1 s + e) + message, and draws p1 and c1
itself. An owner who could choose p1 = 0 would read the holder's columns from what comes back. So p1, and every c1 too, is expanded from a
label that both sides know, the session being in it (`CommonHalves`); the owner moves its own half there, keeping SEAL's error:
    p0 + (p1_SEAL - p1) s = -(p1 s + e),
and sends p0 and c0 alone, which also halves what travels.

One key serves one holder, in one place of one stage, for at most forty answers (`parameters.ANSWERS_PER_KEY`). Its secret is an effect of
the run: stored before it is used, so that a replay decrypts with the same key, and erased with the stage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from federation.encrypted_linear.packing import Integers, vector_blocks
from federation.encrypted_linear.parameters import (
    ANSWER_MODULUS,
    ANSWER_PRIMES,
    ANSWERS_PER_KEY,
    DATA_PRIMES,
    KEY_PRIMES,
    PLAIN_MODULUS,
)
from federation.encrypted_linear.residues import Words, add, expand, subtract, times
from federation.encrypted_linear.seal_bytes import scheme
from federation.kernel import suite
from federation.kernel.role import Run
from federation.kernel.secret import Secret

_LOW = 27


def keys_for(answers: int) -> int:
    """How many keys so many answers take."""
    return -(-answers // ANSWERS_PER_KEY)


@dataclass(frozen=True, eq=False, repr=False)
class CommonHalves:
    """p1: (4, N) and c1: (blocks, 3, N), transformed and uniform, the same at owner and holder and chosen by neither."""

    p1: Words
    c1: Words

    @classmethod
    def of(cls, run: Run, owner: str, holder: str, number: int, blocks: int) -> CommonHalves:
        """For the owner's key of this number for this holder, at this place of the session."""
        label = Secret(suite.digest("encrypted_linear", run.session, run.address, owner, holder, number))  # public: it names a place
        p1 = expand(suite.derive(label, "public key"), 1, KEY_PRIMES)[0]
        return cls(p1, expand(suite.derive(label, "ciphertexts"), blocks, DATA_PRIMES))


class OwnerKey:
    """An owner's secret key for one holder. Shows nothing of itself."""

    def __init__(self, coefficients: Secret) -> None:
        ternary = np.frombuffer(coefficients.reveal(), np.int8)
        self._reversed = ternary[::-1].astype(np.float64)
        self._transformed = scheme().key_transform(ternary.astype(np.int64).view(np.uint64) & np.uint64(PLAIN_MODULUS - 1))
        self._key = scheme().secret_key(self._transformed)

    @classmethod
    def make(cls, run: Run, holder: str, number: int) -> OwnerKey:
        """The key of this number for this holder: made once, the same on replay."""
        return cls(Secret(run.effect(f"key {number} for {holder}", scheme().fresh_secret)))

    def public_half(self, p1: Words) -> Words:
        """p0 of the public key whose other half is p1, (4, N)."""
        made = scheme().public_residues(scheme().seal.KeyGenerator(scheme().context, self._key).create_public_key())
        return self._moved(made, p1, KEY_PRIMES)

    def encrypt(self, vector: Integers, c1: Words) -> Words:
        """(rows,) integers below t/2 in magnitude to c0 of each block, transformed, (blocks, 3, N), c1 being the other halves."""
        engine = scheme()
        encryptor = engine.seal.Encryptor(engine.context, self._key)
        made = np.empty((len(c1), 2, *c1.shape[1:]), np.uint64)
        for place, block in enumerate(vector_blocks(vector)):
            ciphertext = encryptor.encrypt_symmetric(engine.plaintext(block))
            engine.evaluator.transform_to_ntt_inplace(ciphertext)
            made[place] = engine.residues(ciphertext)
        return np.stack([self._moved(pair, half, DATA_PRIMES) for pair, half in zip(made, c1, strict=True)])

    def open(self, masks: Words, values: Words) -> Words:
        """Answers, as c1 (k, 2, N) and one coefficient of c0 (k, 2), to what they hold modulo t, (k,).

        The coefficient N - 1 of c1 s is sum_i c1_i s_(N-1-i), since i + (N-1-i) = N-1 never wraps: no polynomial is multiplied, and SEAL
        sees nothing of a peer's answer. Halves of 27 bits keep the float64 products exact (8,192 * 2^27 = 2^40).
        """
        low = (masks & np.uint64((1 << _LOW) - 1)).astype(np.float64) @ self._reversed
        high = (masks >> np.uint64(_LOW)).astype(np.float64) @ self._reversed
        return np.array([_decode(*row) for row in zip(values.tolist(), low.tolist(), high.tolist(), strict=True)], np.uint64)

    def _moved(self, made: Words, other: Words, primes: tuple[int, ...]) -> Words:
        """The first half of a pair (2, primes, N) after its second half has been exchanged for another one."""
        shift = times(subtract(made[1], other, primes), self._transformed[: len(primes)], primes)
        return add(made[0], shift, primes)


def _decode(values: list[int], low: list[float], high: list[float]) -> int:
    """round(t x / q) mod t, x being the answer's phase by the Chinese remainder theorem."""
    phases = [
        (value + int(small) + (int(large) << _LOW)) % prime
        for value, small, large, prime in zip(values, low, high, ANSWER_PRIMES, strict=True)
    ]
    first, second = ANSWER_PRIMES
    phase = phases[0] + first * ((phases[1] - phases[0]) * pow(first, -1, second) % second)
    return ((2 * PLAIN_MODULUS * phase + ANSWER_MODULUS) // (2 * ANSWER_MODULUS)) % PLAIN_MODULUS
