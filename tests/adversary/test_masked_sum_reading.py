"""What the coordinator and coalitions read in masked sums: nothing of an input, of a sum, or of a change."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from federation.masked_sum import mersenne
from federation.masked_sum.cover import Cover, stretch
from federation.masked_sum.pairwise import MaskedInput, pair_masks
from privacy.attacks import masked_sum as attack
from tests.masked_sum_scene import (
    GRID,
    MEMBERS,
    SEED,
    Inputs,
    inputs,
    play,
    uniform,
)
from tests.rooms import Room


def extremes(length: int, members: tuple[str, ...], steps: int) -> tuple[Inputs, Inputs]:
    """Two worlds as different as can be: all zero, and all the largest (odd) number."""
    top = GRID.largest - 1 + GRID.largest % 2
    return tuple({m: [np.full(length, value) for _ in range(steps)] for m in members} for value in (0, top))  # type: ignore[return-value]


@pytest.mark.parametrize("members", [pytest.param(MEMBERS[:3], marks=pytest.mark.slow), MEMBERS])
def test_what_the_coordinator_receives_is_uniform_whatever_the_inputs(members: tuple[str, ...]) -> None:
    for world in extremes(4000, members, steps=3):
        outcome = play(world)
        for step in range(3):
            transcript = outcome.transcript(step)
            for name in members:
                assert uniform(transcript[name]) > 1e-4, name
            for name in members[1:]:  # nor do two contributions together show anything
                assert uniform(transcript[members[0]] + transcript[name]) > 1e-4
                assert uniform(transcript[members[0]] - transcript[name]) > 1e-4
        tags = np.array([d.message.tag for d in outcome.room.deliveries if isinstance(d.message, MaskedInput)], np.uint64)
        assert len(set(tags.tolist())) == 3 * len(members)


@pytest.mark.parametrize("members", [MEMBERS[:3], MEMBERS])
def test_the_total_tells_the_coordinator_nothing_not_even_a_low_bit(members: tuple[str, ...]) -> None:
    """Of n masks the total keeps the multiples of 2^a alone: those low bits are 0 in every world, and all others are uniform."""
    zero, unit = np.uint64((len(members) & -len(members)).bit_length() - 1), np.uint64(len(members) & -len(members))
    for world in extremes(20_000, members, steps=1):
        total = attack.total(play(world).transcript(0))
        assert not (total & (unit - np.uint64(1))).any()
        rest = total >> zero
        spread = rest << zero | (np.random.default_rng(SEED).integers(0, int(unit), rest.size, dtype=np.uint64))  # fill the empty bits
        assert uniform(spread) > 1e-4


def test_control_without_the_shift_the_low_bits_of_an_even_number_of_inputs_show() -> None:
    given = inputs(steps=1, length=500)
    truth = sum(given[m][0] for m in MEMBERS).view(np.uint64)  # type: ignore[union-attr]
    unit, seen = attack.low_bits(play(given, without="shift").transcript(0))
    assert unit == 4
    assert np.array_equal(seen, truth % np.uint64(4))
    unit, seen = attack.low_bits(play(given).transcript(0))
    assert not seen.any()


def test_the_coordinator_cannot_read_the_sum_and_control_without_the_group_mask_it_does() -> None:
    given = inputs(steps=1, length=500)
    truth = sum(given[m][0] for m in MEMBERS)
    ours = attack.read_sum(play(given).transcript(0), GRID.shift)
    assert (ours == truth).sum() == 0
    control = attack.read_sum(play(given, without="group mask").transcript(0), GRID.shift)
    assert np.array_equal(control, truth)


def test_two_steps_do_not_show_a_change_of_input_and_control_with_one_mask_they_do() -> None:
    given = inputs(steps=2, length=500)
    ours, control = play(given), play(given, without="fresh masks")
    for name in MEMBERS:
        change = given[name][1] - given[name][0]
        assert (attack.differences(ours.transcript(0), ours.transcript(1), GRID.shift)[name] == change).sum() == 0
        assert np.array_equal(attack.differences(control.transcript(0), control.transcript(1), GRID.shift)[name], change)


def test_a_run_begun_anew_does_not_show_a_change_of_input_either() -> None:
    """A second attempt is another session: the same places, other masks."""
    given, other = inputs(steps=1, length=500), inputs(steps=2, length=500)
    moved = {m: [other[m][1]] for m in MEMBERS}
    first, second = play(given, session=b"1".ljust(32)), play(moved, session=b"2".ljust(32))
    guess = attack.differences(first.transcript(0), second.transcript(0), GRID.shift)
    for name in MEMBERS:
        assert (guess[name] == moved[name][0] - given[name][0]).sum() == 0


def test_a_coalition_short_of_all_others_cannot_strip_a_member_and_all_others_can() -> None:
    given = inputs(steps=1, length=500)
    step = play(given).transcript(0)
    spies = {name: Room(MEMBERS, session=bytes(32)).run(name).within("0") for name in MEMBERS}
    group = Cover.agree(spies["court"], MEMBERS, 500, GRID).mask.words
    masks = {n: stretch(spies[n].pair_key("bank", "pair mask"), 500).words for n in MEMBERS[1:]}  # the bank, named first, adds them
    for missing in MEMBERS[1:]:
        some = {n: mask for n, mask in masks.items() if n != missing}
        guess = attack.strip("bank", step, some, group, shift=0)
        assert (guess >> np.int64(GRID.shift) == given["bank"][0]).sum() == 0
        assert uniform(guess.view(np.uint64)) > 1e-4
    assert np.array_equal(attack.strip("bank", step, masks, group, GRID.shift), given["bank"][0])


def test_pair_masks_cancel_and_never_repeat() -> None:
    room = Room(MEMBERS)
    runs = {m: room.run(m) for m in MEMBERS}
    seen: Counter[bytes] = Counter()
    for place in ("first", "second"):
        masks = [pair_masks(runs[m].within(place), MEMBERS, 50) for m in MEMBERS]
        assert not np.sum(np.stack([m.words for m in masks]), axis=0, dtype=np.uint64).any()
        assert sum(m.tag for m in masks) % mersenne.P == 0
        seen.update(m.words.tobytes() for m in masks)
    assert len(seen) == 8
