"""The tax adapter over a million real invoices: `python -m simulations.benchmarks.tax_adapter [--data FOLDER] [--out FILE]`.

425 Chinese firms, all invoices that they wrote and received from October 2016 to February 2020 (CUMCM 2020 C: contest material without a
licence, for tests inside). As `creditfed features build` does it: through the raw door, with a mapping for each folder. Prints rows, what was
cleaned, time, peak memory and the size of the feature table. Targets: below 60 seconds and 1.5 GB. With --adapter-only the adapter alone, fed
by a small reader of its own.
"""

from __future__ import annotations

import argparse
import datetime as dt
import resource
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from clients import feature_table
from clients.own_tables import load
from clients.roles.tax.features import build

DATA = Path("../shared/data")
FOLDERS = ("cumcm2020c_123", "cumcm2020c_302")
FILES = {"sales_invoices": "raw_sales_invoices.parquet", "purchase_invoices": "raw_purchase_invoices.parquet"}
COLUMNS = ["id", "code", "invoice_no", "date", "counterparty", "amount", "tax", "status"]
BATCH = 65_536


def canonical(path: Path, rows: dict[str, int]) -> Iterator[pd.DataFrame]:
    """A table of invoices in canonical batches: amounts in whole fen, days, the dictionary's names. rows: counts by file are added to it."""
    for batch in pq.ParquetFile(path).iter_batches(BATCH, columns=COLUMNS):
        table = batch.to_pandas()
        rows[str(path)] = rows.get(str(path), 0) + len(table)
        yield pd.DataFrame(
            {
                "firm": table["id"].astype(object),
                "code": table["code"].astype(object),
                "number": table["invoice_no"].astype(str).astype(object),
                "date": table["date"].astype("datetime64[s]"),
                "counterparty": table["counterparty"].astype(object),
                "amount": (table["amount"] * 100).round().astype(np.int64),
                "tax": (table["tax"] * 100).round().astype(np.int64),
                "status": table["status"].astype(object),
            }
        )


def both(data: Path, kind: str, rows: dict[str, int]) -> Iterator[pd.DataFrame]:
    """One kind of invoice of all firms."""
    for folder in FOLDERS:
        yield from canonical(data / folder / FILES[kind], rows)


def records(data: Path, rows: dict[str, int]) -> Mapping[str, Iterator[pd.DataFrame]]:
    """What the adapter reads."""
    return {kind: both(data, kind, rows) for kind in FILES}


MAPPING = """role = "tax"
dictionary = "1.0"
extracted = 2020-02-29

[sales_invoices]
source = "{folder}/raw_sales_invoices.parquet"

[purchase_invoices]
source = "{folder}/raw_purchase_invoices.parquet"
"""


def through_the_door(data: Path, months: list[np.datetime64], rows: dict[str, int]) -> pd.DataFrame:
    """The feature table of both folders, as the command makes it. The code of an invoice tells two of one number apart."""
    tables = []
    for folder in FOLDERS:
        with tempfile.TemporaryDirectory() as place:
            mapping = Path(place) / "mapping.toml"
            mapping.write_text(MAPPING.format(folder=(data / folder).absolute()))
            built = feature_table.build(load(mapping), months, dt.date(2020, 2, 29), lambda _kind, _size: None)
        tables.append(built.table)
        for kind, cleaned in built.cleaned.items():
            rows[f"{folder}/{FILES[kind]}"] = cleaned.rows
            for found in cleaned.findings():
                print(f"{folder} {kind}: {found.times:,} {found.outcome}: {found.column + ', ' if found.column else ''}{found.rule}")
    return pd.concat(tables, ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m simulations.benchmarks.tax_adapter", description="The tax adapter on real invoices.")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with cumcm2020c_*")
    parser.add_argument("--adapter-only", action="store_true", help="without the raw door")
    parser.add_argument("--out", type=Path, help="write the feature table here, as Parquet")
    options = parser.parse_args()
    if absent := [folder for folder in FOLDERS if not (options.data / folder).is_dir()]:
        print(f"{options.data} has no {', '.join(absent)}: name the folder with --data. Nothing was run.")
        raise SystemExit(2)
    rows: dict[str, int] = {}
    months = np.arange("2017-10", "2020-04", dtype="datetime64[M]")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    table = build(records(options.data, rows), list(months)) if options.adapter_only else through_the_door(options.data, list(months), rows)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for path, number in rows.items():
        print(f"{Path(path).parent.name}/{Path(path).name}: {number:,} rows read")
    columns = table.columns.drop(["id", "as_of"])
    told = int(table[columns].notna().sum().sum())
    print(
        f"{sum(rows.values()):,} invoices -> {table['id'].nunique()} firms x {len(months)} as-of months ({months[0]} to {months[-1]}): "
        f"{len(table):,} rows x {len(columns)} features, {told / table[columns].size:.1%} of the cells not missing"
    )
    print(f"{seconds:.1f} s; peak {peak:,.0f} MB, of which {before:,.0f} MB before the first row was read (Python and libraries)")
    if options.out:
        table.to_parquet(options.out, index=False)


if __name__ == "__main__":
    main()
