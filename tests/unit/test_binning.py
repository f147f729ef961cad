"""Binning across parties equals a plain group-by on the left-joined table, to the last count.

`own` and `hold` are replaced by a stand-in that adds in plain (what encryption adds is tested with encrypted_linear), but in the last
test.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from federation.encrypted_linear.products import Transforms
from federation.kernel.codec import Array, Message
from federation.kernel.errors import AbortCode, ConfigurationError, DataError, PeerError, PolicyRefusal
from federation.kernel.manifest import BinningSettings, Manifest, PrivacySettings
from federation.kernel.role import Role, Run
from federation.models import binning
from federation.models.binned import Binned, WeightCode
from federation.models.binning import Outcomes, Request, Terms, Totals, bin_holder, bin_label
from federation.models.bins import OWN, Bins, cut
from federation.models.table import Column
from federation.models.woe import WoeTable
from tests.post import manifest
from tests.rooms import Delivery, Room

SEED = 20_240_611
OPEN = PrivacySettings(label_disclosure=True)


class Plain(Message, frozen=True, tag="stand_in/plain"):
    """The vector as it is."""

    vector: Array


def own(run: Run, holders: Mapping[str, int], vector: NDArray[np.int64], vector_bits: int) -> Role[None]:
    """The stand-in for encrypted_linear.own."""
    assert vector.dtype == np.int64 and np.abs(vector).max() <= 1 << vector_bits and all(answers > 0 for answers in holders.values())
    yield from run.step("encrypted", send=dict.fromkeys(holders, Plain(Array.of(vector))))


def hold(run: Run, owner: str, transforms: Transforms) -> Role[list[int]]:
    """The stand-in for encrypted_linear.hold."""
    received = yield from run.step("encrypted", expect={owner: Plain}, limit=1 << 30)
    integers = transforms.columns.integers
    vector = received.of(owner, Plain).vector.read(owner, "<i8", (len(integers),))
    return [int(total) for total in vector @ integers]


@contextmanager
def adding_in_plain() -> Iterator[None]:
    """encrypted_linear without encryption."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binning, "own", own)
        patch.setattr(binning, "hold", hold)
        yield


@pytest.fixture
def plain_sums() -> Iterator[None]:
    """A whole test without encryption."""
    with adding_in_plain():
        yield


class World:
    """A bank and a platform whose firms partly overlap, at random positions of a universe."""

    def __init__(self, seed: int = SEED, firms: int = 3000, coverage: float = 0.7, *, weighted: bool = False) -> None:
        rng = np.random.default_rng(seed)
        self.size = firms + 200
        place = rng.permutation(self.size)
        self.bank_at = place[:firms].astype(np.int64)
        held = rng.random(firms) < coverage
        self.platform_at = rng.permutation(np.concatenate([self.bank_at[held], place[firms:]])).astype(np.int64)
        n = len(self.platform_at)
        orders = np.where(rng.random(n) < 0.3, 0.0, np.round(rng.gamma(2, 40, n)))
        orders[rng.random(n) < 0.1], orders[rng.random(n) < 0.05] = np.nan, -1.0
        known = np.array(["CA", "NY", "TX", "WA", "VT", None], object)
        state = known[rng.choice(len(known), n, p=[0.4, 0.3, 0.15, 0.1, 0.03, 0.02])]
        self.platform = {"orders": Column("orders", "numeric", orders), "state": Column("state", "categorical", state)}
        self.bank = {"age": Column("age", "numeric", np.round(rng.gamma(3, 2, firms)))}
        risk = pd.Series(orders, index=self.platform_at).reindex(self.bank_at).fillna(30).to_numpy()
        self.y = (rng.random(firms) < 1 / (1 + np.exp(0.8 + risk / 60))).astype(np.int8)
        self.train = rng.random(firms) < 0.7
        self.weight = rng.integers(1, 2000, firms) / 256 if weighted else None

    def outcomes(self) -> Outcomes:
        return Outcomes(self.y, self.train, self.weight)

    def roles(self, room: Room, made: Manifest, given: Mapping[str, Bins] | None = None) -> dict[str, Role[Binned]]:
        return {
            "bank": bin_label(room.run("bank"), ("platform",), self.bank, self.bank_at, self.size, self.outcomes(), made),
            "platform": bin_holder(room.run("platform"), "bank", self.platform, self.platform_at, self.size, made, given),
        }

    def play(self, made: Manifest, given: Mapping[str, Bins] | None = None) -> tuple[Binned, Binned]:
        result = Room(("bank", "platform")).play(self.roles(Room(("bank", "platform")), made, given))
        return result["bank"], result["platform"]

    def joined(self, side: str, column: str) -> pd.DataFrame:
        """The pooled table: the bank's training rows left-joined with one column; `present` says whether the party has the firm."""
        values, at = (self.platform[column], self.platform_at) if side == "platform" else (self.bank[column], self.bank_at)
        rows = pd.DataFrame({"at": self.bank_at, "y": self.y, "w": 1.0 if self.weight is None else self.weight})[self.train]
        partner = pd.DataFrame({"at": at, "value": pd.Series(list(values.values), dtype=object), "present": 1.0})
        return rows.merge(partner[partner["at"] >= 0], on="at", how="left")


