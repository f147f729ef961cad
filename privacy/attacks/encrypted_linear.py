"""Attacks on the encrypted sums, by an owner that wants a holder's columns and by a holder that wants the owner's vector.

The hostile owner sends what it likes and looks at the answers as polynomials (`Seen`); `weak_answers` is a holder that lacks the
protections it is told to, and takes both halves of key and ciphertexts from the owner. The hostile holder sends crafted answers;
`weak_owner` is one that decrypts them all under one key.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.signal import fftconvolve

from federation.encrypted_linear.keys import CommonHalves, OwnerKey, keys_for
from federation.encrypted_linear.packing import Columns, Integers, blocks, centred
from federation.encrypted_linear.parameters import (
    ANSWER_MODULUS,
    ANSWER_PRIMES,
    DATA_PRIMES,
    DEGREE,
    KEY_PRIMES,
    PLAIN_MODULUS,
)
from federation.encrypted_linear.products import Transforms, encryptor_for
from federation.encrypted_linear.protocol import Answers, Encrypted, Totals
from federation.encrypted_linear.residues import Words, add, read
from federation.encrypted_linear.sanitise import Covers, cut, fresh_zero, switch_down
from federation.encrypted_linear.seal_bytes import scheme
from federation.kernel.codec import Array
from federation.kernel.role import Role, Run

Lack = Literal["cut", "fresh zeros"]
"""The one protection that a weakened holder lacks: it returns c0 whole and without flood, or uses one encryption of zero for all
answers."""

DIGITS = 36
"""Coefficients of a ternary key that one crafted answer reads: 3^36 < t."""


@dataclass(frozen=True)
class Halves:
    """All that an owner could wish to choose: p0, p1 (4, N) of its public key, c0, c1 (blocks, 3, N) of its ciphertexts; transformed."""

    p0: Words
    p1: Words
    c0: Words
    c1: Words

    @classmethod
    def honest(cls, run: Run, holder: str, key: OwnerKey, vector: Integers) -> Halves:
        """As the protocol wants them."""
        common = CommonHalves.of(run, run.me, holder, 0, blocks(len(vector)))
        return cls(key.public_half(common.p1), common.p1, key.encrypt(vector, common.c1), common.c1)

    def with_noise(self, size: int) -> Halves:
        """Huge noise: `size` times the constant polynomial, on the ciphertext of each block."""
        noise = _constant(size, DATA_PRIMES)
        return Halves(self.p0, self.p1, np.stack([add(block, noise, DATA_PRIMES) for block in self.c0]), self.c1)

    def chosen(self) -> Halves:
        """Second halves of the owner's choice.

        p1 = p3 hides next to nothing (at p1 = 0 SEAL would throw), and c1 = p2 makes the switch down return the column itself.
        """
        return Halves(self.p0, _constant(KEY_PRIMES[3], KEY_PRIMES), self.c0, self.chosen_ciphertext().c1)

    def chosen_ciphertext(self) -> Halves:
        """Only the second halves of the ciphertexts of the owner's choice: p2 in the first block, nothing in the others."""
        second = np.zeros_like(self.c1)
        second[0] = _constant(DATA_PRIMES[2], DATA_PRIMES)
        return Halves(self.p0, self.p1, self.c0, second)


def _constant(value: int, primes: Sequence[int]) -> Words:
    """A constant polynomial, transformed, (primes, N)."""
    return np.repeat(np.array([value % prime for prime in primes], np.uint64)[:, None], DEGREE, axis=1)


@dataclass(frozen=True)
class Seen:
    """A holder's answers in the owner's eyes: c0, c1 (answers, 2, N), coefficients; c0 is zero where the holder sent nothing."""

    c0: Words
    c1: Words

    @classmethod
    def of(cls, message: Answers, holder: str, answers: int) -> Seen:
        """From the protocol's message."""
        c1 = read(message.c1, holder, (answers, 2, DEGREE), ANSWER_PRIMES)
        c0 = np.zeros_like(c1)
        c0[:, :, DEGREE - 1] = read(message.c0, holder, (answers, 2), ANSWER_PRIMES, axis=-1)
        return cls(c0, c1)


def hostile_owner(run: Run, holder: str, answers: int, halves: Halves, rows: int, bits: int) -> Role[Seen]:
    """Sends the first halves, as the protocol has it, of whatever it has made; sees the answers."""
    message = Encrypted(rows, bits, Array.of(halves.p0[None]), Array.of(halves.c0[None]))
    limit = 16 * (DEGREE + 1) * answers + 4096
    received = yield from run.step("encrypted", send={holder: message}, expect={holder: Answers}, limit=limit)
    return Seen.of(received.of(holder, Answers), holder, answers)


