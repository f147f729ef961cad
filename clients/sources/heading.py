"""Which own column stands for which canonical one: by the mapping, else by the canonical name, else by other usual names.

Exactly spelled first, then without regard to case and blanks. A file without a header row has data where names should be: a name of the
source is shown only where at least one other was recognised.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from clients.own_tables import OwnTable
from clients.sources.cells import spelled
from federation.kernel.errors import DataError
from privacy.dictionary.entries import RecordColumn


class Heading(NamedTuple):
    """columns: canonical to own name; unused: own names that nothing stands for; otherwise: how many were found by case and blanks alone."""

    columns: dict[str, str]
    unused: tuple[str, ...]
    otherwise: int


def heading(table: OwnTable, names: Sequence[str], where: str) -> Heading:
    """Raises DataError, with the nearest names, for a column of the mapping or a required one that the source does not have."""
    found: dict[str, str] = {}
    otherwise = 0
    alike = {_plain(name): name for name in reversed(names)}
    absent: list[tuple[RecordColumn, str]] = []
    taken = set(table.columns.values())
    for column in table.kind.columns:
        own = table.columns.get(column.name)
        tries = [own] if own is not None else [name for name in (column.name, *column.also) if name not in taken]
        name = next((name for name in tries if name in names), None)
        if name is None:
            name = next((alike[_plain(name)] for name in tries if _plain(name) in alike), None)
            otherwise += name is not None
        if name is not None and name not in found.values():
            found[column.name] = name
        elif own is not None or column.required:
            absent.append((column, own or column.name))
    unused = tuple(name for name in names if name not in found.values())
    if not found:
        columns = f"none of its {len(names)} columns has" if len(names) > 1 else "it has one column alone, without"
        what = f"{columns} a name of {table.kind.name!r} (rule: header missing)"
        alone = "" if len(names) > 1 else "Is a title above them, or are cells parted by semicolons or tabs? Save it with commas. "
        action = (
            f"{alone}The first row must hold the column names. Map your own in [{table.kind.name}.columns]: {', '.join(_required(table))}."
        )
        raise DataError(where, what, f"Nothing was kept. {action}")
    if absent:
        column, wanted = absent[0]
        more = f", and {len(absent) - 1} more" if len(absent) > 1 else ""
        near = nearest((wanted, column.name, *column.also), unused)
        hint = f"Nearest: {', '.join(map(repr, near))}." if near else "No name is near."
        what = f"there is no column {wanted!r} for {column.name!r}{more} (rule: required column)"
        raise DataError(where, what, f'Nothing was kept. {hint} Map it: [{table.kind.name}.columns] {column.name} = "YOUR NAME".')
    return Heading(found, unused, otherwise)


def nearest(wanted: Iterable[str], names: Sequence[str]) -> list[str]:
    """Up to three names that are near one of those wanted."""
    plain = {_plain(name): name for name in names}
    near = dict.fromkeys(match for one in wanted for match in difflib.get_close_matches(_plain(one), plain, 3, 0.6))
    return [plain[name] for name in near][:3]


def _required(table: OwnTable) -> list[str]:
    return [column.name for column in table.kind.columns if column.required]


def _plain(name: str) -> str:
    return "".join(spelled(name)[0].casefold().split())
