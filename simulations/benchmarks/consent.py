"""What consents cost: an import of a million, the mask of a million ids, and a look for withdrawals between two stages.

`python -m simulations.benchmarks.consent [SUBJECTS] [--url URL]`: in SQLite here, or in an empty database. Prints seconds, and rows.
"""

from __future__ import annotations

import argparse
import datetime as dt
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from federation.kernel.secret import Secret
from privacy.consent.days import day_of, moment
from privacy.consent.decide import Ask
from privacy.consent.grant import Terms
from privacy.consent.row import Row
from privacy.store.consent_ledger import ConsentLedger

NOW = "2026-03-15T04:00:00Z"
SHARE_WITHDRAWN = 100
"""One subject in so many."""


def rows(subjects: int) -> Iterator[Row]:
    """A grant each, under one of four forms; one in ten ran out yesterday."""
    today = day_of(moment(NOW))
    forms = [Terms("credit", frozenset({f"c{i}" for i in range(20)}), level, frozenset({"bank", "tax", "platform"})) for level in range(4)]
    for i in range(subjects):
        yield Row(f"firm-{i:09d}", forms[i % 4], today - 100, today - 1 if i % 10 == 0 else today + 100, f"form {i}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("subjects", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--url")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        ledger = ConsentLedger(asked.url or f"sqlite:///{folder}/ledger.db", Secret(bytes(range(32))))
        measure(ledger, asked.subjects)
        if not asked.url:
            print(f"on disk: {(Path(folder) / 'ledger.db').stat().st_size / 1e6:,.0f} MB")
        ledger.close()


def measure(ledger: ConsentLedger, subjects: int) -> None:
    ask = Ask("decide", tuple((f"c{i}", 3) for i in range(20)), ("bank", "tax"))
    ids = [f"firm-{i:09d}" for i in range(subjects)]
    began = time.perf_counter()
    ledger.import_rows(rows(subjects), NOW)
    print(f"{subjects:,} consents imported in {time.perf_counter() - began:.1f} s")
    ledger.withdraw(ids[7::SHARE_WITHDRAWN], NOW)
    mark = ledger.mark(NOW)
    for count in (subjects, min(subjects, 20_000)):
        began, processor = time.perf_counter(), time.process_time()
        mask = ledger.permitted(ids[:count], ask.purpose, ask.columns, ask.recipients, NOW)
        wall, processor = time.perf_counter() - began, time.process_time() - processor
        print(f"mask of {count:,} ids in {wall:.1f} s ({processor:.1f} s of processor), {mask.sum():,} permitted")
    began = time.perf_counter()
    ledger.gone(ids, ask, mark, NOW)
    print(f"a look between stages, nothing changed: {1000 * (time.perf_counter() - began):.1f} ms")
    ledger.withdraw(ids[1:100], NOW)
    began = time.perf_counter()
    gone = ledger.gone(ids, ask, mark, NOW)
    print(f"a look after 99 withdrawals, {subjects:,} ids: {time.perf_counter() - began:.1f} s, {gone.mask.sum():,} gone")
    began = time.perf_counter()
    ledger.record_use("run", ids, ask, dt.date(2026, 12, 31), NOW)
    print(f"{subjects:,} uses recorded in {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
