"""Sums of x_i r_i where r is another party's secret: the owner sends Enc(r), the holder of X returns its columns' sums, blinded.

BFV (Brakerski 2012; Fan and Vercauteren 2012) with Microsoft SEAL and coefficient packing (see `packing`), answers sanitised as in
`sanitise`, the owner's key as in `keys`. Three messages:

    owner -> holder   Encrypted   for every 40 answers a fresh key's p0 and the blocks of r under it
    holder -> owner   Answers     one sanitised answer for each column, blinded uniformly modulo t
    owner -> holder   Totals      the blinded sums; the holder takes its blinding off

The owner learns nothing but how many sums were asked for. The holder learns the sums. No decryption oracle: the owner decrypts at most 40
answers under one key, each of them blinded by the holder. Message counts and sizes depend on the numbers of rows and columns alone.

Who learns what: privacy/contracts/encrypted_linear.toml.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from federation.encrypted_linear.keys import KeyPair, fresh_pair, holders_view
from federation.encrypted_linear.packing import Columns, blocks_of, column_blocks, signed, vector_blocks
from federation.encrypted_linear.sanitise import T, Answer, opened, sanitised
from federation.encrypted_linear.seal_bytes import DATA_PRIMES, DEGREE, SENT_PRIMES, Seal, Words, parameters, require_residues
from federation.kernel.codec import Array, Message
from federation.kernel.errors import LocalError, PeerError
from federation.kernel.role import Role, Run

PER_KEY = 40
"""The most answers that are decrypted for a holder under one key."""
_HEADER = 1 << 12


class Encrypted(Message, frozen=True, tag="encrypted_linear/encrypted"):
    """p0: (keys, 4, N) uint64, residues in NTT form; blocks: (keys, blocks, 2, 3, N) uint64, the encrypted vector under each key."""

    p0: Array
    blocks: Array


class Answers(Message, frozen=True, tag="encrypted_linear/answers"):
    """c0: (answers, 2) uint64, one coefficient each; c1: (answers, 2, N) uint64."""

    c0: Array
    c1: Array


class Totals(Message, frozen=True, tag="encrypted_linear/totals"):
    """blinded: (answers,) uint64 below t."""

    blinded: Array


def keys_for(answers: int) -> int:
    """How many keys so many answers take."""
    return -(-answers // PER_KEY)


def own(run: Run, holders: Mapping[str, int], vector: NDArray[np.int64], vector_bits: int) -> Role[None]:
    """The owner's part. holders: how many answers each holder asks for (at least one); vector: (rows,) with |r_i| <= 2^vector_bits."""
    if len(vector) and int(np.abs(vector).max()) > 1 << vector_bits:
        raise LocalError("encrypted_linear", f"the vector exceeds its bound (rule: |r| <= 2^{vector_bits})", "This is a bug: report it.")
    blocks = vector_blocks(vector)
    pairs = {name: [fresh_pair(run, run.me, name, str(key)) for key in range(keys_for(answers))] for name, answers in holders.items()}
    send = {name: Encrypted(Array.of(np.stack([pair.p0 for pair in mine])), Array.of(_encrypted(mine, blocks))) for name, mine in pairs.items()}
    limit = max(holders.values()) * SENT_PRIMES * (DEGREE + 1) * 8 + _HEADER
    received = yield from run.step("encrypted", send, dict.fromkeys(holders, Answers), limit)
    totals = {name: Totals(Array.of(_decrypted(name, received.of(name, Answers), pairs[name], holders[name]))) for name in holders}
    yield from run.step("totals", totals)


def hold(run: Run, owner: str, columns: Columns, label: str) -> Role[list[int]]:
    """The holder's part: the exact sums of its integer columns, in their order. label: names the columns for the cache of their transforms."""
    rows, answers = columns.integers.shape
    keys = keys_for(answers)
    limit = keys * (4 + blocks_of(rows) * 2 * DATA_PRIMES) * DEGREE * 8 + _HEADER
    received = yield from run.step("await", expect={owner: Encrypted}, limit=limit)
    p0, blocks = _checked(owner, received.of(owner, Encrypted), keys, blocks_of(rows))
    transforms = run.cache(f"ntt {label}", lambda: _transformed(columns.integers))
    blinding, flood = run.random("blinding"), run.random("flood")
    masks = [blinding.below(T) for _ in range(answers)]
    out: list[Answer] = []
    for key in range(keys):
        chosen = range(key * PER_KEY, min(answers, (key + 1) * PER_KEY))
        zeros = _zeros(run, owner, str(key), p0[key], len(chosen))
        products = _products(blocks[key], [transforms[j] for j in chosen])
        out += [sanitised(product, zero, masks[j], flood) for j, product, zero in zip(chosen, products, zeros, strict=True)]
    message = Answers(Array.of(np.stack([a.c0 for a in out])), Array.of(np.stack([a.c1 for a in out])))
    received = yield from run.step("answers", {owner: message}, {owner: Totals})
    blinded = received.of(owner, Totals).blinded.read(owner, "<u8", (answers,), 0, T - 1)
    return [signed(int(value) - mask) for value, mask in zip(blinded, masks, strict=True)]


