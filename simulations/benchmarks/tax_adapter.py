"""The tax adapter over a million real invoices: `python -m simulations.benchmarks.tax_adapter [--data FOLDER] [--out FILE]`.

425 Chinese firms, all invoices that they wrote and received from October 2016 to February 2020 (CUMCM 2020 C: contest material without a
licence, for tests inside). As `creditfed features build` does it: through the raw door, with a mapping for each folder. Prints rows, what was
cleaned, time, peak memory and the size of the feature table. Targets: below 60 seconds and 1.5 GB.
"""

from __future__ import annotations

import argparse
import datetime as dt
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from clients import feature_table
from clients.own_tables import load

DATA = Path("../shared/data")
FOLDERS = ("cumcm2020c_123", "cumcm2020c_302")
FILES = {"sales_invoices": "raw_sales_invoices.parquet", "purchase_invoices": "raw_purchase_invoices.parquet"}
MAPPING = """role = "tax"
dictionary = "1.0"
extracted = 2020-02-29

[sales_invoices]
source = "{folder}/raw_sales_invoices.parquet"
key = {key}

[purchase_invoices]
source = "{folder}/raw_purchase_invoices.parquet"
key = {key}
"""
KEY = ("firm", "number", "date", "counterparty", "amount", "tax", "status")
"""What tells two invoices apart: the tables lack the code of the invoice book, and books share numbers, so that the number names none."""


def through_the_door(folder: Path, months: Sequence[np.datetime64]) -> feature_table.Built:
    """The feature table of one folder, as the command makes it, and what was cleaned. months: as-of months. Raises DataError."""
    with tempfile.TemporaryDirectory() as place:
        mapping = Path(place) / "mapping.toml"
        mapping.write_text(MAPPING.format(folder=folder.absolute(), key=list(KEY)))
        return feature_table.build(load(mapping), months, dt.date(2020, 2, 29), lambda _kind, _size: None)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m simulations.benchmarks.tax_adapter", description="The tax adapter on real invoices.")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with cumcm2020c_*")
    parser.add_argument("--out", type=Path, help="write the feature table here, as Parquet")
    options = parser.parse_args()
    if absent := [folder for folder in FOLDERS if not (options.data / folder).is_dir()]:
        print(f"{options.data} has no {', '.join(absent)}: name the folder with --data. Nothing was run.")
        raise SystemExit(2)
    months = np.arange("2017-10", "2020-04", dtype="datetime64[M]")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    built = {folder: through_the_door(options.data / folder, list(months)) for folder in FOLDERS}
    table = pd.concat([one.table for one in built.values()], ignore_index=True)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows = 0
    for folder, one in built.items():
        for kind, cleaned in one.cleaned.items():
            rows += cleaned.rows
            print(f"{folder}/{FILES[kind]}: {cleaned.rows:,} rows read")
            for found in cleaned.findings():
                print(f"    {found.times:,} {found.outcome}: {found.column + ', ' if found.column else ''}{found.rule}")
    columns = table.columns.drop(["id", "as_of"])
    told = int(table[columns].notna().sum().sum())
    print(
        f"{rows:,} invoices -> {table['id'].nunique()} firms x {len(months)} as-of months ({months[0]} to {months[-1]}): "
        f"{len(table):,} rows x {len(columns)} features, {told / table[columns].size:.1%} of the cells not missing"
    )
    print(f"{seconds:.1f} s; peak {peak:,.0f} MB, of which {before:,.0f} MB before the first row was read (Python and libraries)")
    if options.out:
        table.to_parquet(options.out, index=False)


if __name__ == "__main__":
    main()
