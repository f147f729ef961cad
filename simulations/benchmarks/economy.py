"""Time, memory and size of an economy: `python -m simulations.benchmarks.economy [FIRMS] [MONTHS] [HISTORY]`.

100,000 firms and 24 months must take less than three minutes of one core and less than 2 GB.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

from simulations.economy.generate import generate
from simulations.economy.progress import estimate
from simulations.economy.settings import Economy, Rings


def main() -> None:
    firms, months, history = (int(word) for word in (*sys.argv[1:], *("100000", "24", "18")[len(sys.argv) - 1 :]))
    asked = Economy(firms=firms, months=months, history=history, rings=Rings(circular=12, multi_lending=6, identity=6))
    seconds, disk, memory = estimate(asked)
    with tempfile.TemporaryDirectory() as folder:
        before = time.process_time()
        written = generate(asked, Path(folder))
        used = time.process_time() - before
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{firms:,} firms, {months} months: {written.records:,} records, {size:.2f} GB")
    print(f"{written.seconds:.0f} s of wall, {used:.0f} s of processor, peak {peak:.2f} GB of memory")
    print(f"estimated: {seconds:.0f} s, {disk:.2f} GB, {memory:.2f} GB of memory")


if __name__ == "__main__":
    main()
