"""Alignment equals set operations on the ids, for two to eight parties and every visibility, through real envelopes and crashes too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.bindings import crypto_core_ed25519_from_uniform, crypto_sign_ed25519_pk_to_curve25519

from federation.align.chain import Announcement, KeyedList, TravellingList, align_coordinator, align_member
from federation.align.curve import (
    L,
    P,
    Points,
    Progress,
    blinding,
    exponentiate,
    fresh_exponent,
    groups,
    hash_to_curve,
)
from federation.align.universe import Matching, OwnPositions, Universe, UniverseSize, Visibility, match
from federation.kernel import suite
from federation.kernel.errors import AbortCode, ConfigurationError, CreditfedError, DataError, LocalError, PolicyRefusal
from federation.kernel.role import COORDINATOR, Randomness, Role, Run
from federation.kernel.secret import Secret
from privacy.contracts import load
from tests.rooms import Room
from tests.staged import staged

NAMES = ("bank", "platform", "tax", "court", "registry", "bureau", "port", "grid")
VISIBILITIES: tuple[Visibility, ...] = ("hidden", "book", "intersection")
MANY = 10**6
FROZEN = "c6f5260ec2444189998a0e3b098ffdb8461028e1ed7deac447dc00d3d049f028"
"""Two versions of creditfed that differ here would match nothing."""


def quiet() -> Progress:
    return Progress(lambda done, total: None, 0)


def stream(label: str) -> Randomness:
    return Randomness(Secret(suite.digest(label)))


def align(
    ids: Mapping[str, Sequence[str]],
    visibility: Visibility = "hidden",
    label_parties: tuple[str, ...] = ("bank",),
    *,
    workers: int = 1,
    minimum: int = 0,
    room: Room | None = None,
) -> dict[str, Any]:
    """Every party's result."""
    room = room or Room(tuple(ids))
    roles: dict[str, Any] = {m: align_member(room.run(m), ids[m], visibility, label_parties, workers, MANY, minimum) for m in ids}
    roles[COORDINATOR] = align_coordinator(room.run(COORDINATOR), visibility, label_parties, MANY)
    return room.play(roles)


def expected_universe(ids: Mapping[str, Sequence[str]], visibility: Visibility, label_parties: tuple[str, ...]) -> tuple[set[str], bool]:
    """The universe by set operations, and whether any firm is common."""
    sets = {name: set(keys) for name, keys in ids.items()}
    if visibility == "hidden":
        return set().union(*sets.values()), True
    if visibility == "intersection":
        universe = set.intersection(*sets.values())
        return universe, bool(universe)
    books = set().union(*(sets[name] for name in label_parties))
    others = [sets[name] for name in sets if name not in label_parties]
    return books, not others or bool(books & set().union(*others))


def check(ids: Mapping[str, Sequence[str]], out: Mapping[str, Any], universe: set[str]) -> None:
    """Each party's positions are those of its ids in one placement of the universe."""
    place: dict[str, int] = {}
    for name, keys in ids.items():
        view: Universe = out[name]
        assert view.size == len(universe)
        assert view.positions.dtype == np.int64
        for key, position in zip(keys, view.positions.tolist(), strict=True):
            assert (position >= 0) == (key in universe)
            assert position < 0 or place.setdefault(key, position) == position
    assert len(set(place.values())) == len(place) == len(universe)
    matching: Matching = out[COORDINATOR]
    assert matching.size == len(universe)
    for name in ids:
        assert matching.positions[name].tolist() == sorted(p for p in out[name].positions.tolist() if p >= 0)


# -- the protocol -----------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_alignment_equals_set_operations(data: st.DataObject) -> None:
    names = NAMES[: data.draw(st.integers(2, 8))]
    pool = [f"firm-{i}" for i in range(9)]
    ids = {name: data.draw(st.lists(st.sampled_from(pool), min_size=1, unique=True)) for name in names}
    visibility = data.draw(st.sampled_from(VISIBILITIES))
    label_parties = names[: data.draw(st.integers(1, 2))]
    universe, common = expected_universe(ids, visibility, label_parties)
    if common:
        check(ids, align(ids, visibility, label_parties), universe)
    else:
        with pytest.raises(DataError, match="no firm is common") as caught:
            align(ids, visibility, label_parties)
        assert caught.value.code is AbortCode.COHORT


