"""Encrypted sums: exact for every shape, never overflowing, and telling nothing by size or by error."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.encrypted_linear.packing import (
    Columns,
    l1_norm,
    limb_width,
    quantise,
    split,
)
from federation.encrypted_linear.parameters import (
    ANSWER_MODULUS,
    ANSWER_PRIMES,
    ANSWERS_PER_KEY,
    DEGREE,
    FLOOD,
    HALF,
    KEY_PRIMES,
    PLAIN_MODULUS,
    decodable,
    noise_bound,
)
from federation.encrypted_linear.products import Transforms
from federation.encrypted_linear.protocol import Answers, Encrypted, Totals, hold, own
from federation.kernel.errors import ConfigurationError, DataError, LocalError, PeerError
from federation.kernel.role import COORDINATOR, Role, Run
from privacy.attacks.encrypted_linear import noises
from privacy.contracts import load
from tests.rooms import Room
from tests.staged import staged

OWNER = "bank"
QUICK = settings(max_examples=60, deadline=None, derandomize=True)


def play(vector: Any, columns: dict[str, Columns], bits: int, room: Room | None = None) -> tuple[dict[str, Any], Room]:
    """Every holder's totals, and the room."""
    room = room or Room((OWNER, *columns))
    roles: dict[str, Any] = {name: hold(room.run(name), OWNER, Transforms(data)) for name, data in columns.items()}
    roles[OWNER] = own(room.run(OWNER), {name: data.answers for name, data in columns.items()}, np.asarray(vector, np.int64), bits)
    return room.play(roles), room


def exact(matrix: Any, vector: Any) -> list[int]:
    return [sum(int(a) * int(b) for a, b in zip(column, vector, strict=True)) for column in np.asarray(matrix).T]


# -- the totals -------------------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.data())
def test_totals_are_exact_for_any_shape_sign_limbs_and_number_of_holders(data: st.DataObject) -> None:
    rows = data.draw(st.sampled_from([1, 2, 100, 8191, 8192, 8193, 20_000]))
    bits = data.draw(st.integers(0, 56 - rows.bit_length()))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    vector = rng.integers(-(1 << bits), (1 << bits) + 1, rows)
    holders = {}
    for name in ("a", "b", "c")[: data.draw(st.integers(1, 3))]:
        sizes = data.draw(st.lists(st.integers(0, 62), min_size=1, max_size=3))
        matrix = np.column_stack([rng.integers(-(1 << size) + (size < 1), (1 << size) + (size < 1), rows) for size in sizes])
        holders[name] = Columns.whole(matrix, bits)
    out, _ = play(vector, holders, bits)
    assert all(out[name] == exact(columns.integers, vector) for name, columns in holders.items())


def test_the_largest_totals_of_either_sign_do_not_wrap() -> None:
    bits = 20
    top = (HALF - 1) >> bits
    matrix = np.array([[top - 1, 1 - top, 0], [1, -1, top]])
    assert Columns.whole(matrix, bits).answers == 3
    out, _ = play([1 << bits, 1 << bits], {"a": Columns.whole(matrix, bits)}, bits)
    assert out["a"] == [top << bits, -top << bits, top << bits]


def test_columns_of_zeros_and_vectors_of_zeros_raise_nothing() -> None:
    zeros = Columns.whole(np.zeros((10_000, 3), np.int64), 10)
    assert play(np.ones(10_000), {"a": zeros}, 10)[0]["a"] == [0, 0, 0]
    assert play(np.zeros(10_000), {"a": zeros}, 10)[0]["a"] == [0, 0, 0]
    ones = Columns.whole(np.ones((10_000, 1), np.int64), 10)
    assert play(np.zeros(10_000), {"a": ones}, 10)[0]["a"] == [0]


