"""The BFV parameters of every encrypted sum, and the proof that decryption is certain.

Brakerski/Fan-Vercauteren (Fan and Vercauteren 2012) as in Microsoft SEAL 4: ring Z[x]/(x^N + 1) with N = 8192, ternary secret, errors of
at most 21; primes of 54 + 54 + 54 + 17 bits (179 in all; the HE standard allows 218 for 128-bit security at this N); plaintexts modulo
t = 2^58. The last prime takes part in public keys alone, the third is given up by the holder's modulus switch, so that an answer lives
modulo q = p0 p1 with Delta = q/t, about 2^50.

Noise of an answer, as the distance of c0 + <c1, s> from q/t times (total + blinding), for a column with l1 = sum_i |x_i|:
    (21 + 1/2) l1                                  errors of the owner's ciphertexts (21) and the rounding of q r/t, times the column
  + 21 (2N + 1)/p3 + (N + 1)/2                     the fresh encryption of zero, and its own switch from p3 (17 bits)
  all that divided by p2, + (N + 1)/2              the switch down by one prime
  + 1/2 + Delta/4                                  rounding of q/t times the blinding, and the flood
With l1 < t/2, which the range of the totals needs in any case, the first lines come to less than 2^13 and the sum stays below Delta/2:
decryption never fails. `noise_bound` evaluates this; `packing.Columns` checks it for each column.
"""

from __future__ import annotations

from typing import Final

DEGREE: Final = 8192
"""N: numbers in a block, coefficients of a polynomial."""

PLAIN_BITS: Final = 58
PLAIN_MODULUS: Final = 1 << PLAIN_BITS
"""t. A power of two, since nothing is batched."""

HALF: Final = PLAIN_MODULUS // 2
"""A total must be smaller than this in magnitude."""

PRIME_BITS: Final = (54, 54, 54, 17)
KEY_PRIMES: Final = (18014398507892737, 18014398508138497, 18014398508400641, 114689)
"""All primes, as SEAL chooses them for PRIME_BITS and N: a public key lives modulo these."""

DATA_PRIMES: Final = KEY_PRIMES[:3]
"""The primes of a ciphertext that an owner sends."""

ANSWER_PRIMES: Final = KEY_PRIMES[:2]
"""The primes of an answer."""

ANSWER_MODULUS: Final = ANSWER_PRIMES[0] * ANSWER_PRIMES[1]

ERROR_BOUND: Final = 21
"""The largest error SEAL draws: a centred binomial of 42 coins, standard deviation 3.24."""

FLOOD: Final = ANSWER_MODULUS // PLAIN_MODULUS // 4
"""Delta/4, about 2^48: a uniform integer of at most this magnitude is added to every answer."""

ANSWERS_PER_KEY: Final = 40
"""Answers decrypted under one key. A holder that crafts its answers reads at most 36 of a key's 8,192 coefficients from each (3^36 < t): at
forty answers 6,752 stay unknown, for which 179 bits of modulus are still 128-bit secure (218 * 6752 / 8192 = 179.7)."""


def noise_bound(l1: int) -> int:
    """The most that an answer's noise can come to before flooding, for a column with sum_i |x_i| = l1 (rounded up)."""
    rounding = (DEGREE + 1) // 2 + 1
    products = (2 * ERROR_BOUND + 1) * l1 // 2 + 1
    zero = ERROR_BOUND * (2 * DEGREE + 1) // KEY_PRIMES[3] + 1 + rounding
    return (products + zero) // DATA_PRIMES[2] + 1 + rounding + 1


def decodable(l1: int) -> bool:
    """Whether noise and flood together stay below Delta/2, with a 2^20th of it to spare for the rounding at decryption."""
    step = ANSWER_MODULUS // PLAIN_MODULUS
    return noise_bound(l1) + FLOOD < step // 2 - (step >> 20)