@pytest.mark.parametrize("parties", range(2, 9))
@pytest.mark.parametrize("visibility", VISIBILITIES)
def test_two_to_eight_parties_with_partial_overlap(parties: int, visibility: Visibility) -> None:
    ids = {name: [f"firm-{j}" for j in range(3 * i, 3 * i + 30)] for i, name in enumerate(NAMES[:parties])}
    check(ids, align(ids, visibility), expected_universe(ids, visibility, ("bank",))[0])


def test_the_order_of_the_input_and_the_number_of_threads_change_no_match() -> None:
    rng = np.random.default_rng(20_240_609)
    ids = {"bank": [f"{i}" for i in range(40)], "tax": [f"{i}" for i in range(20, 60)]}

    def pairs(given: Mapping[str, Sequence[str]], workers: int) -> set[tuple[str, str]]:
        out = align(given, workers=workers)
        at = {p: key for key, p in zip(given["tax"], out["tax"].positions.tolist(), strict=True)}
        return {(key, at[p]) for key, p in zip(given["bank"], out["bank"].positions.tolist(), strict=True) if p in at}

    expected = {(f"{i}", f"{i}") for i in range(20, 40)}
    assert pairs(ids, 1) == pairs({name: rng.permutation(keys).tolist() for name, keys in ids.items()}, 2) == expected


def test_keys_may_be_bytes_or_text_and_carry_a_period() -> None:
    room = Room(("bank", "tax"))
    roles: dict[str, Any] = {
        "bank": align_member(room.run("bank"), ["é|2024-01", "b|2024-01", "b|2024-02"], "book", ("bank",), 1, 9),
        "tax": align_member(room.run("tax"), [b"b|2024-02", "é|2024-01".encode(), b"b|2024-03"], "book", ("bank",), 1, 9),
        COORDINATOR: align_coordinator(room.run(COORDINATOR), "book", ("bank",), 9),
    }
    out = room.play(roles)
    bank, tax = out["bank"].positions.tolist(), out["tax"].positions.tolist()
    assert tax == [bank[2], bank[0], -1]


def test_progress_counts_every_point_and_ends_at_its_total() -> None:
    room = Room(("bank", "tax", "court"))
    align({"bank": ["a", "b"], "tax": ["b", "c", "d"], "court": ["b"]}, room=room)
    figures = room.shelves["bank"].figures
    assert all(f["phase"] == "align" for f in figures)
    assert figures[-1]["done"] == figures[-1]["total"] == 3 * 2 + 3 + 1


# -- refusals before anything is sent ---------------------------------------------------------------------------------------------


def test_a_repeated_key_is_refused_by_row_before_anything_is_sent() -> None:
    room = Room(("bank", "tax"))
    with pytest.raises(DataError, match="rows 3") as caught:
        align({"bank": ["private-1", "private-2", "private-1"], "tax": ["private-1"]}, room=room)
    assert "private" not in str(caught.value)
    assert room.deliveries == []


@pytest.mark.parametrize(("rows", "code"), [(0, AbortCode.DATA), (4, AbortCode.CAP)])
def test_no_rows_or_more_than_the_cap_are_refused_before_anything_is_sent(rows: int, code: AbortCode) -> None:
    room = Room(("bank", "tax"))
    with pytest.raises(LocalError) as caught:
        next(align_member(room.run("bank"), [f"{i}" for i in range(rows)], "hidden", (), 1, 3))
    assert caught.value.code is code


