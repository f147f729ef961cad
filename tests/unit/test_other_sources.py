"""Records of courts, registries, bureaus, blacklists and payments follow from hidden traits, are drawn again from the same seed, and never close
before they open.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest

from privacy.dictionary.entries import record_sources
from simulations.economy.other_sources import COVERAGE, other_sources

SEED, FIRMS = 20_260_805, 4_000
MONTHS = np.arange("2022-01", "2024-01", dtype="datetime64[M]")


def draw(seed: int = SEED) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    traits = pd.DataFrame(
        rng.standard_normal((FIRMS, 3)), columns=["honesty", "liquidity", "health"], index=[f"f{at}" for at in range(FIRMS)]
    )
    return traits, other_sources(rng, traits.index.to_numpy(object), *(traits[name].to_numpy() for name in traits), MONTHS)


@cache
def drawn() -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    return draw()


@pytest.mark.parametrize(
    ("source", "kind", "trait"),
    [
        ("court", "judgment", "honesty"),
        ("court", "enforcement", "honesty"),
        ("blacklist", "fraud", "honesty"),
        ("bureau", "arrears", "liquidity"),
    ],
)
def test_who_is_worse_has_more_records(source: str, kind: str, trait: str) -> None:
    traits, sources = drawn()
    records = sources[source]
    counts = (
        records[(records["kind"] == kind) & (records["status"] != "closed")].groupby("subject").size().reindex(traits.index, fill_value=0)
    )
    worst, best = (counts[half].mean() for half in (traits[trait] < 0, traits[trait] > 0))
    assert worst > 2 * best
    other = {"honesty": "health", "liquidity": "health"}[trait]  # control: a trait that plays no part shows nothing of the kind
    assert counts[traits[other] < 0].mean() < 1.4 * counts[traits[other] > 0].mean()


def test_canonical_frames_with_declared_kinds_and_states_alone() -> None:
    for name, records in drawn()[1].items():
        kinds = {kind.name: kind.statuses for kind in record_sources()[name].kinds}
        assert list(records.columns) == ["subject", "date", "kind", "number", "amount", "status"]
        assert records["date"].dtype == "datetime64[s]" and records["amount"].dtype == "Int64" and (records["amount"].dropna() >= 0).all()
        assert set(records["kind"]) == set(kinds)
        for kind, found in records.groupby("kind"):
            assert set(found["status"].dropna()) <= set(kinds[str(kind)])
        assert not records.duplicated(["subject", "date", "kind", "number"]).any()


def test_a_matter_closes_after_it_opened_and_once() -> None:
    for name in ("court", "bureau", "blacklist"):
        records = drawn()[1][name]
        opened, closed = (records[records["status"] == state].set_index(["kind", "number"])["date"] for state in ("open", "closed"))
        assert opened.index.is_unique and closed.index.is_unique and len(closed) > 50
        assert (closed > opened.loc[closed.index]).all()


def test_sources_know_the_share_of_firms_that_they_say() -> None:
    for name, records in drawn()[1].items():
        assert records["subject"].nunique() / FIRMS == pytest.approx(COVERAGE[name], abs=0.03)


def test_the_same_seed_draws_the_same_records() -> None:
    again, other = draw()[1], draw(SEED + 1)[1]
    for name, records in drawn()[1].items():
        pd.testing.assert_frame_equal(records, again[name])
        assert not records.equals(other[name])
