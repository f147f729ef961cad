"""Newton's method over eight banks against the same algorithm on the pooled table: `python -m simulations.benchmarks.horizontal`.

First the plans of all banks are carried by plain addition in one process: what is compared is the algorithm, and the coefficients with those
of the pooled run and of scikit-learn (newton-cholesky to 1e-12). Then the same plans in a whole session, all banks and the coordinator in this
process: hellos, keys, signed and sealed envelopes, masked sums with drop-outs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from federation.kernel import suite
from federation.kernel.batch import Batch
from federation.kernel.codec import decode
from federation.kernel.journal import MemoryJournal
from federation.kernel.manifest import Manifest, PartyDeclaration
from federation.kernel.participant import Participant
from federation.kernel.role import COORDINATOR
from federation.kernel.secret import Secret
from federation.models.horizontal.newton import FitSettings, Newton, NewtonFit
from federation.models.horizontal.personal import Rows
from federation.models.horizontal.plan import Plan, add_up
from federation.models.horizontal.program import Adder, Bank
from federation.models.horizontal.task import Task
from federation.models.table import Table
from federation.models.training import Local
from server.outbox import Cost, Exchange

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


def _identity(name: str) -> Secret:
    return Secret(hashlib.sha256(name.encode()).digest())


def _ready(plan: Newton, *_: object) -> Newton:
    return plan


def _lines(_plan: Plan[NewtonFit], fit: NewtonFit) -> list[str]:
    return [f"{value:.9e}" for value in fit.theta]


def in_session(parts: list[tuple[Reals, NDArray[np.int8]]], settings: FitSettings) -> tuple[NewtonFit, float]:
    """The fit and its seconds through participants and envelopes, from plans that are ready; opening the session is not counted."""
    columns = parts[0][0].shape[1]
    labels = tuple(f"x{j:02d}" for j in range(columns))
    names = [f"bank{b}" for b in range(len(parts))]
    banks = tuple(PartyDeclaration(name=n, role="bank", identity=suite.signing_public(_identity(n)).hex(), label=True) for n in names)
    manifest = Manifest(
        run="bench", task="train", model="logistic", purpose="benchmark", seed=0, contracts=(), parties=banks,
        coordinator=suite.signing_public(_identity(COORDINATOR)).hex(),
    )  # fmt: skip
    plans = {n: Newton(Rows.of(x, y, np.ones(len(y))), labels, np.ones(columns), settings) for n, (x, y) in zip(names, parts, strict=True)}
    empty = Table((), (), {}, b"")
    programs = {n: Bank(manifest, n, Local(empty), Task(partial(_ready, plans[n]), _lines)) for n in names}
    everyone = programs | {COORDINATOR: Adder(manifest)}
    parties = {
        name: Participant(manifest, name, _identity(name), program, MemoryJournal(), entropy=os.urandom) for name, program in everyone.items()
    }  # fmt: skip
    exchange, started = Exchange.first(tuple(parties)), 0.0
    while not exchange.over:
        if not started and parties[COORDINATOR].stage.startswith("sum"):
            started = time.perf_counter()
        replies = {name: parties[name].deliver(batch.number, batch.envelopes) for name, batch in exchange.batches.items()}
        exchange = exchange.following({name: decode(raw, Batch, name, len(raw)) for name, raw in replies.items()}, Cost())
    seconds = time.perf_counter() - started
    first = parties[names[0]]
    if first.failure is not None:
        raise first.failure
    return programs[names[0]].state_of(first.state), seconds


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
    sessions = [in_session(parts, settings) for _ in range(3)]
    session = min(took for _, took in sessions)
    apart = max(apart, float(np.abs(sessions[0][0].theta - pooled.theta).max()))
    print(f"  in a whole session        {session:.2f} s: ratio {session / alone:.2f}   (<= {RATIO:g}); largest |difference| {apart:.1e}")
    own, took = fit(parts, FitSettings(tolerance=1e-9, intercept="per bank"))
    print(f"  an intercept for each     {took:.2f} s, {own.iteration} iterations")
    own, took = fit(parts, FitSettings(tolerance=1e-9, intercept="per bank", personal_C=1.0))
    print(f"  own slopes too            {took:.2f} s, {own.iteration} iterations")
    met = session <= RATIO * alone and many.converged and many.iteration <= ITERATIONS and max(apart, from_scikit) <= DIFFERENCE
    print("all targets met" if met else "NOT all targets met")


if __name__ == "__main__":
    main()
