"""What a holder's answer is reduced to, since its reader knows the ciphertexts it sent and their noise.

(1) a fresh encryption of zero under the owner's public key is added, one for each answer and never reused; (2) the answer is switched down
from three data primes to two; (3) c1 is sent whole, but of c0 only the answer's coefficient; (4) to that coefficient a uniform integer within
Delta / 4 (Delta = q / t) is added, which floods the noise and stays decodable, together with the blinding m, uniform modulo t, which keeps
the sum itself from its reader: m * q / t, rounded.

An owner who sends huge noise then gains at most the contracted sum and O(1) bits. Not enough, and broken in privacy/attacks: one flood for
several answers, a shared random multiplier, an encryption of zero that is used twice (differences of c1 give X).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from federation.encrypted_linear.seal_bytes import DEGREE, PLAIN_BITS, SENT_PRIMES, Seal, Words, parameters
from federation.kernel.role import Randomness

T = 1 << PLAIN_BITS
ANSWER = DEGREE - 1


@dataclass(frozen=True)
class Answer:
    """One sanitised answer: c0, (2,) the residues of one coefficient; c1, (2, N)."""

    c0: Words
    c1: Words


def modulus() -> int:
    """The modulus of an answer, the product of the first two primes."""
    first, second = parameters().primes[:SENT_PRIMES]
    return first * second


def sanitised(products: Seal | None, zero: Seal, blinding: int, flood: Randomness) -> Answer:
    """products: the sum of block products at three primes, not in NTT form (None when every block of the column is zero); zero: a fresh
    encryption of zero at three primes, consumed; blinding: uniform in [0, t).
    """
    own = parameters()
    own.evaluator.mod_switch_to_next_inplace(zero)
    if products is not None:
        own.evaluator.mod_switch_to_next_inplace(products)
        own.evaluator.add_inplace(zero, products)
    residues = own.residues(zero)
    q = modulus()
    quarter = q // T // 4
    added = (q * blinding + T // 2) // T + flood.below(2 * quarter + 1) - quarter
    c0 = np.array([(int(residues[0, row, ANSWER]) + added) % own.primes[row] for row in range(SENT_PRIMES)], np.uint64)
    return Answer(c0, residues[1].copy())


def opened(answer: Answer, decryptor: Seal) -> int:
    """The blinded sum modulo t, by the owner."""
    own = parameters()
    residues = np.zeros((2, SENT_PRIMES, DEGREE), np.uint64)
    residues[0, :, ANSWER] = answer.c0
    residues[1] = answer.c1
    return int(own.coefficients(decryptor.decrypt(own.ciphertext(residues)))[ANSWER])
