"""Training moments by encrypted sums equal numpy's over the training rows, and what a partner may not ask for or be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from federation.kernel.codec import Message
from federation.kernel.errors import DataError, PeerError, PolicyRefusal
from federation.kernel.manifest import Manifest, ModelSettings, PrivacySettings, SampleSettings
from federation.models.encode import MomentColumns, Training, Wanted, encode_holder, encode_label, own_moments
from federation.models.encoding import Numeric, plain
from federation.models.prepare import Encoded
from federation.models.sample import Sample, draw_sample
from federation.models.table import Column, Table
from tests.pooled_case import Firms, changed
from tests.post import manifest
from tests.rooms import Delivery, Room

Reals = NDArray[np.float64]
SEED = 31


@dataclass
class EncodeCase:
    """A bank and a platform encode; positions are drawn, some platform rows are not the bank's."""

    firms: Firms = field(default_factory=lambda: Firms(rows=900, partners=1, missing=0.15, levels=True, seed=SEED))
    missing: Any = "mean"
    privacy: PrivacySettings = field(default_factory=lambda: PrivacySettings(single_partner_disclosure=True))
    post: Callable[[Delivery], Message | None] = lambda delivery: delivery.message
    edit: Callable[[dict[str, Table]], dict[str, Table]] = lambda tables: tables

    def __post_init__(self) -> None:
        self.tables = self.edit(self.firms.draw())
        everyone = sorted({key for each in self.tables.values() for key in each.keys})
        place = dict(zip(everyone, np.random.default_rng(SEED).permutation(len(everyone)).tolist(), strict=True))
        self.universe = len(everyone)
        self.positions = {name: np.array([place[key] for key in each.keys], np.int64) for name, each in self.tables.items()}
        self.manifest: Manifest = manifest(
            "bank", "platform", settings=ModelSettings(missing=self.missing), privacy=self.privacy,
            sample=SampleSettings(weighted=self.firms.weighted),
        )  # fmt: skip
        self.sample: Sample = draw_sample(self.tables["bank"], self.manifest.sample)
        self.room = Room(("bank", "platform"), post=self.post)

    def play(self) -> Mapping[str, Encoded]:
        m, t, u, p = self.manifest, self.tables, self.universe, self.positions
        return self.room.play(
            {
                "bank": encode_label(self.room.run("bank"), m, t["bank"], u, p["bank"], self.sample, {}),
                "platform": encode_holder(self.room.run("platform"), m, t["platform"], u, p["platform"], {}),
            }
        )

    def weight_at_platform(self) -> Reals:
        """The training weight of each platform row, zero for firms that do not train."""
        bank = self.tables["bank"]
        given = np.ones(bank.rows) if bank.weight is None else bank.weight
        by_key = dict(zip(bank.keys, np.where(self.sample.train, given, 0.0).tolist(), strict=True))
        return np.array([by_key.get(key, 0.0) for key in self.tables["platform"].keys])


def moments(x: Reals, w: Reals, total: float) -> tuple[float, float]:
    """numpy's mean over present weighted rows; the deviation over all training rows, with the mean where there is no value."""
    known = ~np.isnan(x)
    mean = float(np.average(x[known], weights=w[known]))
    return mean, float(np.sqrt((w[known] * (x[known] - mean) ** 2).sum() / total))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("missing", ["mean", "zero", "indicator"])
def test_moments_are_numpys_over_the_training_rows(weighted: bool, missing: str) -> None:
    case = EncodeCase(Firms(rows=900, partners=1, missing=0.15, levels=True, weighted=weighted, seed=SEED), missing)
    out = case.play()
    w, table = case.weight_at_platform(), case.tables["platform"]
    encoding, total = out["platform"].encoding, out["bank"].total
    part = encoding.columns[0]
    assert isinstance(part, Numeric)
    values = table.columns["platform0"].values
    filled = np.where(np.isnan(values), 0.0, values) if missing == "zero" else values
    mean, deviation = moments(filled, w, total)
    assert part.standard[0].centre == pytest.approx(mean, rel=1e-6)
    assert part.standard[0].scale == pytest.approx(deviation, rel=1e-6)
    assert part.fill == (pytest.approx(mean, rel=1e-6) if missing != "zero" else 0.0)
    if missing == "indicator":
        gone = np.isnan(values).astype(float)
        assert part.standard[1].centre == pytest.approx(moments(gone, w, total)[0], rel=1e-6)
        assert part.standard[1].scale == pytest.approx(moments(gone, w, total)[1], rel=1e-6)
    level = encoding.names.index("platform_kind=b") if "platform_kind=b" in encoding.names else encoding.names.index("platform_kind=a")
    one = np.array([v == encoding.names[level].split("=")[1] for v in table.columns["platform_kind"].values], float)
    assert encoding.standard[level].centre == pytest.approx(moments(one, w, total)[0], rel=1e-6)
    assert out["platform"].matched == int((w > 0).sum())
    assert not encoding.absent_row.any()  # a firm that the platform does not know counts as the mean


def test_the_banks_own_moments_are_over_its_training_rows() -> None:
    case = EncodeCase()
    out = case.play()["bank"]
    column = case.tables["bank"].columns["bank1"].values[case.sample.train]
    place = out.encoding.names.index("bank1")
    assert out.encoding.standard[place].centre == pytest.approx(column.mean(), rel=1e-12)
    assert out.encoding.standard[place].scale == pytest.approx(column.std(), rel=1e-12)
    assert out.total == case.sample.train.sum()


