"""What the differencing rule stops, what it lets through, and what it costs.

pairs       random pairs of releases that differ in fewer than the minimum cohort: how many the node admits, and how many firms two sums
            give exactly where it does not ask
analyst     an honest analyst's 200 questions (`simulations.analyst`): the share admitted, by sort of work
time        checking and recording release 100 of a million rows, and the size of the file

python -m simulations.benchmarks.disclosure [--pairs 10000] [--firms 20000] [--rows 1000000] [--releases 100]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from federation.kernel.errors import PolicyRefusal
from federation.kernel.secret import Secret
from privacy.attacks.differencing import left_out, totals
from privacy.disclosure.differencing import ReleaseLedger
from privacy.disclosure.release import Release
from privacy.store.releases import ReleaseFile
from simulations.analyst import Analyst, Book

COHORT = 10


def admitted(ledger: ReleaseLedger, release: Release) -> str:
    """The rule that turned it down, or "" where none did."""
    try:
        ledger.admit(release, COHORT)
    except PolicyRefusal as refusal:
        return refusal.what.rpartition("rule: ")[2].rstrip(")")
    return ""


def pairs(count: int) -> None:
    rng, accepted, recovered = np.random.default_rng(6), 0, 0
    for _ in range(count):
        size, differ = int(rng.integers(50, 2000)), int(rng.integers(1, COHORT))
        rows, values = rng.integers(0, 1 << 63, size, dtype=np.uint64), rng.integers(0, 10**12, (size, 2))
        fewer = np.ones(size, bool)
        fewer[rng.choice(size, differ, replace=False)] = False
        ledger = ReleaseLedger().with_release("all", Release(rows, ("turnover",), "statistics", "decide"))
        accepted += not admitted(ledger, Release(rng.permutation(rows[fewer]), ("turnover", "age"), "train", "monitor"))
        one = np.arange(size) != int(rng.integers(size))
        recovered += np.array_equal(left_out(totals(values, np.ones(size, bool)), totals(values, one)), values[~one][0])
    print(f"pairs: {accepted} of {count} admitted; without the rule {recovered} of {count} left-out firms recovered exactly")


def analyst(firms: int, seeds: int) -> None:
    asked, passed, rules = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
    for seed in range(seeds):
        rng, ledger = np.random.default_rng(seed), ReleaseLedger()
        for place, question in enumerate(Analyst(rng, Book.drawn(rng, firms)).year()):
            asked[question.sort] += 1
            if rule := admitted(ledger, question.release):
                rules[question.sort, rule] += 1
            else:
                passed[question.sort] += 1
                ledger = ledger.with_release(str(place), question.release)
    print(f"analyst, {firms:,} firms, {seeds} years of 200 questions: {passed.total() / asked.total():.1%} admitted")
    for sort in asked:
        reasons = ", ".join(f"{count} by {rule!r}" for (of, rule), count in sorted(rules.items()) if of == sort)
        print(f"    {sort:<14} {passed[sort]:>4} of {asked[sort]:>4}   {reasons}")


def cost(rows: int, releases: int) -> None:
    rng = np.random.default_rng(1)
    everybody = rng.integers(0, 1 << 63, rows, dtype=np.uint64)
    start, spread = rows * 4 // 5, rows // 5 // releases
    with tempfile.TemporaryDirectory() as folder:
        file = ReleaseFile(Path(folder), Secret(bytes(32)))
        began = time.perf_counter()
        file.hashes(f"91330000{number:010d}" for number in range(rows))
        hashing = time.perf_counter() - began
        for place in range(releases):
            there = everybody[: start + (place + 1) * spread]  # the book grows, and two of three questions are about a segment of it
            if place % 3:
                there = there[there % np.uint64(4 * (place % 3) + 3) == place % 7]
            release = Release(there, ("turnover", "age"), "train", "decide")
            began = time.perf_counter()
            file.check(f"run-{place}", release, COHORT)
            checking = time.perf_counter() - began
            began = time.perf_counter()
            file.record(f"run-{place}", release, COHORT)
            recording = time.perf_counter() - began
        whole = Release(everybody, ("turnover", "age"), "train", "decide")
        began = time.perf_counter()
        file.check("whole", whole, COHORT)
        against_all = time.perf_counter() - began
        size = (Path(folder) / "releases.sqlite").stat().st_size
    print(f"time, {releases} releases of up to {rows:,} rows, {os.cpu_count()} cores: ids hashed in {hashing:.1f} s, the last release")
    print(f"    checked in {checking:.1f} s and recorded in {recording:.1f} s; all rows against all releases {against_all:.1f} s")
    print(f"    file {size / 1e6:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--firms", type=int, nargs="+", default=[5_000, 20_000])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--releases", type=int, default=100)
    given = parser.parse_args()
    pairs(given.pairs)
    for firms in given.firms:
        analyst(firms, given.seeds)
    cost(given.rows, given.releases)


if __name__ == "__main__":
    main()
