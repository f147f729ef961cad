"""Newton's method over eight banks against the same algorithm on the pooled table: `python -m simulations.benchmarks.horizontal`.

The plans of all banks are carried by plain addition in one process, without masks or messages: what is compared is the algorithm, and the
coefficients with those of the pooled run and of scikit-learn (newton-cholesky to 1e-12). Sessions are timed elsewhere.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from federation.models.horizontal.newton import FitSettings, Newton, NewtonFit
from federation.models.horizontal.personal import Rows
from federation.models.horizontal.plan import add_up

Reals = NDArray[np.float64]
RATIO, DIFFERENCE, ITERATIONS = 3.0, 1e-8, 8
"""What is to be shown."""


def draw(rows: int, columns: int, banks: int, seed: int) -> tuple[Reals, NDArray[np.int8], NDArray[np.int64]]:
    """Standardised x (n, d) with correlations of one half, y (n,), and the bank of each row: banks of uneven size."""
    random = np.random.default_rng(seed)
    x = np.sqrt(0.5) * random.standard_normal((rows, 1)) + np.sqrt(0.5) * random.standard_normal((rows, columns))
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    y = (random.random(rows) < expit(x @ random.normal(0, 0.3, columns) - 1.5)).astype(np.int8)
    share = np.arange(1, banks + 1) ** 1.5
    return x, y, random.choice(banks, rows, p=share / share.sum())


def fit(parts: list[tuple[Reals, NDArray[np.int8]]], settings: FitSettings) -> tuple[NewtonFit, float]:
    """The fit and its seconds, from plans that are ready."""
    columns = parts[0][0].shape[1]
    names = tuple(f"x{j:02d}" for j in range(columns))
    plans = [Newton(Rows.of(x, y, np.ones(len(y))), names, np.ones(columns), settings) for x, y in parts]
    started = time.perf_counter()
    return add_up(plans)[0], time.perf_counter() - started


def reference(x: Reals, y: NDArray[np.int8]) -> Reals:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(x, y)
    return np.concatenate([model.intercept_, model.coef_[0]])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m simulations.benchmarks.horizontal", description="Newton over many banks, by addition.")
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--banks", type=int, default=8)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {options.rows:,} rows x {options.columns}, {options.banks} banks")
    x, y, bank = draw(options.rows, options.columns, options.banks, options.seed)
    parts = [(x[bank == b], y[bank == b]) for b in range(options.banks)]
    settings = FitSettings(tolerance=1e-9)
    runs = [(fit(parts, settings), fit([(x, y)], settings)) for _ in range(3)]
    (many, _), (pooled, _) = runs[0]
    seconds, alone = (min(run[side][1] for run in runs) for side in (0, 1))
    wanted = reference(x, y)
    apart, from_scikit = float(np.abs(many.theta - pooled.theta).max()), float(np.abs(many.theta - wanted).max())
    print(f"  all banks together        {seconds:.2f} s, pooled {alone:.2f} s (best of 3): ratio {seconds / alone:.2f}   (<= {RATIO:g})")
    print(f"  iterations                {many.iteration}   (<= {ITERATIONS}), converged: {many.converged}")
    print(f"  largest |difference|      {apart:.1e} from pooled, {from_scikit:.1e} from scikit-learn   (<= {DIFFERENCE:g})")
    own, took = fit(parts, FitSettings(tolerance=1e-9, intercept="per bank"))
    print(f"  an intercept for each     {took:.2f} s, {own.iteration} iterations")
    own, took = fit(parts, FitSettings(tolerance=1e-9, intercept="per bank", personal_C=1.0))
    print(f"  own slopes too            {took:.2f} s, {own.iteration} iterations")
    met = seconds <= RATIO * alone and many.converged and many.iteration <= ITERATIONS and max(apart, from_scikit) <= DIFFERENCE
    print("all targets met" if met else "NOT all targets met")


if __name__ == "__main__":
    main()
