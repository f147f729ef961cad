"""The logistic fit against scikit-learn on the pooled table: `python -m simulations.benchmarks.logistic [--rows N] [--columns D]`.

Every firm is known to all three parties, each has D normal columns, every two columns have the same correlation. The federated run is
`creditfed simulate` in a process of its own, all parties in it; the reference is scikit-learn's newton-cholesky to 1e-12 on the standardised
training rows, in this process. Coefficients are compared in standardised units, the intercept's too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w
from numpy.typing import NDArray
from scipy.special import expit

PARTIES = ("bank", "platform", "tax")
TARGET, ITERATIONS, SECONDS, MEMORY = 1e-6, 20, 8.0, 2e9
"""What the run is to show: largest difference, iterations, seconds of the fit on two cores, bytes at the peak."""


@dataclass(frozen=True)
class Pooled:
    """x: (n, 3 D), y: (n,) in {0, 1}, ids: (n,)."""

    x: NDArray[np.float64]
    y: NDArray[np.int64]
    ids: NDArray[Any]

    @classmethod
    def draw(cls, rows: int, columns: int, correlation: float, seed: int) -> Pooled:
        """Firms and outcomes with causes in every column."""
        random = np.random.default_rng(seed)
        width = columns * len(PARTIES)
        x = np.sqrt(correlation) * random.standard_normal((rows, 1)) + np.sqrt(1 - correlation) * random.standard_normal((rows, width))
        z = x @ random.normal(0, 1 / np.sqrt(width), width) - 1.5
        return cls(x, (random.random(rows) < expit(z)).astype(np.int64), np.array([f"f{i:07d}" for i in range(rows)]))

    def write(self, folder: Path, columns: int, seed: int) -> Path:
        """The parties' files and the run file."""
        sections = []
        for place, name in enumerate(PARTIES):
            own = self.x[:, place * columns : (place + 1) * columns]
            frame = pd.DataFrame(own, columns=[f"x{place * columns + j:02d}" for j in range(columns)])
            frame.insert(0, "id", self.ids)
            section = {"name": name, "role": name, "source": f"{name}.parquet", "id": "id"}
            if name == "bank":
                frame["label"] = self.y
                section["label"] = "label"
            frame.to_parquet(folder / section["source"])
            sections.append(section)
        run = {"task": "train", "model": "logistic", "purpose": "decide", "seed": seed, "holdout": 0.3}
        path = folder / "run.toml"
        path.write_text(tomli_w.dumps({"run": run, "model": {"C": 1.0}, "party": sections}))
        return path


def reference(x: NDArray[np.float64], y: NDArray[np.int64]) -> tuple[NDArray[np.float64], float]:
    """Intercept and standardised coefficients, (1 + d,), and the seconds that scaling and fitting took."""
    from sklearn.linear_model import LogisticRegression

    started = time.perf_counter()
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(scaled, y)
    return np.concatenate([model.intercept_, model.coef_[0]]), time.perf_counter() - started


def federated(path: Path, out: Path) -> tuple[dict[str, Any], float, float]:
    """The result, seconds of the whole command, and the largest memory of a process, in bytes."""
    command = [sys.executable, "-m", "simulations.command", "simulate", str(path), "--out", str(out)]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # our own command on our own files
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024.0
    return json.loads((out / "result.json").read_text()), seconds, peak


def compare(rows: int, columns: int, correlation: float, seed: int) -> bool:
    """One run; prints what it showed and returns whether it is what it should be."""
    data = Pooled.draw(rows, columns, correlation, seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result, command, peak = federated(data.write(folder, columns, seed), folder / "out")
        scores = pd.read_parquet(folder / "out" / "scores" / "bank.parquet")
        intercept = json.loads((folder / "out" / "models" / "bank.json").read_text())["intercept"]
    trains = pd.Series(scores["split"].to_numpy() == "train", index=scores["id"]).reindex(data.ids).to_numpy(bool)
    wanted, pooled = reference(data.x[trains], data.y[trains])
    named = {column: value for share in result["model"]["standardized"].values() for column, value in share.items()}
    found = np.array([intercept, *(named[f"x{j:02d}"] for j in range(data.x.shape[1]))])
    difference, cost = float(np.abs(found - wanted).max()), result["cost"]
    phases = cost["seconds"]
    print(f"{rows:,} rows x {len(PARTIES)} x {columns} columns, correlation {correlation}, {int(trains.sum()):,} train; seed {seed}")
    print(f"  largest |coefficient - scikit-learn|  {difference:.2e}   (<= {TARGET:g})")
    print(f"  iterations                            {cost['iterations']}   (<= {ITERATIONS}), converged: {result['converged']}")
    print(f"  seconds                               {'  '.join(f'{phase} {took:.2f}' for phase, took in phases.items())}")
    print(f"  fit                                   {phases['fit']:.2f} s   (<= {SECONDS:g} on 2 cores); the command {command:.1f} s")
    print(f"  largest process                       {peak / 1e9:.2f} GB   (< {MEMORY / 1e9:g})")
    print(f"  sent                                  {sum(cost['bytes_sent'].values()) / 1e6:.0f} MB by all parties together")
    print(f"  scikit-learn, scaled and fitted       {pooled:.2f} s: the federated fit takes {phases['fit'] / pooled:.0f} times as long")
    return difference <= TARGET and cost["iterations"] <= ITERATIONS and phases["fit"] <= SECONDS and peak < MEMORY


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m simulations.benchmarks.logistic", description="The logistic fit against scikit-learn.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--columns", type=int, default=10, help="of each party")
    parser.add_argument("--correlation", type=float, nargs="*", default=[0.0, 0.5])
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    met = [compare(options.rows, options.columns, correlation, options.seed) for correlation in options.correlation]
    print("all targets met" if all(met) else "NOT all targets met")


if __name__ == "__main__":
    main()