def weak_answers(columns: Columns, halves: Halves, covers: Covers, lacks: Collection[Lack] = ()) -> Seen:
    """A holder that takes the owner's second halves, and lacks what is named."""
    engine = scheme()
    encryptor = encryptor_for(halves.p0, halves.p1)
    shared = fresh_zero(encryptor)
    ciphertexts = [engine.ciphertext(np.stack(pair)) for pair in zip(halves.c0, halves.c1, strict=True)]
    c0, c1 = [], []
    for limb, blinding, flood in zip(Transforms(columns).limbs, covers.blinding.tolist(), covers.flood, strict=True):
        accumulated = engine.evaluator.add(shared, _nothing()) if "fresh zeros" in lacks else fresh_zero(encryptor)
        for ciphertext, block in zip(ciphertexts, limb.blocks, strict=True):
            engine.evaluator.add_inplace(accumulated, engine.evaluator.multiply_plain(ciphertext, block))
        residues = switch_down(accumulated)
        if "cut" in lacks:
            first = residues[0]
        else:
            first = np.zeros((2, DEGREE), np.uint64)
            first[:, DEGREE - 1] = cut(residues, blinding, flood)[1]
        c0.append(first)
        c1.append(residues[1])
    return Seen(np.stack(c0), np.stack(c1))


def _nothing() -> object:
    """A ciphertext of nothing, whose second half SEAL does not reject: adding it copies."""
    engine = scheme()
    return engine.ciphertext(np.zeros((2, len(DATA_PRIMES), DEGREE), np.uint64))


# -- a hostile owner --------------------------------------------------------------------------------------------------------------


def columns_from_noise(seen: Seen, key: bytes, size: int) -> Integers:
    """Every answer's noise divided by what the owner put in: the column's first block, (answers, N), in the order of its rows."""
    scale = size / DATA_PRIMES[2]
    found = [np.array(noises(c0, c1, key), np.float64)[::-1] / scale for c0, c1 in zip(seen.c0, seen.c1, strict=True)]
    return np.rint(np.stack(found)).astype(np.int64)


def noises(c0: Words, c1: Words, key: bytes) -> list[int]:
    """How far the phase of each coefficient is from the nearest multiple of q/t, (N,)."""
    found = phases(c0, c1, key)
    return [
        phase - round_division(round_division(phase * PLAIN_MODULUS, ANSWER_MODULUS) * ANSWER_MODULUS, PLAIN_MODULUS) for phase in found
    ]