def rules_of(privacy: PrivacySettings = OPEN, **binning_settings: Any) -> Manifest:
    return manifest("bank", "platform", binning=BinningSettings(**binning_settings), privacy=privacy)


def pooled_counts(world: World, side: str, name: str, bins: Bins) -> pd.DataFrame:
    """Rows, goods and bads of each bin by a plain group-by."""
    table = world.joined(side, name)
    kind = bins.kind
    values = table["value"].where(table["value"].notna(), None)
    array = np.array([np.nan if v is None else v for v in values], np.float64) if kind == "numeric" else np.array(values, object)
    table["bin"] = np.where(table["present"].isna(), bins.absent, bins.codes(Column(name, kind, array)))
    table["bad"] = table["w"] * table["y"]
    sums = table.groupby("bin").agg(rows=("y", "size"), weight=("w", "sum"), bads=("bad", "sum")).reindex(range(bins.size), fill_value=0)
    sums["goods"] = sums["weight"] - sums["bads"]
    return sums


def assert_equals_pooled(world: World, side: str, result: Binned) -> None:
    for part, table in zip(result.encoding.columns, result.tables, strict=True):
        bins: Bins = part.bins  # type: ignore[union-attr]
        pooled = pooled_counts(world, side, table.column, bins)
        assert [row.rows for row in table.rows] == pooled["rows"].tolist()
        assert [row.goods for row in table.rows] == pooled["goods"].tolist(), "to the last count"
        assert [row.bads for row in table.rows] == pooled["bads"].tolist()
        shares = pooled["goods"] / pooled["goods"].sum(), pooled["bads"] / pooled["bads"].sum()
        filled = (pooled["goods"] > 0) & (pooled["bads"] > 0)
        woe = np.log(shares[0][filled] / shares[1][filled])
        assert np.allclose(np.array(table.values)[filled], woe, rtol=0, atol=1e-12)
        if (filled | (pooled["rows"] == 0)).all():
            assert table.iv == pytest.approx(((shares[0] - shares[1])[filled] * woe).sum(), abs=1e-12)


@pytest.mark.usefixtures("plain_sums")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("extra", [{}, {"monotone": "auto", "min_bads": 20}, {"special": (-1.0,), "max_bins": 9, "min_share": 0.02}])
def test_equal_to_the_pooled_group_by(extra: dict[str, Any], *, weighted: bool) -> None:
    world = World(weighted=weighted)
    bank, platform = world.play(rules_of(**extra))
    assert_equals_pooled(world, "bank", bank)
    assert_equals_pooled(world, "platform", platform)
    assert platform.matched == int(world.joined("platform", "orders")["present"].notna().sum())
    assert bank.matched == int(world.train.sum())
    assert bank.released == platform.released > 0 and bank.sizes == platform.sizes


@pytest.mark.usefixtures("plain_sums")
def test_control_one_outcome_of_one_firm_is_seen_by_the_comparison() -> None:
    world = World()
    bank, platform = world.play(rules_of())
    known = np.flatnonzero(world.train & np.isin(world.bank_at, world.platform_at))[0]
    world.y[known] ^= 1
    for side, result in (("bank", bank), ("platform", platform)):
        with pytest.raises(AssertionError):
            assert_equals_pooled(world, side, result)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(40, 300), st.floats(0.3, 1), st.booleans(), st.integers(1, 25))
