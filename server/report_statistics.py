"""Statistics over many banks for the report, from the document of federation.models.horizontal.statistics_document."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from server.report_banks import typed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

STRONG = 0.5
_MOST_PAIRS = 12
_MOST_LEVELS = 12
_SHOWN = (0.05, 0.25, 0.5, 0.75, 0.95)
_FIGURES = {
    "count": "rows", "missing": "missing", "mean": "mean", "variance": "variance", "deviation": "standard deviation", "low": "low",
    "high": "high", "quantiles": "some quantiles", "vif": "VIF", "digits": "digits", "levels": "levels", "bads": "bads",
}  # fmt: skip


class Quantile(msgspec.Struct, frozen=True):
    """The value below which this share of the weight lies; None where it is withheld."""

    probability: float
    value: float | None = None


class Level(msgspec.Struct, frozen=True):
    """A level, or several merged. share: of all rows."""

    label: str = ""
    rows: int | None = None
    share: float | None = None


class Column(msgspec.Struct, frozen=True):
    """A column over all banks; withheld: figure -> why it is not released."""

    name: str = ""
    kind: str = "numeric"
    count: int | None = None
    missing: int | None = None
    constant: bool | None = None
    mean: float | None = None
    deviation: float | None = None
    low: float | None = None
    high: float | None = None
    quantiles: tuple[Quantile, ...] = ()
    vif: float | None = None
    levels: tuple[Level, ...] = ()
    withheld: dict[str, str] = msgspec.field(default_factory=dict)

    def at(self, probability: float) -> float | None:
        """A quantile, or None."""
        return next((found.value for found in self.quantiles if abs(found.probability - probability) < 1e-9), None)

    @property
    def first_levels(self) -> tuple[Level, ...]:
        """The most frequent ones."""
        return tuple(sorted(self.levels, key=lambda level: -(level.rows or 0)))[:_MOST_LEVELS]

    @property
    def other_levels(self) -> Level | None:
        """All the rest as one line."""
        rest = sorted(self.levels, key=lambda level: -(level.rows or 0))[_MOST_LEVELS:]
        if not rest:
            return None
        words = "one more level" if len(rest) == 1 else f"{len(rest)} more levels"
        return Level(words, sum(level.rows or 0 for level in rest), sum(level.share or 0.0 for level in rest))


class Correlation(msgspec.Struct, frozen=True):
    """matrix: (columns, columns), None where withheld."""

    columns: tuple[str, ...] = ()
    matrix: tuple[tuple[float | None, ...], ...] = ()
    withheld: str = ""


class Document(msgspec.Struct, frozen=True):
    """The statistics of all banks together. banks: how many were in each sum."""

    rows: int | None = None
    bads: int | None = None
    weighted: bool = False
    minimum_cohort: int | None = None
    banks: tuple[int, ...] = ()
    sums: int | None = None
    columns: tuple[Column, ...] = ()
    correlation: Correlation = Correlation()
    withheld: dict[str, str] = msgspec.field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """Two columns and their correlation."""

    first: str
    second: str
    value: float


@dataclass(frozen=True)
class StatisticsView:
    """The document and what is read from it. probabilities: those shown; pairs: the strongest first; withheld: (reason, of what)."""

    document: Document
    numeric: tuple[Column, ...]
    categorical: tuple[Column, ...]
    probabilities: tuple[float, ...]
    pairs: tuple[Pair, ...]
    withheld: tuple[tuple[str, str], ...]


def statistics_view(statistics: Mapping[str, Any] | None) -> StatisticsView | None:
    """The view of a result's statistics; None where there are none. ConfigurationError on wrong types."""
    if statistics is None:
        return None
    document = typed(dict(statistics), Document, "statistics")
    numeric = tuple(column for column in document.columns if column.kind == "numeric")
    categorical = tuple(column for column in document.columns if column.kind != "numeric")
    known = {quantile.probability for column in numeric for quantile in column.quantiles}
    shown = tuple(p for p in _SHOWN if any(abs(p - other) < 1e-9 for other in known)) or tuple(sorted(known))[:5]
    return StatisticsView(document, numeric, categorical, shown, strongest(document.correlation), _withheld(document))


def strongest(correlation: Correlation) -> tuple[Pair, ...]:
    """Pairs of columns correlated by at least a half in either direction, the strongest first, a dozen at most."""
    names, matrix = correlation.columns, correlation.matrix
    pairs = [
        Pair(names[i], names[j], value)
        for i, row in enumerate(matrix[: len(names)])
        for j, value in enumerate(row[: len(names)])
        if i < j and value is not None and abs(value) >= STRONG
    ]
    return tuple(sorted(pairs, key=lambda pair: -abs(pair.value))[:_MOST_PAIRS])


def _withheld(document: Document) -> tuple[tuple[str, str], ...]:
    """Each reason once, with the columns and figures that it concerns."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for key, reason in document.withheld.items():
        reasons[reason].append(_FIGURES.get(key, key))
    for column in document.columns:
        figures: dict[str, list[str]] = defaultdict(list)
        for key, reason in column.withheld.items():
            figures[reason].append(_FIGURES.get(key, key))
        for reason, keys in figures.items():
            reasons[reason].append(f"{column.name} ({', '.join(keys)})")
    if document.correlation.withheld:
        reasons[document.correlation.withheld].append("correlations")
    return tuple((reason, "; ".join(where)) for reason, where in reasons.items())
