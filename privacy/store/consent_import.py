"""Consents from a CSV file or a database: every row is checked before the ledger keeps any; a bad row is told by number and rule.

Columns: id, purpose, columns (names) or levels (the highest) or both, recipients, from, until, evidence; subject
(firm or owner) where owners consent too. Names in a cell are joined by ";".
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from federation.kernel.errors import ConfigurationError, DataError
from privacy.consent.row import Row, check_header, read_row
from privacy.store.consent_database import open_engine, told_plainly
from privacy.store.consent_ledger import ConsentLedger, Imported

Progress = Callable[[int], None]
_SHOWN = 5
_PIECE = 10_000
_NOTHING = "Nothing was imported. Correct these rows at the source, and import again."


def import_csv(ledger: ConsentLedger, path: Path, now: str, progress: Progress | None = None) -> Imported:
    """Import a UTF-8 CSV file with a header. Rows are counted from 1, without the header.

    Raises ConfigurationError for a file or header that cannot be read, DataError for bad rows; then nothing is imported.
    """
    with _rows_of(path) as rows:
        return ledger.import_rows(_checked(path.name, rows), now, progress)


def import_sql(ledger: ConsentLedger, url: str, query: str, now: str, progress: Progress | None = None) -> Imported:
    """Import what a query gives, under the same column names. url: of SQLAlchemy; neither it nor the query is shown again or logged.

    Raises ConfigurationError for a URL or header that cannot be used, DataError for bad rows or a database that fails; then nothing is imported.
    """
    where = "consent import"
    engine = open_engine(url, where)
    try:
        with told_plainly(where), engine.connect() as connection:
            found = connection.execution_options(yield_per=_PIECE).execute(sa.text(query))
            if not found.returns_rows:
                raise ConfigurationError(where, "the query gives no rows (rule: one SELECT)", "Give a query that reads.")
            check_header(list(found.keys()), where)
            return ledger.import_rows(_checked(where, (dict(row) for row in found.mappings())), now, progress)
    finally:
        engine.dispose()


@contextmanager
def _rows_of(path: Path) -> Iterator[Iterable[Mapping[str, object] | None]]:
    """The cells of each row; None for one with more or fewer than the header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            header = [name.strip() for name in next(lines, [])]
            check_header(header, path.name)
            yield (dict(zip(header, line, strict=True)) if len(line) == len(header) else None for line in lines)
    except UnicodeDecodeError:
        raise ConfigurationError(
            path.name, "it is not UTF-8", "Nothing was imported. Save it as UTF-8; a GB 18030 file is not one."
        ) from None
    except csv.Error:
        raise ConfigurationError(
            path.name, "its quotes are not those of a CSV file", "Nothing was imported. Correct it at the source."
        ) from None
    except OSError as problem:
        what = f"it cannot be read ({problem.strerror})"
        raise ConfigurationError(str(path), what, "Nothing was imported. Give a CSV file that you may read.") from None


def _checked(where: str, rows: Iterable[Mapping[str, object] | None]) -> Iterator[Row]:
    """The rows up to the first bad one; the others are read for their faults alone. Raises DataError at the end."""
    faults: defaultdict[str, list[int]] = defaultdict(list)
    number = 0
    for number, cells in enumerate(rows, 1):
        row = "as many cells as the header has" if cells is None else read_row(cells)
        if isinstance(row, str):
            faults[row].append(number)
        elif not faults:
            yield row
    if faults:
        told = "; ".join(f"{len(found):,} break the rule '{rule}': rows {_first(found)}" for rule, found in sorted(faults.items()))
        raise DataError(where, f"of {number:,} rows {told}", _NOTHING)


def _first(rows: list[int]) -> str:
    return ", ".join(str(row) for row in rows[:_SHOWN]) + (", ..." if len(rows) > _SHOWN else "")
