"""Seeds of masks folded to 32 bits, as Flower's SecAgg+ has them: one sum of a weakened copy is opened by trying, ours is not."""

from __future__ import annotations

import time

import numpy as np
import pytest
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen

from federation.kernel import suite
from federation.kernel.secret import Secret
from federation.masked_sum import bonawitz
from federation.masked_sum.bonawitz import Circle
from federation.masked_sum.fixed_point import Integers
from privacy.attacks import bonawitz as attack
from tests.bonawitz_scene import BANKS, LENGTH, SEED, Scene, views

THREE = BANKS[:3]


def hunted(without: str, bits: int) -> tuple[Integers | None, Scene]:
    """Three members, one in league: when the sum is open one pair mask hides a member, and every seed of it is tried."""
    scene = Scene(Circle(THREE, 3), without, (THREE[2],), bits)
    scene.play(views(dict.fromkeys(THREE, THREE)))
    one, other = THREE[:2]
    stripped = scene.loot.strip([one], THREE, except_for=[other, THREE[2]])
    assert stripped is not None
    spy = scene.loot.known[THREE[2]]
    shared = bonawitz._pair_mask(scene.loot.run, spy, scene.loot.keys[one], THREE[2], one)
    mask = attack.stretch(attack.fold(shared, bits) if without == "long seeds" else shared, LENGTH)
    began = time.perf_counter()
    found, tried = attack.search(stripped.minus(mask), 1, scene.group(), bits)
    took = time.perf_counter() - began
    print(f"{bits} bits: {tried:,} seeds in {took:.2f} s; all of 32 bits: {took / tried * 2**32 / 3600:.0f} h of one core in plain Python")
    return found, scene


def test_control_a_folded_seed_is_found_by_trying() -> None:
    """At 16 bits here and 20 in `make test-all`; the time for 32 bits is worked out from these and printed."""
    found, scene = hunted("long seeds", 16)
    np.testing.assert_array_equal(found, scene.truth(THREE[0]))


@pytest.mark.slow
def test_control_a_seed_of_twenty_bits_is_found_by_trying() -> None:
    found, scene = hunted("long seeds", 20)
    np.testing.assert_array_equal(found, scene.truth(THREE[0]))


def test_our_seeds_are_not_found_and_have_two_hundred_and_fifty_six_bits() -> None:
    found, scene = hunted("nothing", 16)
    print(f"0 of {1 << 16} seeds fit; there are 2^256")
    assert found is None
    key, peer = scene.loot.known[THREE[2]], THREE[0]
    mask = bonawitz._pair_mask(scene.loot.run, key, scene.loot.keys[peer], THREE[2], peer)
    assert len(mask) == suite.KEY_BYTES == 32
    first = suite.keystream(mask, 2)
    for bit in range(256):  # every bit of the key counts
        raw = bytearray(mask.reveal())
        raw[bit // 8] ^= 1 << bit % 8
        assert not np.array_equal(suite.keystream(Secret(bytes(raw)), 2), first)


def test_the_fold_of_the_copy_is_flowers() -> None:
    """Two seeds with one fold give one mask in Flower 1.42; of ours they are two keys."""
    rng = np.random.default_rng(SEED)
    seed = Secret(rng.bytes(32))
    short = attack.fold(seed)
    assert short != seed
    assert short.reveal()[4:] == bytes(28)
    masks = [pseudo_rand_gen(each.reveal(), 1 << 32, [(5,)])[0] for each in (seed, short)]
    np.testing.assert_array_equal(*masks)
    assert not np.array_equal(suite.keystream(seed, 5), suite.keystream(short, 5))