def columns_from_masks(seen: Seen) -> Integers:
    """c1 itself, right where the owner chose the second halves: the first block of each column, (answers, N), within one or two."""
    prime = ANSWER_PRIMES[0]
    signed = seen.c1[:, 0].view(np.int64)
    return np.where(signed > prime // 2, signed - prime, signed)[:, ::-1]


def difference_of_masks(seen: Seen) -> Integers:
    """c1 of the first answer less that of the second, modulo the first prime, centred, (N,)."""
    prime = ANSWER_PRIMES[0]
    difference = (seen.c1[0, 0].view(np.int64) - seen.c1[1, 0].view(np.int64)) % prime
    out: Integers = np.where(difference > prime // 2, difference - prime, difference)
    return out


def expected_difference(guess: Integers, c1: Words) -> Integers:
    """What the difference of masks is, within two, if the two columns differ by the guess (rows,) and share their encryption of zero."""
    engine = scheme()
    limb = Transforms(Columns.whole(guess[:, None], 0)).limbs[0]
    total = None
    for half, block, counted in zip(c1, limb.blocks, limb.counted, strict=True):
        if counted:
            product = engine.evaluator.multiply_plain(engine.ciphertext(np.stack([half, half])), block)
            total = product if total is None else engine.evaluator.add(total, product)
    prime, signed = ANSWER_PRIMES[0], switch_down(total)[1, 0].view(np.int64)
    out: Integers = np.where(signed > prime // 2, signed - prime, signed)
    return out


def phases(c0: Words, c1: Words, key: bytes) -> list[int]:
    """c0 + c1 s modulo q, (2, N) residues each to N integers: the message times q/t, plus noise."""
    s = np.frombuffer(key, np.int8).astype(np.float64)
    rows = []
    for first, second, prime in zip(c0, c1, ANSWER_PRIMES, strict=True):
        high, low = (_negacyclic((second >> np.uint64(shift)) & np.uint64((1 << 27) - 1), s) for shift in (27, 0))
        rows.append([(int(a) + (h << 27) + b) % prime for a, h, b in zip(first, high.tolist(), low.tolist(), strict=True)])
    p, q = ANSWER_PRIMES
    inverse = pow(p, -1, q)
    return [a + p * ((b - a) * inverse % q) for a, b in zip(*rows, strict=True)]


def _negacyclic(left: Words, right: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Integers:
    """The product modulo x^N + 1, exact while it stays below 2^45."""
    full = np.rint(fftconvolve(left.astype(np.float64), right)).astype(np.int64)
    full = np.append(full, np.zeros(2 * DEGREE - len(full), np.int64))
    return full[:DEGREE] - full[DEGREE:]


# -- a hostile holder -------------------------------------------------------------------------------------------------------------


def crafted_answers(first: int, count: int) -> Answers:
    """Answers that hold DIGITS coefficients of the key each, from coefficient `first` on: c1 has q 3^k / t where the k-th is met."""
    c1 = np.zeros((count, 2, DEGREE), np.uint64)
    for answer in range(count):
        for digit in range(DIGITS):
            place = first + answer * DIGITS + digit
            if place < DEGREE:
                value = round_division(ANSWER_MODULUS * 3**digit, PLAIN_MODULUS)
                c1[answer, :, DEGREE - 1 - place] = [value % prime for prime in ANSWER_PRIMES]
    return Answers(Array.of(c1), Array.of(np.zeros((count, 2), np.uint64)))


def key_from_totals(totals: Words) -> Integers:
    """The key's coefficients in balanced base three, (DIGITS * answers,)."""
    out = []
    for total in centred(totals).tolist():
        rest = total
        for _ in range(DIGITS):
            digit = (rest + 1) % 3 - 1
            out.append(digit)
            rest = (rest - digit) // 3
    return np.array(out, np.int64)


def hostile_holder(run: Run, owner: str, answers: int, rows: int, firsts: Sequence[int], per_key: int) -> Role[tuple[Encrypted, Words]]:
    """Asks for `answers`, crafts them all, for each key from the coefficient that `firsts` says; returns what it got."""
    limit = 8 * DEGREE * keys_for(answers) * (len(KEY_PRIMES) + len(DATA_PRIMES) * blocks(rows)) + 4096
    received = yield from run.step("columns", expect={owner: Encrypted}, limit=limit)
    encrypted = received.of(owner, Encrypted)
    parts = [crafted_answers(first, min(per_key, answers - place * per_key)) for place, first in enumerate(firsts)]
    message = Answers(
        Array.of(np.concatenate([part.c1.read("", "<u8", part.c1.shape) for part in parts])),
        Array.of(np.concatenate([part.c0.read("", "<u8", part.c0.shape) for part in parts])),
    )
    received = yield from run.step("answers", send={owner: message}, expect={owner: Totals}, limit=8 * answers + 4096)
    return encrypted, received.of(owner, Totals).blinded.read(owner, "<u8", (answers,))


def weak_owner(run: Run, holder: str, answers: int, vector: Integers, bits: int) -> Role[None]:
    """An owner without the cap: it decrypts any number of answers under one key."""
    key = OwnerKey.make(run, holder, 0)
    halves = Halves.honest(run, holder, key, vector)
    message = Encrypted(len(vector), bits, Array.of(halves.p0[None]), Array.of(halves.c0[None]))
    received = yield from run.step("encrypted", send={holder: message}, expect={holder: Answers}, limit=16 * (DEGREE + 1) * answers + 4096)
    seen = received.of(holder, Answers)
    opened = key.open(seen.c1.read(holder, "<u8", (answers, 2, DEGREE)), seen.c0.read(holder, "<u8", (answers, 2)))
    yield from run.step("totals", send={holder: Totals(Array.of(opened))})


def decrypt(key: bytes, c0: Words, c1: Words) -> Integers:
    """The vector in ciphertexts (blocks, 3, N) under a key that the attacker believes in, (blocks * N,)."""
    engine = scheme()
    transformed = engine.key_transform(np.frombuffer(key, np.int8).astype(np.int64).view(np.uint64) & np.uint64(PLAIN_MODULUS - 1))
    decryptor = engine.seal.Decryptor(engine.context, engine.secret_key(transformed))
    out = []
    for pair in zip(c0, c1, strict=True):
        ciphertext = engine.ciphertext(np.stack(pair))
        engine.evaluator.transform_from_ntt_inplace(ciphertext)
        raw = np.frombuffer(decryptor.decrypt(ciphertext).to_bytes(), "<u8", offset=88)
        block = np.zeros(DEGREE, np.uint64)
        block[: len(raw)] = raw
        out.append(centred(block))
    return np.concatenate(out)


def round_division(numerator: int, denominator: int) -> int:
    """To the nearest integer."""
    return (2 * numerator + denominator) // (2 * denominator)
