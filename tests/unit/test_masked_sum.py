"""The masked sum: exact on its grid, refused at construction when it could overflow, and complete through real envelopes and crashes."""

from __future__ import annotations

import math
import tomllib
from fractions import Fraction
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.kernel.errors import AbortCode, ConfigurationError, LocalError, PolicyRefusal
from federation.kernel.role import COORDINATOR, Role, Run
from federation.masked_sum import mersenne
from federation.masked_sum.fixed_point import FixedPoint
from federation.masked_sum.pairwise import MaskedInput, MaskedTotal, SubsetTotal, sum_coordinator, sum_integers, sum_member
from federation.masked_sum.partial_scores import MaskedScores, ScoreTotals
from tests.rooms import Room
from tests.staged import staged

NAMES = tuple(f"member-{i:02d}" for i in range(16))
QUICK = settings(max_examples=60, deadline=None, derandomize=True)


def play(
    vectors: dict[str, Any], encoding: FixedPoint, *, all_members: tuple[str, ...] | None = None, integers: bool = False, **options: Any
) -> tuple[dict[str, Any], Room]:
    """Every member's result (and the coordinator's), and the room."""
    members = tuple(vectors)
    room = Room(all_members or members)
    member = sum_integers if integers else sum_member
    roles: dict[str, Any] = {m: member(room.run(m), vectors[m], encoding, members, **options) for m in members}
    roles[COORDINATOR] = sum_coordinator(room.run(COORDINATOR), members, len(vectors[members[0]]))
    return room.play(roles), room


# -- the field of the tags ------------------------------------------------------------------------------------------------------


words = st.integers(0, (1 << 64) - 1) | st.sampled_from([0, 1, mersenne.P - 1, mersenne.P, mersenne.P + 1, 1 << 61, (1 << 64) - 1])


@QUICK
@given(st.lists(st.tuples(words, words), min_size=1, max_size=50))
def test_field_arithmetic_equals_whole_number_arithmetic(pairs: list[tuple[int, int]]) -> None:
    left, right = (np.array(side, np.uint64) for side in zip(*pairs, strict=True))
    a, b = mersenne.reduce(left), mersenne.reduce(right)
    assert a.tolist() == [x % mersenne.P for x, _ in pairs]
    assert mersenne.add(a, b).tolist() == [(x + y) % mersenne.P for x, y in pairs]
    assert mersenne.subtract(a, b).tolist() == [(x - y) % mersenne.P for x, y in pairs]
    assert mersenne.times(a, b).tolist() == [x * y % mersenne.P for x, y in pairs]
    assert mersenne.total(a) == sum(x for x, _ in pairs) % mersenne.P
    assert mersenne.residues(left.view(np.int64)).tolist() == [x % mersenne.P for x in left.view(np.int64).tolist()]
    assert all(mersenne.is_residue(x) for x in mersenne.uniform(left).tolist())


def test_field_arithmetic_over_long_vectors_equals_whole_number_arithmetic() -> None:
    rng = np.random.default_rng(20)
    a = rng.integers(mersenne.P - 5, mersenne.P, 20_000, dtype=np.uint64)
    x = rng.integers(-(1 << 63), (1 << 63) - 1, 20_000)
    assert mersenne.dot(a, x) == sum(int(p) * int(q) for p, q in zip(a, x, strict=True)) % mersenne.P


# -- fixed point ----------------------------------------------------------------------------------------------------------------


@QUICK
@given(st.floats(1e-9, 1e17), st.integers(1, 5000), st.none() | st.integers(0, 60))
def test_an_encoding_that_could_overflow_cannot_be_constructed(clip: float, members: int, bits: int | None) -> None:
    try:
        encoding = FixedPoint(clip, members, bits)
    except ConfigurationError:
        needed = Fraction(clip) * 2 ** (bits or 0)
        least = 2 * members * math.ceil(needed + 1)  # refused only when it comes close to the bound, or to nothing at all
        assert least * (1 << (members - 1).bit_length()) >= 1 << 61 or needed <= Fraction(1, 2)
        return
    assert (1 << encoding.shift) >= members
    assert encoding.total_bound * (1 << encoding.shift) < 1 << 63
    assert 2 * encoding.total_bound < mersenne.P
    assert encoding.encode(np.array([clip, -clip])).tolist() == [encoding.largest, -encoding.largest]


def test_the_finest_grid_is_one_step_from_refusal() -> None:
    for clip in (1.0, 0.3, 2.0**15, 1e6, 12345.678):
        for members in (1, 2, 3, 4, 5, 8, 9, 100):
            encoding = FixedPoint(clip, members)
            assert FixedPoint(clip, members, encoding.bits).largest == encoding.largest
            with pytest.raises(ConfigurationError):
                FixedPoint(clip, members, encoding.bits + 1)