@pytest.mark.parametrize("answers", [40, 41, 81])
def test_more_than_forty_answers_take_more_keys_and_stay_exact(answers: int) -> None:
    rng = np.random.default_rng(1)
    matrix, vector = rng.integers(-5, 6, (50, answers)), rng.integers(-7, 8, 50)
    out, room = play(vector, {"a": Columns.whole(matrix, 3)}, 3)
    assert out["a"] == exact(matrix, vector)
    assert len(set(room.shelves[OWNER].effects.values())) == -(-answers // ANSWERS_PER_KEY)


def test_real_columns_come_back_in_their_own_units() -> None:
    rng = np.random.default_rng(2)
    real = np.column_stack(
        [rng.normal(0, 1, 5000), rng.lognormal(10, 3, 5000), rng.normal(1e9, 1e-3, 5000), np.arange(5000.0), np.full(5000, 0.3)]
    )
    vector = rng.uniform(-1, 1, 5000)
    code, exponent = np.rint(np.ldexp(vector, 21)).astype(np.int64), 21
    columns = Columns.quantised(real, 21)
    out, _ = play(code, {"a": columns}, 21)
    expected = columns.rounded().T @ np.ldexp(code.astype(np.float64), -exponent)
    assert np.allclose(columns.real(out["a"], exponent), expected, rtol=1e-12, atol=0)
    assert np.allclose(columns.real(out["a"], exponent), real.T @ vector, rtol=2e-4)


def test_two_owners_are_two_calls_at_two_places_and_their_keys_differ() -> None:
    room, transforms = Room((OWNER, "bank-2", "a")), Transforms(Columns.whole(np.arange(10)[:, None], 4))

    def holder() -> Role[list[list[int]]]:
        run = room.run("a")
        first = yield from hold(run.within(OWNER), OWNER, transforms)
        return [first, (yield from hold(run.within("bank-2"), "bank-2", transforms))]

    roles = {o: own(room.run(o).within(o), {"a": 1}, np.full(10, i + 1), 4) for i, o in enumerate((OWNER, "bank-2"))}
    assert room.play({**roles, "a": holder()})["a"] == [[45], [90]]
    assert room.shelves[OWNER].effects.values() != room.shelves["bank-2"].effects.values()


# -- what does not fit is refused before anything is sent ---------------------------------------------------------------------------


@QUICK
@given(st.integers(0, 56), st.integers(1, 20_000), st.integers(0, 62), st.integers(0, 100))
def test_limbs_add_up_to_the_column_and_the_total_of_each_fits(bits: int, rows: int, size: int, seed: int) -> None:
    column = np.random.default_rng(seed).integers(-(1 << size), (1 << size) + 1, rows)
    try:
        limbs = split(column, bits)
    except ConfigurationError:
        assert limb_width(rows, bits) < 1
        return
    width = limb_width(rows, bits)
    assert all(l1_norm(limb) << bits < HALF for limb in limbs)
    assert all(
        sum(int(limb[row]) << (width * place) for place, limb in enumerate(limbs)) == column[row] for row in {0, rows // 2, rows - 1}
    )


def test_the_norm_is_exact_where_int64_would_wrap() -> None:
    column = np.full(1000, -(1 << 62))
    assert l1_norm(column) == 1000 << 62
    assert l1_norm(np.array([-(1 << 63), (1 << 63) - 1])) == (1 << 64) - 1


def test_one_step_beyond_the_bound_takes_a_second_answer() -> None:
    top = (HALF - 1) >> 10
    assert Columns.whole(np.array([[top]]), 10).limbs == (1,)
    assert Columns.whole(np.array([[top + 1]]), 10).limbs == (2,)


def test_columns_that_do_not_fit_are_refused_and_no_value_is_shown() -> None:
    bad: list[tuple[type[Exception], Any]] = [
        (DataError, lambda: Columns.whole(np.array([[(1 << 62) + 1]]), 10)),
        (DataError, lambda: Columns.whole(np.zeros((0, 1), np.int64), 10)),
        (DataError, lambda: Columns.whole(np.zeros((1, 0), np.int64), 10)),
        (DataError, lambda: Columns.whole(np.zeros((2, 2)), 10)),  # type: ignore[arg-type]
        (DataError, lambda: Columns.quantised(np.array([[1.0], [math.nan]]), 10)),
        (DataError, lambda: Columns.quantised(np.array([[1234.5], [math.inf]]), 10)),
        (DataError, lambda: Columns.quantised(np.zeros((0, 3)), 10)),
        (ConfigurationError, lambda: Columns.whole(np.ones((1, 1), np.int64), 57)),
        (ConfigurationError, lambda: Columns.whole(np.ones((1, 1), np.int64), -1)),
        (ConfigurationError, lambda: Columns.whole(np.full((1 << 13, 1), 1 << 40), 50)),
    ]
    for error, make in bad:
        with pytest.raises(error) as caught:
            make()
        assert "1234" not in str(caught.value)
    with pytest.raises(DataError, match="2 of 3"):
        quantise(np.array([math.nan, 0, math.inf]), 10)


def test_an_owner_with_a_vector_beyond_its_bound_sends_nothing() -> None:
    for vector in ([5, -5, 9], [-9, 0, 0]):
        room = Room((OWNER, "a"))
        with pytest.raises(LocalError, match="1 of 3") as caught:
            next(own(room.run(OWNER), {"a": 1}, np.array(vector), 3))
        assert "9" not in str(caught.value)
    for bad, bits in ((np.zeros(3), 3), (np.zeros((3, 1), np.int64), 3), (np.zeros(0, np.int64), 3), (np.zeros(3, np.int64), 57)):
        with pytest.raises(LocalError):
            next(own(Room((OWNER, "a")).run(OWNER), {"a": 1}, bad, bits))  # type: ignore[arg-type]


@pytest.mark.parametrize("holders", [{}, {"a": 0}, {"nobody": 1}, {OWNER: 1}])
def test_an_owner_answers_only_other_institutions_that_ask_for_something(holders: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError):
        next(own(Room((OWNER, "a")).run(OWNER), holders, np.ones(3, np.int64), 3))


def test_a_vector_of_more_bits_than_the_columns_were_planned_for_is_refused() -> None:
    with pytest.raises(PeerError):
        play([1 << 12], {"a": Columns.whole(np.ones((1, 1), np.int64), 11)}, 12)


def test_columns_are_transformed_once_for_all_calls_of_whoever_keeps_them() -> None:
    kept, limbs = Transforms(Columns.whole(np.arange(20).reshape(10, 2), 4)), []
    for session in range(2):
        room = Room((OWNER, "a"), session=bytes([session] * 32))
        roles: dict[str, Any] = {
            OWNER: own(room.run(OWNER), {"a": 2}, np.ones(10, np.int64), 4), "a": hold(room.run("a"), OWNER, kept),
        }  # fmt: skip
        assert room.play(roles)["a"] == [90, 100]
        limbs.append(kept.limbs)
    assert limbs[0] is limbs[1]


# -- noise ------------------------------------------------------------------------------------------------------------------------


def test_any_total_within_range_is_decodable_and_control_a_flood_twice_as_large_is_not() -> None:
    assert decodable(HALF - 1)
    assert noise_bound(HALF - 1) < 1 << 13
    assert noise_bound(HALF - 1) + 2 * FLOOD >= ANSWER_MODULUS // PLAIN_MODULUS // 2 - 1


def test_the_noise_of_real_answers_is_below_the_bound_and_the_flood_covers_it() -> None:
    """Measured on 40 answers: what is left of each answer after its message, against the proof in `parameters`."""
    rng = np.random.default_rng(7)
    matrix = rng.integers(-(1 << 30), 1 << 30, (3 * DEGREE, 40))
    room = Room((OWNER, "a"))
    play(np.full(3 * DEGREE, 1), {"a": Columns.whole(matrix, 1)}, 1, room)
    message = next(d.message for d in room.deliveries if isinstance(d.message, Answers))
    assert isinstance(message, Answers)
    c1 = message.c1.read("", "<u8", (40, 2, DEGREE))
    c0 = np.zeros_like(c1)
    c0[:, :, -1] = message.c0.read("", "<u8", (40, 2))
    key = next(iter(room.shelves[OWNER].effects.values()))
    found = [abs(noises(a, b, key)[DEGREE - 1]) for a, b in zip(c0, c1, strict=True)]
    assert max(found) <= FLOOD + noise_bound(max(l1_norm(column) for column in matrix.T))
    assert FLOOD / 4 < sum(found) / 40 < 3 * FLOOD / 4  # uniform within the flood: half of it on average


def test_the_primes_are_what_the_security_argument_says() -> None:
    assert sum(prime.bit_length() for prime in KEY_PRIMES) == 179  # of 218: HE standard, N = 8192, ternary secret, 128 bits
    assert all(prime % (2 * DEGREE) == 1 for prime in KEY_PRIMES)
    assert KEY_PRIMES[:2] == ANSWER_PRIMES
    assert 218 * (DEGREE - 36 * ANSWERS_PER_KEY) / DEGREE > 179


# -- what sizes tell ----------------------------------------------------------------------------------------------------------------


def test_counts_and_sizes_of_messages_depend_on_shapes_alone() -> None:
    rng = np.random.default_rng(8)
    shapes = []
    for matrix, vector in (
        (np.zeros((9000, 2), np.int64), np.zeros(9000)),
        (rng.integers(-1000, 1000, (9000, 2)), rng.integers(-500, 500, 9000)),
        (np.eye(9000, 2, dtype=np.int64), np.ones(9000)),
    ):
        _, room = play(vector, {"a": Columns.whole(matrix, 9)}, 9)
        shapes.append([(d.sender, d.recipient, type(d.message), d.size // 64) for d in room.deliveries])
    assert shapes[0] == shapes[1] == shapes[2]


def test_a_message_is_not_larger_than_its_limit_allows() -> None:
    """The limits are computed: were one too small, the kernel would refuse honest messages of many rows and answers."""
    rng = np.random.default_rng(9)
    matrix = rng.integers(0, 2, (3 * DEGREE, 81))
    out, room = play(np.ones(3 * DEGREE), {"a": Columns.whole(matrix, 0)}, 0)
    assert out["a"] == matrix.sum(axis=0).tolist()
    assert {type(d.message) for d in room.deliveries} == {Encrypted, Answers, Totals}


# -- through envelopes, journals and crashes --------------------------------------------------------------------------------------


def _summed(me: str, run: Run, number: int) -> Role[list[int]]:
    """Two stages, each one call of two answers."""
    if me == OWNER:
        yield from own(run, {"a": 2, "b": 2}, np.arange(30) + number, 5)
    elif me != COORDINATOR:
        matrix = np.arange(60).reshape(30, 2) * (1 if me == "a" else -1)
        return (yield from hold(run, OWNER, Transforms(Columns.whole(matrix, 5))))
    return []


@pytest.mark.parametrize("killed", [False, True])
def test_totals_survive_parties_killed_before_every_batch(*, killed: bool) -> None:
    names = (OWNER, "a", "b")
    parties = staged(_summed, *names, stages=2, killed=lambda party, number: killed).play()
    matrix = np.arange(60).reshape(30, 2)
    expected = tuple(tuple(exact(matrix, np.arange(30) + t)) for t in range(2))
    assert all(parties[name].failure is None for name in names)
    assert parties["a"].state.each == expected
    assert parties["b"].state.each == tuple(tuple(-x for x in row) for row in expected)


# -- the leakage contract -----------------------------------------------------------------------------------------------------------


def test_the_leakage_contract_names_every_message_and_attacks_that_exist() -> None:
    root = Path(__file__).parents[2]
    contract = load("encrypted_linear")
    assert {m.kind for m in contract.messages} == {kind.kind() for kind in (Encrypted, Answers, Totals)}
    for attack in contract.attacks:
        assert find_spec(attack.module) is not None
        for place in (attack.test, attack.control):
            path, _, name = place.partition("::")
            assert f"def {name}(" in (root / path).read_text()
