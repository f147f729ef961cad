"""A small economy with known causes of default: firms by industry and region, and what a bank, a platform and a tax bureau see of them.

Every firm has four hidden traits (health, liquidity, honesty, scale), drawn with its industry's and region's shift. Each institution sees
some of them through noisy features in real units (CNY, shares, days, years), for some of the firms: about three quarters of the bank's
borrowers, and firms that the bank does not know. Default within twelve months of `as_of` follows

   log odds of bad = a - 0.85 health - 0.6 liquidity - 0.8 honesty + 0.4 min(health + 0.5, 0) - ln(1 + years) / 4 + industry + region + year

so that each institution sees a cause that the others see worse: the bank liquidity, the platform health, the tax bureau honesty. `truth`
keeps the traits and the probability, so that a claim about a model can be checked. Everything comes from one seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm

from federation.align.uscc import ALPHABET
from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest import BinningSettings, PrivacySettings
from federation.models.binned import Cap

Reals = NDArray[np.float64]

INDUSTRIES = {"C": 0.0, "E": 0.25, "F": 0.05, "G": 0.1, "H": 0.45, "I": -0.3, "L": -0.05, "M": -0.35}
"""GB/T 4754-2017 sections (manufacturing, construction, wholesale and retail, transport, hotels and catering, information technology,
leasing and business services, research) and their shift of the log odds of bad."""
INDUSTRY_SHARES = (0.24, 0.1, 0.28, 0.08, 0.09, 0.08, 0.08, 0.05)
REGIONS = {"310000": -0.15, "320000": -0.1, "330000": -0.2, "370000": 0.05, "410000": 0.15, "440000": -0.1, "510000": 0.1, "210000": 0.35}
"""GB/T 2260 province codes and their shift of the log odds of bad."""
REGION_SHARES = (0.1, 0.16, 0.16, 0.13, 0.1, 0.2, 0.1, 0.05)
YEARS = {2022: 0.2, 2023: 0.0, 2024: -0.1}
"""Years of the loans and the macro shift of the log odds of bad."""
FEWEST_FIRMS, FEWEST_BINS = 200, 2
HOLDOUT, OUT_OF_TIME = 0.3, f"{max(YEARS)}-07-01"


@dataclass(frozen=True)
class World:
    """What each institution holds, with `id`; the bank's rows have `as_of` and `label`. truth: one row for each firm, seen by nobody."""

    bank: pd.DataFrame
    platform: pd.DataFrame
    tax: pd.DataFrame
    truth: pd.DataFrame
    seed: int


@dataclass(frozen=True)
class _Firms:
    """Hidden traits, standard normal each but for shifts; years: since founding."""

    ids: NDArray[np.str_]
    industry: NDArray[np.str_]
    region: NDArray[np.str_]
    health: Reals
    liquidity: Reals
    honesty: Reals
    scale: Reals
    years: Reals

    @property
    def sales(self) -> Reals:
        """Yearly sales, CNY."""
        return np.exp(14.6 + 1.0 * self.scale + 0.25 * self.health)


