"""A curious holder that works labels out of counts, a greedy one that asks for more, and a dishonest one that crafts its columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from federation.encrypted_linear.packing import Columns as Packed
from federation.encrypted_linear.products import Transforms
from federation.kernel.codec import Message
from federation.kernel.errors import AbortCode, PolicyRefusal
from federation.kernel.manifest import PrivacySettings
from federation.kernel.role import Role
from federation.models.binned import Binned
from federation.models.binning import Announcement, Outcomes, Request, Terms, Totals, bin_holder, bin_label
from federation.models.table import Column
from privacy.attacks import binning as attack
from tests.rooms import Room
from tests.unit.test_binning import Plain, adding_in_plain, hold, own, rules_of

SEED, TRIALS = 20_240_612, 20
FIRMS, BADS = 123, 27
CAP_OFF = PrivacySettings(label_disclosure=True)
DEFAULT = PrivacySettings()


@dataclass
class Market:
    """123 firms, 27 of them bad, all known to the platform and all in training; the platform's columns say nothing of the label."""

    seed: int
    columns: int
    bins: int
    firms: int = FIRMS
    bads: int = BADS
    privacy: PrivacySettings = DEFAULT
    weight: np.ndarray[Any, Any] | None = None
    data: dict[str, Column] = field(default_factory=dict)
    room: Room = field(default_factory=lambda: Room(("bank", "platform")))

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.y = np.zeros(self.firms, np.int8)
        self.y[rng.choice(self.firms, self.bads, replace=False)] = 1
        for number in range(self.columns):
            self.data[f"c{number}"] = Column(f"c{number}", "numeric", rng.permutation(self.firms).astype(np.float64))

    def play(self, tamper: Callable[[Role[Binned]], Role[Binned]] = lambda role: role) -> Mapping[str, Binned]:
        made = rules_of(self.privacy, max_bins=self.bins)
        place, outcomes = np.arange(self.firms), Outcomes(self.y, np.ones(self.firms, bool), self.weight)
        own_columns = {"age": Column("age", "numeric", np.arange(self.firms, dtype=np.float64))}
        roles = {
            "bank": bin_label(self.room.run("bank"), ("platform",), own_columns, place, self.firms, outcomes, made),
            "platform": tamper(bin_holder(self.room.run("platform"), "bank", self.data, place, self.firms, made)),
        }
        with adding_in_plain():
            return self.room.play(roles)

    def sent_of_labels(self) -> list[str]:
        """The steps in which anything that depends on a label left the bank."""
        return [d.address for d in self.room.deliveries if d.sender == "bank" and ("/bads" in d.address or "/weights" in d.address)]


def right(market: Market) -> int:
    """How many labels the platform has right after the run."""
    result = market.play()["platform"]
    return int((attack.recover_labels(*attack.equations(result, market.data)) == market.y).sum())


# -- solving for the labels -------------------------------------------------------------------------------------------------------


def test_with_the_default_cap_solving_for_the_labels_does_not_beat_the_base_rate() -> None:
    """27 bads allow 2 counts: one column of 2 bins. Guessing "good" is right for 96 of 123."""
    found = [right(Market(SEED + trial, columns=1, bins=2)) for trial in range(TRIALS)]
    beaten = sum(n > FIRMS - BADS for n in found)
    assert beaten == 0, f"{beaten} of {TRIALS} trials beat the base rate, seeds {SEED} to {SEED + TRIALS - 1}"


def test_the_cap_holds_on_a_larger_book_too() -> None:
    """200 bads of 1,000 allow 20 counts: five columns of 4 bins."""
    found = [right(Market(SEED + trial, columns=5, bins=4, firms=1000, bads=200)) for trial in range(5)]
    assert sum(n > 800 for n in found) == 0, f"{found} of 1,000, base rate 800"


def test_control_without_the_cap_a_hundred_counts_give_all_labels() -> None:
    found = [right(Market(SEED + trial, columns=20, bins=5, privacy=CAP_OFF)) for trial in range(TRIALS)]
    assert found == [FIRMS] * TRIALS, f"{found}: 100 counts on 123 firms"


def test_control_without_the_cap_five_hundred_counts_give_a_thousand_labels() -> None:
    assert right(Market(SEED, columns=50, bins=10, firms=1000, bads=200, privacy=CAP_OFF)) == 1000


# -- asking for more --------------------------------------------------------------------------------------------------------------


def test_a_holder_that_asks_for_more_counts_than_the_cap_is_refused_before_a_label_leaves() -> None:
    market = Market(SEED, columns=1, bins=2)
    with pytest.raises(PolicyRefusal) as refused:
        market.play(lambda role: attack.asking_for(role, request=3))
    assert refused.value.code == AbortCode.CAP and refused.value.where == "bank"
    text = str(refused.value)
    says = ("platform asks for 3 label-dependent counts", "2 are allowed", "max_bins", "label_disclosure = true")
    assert all(part in text for part in says)
    assert market.sent_of_labels() == []