def test_the_test_rows_change_nothing() -> None:
    """Values of rows that do not train may be anything: the platform's moments do not move."""

    def spoil(tables: dict[str, Table]) -> dict[str, Table]:
        bank = tables["bank"]
        train = set(np.array(bank.keys, object)[draw_sample(bank, SampleSettings()).train])
        outside = np.array([key not in train for key in tables["platform"].keys])
        values = tables["platform"].columns["platform1"].values
        return tables | {"platform": changed(tables["platform"], platform1=np.where(outside, values + 5, values))}

    plain_run, spoiled = EncodeCase().play()["platform"], EncodeCase(edit=spoil).play()["platform"]
    place = plain_run.encoding.names.index("platform1")
    assert spoiled.encoding.standard[place].centre == pytest.approx(plain_run.encoding.standard[place].centre, rel=1e-6)
    assert spoiled.encoding.standard[place].scale == pytest.approx(plain_run.encoding.standard[place].scale, rel=1e-6)


def test_missing_values_that_the_run_forbids_are_an_error_with_a_count() -> None:
    with pytest.raises(DataError, match='missing = "error"'):
        EncodeCase(missing="error").play()


def test_a_constant_column_keeps_scale_one() -> None:
    def flat(tables: dict[str, Table]) -> dict[str, Table]:
        table = tables["platform"]
        return tables | {"platform": changed(table, flat=np.full(table.rows, 1234.567), zero=np.zeros(table.rows))}

    encoding = EncodeCase(edit=flat).play()["platform"].encoding
    for name, value in (("flat", 1234.567), ("zero", 0.0)):
        standard = encoding.standard[encoding.names.index(name)]
        assert standard.scale == 1.0
        assert standard.centre == pytest.approx(value, rel=1e-9)


def test_a_column_missing_in_every_row_is_harmless() -> None:
    def gone(tables: dict[str, Table]) -> dict[str, Table]:
        return tables | {"platform": changed(tables["platform"], gone=np.full(tables["platform"].rows, np.nan))}

    case = EncodeCase(edit=gone)
    encoding = case.play()["platform"].encoding
    assert not encoding.design(case.tables["platform"].columns)[:, encoding.names.index("gone")].any()


def test_a_partner_with_few_training_firms_refuses_and_control_with_enough_it_does_not() -> None:
    few = Firms(rows=900, partners=1, present=0.02, beyond=0, seed=SEED)
    with pytest.raises(PolicyRefusal, match="minimum_cohort = 60"):
        EncodeCase(few, privacy=PrivacySettings(single_partner_disclosure=True, minimum_cohort=60)).play()
    assert EncodeCase(few, privacy=PrivacySettings(single_partner_disclosure=True, minimum_cohort=5)).play()["platform"].matched >= 5


@pytest.mark.parametrize("answers", [0, -1, 6, 10**9])
def test_a_request_beyond_the_cap_on_answers_is_refused(answers: int) -> None:
    def greedy(delivery: Delivery) -> Message:
        return Wanted(answers) if isinstance(delivery.message, Wanted) else delivery.message

    privacy = PrivacySettings(single_partner_disclosure=True, max_answers=5)
    case = EncodeCase(Firms(rows=300, partners=1, columns=1, seed=SEED), privacy=privacy, post=greedy)
    with pytest.raises(PeerError, match="max_answers"):
        case.play()
    assert not case.room.shelves["bank"].effects, "refused before anything is encrypted"
    assert EncodeCase(Firms(rows=300, partners=1, columns=1, seed=SEED), privacy=privacy).play()["bank"].answers == {"platform": 1}


@pytest.mark.parametrize(
    "told", [Training(0.0, 0.2, 0), Training(np.nan, 0.2, 0), Training(9.0, 0.0, 0), Training(9.0, 1.0, 0), Training(9.0, 0.2, 5000)]
)
def test_a_training_weight_or_base_out_of_range_is_the_banks_fault(told: Training) -> None:
    def false(delivery: Delivery) -> Message:
        return told if isinstance(delivery.message, Training) else delivery.message

    with pytest.raises(PeerError, match="out of range"):
        EncodeCase(Firms(rows=300, partners=1, seed=SEED), post=false).play()


def test_columns_of_zeros_and_ones_need_no_sum_of_squares_and_equal_gaps_share_one_count() -> None:
    """The fewer sums asked for, the fewer learned."""
    gone = np.array([1.0, np.nan, 3.0, 4.0])
    columns = {
        "a": Column("a", "numeric", gone),
        "b": Column("b", "numeric", 2 * gone),
        "c": Column("c", "numeric", np.array([0, 1, 1, 0.0])),
    }
    encoding = plain(columns, "mean")
    parts = MomentColumns.of(encoding.raw(columns), encoding.counted(columns))
    assert parts.matrix.shape[1] == 1 + 1 + 2 + 2 + 1  # rows; rows with a and b; a, a^2; b, b^2; c


def test_a_mean_far_from_zero_loses_no_digits() -> None:
    rng = np.random.default_rng(SEED)
    x = 1e9 + rng.standard_normal(1000)
    mean, deviation = own_moments(x[:, None], np.ones((1000, 1), bool), np.ones(1000))
    assert mean[0] == pytest.approx(x.mean(), rel=1e-15)
    assert deviation[0] == pytest.approx(x.std(), rel=1e-6)
