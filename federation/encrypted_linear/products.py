"""The holder's work: its columns in transformed form, and their sums of products under the owner's key.

Each accumulator begins with a fresh encryption of zero, so no intermediate result is ever the "transparent" ciphertext at which SEAL
throws, whatever the owner has encrypted, and no error can tell the owner about a column. A block of zeros, by which SEAL does not multiply,
takes the work of any other: a product that is thrown away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from federation.encrypted_linear.packing import Columns, column_blocks
from federation.encrypted_linear.parameters import DEGREE
from federation.encrypted_linear.residues import Words
from federation.encrypted_linear.sanitise import fresh_zero, switch_down
from federation.encrypted_linear.seal_bytes import Encryptor, Plaintext, scheme


@dataclass(frozen=True, eq=False, repr=False)
class TransformedLimb:
    """One limb of a column. blocks: its plaintexts; counted: False where a block holds zeros, for which a constant stands in."""

    blocks: tuple[Plaintext, ...]
    counted: tuple[bool, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Transforms:
    """A holder's columns, ready to multiply: made when first used, and kept by whoever asks sums of the same columns again."""

    columns: Columns

    @cached_property
    def limbs(self) -> tuple[TransformedLimb, ...]:
        """Every block of every limb, 0.7 ms and 0.2 MB each."""
        return tuple(_transformed(column_blocks(limb)) for limb in self.columns.limb_columns())


def _transformed(blocks: Words) -> TransformedLimb:
    one = np.eye(1, DEGREE, dtype=np.uint64)[0]
    counted = tuple(bool(block.any()) for block in blocks)
    return TransformedLimb(
        tuple(scheme().transformed(block if good else one) for block, good in zip(blocks, counted, strict=True)), counted
    )


def encryptor_for(p0: Words, p1: Words) -> Encryptor:
    """What makes encryptions of zero under an owner's public key, its halves (4, N) each."""
    engine = scheme()
    return engine.seal.Encryptor(engine.context, engine.public_key(np.stack([p0, p1])))


def inner_products(limbs: Sequence[TransformedLimb], encryptor: Encryptor, c0: Words, c1: Words) -> Iterator[Words]:
    """For each limb, its sum of products with the vector in c0, c1 (blocks, 3, N), plus a fresh zero, switched down: (2, 2, N)."""
    engine = scheme()
    ciphertexts = [engine.ciphertext(np.stack(pair)) for pair in zip(c0, c1, strict=True)]
    multiply, add = engine.evaluator.multiply_plain, engine.evaluator.add_inplace
    discarded = fresh_zero(encryptor)
    for limb in limbs:
        accumulated = fresh_zero(encryptor)
        for ciphertext, block, counted in zip(ciphertexts, limb.blocks, limb.counted, strict=True):
            add(accumulated if counted else discarded, multiply(ciphertext, block))
        yield switch_down(accumulated)
