"""The account of what the raw door did to a table: counts by column and rule, first row numbers, never a value.

    mended      the value was kept, in its one spelling
    set aside   the row is no record of its own: a repeated record, a header in the middle, a total, an empty line
    blanked     the cell broke a rule and counts as missing: its column may be empty
    dropped     the row broke a rule in a column that a record cannot do without
A table of which more than a tolerated share is blanked in one column, or dropped, is refused as a whole: it is not what the mapping says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import DataError

Outcome: TypeAlias = Literal["mended", "set aside", "blanked", "dropped"]
_SHOWN: Final = 5


class Finding(NamedTuple):
    """What happened to how many. column: canonical, "" for whole rows; rows: the first of them, from 1, after the header."""

    outcome: Outcome
    column: str
    rule: str
    times: int
    rows: tuple[int, ...]


@dataclass
class Cleaned:
    """where: institution and kind of record; rows: read, in all; kept: of them; failing: rows that were dropped."""

    where: str
    rows: int = 0
    kept: int = 0
    failing: int = 0
    notes: list[str] = field(default_factory=list)
    _counts: dict[tuple[Outcome, str, str], int] = field(default_factory=dict)
    _first: dict[tuple[Outcome, str, str], list[int]] = field(default_factory=dict)

    def count(self, outcome: Outcome, column: str, rule: str, numbers: NDArray[np.int64]) -> None:
        """Some rows by their numbers, from 1."""
        if len(numbers):
            key = (outcome, column, rule)
            self._counts[key] = self._counts.get(key, 0) + len(numbers)
            first = self._first.setdefault(key, [])
            first += numbers[: _SHOWN - len(first)].tolist()

    def findings(self) -> list[Finding]:
        """All of them: what failed first, then by count."""
        order = {"dropped": 0, "blanked": 1, "set aside": 2, "mended": 3}
        found = [Finding(*key, count, tuple(self._first[key])) for key, count in self._counts.items()]
        return sorted(found, key=lambda one: (order[one.outcome], -one.times, one.column, one.rule))

    def counted(self, rule: str, column: str | None = None) -> int:
        """How often a rule was applied, whatever came of it."""
        return sum(count for (_, name, said), count in self._counts.items() if said == rule and column in (None, name))

    def require(self, tolerated: float, hints: Mapping[str, str] | None = None) -> None:
        """Raises DataError where more than a tolerated share of the rows was dropped, or blanked in one column. hints: what to do first by rule,
        with {column} for the column's name.
        """
        failed = [one for one in self.findings() if one.outcome in ("dropped", "blanked")]
        lost: dict[str, int] = {}
        for one in failed:
            if one.outcome == "blanked":
                lost[one.column] = lost.get(one.column, 0) + one.times
        worst = max([self.failing, *lost.values()])
        if self.rows and worst > tolerated * self.rows:
            first = dict.fromkeys(hints[one.rule].format(column=one.column) for one in failed if one.rule in hints) if hints else {}
            raise DataError(
                self.where,
                f"{worst:,} of {self.rows:,} rows fail, more than the tolerated share of {tolerated:g}: " + "; ".join(map(told, failed)),
                " ".join(["Nothing was kept.", *first, "Correct the mapping or the source, or raise `tolerated` in the mapping."]),
            )
        if not self.kept:
            raise DataError(self.where, "no row is left", "Nothing was kept. Name a table with data.")


def told(one: Finding) -> str:
    """A finding in words."""
    rows = ", ".join(map(str, one.rows)) + (", ..." if one.times > len(one.rows) else "")
    return f"{one.column + ': ' if one.column else ''}{one.rule} {one.times:,} ({'rows' if one.times > 1 else 'row'} {rows})"
