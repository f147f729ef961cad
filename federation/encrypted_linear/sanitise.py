"""What leaves the holder: one number's worth of an encryption, and nothing of how it came about.

An owner knows its own ciphertexts and their noise, so an unprotected product c X shows it X: with huge noise it reads every entry of a
block. An answer is therefore
    1. begun from a fresh encryption of zero under the owner's public key, never used for another answer (`fresh_zero`): c1 becomes
       uniform in the owner's eyes (ring learning with errors in the holder's secret u, since p1 is not the owner's choice);
    2. switched down by one prime, which divides the noise of the product by 2^54 (`switch_down`);
    3. cut to c1 and the coefficient N - 1 of c0: an LWE sample (`cut`);
    4. blinded there by a uniform number modulo t, and flooded by a uniform integer within Delta/4.
Honest noise is below 2^13 (`parameters.noise_bound`) and the flood 2^49 wide: one answer under flood differs from another by at most 2^-36
in statistical distance. Whatever noise an owner puts in, the answer is one number modulo q, of which blinding and flood leave it a bit or
so. One flood for several answers, or a random multiplier, is not enough: the differences of c1 then show X.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from federation.encrypted_linear.parameters import ANSWER_MODULUS, ANSWER_PRIMES, DEGREE, FLOOD, PLAIN_MODULUS
from federation.encrypted_linear.residues import Words
from federation.encrypted_linear.seal_bytes import Ciphertext, scheme
from federation.kernel.role import Randomness


@dataclass(frozen=True, eq=False, repr=False)
class Covers:
    """What hides a holder's answers: blinding (answers,) uniform modulo t, and flood, integers uniform within Delta/4."""

    blinding: Words
    flood: tuple[int, ...]

    @classmethod
    def draw(cls, random: Randomness, answers: int) -> Covers:
        """Fresh covers for so many answers."""
        blinding = random.words(answers) & np.uint64(PLAIN_MODULUS - 1)
        return cls(blinding, tuple(random.below(2 * FLOOD + 1) - FLOOD for _ in range(answers)))


def fresh_zero(encryptor: object) -> Ciphertext:
    """A new encryption of zero, transformed, at the data level."""
    out = encryptor.encrypt_zero()  # type: ignore[attr-defined]  # the binding has no types
    scheme().evaluator.transform_to_ntt_inplace(out)
    return out


def switch_down(accumulated: Ciphertext) -> Words:
    """A transformed ciphertext of the data level to the residues, in coefficients, of the answer level, (2, 2, N)."""
    evaluator = scheme().evaluator
    evaluator.transform_from_ntt_inplace(accumulated)
    evaluator.mod_switch_to_next_inplace(accumulated)
    return scheme().residues(accumulated)


def cut(residues: Words, blinding: int, flood: int) -> tuple[Words, list[int]]:
    """c1, (2, N), and the answer coefficient of c0, (2,), blinded and flooded."""
    cover = (2 * ANSWER_MODULUS * blinding + PLAIN_MODULUS) // (2 * PLAIN_MODULUS) + flood
    return residues[1], [(int(value) + cover) % prime for value, prime in zip(residues[0, :, DEGREE - 1], ANSWER_PRIMES, strict=True)]