@pytest.mark.parametrize("visibility", VISIBILITIES)
def test_fewer_rows_than_the_minimum_are_refused(visibility: Visibility) -> None:
    ids = {"bank": ["a", "b", "c"], "tax": ["a", "b", "d"]}
    least = {"hidden": 3, "book": 2, "intersection": 2}[visibility]
    align(ids, visibility, minimum=least)
    with pytest.raises(PolicyRefusal, match="minimum cohort") as caught:
        align(ids, visibility, minimum=least + 1)
    assert caught.value.code is AbortCode.COHORT


@pytest.mark.parametrize(
    ("members", "visibility", "label_parties"),
    [
        (("bank",), "hidden", ("bank",)),
        (("bank", "tax"), "book", ()),
        (("bank", "tax"), "hidden", ("court",)),
        (("bank", "tax"), "open", ()),
    ],
)
def test_an_alignment_that_makes_no_sense_is_refused(members: tuple[str, ...], visibility: Any, label_parties: tuple[str, ...]) -> None:
    room = Room(members)
    with pytest.raises(ConfigurationError):
        next(align_member(room.run("bank"), ["a"], visibility, label_parties, 1, 9))
    with pytest.raises(ConfigurationError):
        next(align_coordinator(room.run(COORDINATOR), visibility, label_parties, 9))


# -- the curve --------------------------------------------------------------------------------------------------------------------