def test_the_bound_is_tight_at_the_edge() -> None:
    most = (mersenne.P - 1) // 2 // 3
    assert FixedPoint(float(1 << 58), 3, 0).largest == 1 << 58 <= most
    with pytest.raises(ConfigurationError):
        FixedPoint(float(1 << 59), 3, 0)
    with pytest.raises(ConfigurationError):
        FixedPoint(2.0**15, 16, 40)  # 2^55 * 16 * 2^4 = 2^63: one too many
    assert FixedPoint(2.0**15, 15, 40).shift == 4


@pytest.mark.parametrize("clip", [0.0, -1.0, math.inf, math.nan])
def test_a_clip_that_is_no_positive_number_is_refused(clip: float) -> None:
    with pytest.raises(ConfigurationError):
        FixedPoint(clip, 3, 10)


@QUICK
@given(st.lists(st.floats(-1000, 1000), max_size=30), st.integers(0, 40))
def test_encoding_errs_by_at_most_half_a_step(values: list[float], bits: int) -> None:
    encoding = FixedPoint(1000, 3, bits)
    back = encoding.decode(encoding.encode(np.array(values, np.float64)))
    assert (np.abs(back - np.array(values)) <= encoding.step / 2).all()


def test_a_number_beyond_the_clip_is_refused_and_never_shown() -> None:
    encoding = FixedPoint(1000, 3, 10)
    for bad in (1000.5, -98765.4321, math.nan, math.inf, -math.inf):
        with pytest.raises(LocalError) as caught:
            encoding.encode(np.array([1.0, bad, 2.0]), "bank")
        text = str(caught.value)
        assert "1 of 3 numbers" in text
        assert "|x| <= 1000" in text
        assert "98765" not in text
        assert "1000.5" not in text
        assert caught.value.code is AbortCode.DATA
    for array in (np.array([1001]), np.array([-1001]), np.array([1 << 63], np.uint64), np.array([-(1 << 63)])):
        with pytest.raises(LocalError):
            encoding.encode(array)


def test_only_vectors_of_numbers_are_encoded() -> None:
    encoding = FixedPoint(10, 3, 0)
    bad: tuple[Any, ...] = (np.zeros((2, 2)), np.array(["1"]), np.array([1 + 0j]), np.array([None]))
    for array in bad:
        with pytest.raises(LocalError):
            encoding.encode(array)


def test_counts_and_flags_go_through_the_same_call() -> None:
    encoding = FixedPoint(2.0**53, 3, 0)
    assert encoding.encode(np.array([True, False])).tolist() == [1, 0]
    assert encoding.encode(np.array([3, -4], np.int8)).tolist() == [3, -4]
    assert encoding.encode(np.array([(1 << 53) - 1], np.uint64)).tolist() == [(1 << 53) - 1]


# -- the sum --------------------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_the_sum_is_exact_for_any_members_and_any_integers(data: st.DataObject) -> None:
    count, length = data.draw(st.integers(3, 12)), data.draw(st.integers(0, 6))
    encoding = FixedPoint(data.draw(st.sampled_from([1.0, 7.0, 1e6])), count)
    edge = encoding.largest
    number = st.integers(-edge, edge) | st.sampled_from([-edge, -edge + 1, -1, 0, 1, edge - 1, edge])
    rows = [data.draw(st.lists(number, min_size=length, max_size=length)) for _ in range(count)]
    results, _ = play({n: np.array(row, np.int64) for n, row in zip(NAMES, rows, strict=False)}, encoding, integers=True)
    expected = [sum(column) for column in zip(*rows, strict=True)]
    assert all(results[name].tolist() == expected for name in NAMES[:count])
    assert results[COORDINATOR] is None


@pytest.mark.parametrize("count", [3, 4, 5, 8, 9, 15, 16])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sums_do_not_wrap(count: int, sign: int) -> None:
    encoding = FixedPoint(3.0, count)
    vector = np.full(2, sign * encoding.largest)
    results, _ = play(dict.fromkeys(NAMES[:count], vector), encoding, integers=True)
    assert results[NAMES[0]].tolist() == [sign * encoding.total_bound] * 2


def test_every_member_gets_the_sum_of_real_numbers() -> None:
    rng = np.random.default_rng(4)
    vectors = {n: rng.normal(0, 10, 1000).clip(-100, 100) for n in NAMES[:5]}
    results, _ = play(vectors, FixedPoint(100, 5))
    exact = sum(vectors.values())
    for name in vectors:
        assert np.abs(results[name] - exact).max() <= 5 * FixedPoint(100, 5).step + 1e-13
        assert np.array_equal(results[name], results[NAMES[0]])


def test_a_weighted_mean_is_a_sum_of_products_and_weights() -> None:
    weights = {n: float(i + 1) for i, n in enumerate(NAMES[:3])}
    results, _ = play({n: np.array([w * 0.25 * w, w]) for n, w in weights.items()}, FixedPoint(10, 3, 40))
    total = results[NAMES[0]]
    assert total[0] / total[1] == (0.25 + 1 + 2.25) / 6