# -- the owner ------------------------------------------------------------------------------------------------------------------------


def _encrypted(pairs: list[KeyPair], blocks: Words) -> Words:
    """Every block under every key, (keys, blocks, 2, 3, N)."""
    own = parameters()
    plain = [own.plaintext(block) for block in blocks]
    out = np.empty((len(pairs), len(plain), 2, DATA_PRIMES, DEGREE), np.uint64)
    for key, pair in enumerate(pairs):
        encryptor = own.seal.Encryptor(own.context, pair.secret)
        for place, block in enumerate(plain):
            out[key, place] = own.residues(encryptor.encrypt_symmetric(block))
    return out


def _decrypted(holder: str, message: Answers, pairs: list[KeyPair], answers: int) -> Words:
    """The blinded sums, (answers,), each under the key that its place says."""
    own = parameters()
    primes = own.primes[:SENT_PRIMES]
    c0 = message.c0.read(holder, "<u8", (answers, SENT_PRIMES))
    require_residues(holder, c0[:, :, None], primes)
    c1 = require_residues(holder, message.c1.read(holder, "<u8", (answers, SENT_PRIMES, DEGREE)), primes)
    decryptors = [own.seal.Decryptor(own.context, pair.secret) for pair in pairs]
    return np.array([opened(Answer(c0[j], c1[j]), decryptors[j // PER_KEY]) for j in range(answers)], np.uint64)


# -- the holder -----------------------------------------------------------------------------------------------------------------------


def _checked(owner: str, message: Encrypted, keys: int, blocks: int) -> tuple[Words, Words]:
    primes = parameters().primes
    p0 = message.p0.read(owner, "<u8", (keys, len(primes), DEGREE))
    found = message.blocks.read(owner, "<u8", (keys, blocks, 2, DATA_PRIMES, DEGREE))
    return require_residues(owner, p0, primes), require_residues(owner, found, primes[:DATA_PRIMES])


def _transformed(integers: NDArray[np.int64]) -> list[list[Seal | None]]:
    """Every column's blocks in NTT form; None for a block of zeros, which SEAL does not multiply."""
    own = parameters()
    out: list[list[Seal | None]] = []
    for column in integers.T:
        row: list[Seal | None] = []
        for block in column_blocks(column):
            plain = None
            if block.any():
                plain = own.plaintext(block)
                own.evaluator.transform_to_ntt_inplace(plain, own.data_id)
            row.append(plain)
        out.append(row)
    return out


def _zeros(run: Run, owner: str, place: str, p0: Words, count: int) -> list[Seal]:
    """Fresh encryptions of zero under the owner's key, one for each answer."""
    own = parameters()
    encryptor = own.seal.Encryptor(own.context, holders_view(run, owner, place, p0))
    return [encryptor.encrypt_zero() for _ in range(count)]


def _products(blocks: Words, columns: list[list[Seal | None]]) -> list[Seal | None]:
    """For each column the sum over blocks of Enc(r) times the column, (three primes, not in NTT form)."""
    own = parameters()
    encrypted = [own.ciphertext(block) for block in blocks]
    for ciphertext in encrypted:
        own.evaluator.transform_to_ntt_inplace(ciphertext)
    out: list[Seal | None] = []
    for column in columns:
        total: Seal | None = None
        for ciphertext, plain in zip(encrypted, column, strict=True):
            if plain is None:
                continue
            product = own.evaluator.multiply_plain(ciphertext, plain)
            if total is None:
                total = product
            else:
                own.evaluator.add_inplace(total, product)
        if total is not None:
            own.evaluator.transform_from_ntt_inplace(total)
        out.append(total)
    return out
