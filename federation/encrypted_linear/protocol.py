"""Encrypted sums: the owner of a secret vector r, and holders of columns x, each of whom learns sum_i x_i r_i for its own columns.

    owner -> holder   Encrypted   the vector under a key made for this holder, and that key's public half
    holder -> owner   Answers     for each limb of a column one number, encrypted, sanitised (`sanitise`) and blinded by the holder
    owner -> holder   Totals      the blinded numbers; the holder takes its blinding off

The owner learns how many answers each holder asked for. Sizes and counts of messages follow from rows and answers alone. A key serves forty
answers; more answers take more keys, each with its own encryption of the vector.

`answer_blinded` and `ask_blinded` end where both sides hold blinded numbers modulo t. That is the seam for several owners: masks that
cancel between them, added modulo t before `Totals`, would leave a holder the sum over owners and nothing else.

Who learns what: privacy/contracts/encrypted_linear.toml.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from federation.encrypted_linear.keys import CommonHalves, OwnerKey, keys_for
from federation.encrypted_linear.packing import Columns, Integers, blocks, centred
from federation.encrypted_linear.parameters import ANSWER_PRIMES, ANSWERS_PER_KEY, DATA_PRIMES, DEGREE, HALF, KEY_PRIMES, PLAIN_MODULUS
from federation.encrypted_linear.products import Transforms, encryptor_for, inner_products
from federation.encrypted_linear.residues import Words, read
from federation.encrypted_linear.sanitise import Covers, cut
from federation.kernel.codec import Array, Message
from federation.kernel.errors import ConfigurationError, LocalError, PeerError
from federation.kernel.role import Role, Run

_HEADER = 4096
_WHERE = "encrypted_linear"


class Encrypted(Message, frozen=True, tag="encrypted_linear/encrypted"):
    """The owner's vector for one holder, under one key for every forty answers.

    rows: length of the vector; bits: no number in it is larger than 2^bits; p0: (keys, 4, N) and c0: (keys, blocks, 3, N) uint64,
    transformed residues of the public keys' and ciphertexts' first halves; both sides know the other halves.
    """

    rows: int
    bits: int
    p0: Array
    c0: Array


class Answers(Message, frozen=True, tag="encrypted_linear/answers"):
    """A holder's answers. c1: (answers, 2, N), c0: (answers, 2) uint64, residues: an LWE sample each, blinded and flooded."""

    c1: Array
    c0: Array


class Totals(Message, frozen=True, tag="encrypted_linear/totals"):
    """What the answers held, still blinded by the holder: (answers,) uint64 below t."""

    blinded: Array


# -- the owner --------------------------------------------------------------------------------------------------------------------


def own(run: Run, holders: Mapping[str, int], vector: Integers, vector_bits: int) -> Role[None]:
    """The owner's part. holders: how many answers each asks for, which the model has checked against its caps; vector: (rows,) int64 of
    magnitude at most 2^vector_bits.

    Raises LocalError for a vector that breaks its own bound, PeerError for malformed answers.
    """
    blinded = yield from answer_blinded(run, holders, vector, vector_bits)
    yield from run.step("totals", send={holder: Totals(Array.of(words)) for holder, words in blinded.items()})


def answer_blinded(run: Run, holders: Mapping[str, int], vector: Integers, vector_bits: int) -> Role[dict[str, Words]]:
    """`own` without its last message: what each holder's answers hold, blinded by that holder, (answers,) modulo t."""
    _require_holders(run, holders)
    _require_vector(run.me, vector, vector_bits)
    keys = {holder: [OwnerKey.make(run, holder, number) for number in range(keys_for(answers))] for holder, answers in holders.items()}
    send = {holder: _encrypted(run, holder, keys[holder], vector, vector_bits) for holder in holders}
    limit = 8 * len(ANSWER_PRIMES) * (DEGREE + 1) * max(holders.values()) + _HEADER
    received = yield from run.step("encrypted", send=send, expect=dict.fromkeys(holders, Answers), limit=limit)
    return {holder: _opened(holder, received.of(holder, Answers), keys[holder], answers) for holder, answers in holders.items()}


def _encrypted(run: Run, holder: str, keys: list[OwnerKey], vector: Integers, vector_bits: int) -> Encrypted:
    p0, c0 = [], []
    for number, key in enumerate(keys):
        common = CommonHalves.of(run, run.me, holder, number, blocks(len(vector)))
        p0.append(key.public_half(common.p1))
        c0.append(key.encrypt(vector, common.c1))
    return Encrypted(len(vector), vector_bits, Array.of(np.stack(p0)), Array.of(np.stack(c0)))