def test_every_member_has_the_sum_and_the_coordinator_none() -> None:
    results, _ = play({n: np.array([i, -i, 7]) for i, n in enumerate(NAMES[:4])}, FixedPoint(100, 4, 0))
    assert [results[n].tolist() for n in NAMES[:4]] == [[6, -6, 28]] * 4
    assert results[COORDINATOR] is None


def test_fewer_than_three_members_are_refused_before_anything_is_sent() -> None:
    encoding = FixedPoint(10, 3, 0)
    for count in (0, 1, 2):
        room = Room(NAMES[:3])
        with pytest.raises(PolicyRefusal):
            next(sum_member(room.run(NAMES[0]), np.zeros(1), encoding, NAMES[:count]))
    with pytest.raises(PolicyRefusal):
        next(sum_member(Room(NAMES[:3]).run(NAMES[0]), np.zeros(1), encoding, NAMES[:1], two_members=True))
    results, _ = play({NAMES[0]: np.array([3.0]), NAMES[1]: np.array([4.0])}, FixedPoint(10, 2, 0), two_members=True)
    assert results[NAMES[0]].tolist() == [7.0]


def test_members_that_do_not_fit_are_refused() -> None:
    for members in ((*NAMES[:3], NAMES[0]), NAMES[1:5], (*NAMES[:3], COORDINATOR), NAMES[:6]):
        with pytest.raises(ConfigurationError):
            next(sum_member(Room(NAMES).run(NAMES[0]), np.zeros(1), FixedPoint(10, 5, 0), members))


def test_integers_beyond_the_grid_are_refused() -> None:
    encoding = FixedPoint(10, 3, 0)
    with pytest.raises(LocalError, match="1 of 2"):
        next(sum_integers(Room(NAMES[:3]).run(NAMES[0]), np.array([10, 11]), encoding, NAMES[:3]))


def test_a_sum_among_some_institutions_leaves_the_views_of_all_alike() -> None:
    """Otherwise the next sum among all would fail: a broadcast to some is no broadcast."""
    room, encoding = Room(NAMES[:4]), FixedPoint(10, 4, 0)

    def member(name: str) -> Role[list[float]]:
        run, out = room.run(name), []
        if name in NAMES[:3]:
            out.append((yield from sum_member(run.within("some"), np.array([1]), encoding, NAMES[:3]))[0])
        out.append((yield from sum_member(run.within("all"), np.array([1]), encoding, NAMES[:4]))[0])
        return out

    def coordinator() -> Role[None]:
        run = room.run(COORDINATOR)
        yield from sum_coordinator(run.within("some"), NAMES[:3], 1)
        yield from sum_coordinator(run.within("all"), NAMES[:4], 1)

    results = room.play({**{n: member(n) for n in NAMES[:4]}, COORDINATOR: coordinator()})
    assert (results[NAMES[0]], results[NAMES[3]]) == ([3, 4], [4])
    kinds = {type(d.message) for d in room.deliveries}
    assert {MaskedTotal, SubsetTotal} <= kinds


# -- through envelopes, journals and crashes --------------------------------------------------------------------------------------


def _summed(me: str, run: Run, number: int) -> Role[list[int]]:
    """Three stages, each one masked sum."""
    members = NAMES[:3]
    if me == COORDINATOR:
        yield from sum_coordinator(run, members, 5)
        return []
    total = yield from sum_member(run, np.arange(5) + 10 * members.index(me) + number, FixedPoint(1000, len(members), 4), members)
    return [int(x) for x in total]


_post = partial(staged, _summed, *NAMES[:3], stages=3)


def test_the_sum_passes_through_signed_envelopes_step_by_step() -> None:
    parties = _post().play()
    expected = tuple(tuple(3 * (j + t) + 30 for j in range(5)) for t in range(3))
    for name in NAMES[:3]:
        assert parties[name].failure is None
        assert parties[name].state.each == expected


def test_a_party_killed_before_every_single_batch_changes_nothing() -> None:
    parties = _post(killed=lambda party, number: True).play()
    assert parties[NAMES[1]].state.each == _post().play()[NAMES[1]].state.each
    assert all(p.failure is None for p in parties.values())


# -- the leakage contracts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["masked_sum", "partial_scores"])
def test_a_leakage_contract_names_every_message_and_attacks_that_exist(protocol: str) -> None:
    root = Path(__file__).parents[2]
    contract = tomllib.loads((root / "privacy" / "contracts" / f"{protocol}.toml").read_text())
    kinds = {kind.kind() for kind in (MaskedInput, MaskedTotal, SubsetTotal, MaskedScores, ScoreTotals) if kind.protocol() == protocol}
    assert contract["protocol"] == protocol
    assert {m["kind"] for m in contract["message"]} == kinds
    for attack in contract["attack"]:
        assert find_spec(attack["module"]) is not None
        for place in (attack["test"], attack["control"]):
            path, _, name = place.partition("::")
            assert not name or f"def {name}(" in (root / path).read_text()
    assert all(set(entry) == {"who", "what", "when", "limit"} for entry in contract["learns"])
