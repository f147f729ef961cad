"""What partners add on raw records, where the truth is known: `python -m simulations.benchmarks.economy_auc [FIRMS] [FOLDER]`.

Draws the scenario one-bank (20,000 firms), builds every feature by the real adapters, runs bank + tax and bank + tax + platform, and prints AUC
and KS of test and out-of-time rows with 95 % intervals (bootstrap over firms), the bank alone (the same kind of scorecard of the bank's own
columns, pooled fit), both again where the bank knows a firm from its officer's visit alone (newcomers), and the largest difference of the
federated to the pooled fit. The last line is the ceiling: the chance of default that follows from the hidden traits and the arrears on the day
before the as-of month; nobody can know more on that day. A folder that holds finished runs (W, run-NAME) is read as it is.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score, roc_curve

RUNS = ("bank_tax", "bank_tax_platform")
NEWCOMERS = "newcomers"
SPLITS = ("test", "out_of_time")
PAYS_NOT, CATCHES_UP, DEFAULT = 0.85, 0.5, 4
"""Of docs/economy.md: short of cash an instalment is missed; else one is caught up; at four unpaid ones it is default."""
DRAWS = 500

Reals = NDArray[np.float64]


def main() -> None:
    """Print the table."""
    firms = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    if len(sys.argv) > 2:
        compared(Path(sys.argv[2]), firms)
        return
    with tempfile.TemporaryDirectory() as folder:
        compared(Path(folder), firms)


def compared(folder: Path, firms: int) -> None:
    """Draw and run what is not there yet, and print."""
    from simulations.scenarios import scenario
    from simulations.scenarios.prepare import prepare
    from simulations.simulate import simulate

    world = folder / "W"
    if not (world / "bank_tax.toml").exists():
        import msgspec

        from simulations.economy.generate import generate

        asked = scenario("one-bank")
        economy = msgspec.structs.replace(asked.economy, firms=firms)
        generate(economy, world)
        prepare(world, economy, asked.plan)
    for name in (*RUNS, NEWCOMERS):
        if not (folder / f"run-{name}" / "result.json").exists():
            simulate(world / f"{name}.toml", folder / f"run-{name}", pooled=True)
    results = {name: json.loads((folder / f"run-{name}" / "result.json").read_text()) for name in (*RUNS, NEWCOMERS)}
    print(f"{firms:,} firms, scenario one-bank")
    full = results[RUNS[-1]]
    for split in SPLITS:
        counts = full["metrics"][split]
        print(f"\n{split}: {counts['n']:,} rows, {counts['bads']:,} bads")
        _line("bank alone", full["pooled"]["label_party_alone"][split])
        for name in RUNS:
            _line(name.replace("_", " + "), results[name]["metrics"][split])
        _line("newcomers: visit alone", results[NEWCOMERS]["pooled"]["label_party_alone"][split])
        _line("newcomers: + tax + platform", results[NEWCOMERS]["metrics"][split])
        _line("ceiling (truth)", ceiling(world, folder / f"run-{RUNS[-1]}" / "scores" / "bank-1.parquet", split))
    for name, result in results.items():
        print(f"{name}: largest difference to the pooled fit {result['pooled']['max_difference']:.1e} (standardised units)")


def _line(name: str, figures: dict[str, Any]) -> None:
    spans = figures.get("intervals") or {}
    said = []
    for figure in ("auc", "ks"):
        span = spans.get(figure)
        said.append(f"{figure.upper()} {figures[figure]:.3f}" + (f" [{span[0]:.3f}, {span[1]:.3f}]" if span else ""))
    print(f"  {name:<24} {'   '.join(said)}")


def ceiling(world: Path, scored: Path, split: str) -> dict[str, Any]:
    """AUC and KS of the truth's probability on the scored rows of a split, intervals by firm."""
    rows = pd.read_parquet(scored)
    rows = rows[rows["split"] == split].reset_index(drop=True)
    month = rows["as_of"].to_numpy("datetime64[M]")
    traits = pd.read_parquet(world / "truth" / "traits.parquet", columns=["id", "month", "shortfall"])
    book = pd.read_parquet(world / "bank-1" / "repayments.parquet", columns=["firm", "date", "days_past_due"])
    book["at"] = book["date"].to_numpy("datetime64[M]")
    late = book.groupby(["firm", "at"])["days_past_due"].max()
    start = np.datetime64(scenario_start(), "M")
    keys = pd.DataFrame({"id": rows["id"], "month": (month - start).astype(int) - 1})
    short = keys.merge(traits, on=["id", "month"], how="left")["shortfall"].fillna(0.05).to_numpy(np.float64)
    days = late.reindex(pd.MultiIndex.from_arrays([rows["id"], month - 1])).fillna(0).to_numpy(np.float64)
    chance = chance_of_default(short, np.minimum(np.ceil(days / 31), DEFAULT - 1).astype(int))
    label = _labels(world, rows)
    return _figures(label, chance, rows["id"].to_numpy())


