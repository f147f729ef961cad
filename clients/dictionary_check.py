"""What of an institution's own tables maps to the dictionary, and what fails: columns, rules and counts, with the nearest names."""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape
from rich.table import Column, Table

from clients.cleaning_shown import accounts
from clients.own_tables import load
from clients.vault import open_records, plausibility
from federation.kernel.errors import CreditfedError, DataError
from privacy.dictionary import VERSION
from privacy.dictionary.entries import RecordColumn, features

Part = Table | str
_KEYS = ("id", "as_of", "label", "weight")


@dataclass(frozen=True)
class Checked:
    """parts: for the screen; failed: the first error, None where everything maps."""

    parts: tuple[Part, ...]
    failed: CreditfedError | None = None


def check_mapping(path: Path, today: dt.date) -> Checked:
    """Every table of a mapping, read whole. Raises ConfigurationError where the mapping itself is wrong."""
    tables, parts, failed = load(path), list[Part](), dict[str, DataError]()
    for kind in tables.tables:
        try:
            raw = open_records(tables, kind, today)
        except DataError as error:
            failed[kind] = error
            parts.append(escape(str(error)))
            continue
        parts.append(_maps(kind, raw.heading.columns, raw.heading.unused, raw.table.kind.columns))
        try:
            for _ in raw.batches():
                pass
        except DataError as error:
            failed[kind] = error
            parts += [*accounts({kind: raw.cleaned}), escape(str(error))]
        else:
            parts += [*accounts({kind: raw.cleaned}), *(f"note  {escape(note)}" for note in raw.cleaned.notes)]
    return Checked(tuple(parts), _in_short(tables.name, len(tables.tables), failed))


def _in_short(name: str, tables: int, failed: Mapping[str, DataError]) -> CreditfedError | None:
    """What the command ends with: the one error, or which tables have one."""
    if len(failed) < 2:
        return next(iter(failed.values()), None)
    return DataError(name, f"{len(failed)} of {tables} tables fail: {', '.join(failed)}", "What to do for each is said above.")


def _maps(kind: str, found: Mapping[str, str], unused: Sequence[str], columns: Sequence[RecordColumn]) -> Table:
    """Canonical columns and what stands for each; own columns that nothing stands for, with the nearest canonical name."""
    table = Table("column", "type", "your column", title=f"{kind}: what maps")
    wanted = {column.name: column for column in columns}
    for name, column in wanted.items():
        near = difflib.get_close_matches(name, unused, 1, 0.6)
        hint = f"none; nearest: {near[0]}" if near else "none"
        table.add_row(name, column.type, escape(found.get(name, hint)))
    for name in unused:
        near = difflib.get_close_matches(name.casefold(), [other for other in wanted if other not in found], 1, 0.6)
        table.add_row("", "", escape(name) + (f" is not used; nearest: {near[0]}" if near else " is not used"))
    return table


def check_features(source: Path) -> Checked:
    """A finished feature table: which columns the dictionary knows, and how many values are beyond what is plausible. Raises DataError."""
    known, found = features(), plausibility(source, str(source))
    table = Table(
        Column("column", no_wrap=True),
        "unit",
        "level",
        "values",
        "outside its range",
        title=f"{source.name}: {found.rows:,} rows, dictionary {VERSION}",
    )
    for name in found.names:
        if name in known:
            seen = found.seen[name]
            what = "not numbers" if seen is None else f"{seen.outside:,}" if seen.outside else ""
            table.add_row(name, known[name].unit, str(known[name].level), "" if seen is None else f"{seen.present:,}", what)
    if not set(known) & set(found.names):
        what = f"none of its {len(found.names)} columns is a feature of the dictionary"
        action = (
            "For raw tables write a mapping.toml and check that: docs/guides/institution.md. creditfed dictionary show lists the features."
        )
        return Checked((), DataError(str(source), what, action))
    strange = [name for name in found.names if name not in known and name not in _KEYS]
    return Checked((table, *_unknown(strange, list(known))))


def _unknown(names: list[str], known: list[str]) -> Iterator[Part]:
    if names:
        table = Table("column that the dictionary does not know", "nearest names")
        for name in names:
            table.add_row(escape(name), ", ".join(difflib.get_close_matches(name.casefold(), known, 3, 0.6)))
        yield table
