"""123 real Chinese firms, a bank that knows who defaulted and a tax bureau that has their invoices:
`python -m simulations.benchmarks.real_invoices [--data FOLDER] [--repeats N] [--skip-federated]`.

The bank has the outcome and the rating, and rating D is the outcome, so that it has nothing to train on: alone it ranks like a coin. What
ranks are the bureau's invoice features as of March 2020. All choices (columns, bins, ridge) were stated before the first fit, but for the
ridge over all columns, which is chosen by cross-validation inside each training part.

Interval: firms are drawn again (with replacement), with their out-of-fold scores; it says how far 123 firms tell, and does not say how the
model would move if it were fitted on other firms. `splits` is the spread over repeats alone, which is not uncertainty about the world.
KS of a few bads is biased upwards: for scores that say nothing it is 0.18 here on average, not 0.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped, unused-ignore]
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV  # type: ignore[import-untyped, unused-ignore]
from sklearn.model_selection import RepeatedStratifiedKFold  # type: ignore[import-untyped, unused-ignore]
from threadpoolctl import threadpool_limits

from privacy.dictionary.entries import features
from simulations.benchmarks.tax_adapter import DATA, through_the_door
from simulations.simulate import simulate

FOLDER, MONTH = "cumcm2020c_123", np.datetime64("2020-03", "M")
COLUMNS = (
    "sales_12m", "sales_growth_12m", "sales_cv_12m", "sales_active_months_12m", "sales_months_since_last", "sales_void_share_12m",
    "sales_red_amount_share_12m", "customers_12m", "customer_hhi_12m", "purchases_12m", "suppliers_12m", "input_output_match_12m",
)  # fmt: skip
"""What a credit officer would ask of invoices: size, growth, steadiness, whether the firm still works, cancellations, customers, suppliers."""
FOLDS, BINS, C, SEED, DRAWS = 5, 4, 0.1, 8, 2_000
Floats = NDArray[np.float64]
Model = Callable[[pd.DataFrame, NDArray[np.int64], pd.DataFrame], Floats]
"""Training table, training outcomes, table to score -> scores."""


def tables(data: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The bank's table (id, rating, label) and the bureau's features as of March 2020, in the bank's order."""
    found = through_the_door(data / FOLDER, [MONTH]).table
    bank = pd.read_parquet(data / FOLDER / "bank.parquet").sort_values("id", ignore_index=True)
    return bank, found.set_index("id").loc[bank["id"]].reset_index()


# -- models, each fitted on the training rows of its fold alone ------------------------------------------------------------------------


def ridge(train: pd.DataFrame, label: NDArray[np.int64], test: pd.DataFrame) -> Floats:
    """Logistic regression with a ridge on numbers winsorised at 5 and 95 %, standardised, missing at the mean."""
    x, z = _standardised(train, test)
    return np.asarray(LogisticRegression(C=C, max_iter=1_000).fit(x, label).decision_function(z))


