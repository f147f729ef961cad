"""Train, test and out of time: by firm, by a keyed hash, and the same on every machine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.kernel.errors import DataError, PolicyRefusal
from federation.kernel.manifest import SampleSettings
from federation.models.sample import Sample, check_sample, draw_sample
from federation.models.table import Table

SEED = 11


def loans(rows: int, firms: int, seed: int = SEED, *, dated: bool = True) -> Table:
    rng = np.random.default_rng(seed)
    owner = tuple(f"firm-{i}" for i in np.sort(rng.integers(0, firms, rows)))
    dates = np.datetime64("2000-01-01") + rng.integers(0, 4000, rows).astype("timedelta64[D]")
    keys = tuple(f"{firm}|{i}" for i, firm in enumerate(owner))
    return Table(keys, owner, {}, b"c" * 32, as_of=dates if dated else None, label=np.zeros(rows, np.int8))


@given(st.integers(0, 2**32), st.floats(0, 0.9), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_firm_never_straddles(seed: int, holdout: float, late: bool) -> None:
    table = loans(400, 60)
    sample = draw_sample(
        table, SampleSettings(holdout=holdout, split_seed=seed, as_of=True, out_of_time_from="2007-01-01" if late else None)
    )
    firms = np.array(table.firms, object)
    training = set(firms[sample.train])
    assert not training & set(firms[sample.test])
    assert not training & set(firms[sample.out_of_time])
    together = sample.train.astype(int) + sample.test + sample.out_of_time
    assert together.max() <= 1
    assert int((together == 0).sum()) == sample.dropped


def test_control_a_split_by_row_does_straddle() -> None:
    firms = np.array(loans(400, 60).firms, object)
    train = np.random.default_rng(SEED).random(400) < 0.7
    assert set(firms[train]) & set(firms[~train])


def test_no_row_from_the_day_on_trains_or_tests() -> None:
    table = loans(2000, 2000)
    sample = draw_sample(table, SampleSettings(as_of=True, out_of_time_from="2006-06-01"))
    assert table.as_of is not None
    late = table.as_of >= np.datetime64("2006-06-01")
    assert not (late & (sample.train | sample.test)).any()
    assert (sample.out_of_time <= late).all()
    assert sample.out_of_time.any()
    assert sample.dropped > 0  # late rows of firms that train
    names = sample.split_names()
    assert [int((names == split).sum()) for split in ("train", "test", "out_of_time", "")] == [
        *(int(mask.sum()) for mask in (sample.train, sample.test, sample.out_of_time)), sample.dropped,
    ]  # fmt: skip


@pytest.mark.parametrize("holdout", [0.1, 0.3, 0.5])
def test_the_share_held_out_is_close_to_what_was_asked(holdout: float) -> None:
    table = loans(20_000, 1_000_000)
    share = float(draw_sample(table, SampleSettings(holdout=holdout)).test.mean())
    assert abs(share - holdout) < 4 * np.sqrt(holdout * (1 - holdout) / 20_000)


def test_no_holdout_holds_nothing_out() -> None:
    assert draw_sample(loans(500, 500), SampleSettings(holdout=0.0)).train.all()


def test_the_split_follows_from_seed_and_firm_alone() -> None:
    table, settings_ = loans(600, 300), SampleSettings(split_seed=3)
    first = draw_sample(table, settings_)
    assert np.array_equal(first.train, draw_sample(table, settings_).train)
    some = np.arange(0, 600, 3)  # other rows there or not: a firm's side stays
    fewer = Table(
        tuple(table.keys[i] for i in some), tuple(table.firms[i] for i in some), {}, table.commitment, label=np.zeros(200, np.int8)
    )
    assert np.array_equal(draw_sample(fewer, settings_).train, first.train[some])
    other = draw_sample(table, SampleSettings(split_seed=4))
    assert (other.train != first.train).any()


def test_a_known_firm_is_on_a_known_side() -> None:
    """A vector: another version or machine must split alike."""
    table = Table(("a", "b", "c", "d", "e", "f"), ("a", "b", "c", "d", "e", "f"), {}, b"c" * 32, label=np.zeros(6, np.int8))
    assert draw_sample(table, SampleSettings(holdout=0.5, split_seed=7)).test.tolist() == VECTOR


VECTOR = [True, True, False, False, False, False]


def test_out_of_time_without_dates_is_refused() -> None:
    with pytest.raises(DataError, match="as_of"):
        draw_sample(loans(10, 10, dated=False), SampleSettings(out_of_time_from="2005-01-01"))


def test_one_class_or_too_few_rows_are_refused() -> None:
    nobody = np.zeros(20, bool)
    training = Sample(~nobody, nobody, nobody)
    check_sample(training, np.array([0, 1] * 10, np.int8), 20)
    with pytest.raises(DataError, match="one class"):
        check_sample(training, np.ones(20, np.int8), 10)
    with pytest.raises(PolicyRefusal, match="minimum_cohort"):
        check_sample(training, np.array([0, 1] * 10, np.int8), 21)
    with pytest.raises(PolicyRefusal, match="0 training rows"):
        check_sample(Sample(nobody, ~nobody, nobody), np.ones(20, np.int8), 10)
