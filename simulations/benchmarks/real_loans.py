"""Real small business loans, three parties: `python -m simulations.benchmarks.real_loans [--data FOLDER] [--sets ...] [--models ...]`.

AUC and KS of the federated model, of the pooled reference, and of the bank's own columns alone, on the test sample and out of time. Tables:
US Small Business Administration loans, divided among a bank, a platform and a tax bureau that know most but not all of the firms. The date
of approval divides the sample and is never a feature; the loan's term, which leaks the outcome, is in a file that no run reads.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from federation.kernel.errors import CreditfedError
from simulations.simulate import simulate

PARTIES = ("bank", "platform", "tax")


@dataclass(frozen=True)
class LoanTable:
    """A folder of loans. sample: its [sample] keys besides as_of; splits: where it is measured."""

    folder: str
    sample: dict[str, str]
    splits: tuple[str, ...] = ("test",)

    def write(self, data: Path, to: Path, model: str) -> Path:
        """Its run file."""
        sections = [{"name": n, "role": n, "source": str((data / self.folder / f"{n}.parquet").resolve()), "id": "id"} for n in PARTIES]
        sections[0]["label"] = "label"
        run = {"task": "train", "model": model, "purpose": "decide", "seed": 7, "holdout": 0.3}
        path = to / f"{self.folder}-{model}.toml"
        path.write_text(tomli_w.dumps({"run": run, "sample": {"as_of": "as_of"} | self.sample, "party": sections}))
        return path


SETS = {
    "sample8k": LoanTable("sba_vertical_sample8k", {}),
    "full": LoanTable("sba_vertical_full", {}),
    "weighted30k": LoanTable("sba_vertical_weighted30k", {"weight": "weight", "out_of_time_from": "2005-01-01"}, ("test", "out_of_time")),
}


def figures(metrics: dict[str, Any], split: str) -> str:
    """AUC and KS to four decimals."""
    return f"{metrics[split]['auc']:.4f} / {metrics[split]['ks']:.4f}"


def compare(name: str, table: LoanTable, data: Path, model: str) -> None:
    """One run; prints a row for each split."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        try:
            result = simulate(table.write(data, Path(folder), model), Path(folder) / "out", pooled=True)
        except CreditfedError as error:
            print(f"| {name} | {model} | {error} |")
            return
        seconds = time.perf_counter() - started
    pooled, cost = result["pooled"], result["cost"]
    equal = all(figures(result["metrics"], split) == figures(pooled["metrics"], split) for split in table.splits)
    for split in table.splits:
        three = (figures(metrics, split) for metrics in (result["metrics"], pooled["metrics"], pooled["label_party_alone"]))
        print(f"| {name} | {model} | {split} | {result['metrics'][split]['n']:,} | {' | '.join(three)} |", flush=True)
    print(
        f"  {name} {model}: {'equal' if equal else 'NOT equal'} to the pooled fit to four decimals; coefficients within "
        f"{pooled['max_difference']:.1e}, scores within {pooled['score_difference']:.1e}; {cost['iterations']} iterations, "
        f"converged: {result['converged']}{'' if result['converged'] else ' (' + result['stop_reason'] + ')'}; {seconds:.1f} s in all, "
        f"fit {cost['seconds']['fit']:.1f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m simulations.benchmarks.real_loans", description="Federated, pooled and alone on loans."
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder with sba_vertical_*")
    parser.add_argument("--sets", nargs="*", choices=SETS, default=list(SETS))
    parser.add_argument("--models", nargs="*", choices=("logistic", "scorecard"), default=["logistic", "scorecard"])
    options = parser.parse_args()
    absent = [table.folder for name, table in SETS.items() if name in options.sets and not (options.data / table.folder).is_dir()]
    if absent:
        print(f"{options.data} has no {', '.join(absent)}: name the folder of the loans with --data. Nothing was run.")
        raise SystemExit(2)
    print("| loans | model | sample | rows | federated AUC / KS | pooled | bank alone |\n|---|---|---|---|---|---|---|", flush=True)
    for name in options.sets:
        for model in options.models:
            compare(name, SETS[name], options.data, model)


if __name__ == "__main__":
    main()
