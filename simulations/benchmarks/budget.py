"""Cost of the budget ledger: a reservation, a spend and a settlement, each synced; opening a long ledger; composing losses.

The bare disk is measured beside it: an append and fsync of the same number of bytes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from federation.kernel.loss import DiscreteGaussian, DiscreteLaplace, Loss, Stated
from privacy.budget.account import epsilon
from privacy.budget.limits import Cost, Counts, Limits
from privacy.store.budget_file import BudgetFile


def timed(name: str, repeats: int, call: Callable[[int], object]) -> None:
    spent = []
    for number in range(repeats):
        started = time.perf_counter()
        call(number)
        spent.append(1000 * (time.perf_counter() - started))
    print(f"{name:60}{np.median(spent):10.2f} ms median{np.percentile(spent, 95):10.2f} ms at 95 %{repeats:8} times")


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--runs", type=int, default=500)
    words.add_argument("--folder", type=Path, default=None, help="on the disk to measure; the system's temporary folder otherwise")
    given = words.parse_args()
    noise, one = DiscreteGaussian(50.0, 1.0, 100), Counts(releases=1, columns=10, rows=100)
    epsilon([noise, Stated(0.001, 1e-12)], 1e-6)  # imports the accountant
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        descriptor = os.open(Path(folder) / "bare", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

        def bare(_number: int) -> None:
            os.write(descriptor, bytes(4096))
            os.fsync(descriptor)

        timed("append and fsync of 4 KiB, no ledger", given.runs, bare)
        os.close(descriptor)
        path = Path(folder) / "ledger.db"
        file = BudgetFile(path)
        file.set_limits("loans", "decide", Limits(100.0, 1e-6, releases=10**9, rows=10**9), "officer")
        plain, whole = Cost(counts=one), Cost((DiscreteGaussian(50.0, 1.0, 100, count=2),), one)
        timed("reserve, counts alone", given.runs, lambda n: file.reserve(f"plain {n}", "loans", "decide", plain))
        timed("spend, counts alone", given.runs, lambda n: file.spend(f"plain {n}", "r", plain))
        timed("settle", given.runs, lambda n: file.settle(f"plain {n}"))
        timed("spend again (a replay)", given.runs, lambda n: file.spend(f"plain {n}", "r", plain))
        timed(
            "reserve, two noisy releases more each time", min(100, given.runs), lambda n: file.reserve(f"dp {n}", "loans", "decide", whole)
        )
        timed("spend, one noisy release", min(100, given.runs), lambda n: file.spend(f"dp {n}", "r", Cost((noise,))))
        records = len(file.history())
        file.close()
        timed(f"open and read {records:,} records", 5, lambda _: BudgetFile(path).left("loans", "decide"))
    kinds: dict[str, list[Loss]] = {
        "Gaussian releases of 20 kinds": [DiscreteGaussian(50.0 + n, 1.0, 100, count=30) for n in range(20)],
        "counts with little noise, 5 kinds": [DiscreteGaussian(5.0 + n, 1.0, 100, count=3) for n in range(5)],
        "all kinds together": [noise, DiscreteGaussian(5.0, 1.0, 9), DiscreteLaplace(20.0, 1, 5, count=7), Stated(0.1, 1e-9, count=4)],
    }
    for name, losses in kinds.items():
        timed(f"epsilon of {name}", 5, lambda n, losses=losses: epsilon(losses, 1e-6 * (1 + n / 100)))  # type: ignore[misc]


if __name__ == "__main__":
    main()