def scenario_start() -> str:
    """The first month of the scenario."""
    from simulations.scenarios import scenario

    return scenario("one-bank").economy.start


def chance_of_default(shortfall: Reals, unpaid: NDArray[np.int_], months: int = 12) -> Reals:
    """Of firms with these monthly probabilities and unpaid instalments, traits held as they are: a Markov chain over unpaid instalments."""
    states = np.arange(DEFAULT)
    raised = expit(logit(np.clip(shortfall, 1e-9, 1 - 1e-9))[:, None] + np.where(states > 0, 2 + np.minimum(states, 3) / 2, 0.0))
    missed = PAYS_NOT * raised
    chance = np.zeros((len(shortfall), DEFAULT + 1))
    chance[np.arange(len(shortfall)), unpaid] = 1.0
    for _ in range(months):
        after = np.zeros_like(chance)
        after[:, DEFAULT] = chance[:, DEFAULT]
        for state in range(DEFAULT):
            here = chance[:, state]
            after[:, state + 1] += here * missed[:, state]
            paid = here * (1 - missed[:, state])
            after[:, max(state - 1, 0)] += paid * CATCHES_UP
            after[:, state] += paid * (1 - CATCHES_UP)
        chance = after
    return np.asarray(chance[:, DEFAULT])


def _labels(world: Path, rows: pd.DataFrame) -> NDArray[np.int8]:
    from federation.kernel.manifest import TargetSettings
    from simulations.scenarios.outcomes import labels

    repayments = pd.read_parquet(world / "bank-1" / "repayments.parquet")
    loans = pd.read_parquet(world / "bank-1" / "loans.parquet", columns=["loan", "opened"])
    made = labels(repayments, loans, rows[["id", "as_of"]], TargetSettings(performance_months=12))
    return np.asarray(rows[["id", "as_of"]].merge(made, on=["id", "as_of"], how="left", validate="1:1")["label"].to_numpy(np.int8))


def _figures(label: NDArray[np.int8], score: Reals, firms: NDArray[Any]) -> dict[str, Any]:
    rng, distinct = np.random.default_rng(7), pd.factorize(firms)[0]
    by_firm = [np.flatnonzero(distinct == number) for number in range(distinct.max() + 1)]
    drawn: dict[str, list[float]] = {"auc": [], "ks": []}
    for _ in range(DRAWS):
        chosen = np.concatenate([by_firm[number] for number in rng.integers(0, len(by_firm), len(by_firm))])
        if 0 < label[chosen].sum() < len(chosen):
            drawn["auc"].append(float(roc_auc_score(label[chosen], score[chosen])))
            drawn["ks"].append(_ks(label[chosen], score[chosen]))
    spans = {name: np.quantile(values, [0.025, 0.975]).tolist() for name, values in drawn.items()}
    return {"auc": float(roc_auc_score(label, score)), "ks": _ks(label, score), "intervals": spans}


def _ks(label: NDArray[np.int8], score: Reals) -> float:
    false, true, _ = roc_curve(label, score)
    return float(np.max(true - false))


if __name__ == "__main__":
    main()
