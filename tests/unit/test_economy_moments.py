"""The economy has the moments that it is calibrated to: sizes, lives, lending, defaults, invoices, partners; and its causes are those it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped, unused-ignore]

from simulations.economy import calibration as known
from simulations.economy import firms as population
from simulations.economy import hazard, trade
from simulations.economy.applications import calibrate
from simulations.economy.firms import Firms, survival
from simulations.economy.generate import generate
from simulations.economy.randomness import Streams
from simulations.economy.settings import Economy, Shock
from simulations.economy.traits import PERSISTENCE, PULL, WEIGHTS, Life

SEED, MANY = 7, 100_000
QUIET = Economy(firms=6_000, macro=(0.0,), platforms=0, seed=SEED)
REAL = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture(scope="module")
def many() -> Firms:
    return population.draw(Streams(SEED), MANY, 24)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("quiet")
    generate(QUIET, out)
    return out


def of_all(out: Path, kind: str) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(path) for path in sorted(out.glob(f"*-*/{kind}.parquet"))], ignore_index=True)


# -- firms --------------------------------------------------------------------------------------------------------------------------------


def test_micro_firms_are_as_many_as_the_census_counted_and_the_tail_is_axtells(many: Firms) -> None:
    assert abs((many.size < known.MICRO_LIMIT).mean() - known.MICRO_SHARE) < 0.01
    assert many.size.max() <= known.LARGEST
    top = np.sort(many.size[many.size > 1e7])
    # maximum likelihood of a Pareto cut at LARGEST: the mean of log(s / 1e7) falls with the exponent
    mean, room = np.log(top / 1e7).mean(), np.log(known.LARGEST / 1e7)
    exponents = np.linspace(0.5, 2.0, 1501)
    expected = 1 / exponents - room / np.expm1(exponents * room)
    found = float(exponents[np.argmin(np.abs(expected - mean))])
    print(f"seed {SEED}: exponent of {len(top):,} firms above CNY 10 million {found:.3f}, Axtell's {known.TAIL}")
    assert abs(found - known.TAIL) < 0.12


def test_half_of_the_firms_are_younger_than_five_years_and_lives_are_the_bls_ones(many: Firms) -> None:
    there = many.founded <= 0
    assert 0.44 < (many.founded[there] > -60).mean() < 0.55
    one, five = survival(np.array([1.0, 5.0]))
    assert abs(one - 0.80) < 0.01
    assert abs(five - 0.50) < 0.01


def test_firms_close_at_the_hazard_of_their_age(quiet: Path) -> None:
    firms = pd.read_parquet(quiet / "truth" / "firms.parquet")
    there = firms[firms["founded"] <= 0]
    age = -there["founded"].to_numpy(float) / 12
    expected = 1 - survival(age + 2.0) / survival(age)
    closed = there["closed"].notna().mean()
    print(f"seed {SEED}: {closed:.3f} of the firms of the first month close in 24 months, {expected.mean():.3f} by their age alone")
    assert abs(closed - expected.mean()) < 0.06  # health makes lives differ, so that fewer close than at the mean hazard


# -- lending ------------------------------------------------------------------------------------------------------------------------------


def test_the_default_rate_of_granted_loans_is_that_of_inclusive_loans(quiet: Path) -> None:
    loans = pd.read_parquet(quiet / "truth" / "applicants.parquet").dropna(subset="bad")
    granted, refused = loans[loans["granted"]], loans[~loans["granted"]]
    bad, expected = granted["bad"].astype(float), granted["probability"]
    print(
        f"seed {SEED}: {len(granted):,} loans, default {bad.mean():.4f}, expected {expected.mean():.4f}; refused {refused['bad'].mean():.3f}"
    )
    assert 0.015 < bad.mean() < 0.045
    assert abs(bad.mean() - expected.mean()) < 4 * np.sqrt(expected.mean() / len(granted))
    assert abs(refused["bad"].astype(float).mean() - refused["probability"].mean()) < 0.04
    assert refused["bad"].astype(float).mean() > 3 * bad.mean()
    assert roc_auc_score(loans["bad"].astype(int), loans["probability"]) > 0.75


def test_control_the_amount_of_a_loan_says_little_about_default(quiet: Path) -> None:
    loans = pd.read_parquet(quiet / "truth" / "loans.parquet")
    assert abs(roc_auc_score(loans["default"].notna(), loans["amount"]) - 0.5) < 0.15


def test_a_quarter_of_firms_borrow_and_two_fifths_want_credit_in_vain(quiet: Path) -> None:
    loans = pd.read_parquet(quiet / "truth" / "loans.parquet")
    firms = pd.read_parquet(quiet / "truth" / "firms.parquet").set_index("id")
    traits = pd.read_parquet(quiet / "truth" / "traits.parquet")
    for month in (0, 12, 23):
        active = traits.loc[(traits["month"] == month) & (traits["state"] == "active"), "id"]
        open_ = loans["granted"] & (loans["month"] <= month) & ~(loans["closed"] <= month).fillna(value=False).astype(bool)
        served = active.isin(loans.loc[open_, "id"])
        wants = firms.loc[active, "wants_credit"].to_numpy()
        assert abs(served.mean() - known.BORROWERS) < 0.07
        assert abs((~served.to_numpy() & wants).mean() - known.CONSTRAINED) < 0.07


def test_arrears_roll_on_and_cure_as_the_formula_says(quiet: Path) -> None:
    rows = of_all(quiet, "repayments").sort_values(["loan", "date"])
    rows = rows[rows["status"].isin(["current", "restructured"])]
    bucket = pd.cut(rows["days_past_due"], [-1, 0, 29, 59, 89, 10_000], labels=False)
    after = bucket.groupby(rows["loan"]).shift(-1)
    worse = [(after[bucket == k] > bucket[bucket == k])[after[bucket == k].notna()].mean() for k in range(4)]
    assert worse[0] < 0.03
    assert 0.2 < worse[1] < worse[2] + 0.05
    assert max(worse) < 0.9
    assert rows["days_past_due"].max() > 90
    assert (rows["days_past_due"] >= 0).all()


def test_the_probability_of_default_is_that_of_a_simulation_by_hand() -> None:
    firms = population.draw(Streams(SEED), 2_000, 24)
    rule = calibrate(Streams(SEED), firms, Economy(firms=2_000))
    rng = np.random.default_rng(1)
    start, fixed, closing = (-0.8, -0.5, -0.4), rule.intercept, 0.01
    runs, bad = 40_000, np.zeros(40_000, bool)
    health, liquidity, honesty = (np.full(runs, value) for value in start)
    own = (liquidity - PULL * health) / np.sqrt(1 - PULL**2)
    unpaid, paid_off = np.zeros(runs, int), np.zeros(runs, bool)
    for _ in range(12):
        noise = rng.standard_normal((3, runs))
        health = PERSISTENCE["health"] * health + np.sqrt(1 - PERSISTENCE["health"] ** 2) * noise[0]
        own = PERSISTENCE["liquidity"] * own + np.sqrt(1 - PERSISTENCE["liquidity"] ** 2) * noise[1]
        liquidity = PULL * health + np.sqrt(1 - PULL**2) * own
        honesty = PERSISTENCE["honesty"] * honesty + np.sqrt(1 - PERSISTENCE["honesty"] ** 2) * noise[2]
        index = WEIGHTS["health"] * health + WEIGHTS["liquidity"] * liquidity + WEIGHTS["honesty"] * honesty
        draws = rng.random((5, runs))
        running = ~bad & ~paid_off
        closes = running & (draws[0] < closing)
        in_order = closes & (unpaid == 0) & (draws[1] < 0.95)
        bad |= closes & ~in_order
        paid_off |= in_order
        missed = draws[2] < 0.85 * expit(fixed + index + np.where(unpaid > 0, 2 + np.minimum(unpaid, 3) / 2, 0.0))
        eased = missed & (unpaid >= 1) & (unpaid <= 2) & (draws[3] < 0.04)
        caught = ~missed & ((unpaid == 0) | (draws[4] < 0.5))
        unpaid = np.where(eased | caught, 0, np.where(missed, unpaid + 1, unpaid))
        bad |= running & ~closes & (unpaid >= 4)
    noise = hazard.paths(Streams(SEED))
    said = hazard.probability(np.array([fixed]), tuple(np.array([value]) for value in start), np.array([closing]), noise)[0]  # type: ignore[arg-type]
    print(f"by hand {bad.mean():.4f}, by the chain {said:.4f}")
    assert abs(bad.mean() - said) < 0.15 * bad.mean()


# -- trade --------------------------------------------------------------------------------------------------------------------------------


def test_larger_firms_have_more_partners_and_few_firms_have_very_many(many: Firms) -> None:
    graph = trade.draw(Streams(SEED), many, Economy(firms=MANY))
    at = (graph.first <= 12) & (graph.last > 12)
    sold, bought = (np.bincount(side[at], minlength=MANY) for side in (graph.seller, graph.buyer))
    large, small = many.size > 1e7, many.size < 1e6
    assert sold[large].mean() > 2 * sold[small].mean()
    assert bought[large].mean() > 4 * bought[small].mean()
    assert 1.2 < sold.mean() < 3.5
    assert np.quantile(bought, 0.999) > 10 * bought.mean()
    assert (graph.seller != graph.buyer).all()
    assert len(np.unique(graph.seller.astype(np.int64) * MANY + graph.buyer)) == len(graph)
    home = many.region[graph.seller] == many.region[graph.buyer]
    assert 0.6 < home.mean() < 0.75  # six in ten, and by chance some of the others


def test_who_buys_from_whom_follows_the_table(many: Firms) -> None:
    graph = trade.draw(Streams(SEED), many, Economy(firms=MANY))
    counts = np.zeros((8, 8))
    np.add.at(counts, (many.industry[graph.seller], many.industry[graph.buyer]), 1)
    assert np.abs(counts / counts.sum(axis=1, keepdims=True) - known.SALES_TO).max() < 0.02


def test_void_and_red_letter_invoices_are_as_frequent_as_in_the_real_data(quiet: Path) -> None:
    for kind in ("sales_invoices", "purchase_invoices"):
        invoices = of_all(quiet, kind)
        assert 0.035 < (invoices["status"] == "void").mean() < 0.085
        assert 0.008 < (invoices["amount"] < 0).mean() < 0.055
    sales = of_all(quiet, "sales_invoices")
    assert 5_000 < sales["amount"].abs().median() < 25_000
    assert 1.7 < np.log(sales["amount"].abs() + 1).std() < 2.5


@pytest.mark.skipif(not REAL.exists(), reason="the real invoices are not here")
def test_the_real_invoices_have_the_shares_that_the_docs_say() -> None:
    for folder, kind, void, red in (
        ("123", "sales", 0.0690, 0.0527), ("123", "purchase", 0.0361, 0.0089), ("302", "sales", 0.0833, 0.0172), ("302", "purchase", 0.0436, 0.0092),
    ):  # fmt: skip
        rows = pd.read_parquet(REAL / f"cumcm2020c_{folder}" / f"raw_{kind}_invoices.parquet", columns=["amount", "status"])
        assert abs((rows["status"].str.strip() != "valid").mean() - void) < 0.0005
        assert abs((rows["amount"] < 0).mean() - red) < 0.0005


def test_dishonest_firms_void_more_and_file_later(quiet: Path) -> None:
    traits = pd.read_parquet(quiet / "truth" / "traits.parquet")
    honesty = traits[traits["state"] == "active"].groupby("id")["honesty"].mean()
    low, high = set(honesty.index[honesty < -0.8]), set(honesty.index[honesty > 0.8])
    sales, filed = of_all(quiet, "sales_invoices"), of_all(quiet, "declarations")
    void = [(sales.loc[sales["firm"].isin(ids), "status"] == "void").mean() for ids in (low, high)]
    late = [(filed["filed"] > filed["due"])[filed["firm"].isin(ids)].mean() for ids in (low, high)]
    assert void[0] > 1.5 * void[1]
    assert late[0] > 2 * late[1]


# -- causes -------------------------------------------------------------------------------------------------------------------------------


def test_a_recession_and_a_shock_raise_the_index_by_what_the_formula_says_and_lower_sales() -> None:
    firms = population.draw(Streams(SEED), 3_000, 24)
    worlds = {
        "calm": Economy(firms=3_000, macro=(0.0,), history=0),
        "recession": Economy(firms=3_000, macro=(-1.5,), history=0),
        "shock": Economy(firms=3_000, macro=(0.0,), history=0, shock=(Shock(industry="H", month=1, months=2, size=0.9),)),
    }
    index, sales = {}, {}
    for name, asked in worlds.items():
        life = Life(Streams(SEED), firms, asked, np.zeros(3_000))
        months = [(life.step(month).sales.copy(), life.index(month)) for month in range(4)]
        sales[name], index[name] = ([one[place] for one in months] for place in (0, 1))
    cyclical, hit = firms.of_industry("cyclical"), np.array(population.CODES)[firms.industry] == "H"
    assert np.allclose(index["recession"][1] - index["calm"][1], 0.6 * 1.5 * cyclical)
    both = (sales["calm"][1] > 0) & (sales["recession"][1] > 0)
    assert np.allclose((sales["recession"][1] / np.maximum(sales["calm"][1], 1e-9))[both], np.exp(-0.12 * 1.5 * cyclical)[both])
    for month, there in ((0, 0.0), (1, 0.9), (2, 0.9), (3, 0.0)):
        assert np.allclose((index["shock"][month] - index["calm"][month])[hit], there)
        assert np.allclose((index["shock"][month] - index["calm"][month])[~hit], 0.0)


def test_traits_keep_their_variance_and_persistence() -> None:
    firms = population.draw(Streams(SEED), 20_000, 24)
    life = Life(Streams(SEED), firms, Economy(firms=20_000, macro=(0.0,), history=0), np.zeros(20_000))
    before, after = ({name: getattr(now, name).copy() for name in PERSISTENCE} for now in (life.step(month) for month in (0, 1)))
    for name, keep in PERSISTENCE.items():
        assert abs(before[name].std() - 1) < 0.03
        expected = keep if name != "liquidity" else PULL**2 * PERSISTENCE["health"] + (1 - PULL**2) * keep
        assert abs(np.corrcoef(before[name], after[name])[0, 1] - expected) < 0.005
    assert abs(np.corrcoef(before["health"], before["liquidity"])[0, 1] - PULL) < 0.03
    assert abs(np.corrcoef(before["health"], before["honesty"])[0, 1]) < 0.03
