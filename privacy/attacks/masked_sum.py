"""Attacks on the masked sum by the coordinator, alone or with members, and the weakened member that each of them must break.

The coordinator holds, for each step, the masked words of every member (a `Transcript`). Alone it should learn nothing; with members it
should learn the sum and, only when all members but one collude, the last one's input (which then follows from the sum alone).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from federation.kernel.codec import Array
from federation.kernel.role import COORDINATOR, Role, Run
from federation.masked_sum.cover import Cover, Masked, total_of
from federation.masked_sum.fixed_point import FixedPoint, Integers
from federation.masked_sum.mersenne import Words
from federation.masked_sum.pairwise import MaskedInput, MaskedTotal, pair_masks

Transcript = Mapping[str, Words]
"""One step: member to its masked words, (k,)."""

Without = Literal["fresh masks", "group mask", "shift", "tag"]
"""The one protection that a weakened member lacks."""


def differences(first: Transcript, second: Transcript, shift: int) -> dict[str, Integers]:
    """Differencing two steps: what each member's input changed by, right if the two steps were masked alike."""
    return {name: (second[name] - first[name]).view(np.int64) >> np.int64(shift) for name in first}


def total(step: Transcript) -> Words:
    """All contributions added, so that the pair masks are gone."""
    words = list(step.values())
    return total_of((Masked(part, 0) for part in words), len(words[0])).words


def read_sum(step: Transcript, shift: int) -> Integers:
    """The sum, right if no group mask covers it."""
    return total(step).view(np.int64) >> np.int64(shift)


def low_bits(step: Transcript) -> tuple[int, Words]:
    """The bits of the sum that n group masks leave alone: (2^a, sum mod 2^a) with 2^a the power of two in n, right without a shift."""
    unit = len(step) & -len(step)
    return unit, total(step) & np.uint64(unit - 1)


def strip(target: str, step: Transcript, masks: Mapping[str, Words], group_mask: Words, shift: int) -> Integers:
    """The coordinator with colluding members: remove from the target's words the group mask and every pair mask that colluders know.

    masks: colluder to the pair mask it shares with the target, with the sign under which the target used it. Right if all others collude.
    """
    words = step[target] - group_mask
    for mask in masks.values():
        words = words - mask
    return words.view(np.int64) >> np.int64(shift)


def weakened_member(
    run: Run, inputs: Sequence[Integers], encoding: FixedPoint, members: tuple[str, ...], without: Without
) -> Role[list[Integers]]:
    """One masked sum per input, at run.within("0"), run.within("1"), ..., as by `pairwise.sum_integers` but for one protection."""
    out: list[Integers] = []
    keys: tuple[Cover, Masked] | None = None
    for number, integers in enumerate(inputs):
        step, length = run.within(str(number)), len(integers)
        if keys is None or without != "fresh masks":
            keys = Cover.agree(step, members, length, encoding), pair_masks(step, members, length)
        cover = keys[0]
        if without == "shift":
            cover = replace(cover, shift=0)
        if without == "group mask":
            cover = replace(cover, mask=Masked(np.zeros(length, np.uint64), cover.mask.tag))
        masked = cover.conceal(integers).plus(keys[1])
        yield from step.step("input", send={COORDINATOR: MaskedInput(Array.of(masked.words), masked.tag)})
        received = yield from step.step("total", expect={COORDINATOR: MaskedTotal}, limit=8 * length + 4096)
        message = received.of(COORDINATOR, MaskedTotal)
        opened = Masked(message.vector.read(COORDINATOR, "<u8", (length,)), message.tag)
        if without == "tag":
            plain = opened.minus(cover.mask.times(len(members))).words
            out.append(plain.view(np.int64) >> np.int64(cover.shift))
        else:
            out.append(cover.open(opened, len(members)))
    return out