def chosen_ridge(train: pd.DataFrame, label: NDArray[np.int64], test: pd.DataFrame) -> Floats:
    """The same with the ridge of least log loss in a cross-validation inside the training rows."""
    x, z = _standardised(train, test)
    search = LogisticRegressionCV(Cs=[1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1], cv=5, scoring="neg_log_loss", max_iter=1_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # sklearn renames attributes that are not read here
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(search.fit(x, label).decision_function(z))


def scorecard(train: pd.DataFrame, label: NDArray[np.int64], test: pd.DataFrame) -> Floats:
    """Weights of evidence of quantile bins, missing a bin of its own, then logistic regression with a ridge."""
    x, z = (np.empty((len(table), train.shape[1])) for table in (train, test))
    for place, name in enumerate(train.columns):
        x[:, place], z[:, place] = _woe(train[name], label, test[name])
    return np.asarray(LogisticRegression(C=C, max_iter=1_000).fit(x, label).decision_function(z))


def nothing(_: pd.DataFrame, __: NDArray[np.int64], test: pd.DataFrame) -> Floats:
    """One score for every firm: without a column there is the base rate alone, which ranks nobody."""
    return np.zeros(len(test))


def _standardised(train: pd.DataFrame, test: pd.DataFrame) -> tuple[Floats, Floats]:
    low, high = train.quantile(0.05), train.quantile(0.95)
    x, z = (table.clip(low, high, axis=1) for table in (train, test))
    mean, spread = x.mean(), x.std(ddof=0).replace(0.0, 1.0)
    return tuple(((table - mean) / spread).fillna(0.0).to_numpy(np.float64) for table in (x, z))  # type: ignore[return-value]


def _woe(train: pd.Series[Any], label: NDArray[np.int64], test: pd.Series[Any]) -> tuple[Floats, Floats]:
    if train.dtype == object or isinstance(train.dtype, pd.StringDtype):
        codes, levels = pd.factorize(train)
        place = pd.Index(levels).get_indexer(pd.Index(test))
    else:
        edges = np.unique(train.quantile(np.arange(1, BINS) / BINS).dropna().to_numpy())
        codes, place = (np.where(rows.isna(), -1, np.searchsorted(edges, rows.to_numpy(), side="right")) for rows in (train, test))
    size = BINS + 8
    bads = np.bincount(codes + 1, label, size) + 0.5
    goods = np.bincount(codes + 1, 1 - label, size) + 0.5
    woe = np.where(bads + goods > 1, np.log(goods / goods.sum()) - np.log(bads / bads.sum()), 0.0)
    return woe[codes + 1], woe[place + 1]


# -- figures ---------------------------------------------------------------------------------------------------------------------------


def auc(label: NDArray[np.int64], score: Floats) -> float:
    """The chance that a bad scores above a good, ties counting half (Mann and Whitney 1947)."""
    bads = int(label.sum())
    return float((rankdata(score)[label == 1].sum() - bads * (bads + 1) / 2) / (bads * (len(label) - bads)))


def ks(label: NDArray[np.int64], score: Floats) -> float:
    """The largest distance between the distributions of goods and bads."""
    cuts = np.unique(score)
    bad, good = (np.searchsorted(np.sort(score[label == side]), cuts, side="right") / max((label == side).sum(), 1) for side in (1, 0))
    return float(np.max(np.abs(bad - good)))


def out_of_fold(model: Model, table: pd.DataFrame, label: NDArray[np.int64], repeats: int) -> Floats:
    """Scores of every firm by a model that was not fitted on it, (repeats, n)."""
    scores = np.full((repeats, len(label)), np.nan)
    for turn, (train, test) in enumerate(RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=repeats, random_state=SEED).split(table, label)):
        scores[turn // FOLDS, test] = model(table.iloc[train], label[train], table.iloc[test])
    return scores


def measured(label: NDArray[np.int64], scores: Floats) -> dict[str, Any]:
    """AUC and KS: the mean over repeats, 95 % over draws of firms, and the spread over repeats."""
    draw, found = np.random.default_rng(SEED), {}
    rows = [draw.integers(0, len(label), len(label)) for _ in range(DRAWS)]
    some = scores[: min(len(scores), 10)]  # the mean of ten repeats: the draws of firms are what varies
    for name, figure in (("auc", auc), ("ks", ks)):
        each = [figure(label, row) for row in scores]
        drawn = [np.mean([figure(label[row], score[row]) for score in some]) for row in rows[: 200 if len(some) > 1 else DRAWS]]
        low, high = np.quantile(drawn, (0.025, 0.975))
        found[name] = {"mean": float(np.mean(each)), "interval": (float(low), float(high)), "splits": float(np.std(each))}
    return found


def cross_validated(bank: pd.DataFrame, tax: pd.DataFrame, repeats: int) -> dict[str, dict[str, Any]]:
    """Each model's figures."""
    label = bank["label"].to_numpy(np.int64)
    every = [
        name for name, feature in features().items() if feature.role == "tax" and feature.source != "declarations" and name in tax.columns
    ]
    told = [name for name in every if tax[name].notna().any()]
    cases: dict[str, tuple[Model, pd.DataFrame]] = {
        "bank alone: no feature, the base rate": (nothing, bank[[]]),
        "bank alone with rating: LEAKS the outcome": (scorecard, bank[["rating"]]),
        f"bank + tax: scorecard, {len(COLUMNS)} columns": (scorecard, tax[list(COLUMNS)]),
        f"bank + tax: ridge, {len(COLUMNS)} columns": (ridge, tax[list(COLUMNS)]),
        f"bank + tax: ridge chosen inside, all {len(told)} columns": (chosen_ridge, tax[told]),
    }
    return {name: measured(label, out_of_fold(model, table, label, repeats)) for name, (model, table) in cases.items()}


# -- the federated run -----------------------------------------------------------------------------------------------------------------


def write_run(data: Path, to: Path, model: str = "scorecard") -> Path:
    """The two institutions' tables and a run file over them. Rating stays out; what so few firms need is allowed by name."""
    bank, tax = tables(data)
    bank[["id", "label"]].to_parquet(to / "bank.parquet", index=False)
    tax.drop(columns="as_of").to_parquet(to / "tax.parquet", index=False)
    document = {
        "run": {"task": "train", "model": model, "purpose": "research", "seed": 7, "holdout": 0.3},
        "model": {"C": C},
        "binning": {"max_bins": 3, "min_share": 0.15},
        "privacy": {"single_partner_disclosure": True, "max_released_counts": 48},
        "party": [
            {"name": "bank", "role": "bank", "source": "bank.parquet", "label": "label"},
            {"name": "tax", "role": "tax", "source": "tax.parquet", "include": list(COLUMNS)},
        ],
    }
    if model == "logistic":
        del document["binning"]
    path = to / f"{model}.toml"
    path.write_text(tomli_w.dumps(document))
    return path


def federated(data: Path, model: str) -> None:
    """One whole run with its pooled reference."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        result = simulate(write_run(data, Path(folder), model), Path(folder) / "out", pooled=True)
        test, pooled = result["metrics"]["test"], result["pooled"]
        low, high = test["intervals"]["auc"]
        print(
            f"federated {model}, {test['n']} firms held out: AUC {test['auc']:.4f} [{low:.3f}, {high:.3f}], KS {test['ks']:.4f}; pooled "
            f"{pooled['metrics']['test']['auc']:.4f}, {pooled['metrics']['test']['ks']:.4f}; bank alone "
            f"{pooled['label_party_alone']['test']['auc']:.1f}; coefficients within {pooled['max_difference']:.1e} of the pooled fit, "
            f"{result['privacy']['releases']} counts told; {time.perf_counter() - started:.1f} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m simulations.benchmarks.real_invoices", description="Bank x tax on 123 real firms.")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with cumcm2020c_123")
    parser.add_argument("--repeats", type=int, default=20, help="of the five-fold cross-validation")
    parser.add_argument("--skip-federated", action="store_true", help="cross-validation alone")
    options = parser.parse_args()
    if not (options.data / FOLDER).is_dir():
        print(f"{options.data} has no {FOLDER}: name its folder with --data. Nothing was run.")
        raise SystemExit(2)
    bank, tax = tables(options.data)
    firms, bads = len(bank), int(bank["label"].sum())
    print(f"{firms} firms, {bads} defaulted; {options.repeats} times {FOLDS}-fold cross-validation, stratified, seed {SEED}")
    print("| model | AUC [95 %] | KS [95 %] | spread over splits: AUC, KS |\n|---|---|---|---|")
    with threadpool_limits(1):  # tables of 123 rows: threads only wait for each other
        found = cross_validated(bank, tax, options.repeats)
    for name, figures in found.items():
        cells = [f"{figures[of]['mean']:.3f} [{figures[of]['interval'][0]:.3f}, {figures[of]['interval'][1]:.3f}]" for of in ("auc", "ks")]
        print(f"| {name} | {' | '.join(cells)} | {figures['auc']['splits']:.3f}, {figures['ks']['splits']:.3f} |", flush=True)
    if not options.skip_federated:
        for model in ("scorecard", "logistic"):
            federated(options.data, model)


if __name__ == "__main__":
    main()