def test_equal_to_pooled_and_no_released_count_below_the_cohort(
    seed: int, firms: int, coverage: float, weighted: bool, minimum: int
) -> None:
    world = World(seed, firms, coverage, weighted=weighted)
    privacy = PrivacySettings(label_disclosure=True, minimum_cohort=minimum)
    try:
        with adding_in_plain():
            bank, platform = world.play(rules_of(privacy))
    except PolicyRefusal as refused:
        assert refused.code == AbortCode.COHORT
        return
    except DataError:
        return
    for side, result in (("bank", bank), ("platform", platform)):
        for table in result.tables:
            shown = [row for row in table.rows if row.goods is not None]
            assert all(row.rows == 0 or row.rows >= minimum for row in shown)
            assert all(row.goods is not None for row in table.rows[:-1]), "present bins are merged, never withheld"
        if all(row.goods is not None for table in result.tables for row in table.rows):
            assert_equals_pooled(world, side, result)


@pytest.mark.usefixtures("plain_sums")
def test_weights_that_are_not_dyadic_are_exact_on_the_stated_grid() -> None:
    world = World(weighted=True)
    assert world.weight is not None
    world.weight = world.weight / 3
    code = WeightCode.of(world.weight[world.train])
    _, platform = world.play(rules_of())
    rounded = np.ldexp(code.integers(world.weight).astype(np.float64), -code.exponent)
    assert np.abs(rounded - world.weight).max() <= 2.0 ** -(code.exponent + 1)
    world.weight = rounded
    assert_equals_pooled(world, "platform", platform)


@pytest.mark.usefixtures("plain_sums")
def test_a_small_absent_bin_is_neutral_and_its_totals_are_not_asked_for() -> None:
    world = World(coverage=0.998)
    room = Room(("bank", "platform"))
    platform: Binned = room.play(world.roles(room, rules_of()))["platform"]
    row = platform.tables[0].rows[-1]
    assert 0 < row.rows < 10 and (row.goods, row.bads, row.woe) == (None, None, 0.0)
    totals = [d.message for d in room.deliveries if isinstance(d.message, Totals)]
    assert totals == [Totals(None, None)]


@pytest.mark.usefixtures("plain_sums")
def test_bins_come_from_the_whole_file_and_not_from_the_training_rows() -> None:
    world = World()
    _, platform = world.play(rules_of())
    expected = cut(world.platform["orders"], 6, 0.05)
    assert platform.encoding.columns[0].bins.edges == expected.edges  # type: ignore[union-attr]


@pytest.mark.usefixtures("plain_sums")
def test_bins_edited_by_hand_are_used_and_wrong_ones_refused() -> None:
    world = World()
    edited = Bins(column="orders", kind="numeric", edges=(1.0, 100.0), joined=(OWN,), direction="decreasing")
    _, platform = world.play(rules_of(), {"orders": edited})
    assert set(platform.encoding.columns[0].bins.edges) <= {1.0, 100.0}  # type: ignore[union-attr]
    assert platform.encoding.columns[1].bins.groups[0] == ("CA",)  # type: ignore[union-attr]
    rates = [row.bad_rate for row in platform.tables[0].rows[:-2] if row.bad_rate is not None]
    assert rates == sorted(rates, reverse=True)
    for given_ in ({"ordres": edited}, {"state": edited}, {"state": Bins(column="state", kind="numeric", edges=())}):
        with pytest.raises(ConfigurationError):
            world.play(rules_of(), given_)


@pytest.mark.usefixtures("plain_sums")
def test_rows_outside_the_universe_take_no_part() -> None:
    world = World()
    both = np.intersect1d(world.bank_at, world.platform_at)
    inside = {position: place for place, position in enumerate(both.tolist())}
    world.size = len(both)
    for name in ("bank_at", "platform_at"):
        setattr(world, name, np.array([inside.get(p, -1) for p in getattr(world, name).tolist()], np.int64))
    bank, platform = world.play(rules_of())
    assert bank.matched == platform.matched == int((world.train & (world.bank_at >= 0)).sum())
    assert platform.tables[0].rows[-1].rows == 0
    world.train &= world.bank_at >= 0
    assert_equals_pooled(world, "platform", platform)