def test_hashing_agrees_with_the_library_and_lands_on_the_curve_not_the_twist() -> None:
    keys = [f"{i}".encode() for i in range(300)]
    points = hash_to_curve(keys, b"session", "place", workers=2, progress=quiet())
    for key, row in zip(keys, points, strict=True):
        edwards = crypto_core_ed25519_from_uniform(suite.digest("align/hash to curve", b"session", "place", key))
        assert row.tobytes() == crypto_sign_ed25519_pk_to_curve25519(edwards)
        u = int.from_bytes(row.tobytes(), "little")
        assert pow(u**3 + 486662 * u * u + u, (P - 1) // 2, P) == 1


def test_a_frozen_vector_of_the_hash_to_the_curve() -> None:
    point = hash_to_curve([b"91350100M000100Y43"], bytes(32), "align:/align", workers=1, progress=quiet())
    assert point.tobytes().hex() == FROZEN


def test_the_same_key_in_another_session_or_place_is_another_point() -> None:
    seen = {
        hash_to_curve([key], session, place, workers=1, progress=quiet()).tobytes()
        for key in (b"a", b"b") for session in (b"1", b"2") for place in ("p", "q")
    }  # fmt: skip
    assert len(seen) == 8


def test_exponentiation_is_x25519() -> None:
    scalar = Secret(bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"))
    u = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    out = exponentiate(scalar, np.frombuffer(u, np.uint8).reshape(1, 32), "test", workers=1, progress=quiet())
    assert out.tobytes().hex() == "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"  # RFC 7748, section 5.2


def test_blinding_and_its_quotient_are_clamped_and_together_the_key() -> None:
    random = stream("blinding")
    points = hash_to_curve([b"x", b"y"], b"s", workers=1, progress=quiet())
    for _ in range(50):
        key = fresh_exponent(random)
        mask, quotient = blinding(random, key)
        for secret in (key, mask, quotient):
            value = int.from_bytes(secret.reveal(), "little")
            assert 1 << 254 <= value < 1 << 255
            assert value % 8 == 0
        both = exponentiate(quotient, exponentiate(mask, points, "t", workers=1, progress=quiet()), "t", workers=1, progress=quiet())
        assert np.array_equal(both, exponentiate(key, points, "t", workers=1, progress=quiet()))
        assert int.from_bytes(quotient.reveal(), "little") * int.from_bytes(mask.reveal(), "little") % L == (
            int.from_bytes(key.reveal(), "little") % L
        )


def test_blinding_draws_about_twice() -> None:
    random = stream("draws")
    before = random._used
    key = fresh_exponent(random)
    words = random._used - before
    before = random._used
    for _ in range(400):
        blinding(random, key)
    assert 700 < (random._used - before) / words < 900  # 400 geometric draws of probability 1/2: mean 800, deviation 28


# -- matching ---------------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(*[st.integers(0, 1)] * 4), max_size=20))
def test_equal_rows_and_only_they_share_a_group_even_when_first_words_are_equal(rows: list[tuple[int, ...]]) -> None:
    points = np.array(rows, "<u8").reshape(len(rows), 4).view(np.uint8)
    out = groups(points)
    assert all((out[i] == out[j]) == (rows[i] == rows[j]) for i in range(len(rows)) for j in range(len(rows)))
    assert set(out.tolist()) == set(range(len(set(rows))))


def test_positions_are_a_uniformly_random_placement() -> None:
    points: Points = np.random.default_rng(1).integers(0, 256, (3, 32), dtype=np.uint8)
    lists = {"bank": points[:2], "tax": points[1:]}
    counts: dict[tuple[int, ...], int] = {}
    for draw in range(1200):
        _, positions = match(lists, "hidden", (), stream(f"{draw}"))
        key = (*positions["bank"].tolist(), int(positions["tax"][1]))
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 6
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 20.5  # chi-square, 5 degrees of freedom, p = 0.001


# -- through envelopes ------------------------------------------------------------------------------------------------------------


IDS = {"bank": ["a", "b", "c"], "tax": ["d", "c"], "court": ["a", "e", "c", "f"]}


def _aligned(me: str, run: Run, _: int) -> Role[list[int]]:
    """The size of the universe, and a member's positions."""
    if me == COORDINATOR:
        return [(yield from align_coordinator(run, "hidden", ("bank",), MANY)).size]
    universe = yield from align_member(run, IDS[me], "hidden", ("bank",), 1, MANY)
    return [universe.size, *universe.positions.tolist()]


def test_alignment_passes_through_signed_envelopes_and_a_party_killed_before_every_batch_changes_nothing() -> None:
    plain, killed = (staged(_aligned, *IDS, killed=lambda party, number, dies=dies: dies).play() for dies in (False, True))
    for name in (COORDINATOR, *IDS):
        assert plain[name].failure is None
        assert killed[name].failure is None
        assert plain[name].state == killed[name].state
    given = {n: plain[n].state.each[0] for n in IDS}
    out: dict[str, Any] = {n: Universe(size, np.array(positions)) for n, (size, *positions) in given.items()}
    assert {v.size for v in out.values()} == {6}
    assert out["bank"].positions[2] == out["tax"].positions[1] == out["court"].positions[2]
    assert out["bank"].positions[0] == out["court"].positions[0]


def test_no_common_firm_ends_the_run_with_its_reason_alone() -> None:
    def strict(me: str, run: Run, _: int) -> Role[list[int]]:
        if me == COORDINATOR:
            return [(yield from align_coordinator(run, "intersection", (), MANY)).size]
        return [(yield from align_member(run, [me], "intersection", (), 1, MANY)).size]

    parties = staged(strict, *IDS).play()
    failures: dict[str, CreditfedError | None] = {name: parties[name].failure for name in parties}
    assert "no firm is common" in str(failures[COORDINATOR])
    assert all(failure is not None and "cohort" in str(failure) for name, failure in failures.items() if name != COORDINATOR)


# -- the leakage contract ---------------------------------------------------------------------------------------------------------


def test_the_leakage_contract_names_every_message_and_attacks_that_exist() -> None:
    contract = load("align")
    kinds = {kind.kind() for kind in (Announcement, TravellingList, KeyedList, UniverseSize, OwnPositions)}
    assert {message.kind for message in contract.messages} == kinds
    for attack in contract.attacks:
        for named in (attack.test, attack.control):
            file, function = named.split("::")
            assert f"def {function}(" in (Path(__file__).parents[2] / file).read_text("utf-8")
    for visibility in VISIBILITIES:
        assert any(visibility in row.when for row in contract.learns)