def test_control_the_same_request_within_a_declared_cap_is_answered() -> None:
    market = Market(SEED, columns=1, bins=3, privacy=PrivacySettings(max_released_counts=3))
    assert market.play()["platform"].released == 3
    assert market.sent_of_labels() != []


def test_an_honest_holder_with_too_many_bins_is_refused_alike() -> None:
    market = Market(SEED, columns=2, bins=4)
    with pytest.raises(PolicyRefusal, match="label-dependent counts"):
        market.play()
    assert market.sent_of_labels() == []


def test_a_holder_that_asks_for_more_sizes_than_a_tenth_of_the_rows_is_refused_before_membership_leaves() -> None:
    market = Market(SEED, columns=1, bins=2)
    with pytest.raises(PolicyRefusal, match="asks for 13 bin sizes, 12 are allowed") as refused:
        market.play(lambda role: attack.asking_for(role, announcement=13))
    assert refused.value.code == AbortCode.CAP
    assert [d for d in market.room.deliveries if d.sender == "bank"] == []


# -- weights that carry the label -------------------------------------------------------------------------------------------------


def test_weights_count_against_the_cap_since_they_may_be_the_label() -> None:
    """One bin's weight and its bads are two counts: two bins of a weighted run are over a cap of three."""
    market = Market(SEED, columns=1, bins=2, privacy=PrivacySettings(max_released_counts=3))
    market.weight = np.where(market.y == 1, 0.5, 2.0)
    with pytest.raises(PolicyRefusal, match="asks for 4 label-dependent counts, 3 are allowed"):
        market.play()
    assert market.sent_of_labels() == []


def test_control_the_weight_of_a_bin_alone_gives_its_bads() -> None:
    market = Market(SEED, columns=1, bins=2, privacy=CAP_OFF)
    market.weight = np.where(market.y == 1, 0.5, 2.0)
    shown = [row for row in market.play()["platform"].tables[0].rows if row.rows]
    weight = np.array([(row.goods or 0) + (row.bads or 0) for row in shown])
    bads = attack.bads_from_weights(np.array([row.rows for row in shown], float), weight, 2.0, 0.5)
    assert bads.sum() == BADS and (bads * 0.5 == np.array([row.bads for row in shown])).all()


# -- differencing -----------------------------------------------------------------------------------------------------------------


def with_missing(minimum: int) -> Market:
    """A column without a value for three firms, all bad, beside one that has them all."""
    market = Market(SEED, columns=2, bins=2, privacy=PrivacySettings(label_disclosure=True, minimum_cohort=minimum))
    market.data["c1"].values[np.flatnonzero(market.y)[:3]] = np.nan
    return market


def test_a_missing_bin_below_the_cohort_cannot_be_had_as_a_difference() -> None:
    tables = with_missing(10).play()["platform"].tables
    assert attack.differences(tables) == []
    assert any("missing" in row.label and row.rows >= 10 for row in tables[1].rows)


def test_control_had_the_bin_been_withheld_the_difference_is_its_labels() -> None:
    tables = with_missing(1).play()["platform"].tables
    assert attack.differences([attack.withholding(table, 10) for table in tables]) == [(3, 3.0)]


# -- what the cap does not stop, in numbers ---------------------------------------------------------------------------------------


def test_a_crafted_column_reads_as_many_labels_as_an_answer_has_bits() -> None:
    """Said in the contract: the label party cannot see that a column is no bin. 56 labels in one answer, so the cap bounds answers."""
    market, bits = Market(SEED, columns=1, bins=2), 56
    crafted = Packed(attack.crafted_column(FIRMS, bits)[:, None], np.zeros(1, np.int64), 0)
    room = Room(("bank", "platform"))
    vector = market.y.astype(np.int64)
    answers = room.play({
        "bank": own(room.run("bank"), {"platform": 1}, vector, 0),
        "platform": hold(room.run("platform"), "bank", Transforms(crafted)),
    })["platform"]  # fmt: skip
    assert (attack.read_crafted(answers[0], bits) == market.y[:bits]).all()


# -- what passes ------------------------------------------------------------------------------------------------------------------


def test_nothing_of_the_holders_bins_passes_but_how_many_there_are() -> None:
    market = Market(SEED, columns=2, bins=3, privacy=CAP_OFF)
    market.play()
    told = [d.message for d in market.room.deliveries if d.sender == "platform"]
    assert told == [Announcement(6), Request(6, totals=False)]


def test_the_bank_tells_in_plain_only_rows_grid_and_totals_that_were_asked_for() -> None:
    market = Market(SEED, columns=2, bins=3, privacy=CAP_OFF)
    market.play()
    told: list[Message] = [d.message for d in market.room.deliveries if d.sender == "bank" and not isinstance(d.message, Plain)]
    assert told == [Terms(FIRMS, weighted=False, exponent=0), Totals(None, None)]