@pytest.mark.usefixtures("plain_sums")
def test_the_encoding_of_own_rows_and_absent_is_the_table() -> None:
    world = World()
    _, platform = world.play(rules_of())
    design = platform.encoding.design(world.platform)
    table: WoeTable = platform.tables[0]
    assert set(design[:, 0].tolist()) <= set(table.values)
    assert platform.encoding.absent_row.tolist() == [t.values[-1] for t in platform.tables]
    assert platform.encoding.absent_row[0] != 0


@pytest.mark.usefixtures("plain_sums")
def test_the_order_of_a_partys_rows_changes_nothing() -> None:
    world, other = World(), World()
    order = np.random.default_rng(3).permutation(len(other.platform_at))
    other.platform_at = other.platform_at[order]
    other.platform = {name: Column(name, c.kind, c.values[order]) for name, c in other.platform.items()}
    assert world.play(rules_of())[1] == other.play(rules_of())[1]


@pytest.mark.usefixtures("plain_sums")
def test_two_holders_at_once_and_a_label_party_without_columns() -> None:
    world, room = World(), Room(("bank", "platform", "tax"))
    roles = world.roles(room, rules_of())
    roles["bank"] = bin_label(room.run("bank"), ("platform", "tax"), {}, world.bank_at, world.size, world.outcomes(), rules_of())
    tax = {"staff": Column("staff", "numeric", np.arange(len(world.platform_at), dtype=np.float64))}
    roles["tax"] = bin_holder(room.run("tax"), "bank", tax, world.platform_at, world.size, rules_of())
    result = room.play(roles)
    assert_equals_pooled(world, "platform", result["platform"])
    assert result["bank"].released == result["platform"].released + result["tax"].released
    assert result["bank"].encoding.names == ()


@pytest.mark.usefixtures("plain_sums")
def test_too_few_matched_rows_are_refused_at_the_holder_before_any_outcome() -> None:
    world, room = World(firms=400, coverage=0.02), Room(("bank", "platform"))
    with pytest.raises(PolicyRefusal) as refused:
        room.play(world.roles(room, rules_of()))
    assert refused.value.code == AbortCode.COHORT and refused.value.where == "platform"
    assert not [d for d in room.deliveries if d.address.endswith("/bads") or isinstance(d.message, Request)]


@pytest.mark.usefixtures("plain_sums")
@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (Terms, lambda m: Terms(m.rows - 1500, m.weighted, m.exponent)),
        (Terms, lambda m: Terms(10**9, m.weighted, m.exponent)),
        (Totals, lambda m: Totals(None, None)),
        (Totals, lambda m: Totals(m.goods + 1, m.bads)),
        (Totals, lambda m: Totals(m.goods + m.bads, 0)),
        (Plain, lambda m: Plain(Array.of(-np.frombuffer(m.vector.data, "<i8")))),
        (Plain, lambda m: Plain(Array.of(2 * np.frombuffer(m.vector.data, "<i8")))),
    ],
)
def test_answers_that_contradict_each_other_are_a_peers_fault(kind: type[Message], change: Any) -> None:
    def post(delivery: Delivery) -> Message | None:
        return change(delivery.message) if isinstance(delivery.message, kind) else delivery.message

    world, room = World(), Room(("bank", "platform"), post=post)
    with pytest.raises(PeerError):
        room.play(world.roles(room, rules_of()))


def test_the_same_result_through_encrypted_linear() -> None:
    """The real protocol, small."""
    world = World(firms=300)
    bank, platform = world.play(rules_of())
    assert_equals_pooled(world, "bank", bank)
    assert_equals_pooled(world, "platform", platform)


def test_what_stands_for_bins_in_the_encrypted_sums_is_let_go_of_with_the_answers() -> None:
    """0.2 MB for each block of each bin: a large file's would be gigabytes until the session ends."""
    world, room = World(firms=300), Room(("bank", "platform"))
    before = transforms_in_memory()
    room.play(world.roles(room, rules_of()))
    assert transforms_in_memory() == before


def transforms_in_memory() -> int:
    gc.collect()
    return sum(type(thing) is Transforms for thing in gc.get_objects())
