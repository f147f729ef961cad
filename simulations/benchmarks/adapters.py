"""What adapters cost: a million orders and a million flows, from batches of canonical records to the feature table of 24 months.

`python -m simulations.benchmarks.adapters [ROWS] [--firms N] [--months M] [--kinds orders,flows]`. Each kind in a process of its own, batches
of 100,000 made as they are asked for. Prints the table's rows, seconds of CPU and on the clock, and the peak of memory beside what
Python and its
libraries take by themselves.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pandas as pd

KINDS = ("orders", "flows")
BATCH = 100_000
SEED = 20_260_601
FIRST, DAYS = np.datetime64("2021-01-01", "s"), 4 * 365
LAST_MONTH = np.datetime64("2025-01", "M")
PARTNERS = 40
"""Counterparties of a firm."""
FLOWS = ("sale", "purchase", "salary", "utility", "tax", "rent", "loan", "repayment", "transfer", "other")
SHARES = (0.45, 0.3, 0.06, 0.04, 0.03, 0.02, 0.01, 0.03, 0.03, 0.03)


def batches(kind: str, rows: int, firms: int) -> Iterator[pd.DataFrame]:
    """Records of four years, in no order of firms or days."""
    rng = np.random.default_rng(SEED)
    names = np.array([f"91310000{number:010d}" for number in range(firms)], dtype=object)
    for start in range(0, rows, BATCH):
        count = min(BATCH, rows - start)
        firm = rng.integers(0, firms, count)
        partner = firm * PARTNERS + (PARTNERS * rng.random(count) ** 2).astype(np.int64)
        frame = pd.DataFrame({
            "firm": names[firm], "date": FIRST + rng.integers(0, DAYS, count).astype("timedelta64[D]"),
            "amount": np.rint(rng.lognormal(10, 1, count)).astype(np.int64),
        })  # fmt: skip
        numbers, others = pd.Series(np.arange(start, start + count)).astype("str"), pd.Series(partner).astype("str")
        if kind == "orders":
            status = np.array(["completed", "cancelled", "open"])[rng.choice(3, count, p=[0.9, 0.07, 0.03])]
            yield frame.assign(order=numbers, buyer=others, quantity=rng.integers(1, 20, count), status=status)
        else:
            what = np.array(FLOWS)[rng.choice(len(FLOWS), count, p=SHARES)]
            sign = np.where(np.isin(what, ["sale", "loan", "other"]), 1, -1)
            yield frame.assign(booking=numbers, counterparty=others, kind=what, amount=frame["amount"] * sign)


def measure(kind: str, rows: int, firms: int, months: int) -> dict[str, float]:
    """In this process: seconds and memory of one build."""
    from clients.roles.bank import features as bank
    from clients.roles.platform import features as platform

    adapter = platform if kind == "orders" else bank
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made = time.process_time()
    for _ in batches(kind, rows, firms):
        pass
    made = time.process_time() - made
    wall, cpu, table = time.perf_counter(), time.process_time(), 0
    for piece in adapter.pieces({kind: batches(kind, rows, firms)}, list(np.arange(LAST_MONTH - months + 1, LAST_MONTH + 1))):
        table += len(piece)
    return {
        "table": table,
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu - made,
        "making": made,
        "base": base / 1024,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--firms", type=int, default=2_000)
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    kinds = given.kinds.split(",")
    if given.inside:
        print(json.dumps(measure(kinds[0], given.rows, given.firms, given.months)))
        return
    print(f"{given.rows:,} rows of {given.firms:,} firms, features as of {given.months} months")
    for kind in kinds:
        command = [sys.executable, "-m", "simulations.benchmarks.adapters", str(given.rows), "--firms", str(given.firms)]
        command += ["--months", str(given.months), "--kinds", kind, "--inside"]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603 - this module
        print(
            f"{kind:8} {found['table']:9,.0f} rows of features, {found['cpu']:6.1f} s CPU and {found['wall']:6.1f} s on the clock "
            f"(making the batches again took {found['making']:.1f} s), peak {found['peak']:,.0f} MB, of which {found['base']:,.0f} MB Python"
        )


if __name__ == "__main__":
    main()