def generate(firms: int = 20_000, seed: int = 7, coverage: float = 0.75, bad_rate: float = 0.12) -> World:
    """Draw a world. firms: how many borrow from the bank; coverage: share of them that a partner knows; bad_rate: expected share of bads.

    A partner also holds an eighth as many firms that the bank does not know. Raises ConfigurationError.
    """
    if firms < FEWEST_FIRMS or not 0 < coverage <= 1 or not 0 < bad_rate < 1:
        what = f"at least {FEWEST_FIRMS} firms, coverage in (0, 1] and a bad rate in (0, 1) are needed"
        raise ConfigurationError("world", what, "Correct the arguments.")
    rng = np.random.default_rng(np.random.SeedSequence([seed, firms]))
    all_firms = _draw_firms(rng, firms + firms // 4)
    days = np.datetime64(f"{min(YEARS)}-01-01") + rng.integers(0, 365 * len(YEARS), firms).astype("timedelta64[D]")
    probability = _default_probability(all_firms, days, bad_rate)
    label = (rng.random(firms) < probability).astype(np.int8)
    bank = _bank(rng, all_firms, firms)
    bank.insert(1, "as_of", days)
    bank["label"] = label
    truth = pd.DataFrame({
        "id": all_firms.ids, "health": all_firms.health, "liquidity": all_firms.liquidity, "honesty": all_firms.honesty,
        "scale": all_firms.scale, "industry": all_firms.industry, "region": all_firms.region,
        "probability": _padded(probability, len(all_firms.ids)), "label": _padded(label, len(all_firms.ids)),
    })  # fmt: skip
    strangers = np.array_split(np.arange(firms, len(all_firms.ids)), 2)
    platform = _platform(rng, all_firms).iloc[_known(rng, all_firms, firms, coverage, strangers[0])].reset_index(drop=True)
    tax = _tax(rng, all_firms).iloc[_known(rng, all_firms, firms, coverage + 0.03, strangers[1])].reset_index(drop=True)
    order = rng.permutation(firms)
    return World(bank.iloc[order].reset_index(drop=True), platform, tax, truth, seed)


def write(world: World, out: Path) -> None:
    """Write bank, platform, tax (Parquet), platform.csv, truth.parquet, and run files that train on them: logistic.toml, and scorecard.toml
    with as many bins as the bads allow, where they allow two.
    """
    most = most_bins(world)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in ("bank", "platform", "tax", "truth"):
            getattr(world, name).to_parquet(out / f"{name}.parquet", index=False)
        world.platform.to_csv(out / "platform.csv", index=False)
        (out / "logistic.toml").write_text(written(run_document("logistic", world.seed)))
        (out / "scorecard.toml").unlink(missing_ok=True)
        if most >= FEWEST_BINS:
            document = run_document("scorecard", world.seed)
            binning = {} if most >= BinningSettings().max_bins else {"binning": {"max_bins": most}}
            (out / "scorecard.toml").write_text(written(document | binning))
    except OSError as error:
        raise ConfigurationError(str(out), f"it cannot be written ({error.strerror})", "Choose a folder you may write to.") from None


def most_bins(world: World) -> int:
    """For how many bins of each column a partner may ask: of all its columns together, a tenth of the bads in training (`binned.Cap`)."""
    training = int(
        world.bank["label"][world.bank["as_of"] < np.datetime64(OUT_OF_TIME)].sum() * (1 - HOLDOUT) * 0.85
    )  # the split is by lot
    counts = Cap.of(training, training, PrivacySettings()).counts
    features = [table.drop(columns="id") for table in (world.platform, world.tax)]
    return min((counts - int(table.isna().any().sum())) // table.shape[1] for table in features)  # what is missing has a bin, too


def run_document(model: str, seed: int) -> dict[str, Any]:
    """A run file for a world's folder."""
    parties = [
        {"name": "bank", "role": "bank", "source": "bank.parquet", "id": "id", "label": "label"},
        {"name": "platform", "role": "platform", "source": "platform.parquet", "id": "id"},
        {"name": "tax", "role": "tax", "source": "tax.parquet", "id": "id"},
    ]
    run = {"task": "train", "model": model, "purpose": "decide", "seed": seed, "holdout": HOLDOUT}
    document: dict[str, Any] = {"run": run, "sample": {"as_of": "as_of", "out_of_time_from": OUT_OF_TIME}}
    return document | {"party": parties}


def written(document: dict[str, Any]) -> str:
    """A run file as one writes it by hand: tables first, then one [[party]] after another."""
    tables = tomli_w.dumps({key: value for key, value in document.items() if key != "party"})
    return tables + "".join(f"\n[[party]]\n{tomli_w.dumps(party)}" for party in document["party"])


def _draw_firms(rng: np.random.Generator, count: int) -> _Firms:
    industry = rng.choice(list(INDUSTRIES), count, p=INDUSTRY_SHARES)
    region = rng.choice(list(REGIONS), count, p=REGION_SHARES)
    health, liquidity, honesty, scale = rng.standard_normal((4, count))
    liquidity = 0.3 * health + np.sqrt(1 - 0.3**2) * liquidity  # who sells well has cash
    years = np.round(rng.gamma(2.0, 3.5, count) + 0.3, 1)
    return _Firms(_uscc(rng, region), industry, region, health, liquidity, honesty, scale, years)


def _uscc(rng: np.random.Generator, region: NDArray[np.str_]) -> NDArray[np.str_]:
    """Distinct Unified Social Credit Codes of enterprises (GB 32100-2015: 91, region, nine random characters, check character)."""
    letters = np.array(list(ALPHABET))
    serials = rng.choice(31**6, len(region), replace=False)
    digits = np.empty((len(region), 17), np.int64)
    digits[:, 0], digits[:, 1] = 9, 1
    digits[:, 2:8] = np.array([list(code) for code in region]).astype(np.int64)
    for place in range(6):
        digits[:, 8 + place] = serials // 31**place % 31
    digits[:, 14:17] = rng.integers(0, 31, (len(region), 3))
    weights = np.array([pow(3, i, 31) for i in range(17)])
    whole = np.column_stack([digits, -(digits @ weights) % 31])
    return np.ascontiguousarray(letters[whole]).view("U18").ravel()


def _default_probability(firms: _Firms, days: NDArray[np.datetime64], bad_rate: float) -> Reals:
    """Of the bank's firms, (n,); the intercept is set so that the mean is the bad rate."""
    n = len(days)
    health = firms.health[:n]
    years = days.astype("datetime64[Y]").astype(int) + 1970
    odds = -0.85 * health - 0.6 * firms.liquidity[:n] - 0.8 * firms.honesty[:n] + 0.4 * np.minimum(health + 0.5, 0.0)
    odds += np.array([INDUSTRIES[i] for i in firms.industry[:n]]) + np.array([REGIONS[r] for r in firms.region[:n]])
    odds += np.array([YEARS[int(y)] for y in years]) - 0.25 * np.log1p(firms.years[:n])
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if expit(middle + odds).mean() < bad_rate else (low, middle)
    return np.asarray(expit(low + odds))


def _known(rng: np.random.Generator, firms: _Firms, borrowers: int, coverage: float, strangers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of the firms that a partner holds, shuffled: the larger a firm, the likelier."""
    inclination = norm.cdf(0.4 * firms.scale[:borrowers] + rng.standard_normal(borrowers), scale=np.sqrt(1 + 0.4**2))
    return rng.permutation(np.concatenate([np.flatnonzero(inclination > 1 - coverage), strangers]))


def _padded(values: NDArray[Any], count: int) -> Reals:
    return np.concatenate([values.astype(np.float64), np.full(count - len(values), np.nan)])


# -- what each institution sees -----------------------------------------------------------------------------------------------------


def _bank(rng: np.random.Generator, firms: _Firms, count: int) -> pd.DataFrame:
    """Accounts and repayment of the bank's borrowers."""
    noise = rng.standard_normal((6, len(firms.ids)))
    liquidity, sales = firms.liquidity, firms.sales
    overdraft = rng.poisson(np.exp(1.1 - 0.75 * liquidity + 0.6 * noise[0]))
    grade = np.digitize(0.45 * liquidity + 0.3 * firms.health + noise[1], [-1.0, 0.2, 1.2])
    frame = pd.DataFrame({
        "id": firms.ids,
        "loan_amount": np.round(sales * np.exp(-1.8 + 0.5 * noise[2]), -2),                    # CNY
        "utilisation": np.round(norm.cdf(-0.7 * liquidity + 0.9 * noise[3]), 4),               # share of the credit line
        "overdraft_days": np.minimum(overdraft, 90).astype(np.float64),                        # days in the last 12 months
        "average_balance": np.round(sales / 12 * np.exp(-1.0 + 0.5 * liquidity + 0.8 * noise[4]), 2),  # CNY
        "inflow_volatility": np.round(np.exp(-1.2 - 0.25 * firms.health + 0.5 * noise[5]), 4),  # coefficient of variation, 12 months
        "years_in_business": firms.years,
        "officer_grade": np.array(list("DCBA"))[grade],                                        # the loan officer's visit form
        "collateral": rng.choice(["none", "guarantor", "property"], len(firms.ids), p=[0.55, 0.27, 0.18]),
    })  # fmt: skip
    return _with_gaps(rng, frame.iloc[:count].copy(), {"average_balance": 0.03, "inflow_volatility": 0.08, "officer_grade": 0.12})


def _platform(rng: np.random.Generator, firms: _Firms) -> pd.DataFrame:
    """Orders, refunds, deliveries and stock of the platform's merchants."""
    noise = rng.standard_normal((7, len(firms.ids)))
    health = firms.health
    gmv = firms.sales * np.exp(-0.9 + 0.5 * noise[0])
    frame = pd.DataFrame({
        "id": firms.ids,
        "gmv_12m": np.round(gmv, 2),                                                     # CNY
        "gmv_growth": np.round(0.05 + 0.2 * health + 0.1 * noise[1], 4),                 # against the 12 months before
        "order_count_12m": np.round(gmv / np.exp(6.0 + 0.7 * noise[2])).astype(np.int64),
        "refund_rate": np.round(norm.cdf(-1.6 - 0.35 * health + 0.2 * noise[3]), 4),
        "late_shipment_rate": np.round(norm.cdf(-1.3 - 0.3 * health + 0.5 * noise[4]), 4),
        "stock_turnover_days": np.round(np.exp(3.6 - 0.3 * health + 0.5 * noise[5]), 1),  # days
        "buyer_rating": np.round(np.clip(4.4 + 0.25 * health + 0.25 * noise[6], 1.0, 5.0), 1),
        "shop_tier": np.array(["basic", "silver", "gold"])[np.digitize(firms.scale + 0.5 * noise[0], [0.3, 1.3])],
        "main_category": np.char.add("sector ", firms.industry),
    })  # fmt: skip
    return _with_gaps(rng, frame, {"stock_turnover_days": 0.15, "buyer_rating": 0.06, "gmv_growth": 0.04})


def _tax(rng: np.random.Generator, firms: _Firms) -> pd.DataFrame:
    """Invoices and declarations of the bureau's taxpayers."""
    noise = rng.standard_normal((6, len(firms.ids)))
    honesty = firms.honesty
    invoiced = firms.sales * np.exp(-0.1 + 0.25 * noise[0])
    frame = pd.DataFrame({
        "id": firms.ids,
        "invoice_sales_12m": np.round(invoiced, 2),                                                     # CNY
        "invoice_purchases_12m": np.round(invoiced * norm.cdf(0.5 - 0.2 * firms.health + 0.35 * noise[1]), 2),  # CNY
        "declared_tax_12m": np.round(invoiced * 0.03 * np.exp(0.35 * honesty + 0.2 * noise[2]), 2),      # CNY
        "void_share": np.round(norm.cdf(-1.7 - 0.45 * honesty + 0.3 * noise[3]), 4),                   # of invoices written
        "top_customer_share": np.round(norm.cdf(-0.5 - 0.25 * firms.health + 0.6 * noise[4]), 4),
        "late_declarations_12m": rng.poisson(np.exp(-0.6 - 0.6 * honesty + 0.3 * noise[5])).astype(np.int64),
        "credit_rating": np.array(list("DCBA"))[np.digitize(honesty + 0.8 * noise[5], [-1.8, -0.9, 0.4])],
        "industry": firms.industry,
        "region": firms.region,
    })  # fmt: skip
    return _with_gaps(rng, frame, {"top_customer_share": 0.07, "credit_rating": 0.1})


def _with_gaps(rng: np.random.Generator, frame: pd.DataFrame, shares: dict[str, float]) -> pd.DataFrame:
    """Missing cells, at random."""
    for name, share in shares.items():
        frame[name] = frame[name].mask(rng.random(len(frame)) < share)
    return frame