def _opened(holder: str, message: Answers, keys: list[OwnerKey], answers: int) -> Words:
    c1 = read(message.c1, holder, (answers, len(ANSWER_PRIMES), DEGREE), ANSWER_PRIMES)
    c0 = read(message.c0, holder, (answers, len(ANSWER_PRIMES)), ANSWER_PRIMES, axis=-1)
    return np.concatenate([key.open(c1[part], c0[part]) for key, part in zip(keys, _parts(answers), strict=True)])


def _require_holders(run: Run, holders: Mapping[str, int]) -> None:
    if not holders or not set(holders) <= set(run.peers) or min(holders.values()) < 1:
        raise ConfigurationError(
            _WHERE, "an owner needs holders among the other institutions, each with at least one answer", "Correct the run."
        )


def _require_vector(where: str, vector: Integers, vector_bits: int) -> None:
    fits = vector.ndim == 1 and vector.dtype == np.int64 and len(vector) > 0 and vector_bits in range(HALF.bit_length() - 1)
    if not fits:
        raise LocalError(where, f"a vector {vector.dtype} of shape {vector.shape} with {vector_bits} bits", "Pass int64, and 0 to 56 bits.")
    beyond = int(np.count_nonzero((vector > 1 << vector_bits) | (vector < -(1 << vector_bits))))
    if beyond:
        raise LocalError(
            where, f"{beyond:,} of {len(vector):,} numbers of a secret vector are beyond its bound (rule: |r| <= 2^{vector_bits})",
            "Nothing was sent. This is a bug in the model: report it.",
        )  # fmt: skip


# -- a holder ---------------------------------------------------------------------------------------------------------------------


def hold(run: Run, owner: str, transforms: Transforms) -> Role[list[int]]:
    """A holder's part: the exact totals of its columns with the owner's vector, (k,), on the columns' grid.

    Raises PeerError for a message that no honest owner sends.
    """
    columns = transforms.columns
    answers, blinding = yield from ask_blinded(run, owner, transforms)
    received = yield from run.step("answers", send={owner: answers}, expect={owner: Totals}, limit=8 * columns.answers + _HEADER)
    blinded = received.of(owner, Totals).blinded.read(owner, "<u8", (columns.answers,), high=PLAIN_MODULUS - 1)
    return columns.combine(centred(blinded - blinding).tolist())


def ask_blinded(run: Run, owner: str, transforms: Transforms) -> Role[tuple[Answers, Words]]:
    """`hold` up to its answers: the message for the owner, and the blinding in it, (answers,) modulo t."""
    columns = transforms.columns
    limit = 8 * DEGREE * keys_for(columns.answers) * (len(KEY_PRIMES) + len(DATA_PRIMES) * blocks(columns.rows)) + _HEADER
    received = yield from run.step("columns", expect={owner: Encrypted}, limit=limit)
    p0, c0 = _read_encrypted(owner, received.of(owner, Encrypted), columns)
    covers = Covers.draw(run.random("covers"), columns.answers)
    c1s, c0s = [], []
    for number, part in enumerate(_parts(columns.answers)):
        common = CommonHalves.of(run, owner, run.me, number, blocks(columns.rows))
        products = inner_products(transforms.limbs[part], encryptor_for(p0[number], common.p1), c0[number], common.c1)
        for accumulated, blinding, flood in zip(products, covers.blinding[part].tolist(), covers.flood[part], strict=True):
            whole, coefficient = cut(accumulated, blinding, flood)
            c1s.append(whole)
            c0s.append(coefficient)
    return Answers(Array.of(np.stack(c1s)), Array.of(np.array(c0s, np.uint64))), covers.blinding


def _read_encrypted(owner: str, message: Encrypted, columns: Columns) -> tuple[Words, Words]:
    """p0 and c0. Raises PeerError."""
    if message.rows != columns.rows or not 0 <= message.bits <= columns.bits:
        raise PeerError(
            owner, "a vector of other rows or more bits", f"one of {columns.rows:,} rows and at most {columns.bits} bits"
        )  # fmt: skip
    keys = keys_for(columns.answers)
    p0 = read(message.p0, owner, (keys, len(KEY_PRIMES), DEGREE), KEY_PRIMES)
    return p0, read(message.c0, owner, (keys, blocks(columns.rows), len(DATA_PRIMES), DEGREE), DATA_PRIMES)


def _parts(answers: int) -> list[slice]:
    """The answers that each key serves."""
    return [slice(first, min(first + ANSWERS_PER_KEY, answers)) for first in range(0, answers, ANSWERS_PER_KEY)]
