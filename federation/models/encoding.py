"""The encoding: the only path from a party's raw values to the numbers that a model multiplies, in training, batch scoring and service.

One object for each party, exported with its model share. For each column it carries

    Numeric   x, with a rule for missing; with the rule "indicator" one more design column says where x is missing
    OneHot    one design column for each level but the reference; missing is a level
    Woe       the weight of evidence of the value's bin

and for each design column the standardisation (raw - centre) / scale and `absent`, the design value of a firm that the party does not know:
the training mean of its present rows for Numeric and OneHot (zero once standardised), the WOE of the absent bin for Woe.

What training never saw says nothing: a level without a design column, or missing where the file had none, is encoded as absent.
Every operation is elementwise in IEEE double precision, so one row alone gives the same bits as the same row in a batch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import ConfigurationError, DataError
from federation.models.bins import OTHER, Bins, frequent_levels
from federation.models.table import Column

Reals = NDArray[np.float64]
T = TypeVar("T", bound=np.generic)
Missing: TypeAlias = Literal["mean", "zero", "indicator", "error"]


class Standard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One design column: design = (raw - centre) / scale; absent: the design value of an absent firm."""

    centre: float = 0.0
    scale: float = 1.0
    absent: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.centre) and math.isfinite(self.absent) and 0 < self.scale < math.inf):
            raise ConfigurationError("encoding", "a standardisation is not finite or its scale not positive", "Export the model again.")

    def __call__(self, raw: Reals) -> Reals:
        """Raw to design values, (n,)."""
        return (raw - self.centre) / self.scale


class Numeric(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="numeric"):
    """A number. missing: the rule; fill: the raw value that stands for missing (training mean, or zero; unused by "error")."""

    column: str
    missing: Missing = "mean"
    fill: float = 0.0
    standard: tuple[Standard, ...] = ()

    def __post_init__(self) -> None:
        _complete(self, Standard())

    @property
    def names(self) -> tuple[str, ...]:
        """The design columns."""
        return (self.column, f"{self.column} is missing") if self.missing == "indicator" else (self.column,)

    def raw(self, column: Column) -> Reals:
        """Design columns before standardisation, (n, d)."""
        gone, x = column.missing, np.asarray(column.values, np.float64)
        if self.missing == "error" and gone.any():
            raise DataError(
                f"column {self.column!r}",
                f'{int(gone.sum()):,} of {len(gone):,} values are missing (rule: missing = "error")',
                "Choose another rule with [model] missing, or fix the source.",
            )
        if np.isinf(x).any():
            raise DataError(f"column {self.column!r}", f"{int(np.isinf(x).sum()):,} values are infinite", "Map them to missing.")
        filled = np.where(gone, self.fill, x)
        return np.column_stack([filled, gone.astype(np.float64)]) if self.missing == "indicator" else filled[:, None]

    def counted(self, column: Column) -> NDArray[np.bool_]:
        """Which raw entries a training mean is taken over, (n, d): not those that the mean is to fill."""
        out = np.ones((len(column.values), len(self.names)), bool)
        if self.missing in ("mean", "indicator"):
            out[:, 0] = ~column.missing
        return out


class OneHot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="one hot"):
    """Levels. reference: the most frequent one, dropped; other: all levels not named are one level; missing: a level of its own."""

    column: str
    levels: tuple[str, ...]
    reference: str | None
    other: bool
    missing: bool
    standard: tuple[Standard, ...] = ()

    def __post_init__(self) -> None:
        _complete(self, Standard())

    @property
    def names(self) -> tuple[str, ...]:
        """The design columns: "state=CA", "state=other", "state is missing"."""
        named = [f"{self.column}={level}" for level in self.levels if level != self.reference]
        pooled = [f"{self.column}={OTHER}"] if self.other and self.reference is not None else []
        return (*named, *pooled, *([f"{self.column} is missing"] if self.missing else []))

    def raw(self, column: Column) -> Reals:
        """Design columns before standardisation, (n, d); NaN in all of a row whose level training never saw."""
        kept = [level for level in self.levels if level != self.reference]
        place = {level: number for number, level in enumerate(kept)}
        reference, unseen = len(self.names), len(self.names) + 1
        if self.reference is not None:
            place[self.reference] = reference
        rest = unseen if not self.other else len(kept) if self.reference is not None else reference
        gone = len(self.names) - 1 if self.missing else unseen
        found = (gone if level is None else place.get(level, rest) for level in column.values)
        codes = np.fromiter(found, np.int64, len(column.values))
        table = np.vstack([np.eye(len(self.names)), np.zeros(len(self.names)), np.full(len(self.names), np.nan)])
        return np.asarray(table[codes])

    def counted(self, column: Column) -> NDArray[np.bool_]:
        """All entries, (n, d), but for levels that training never saw."""
        return ~np.isnan(self.raw(column))


class Woe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="woe"):
    """Weight of evidence. values: the WOE of each bin, absent last."""

    column: str
    bins: Bins
    values: tuple[float, ...]
    standard: tuple[Standard, ...] = ()

    def __post_init__(self) -> None:
        if len(self.values) != self.bins.size or not all(map(math.isfinite, self.values)):
            raise ConfigurationError(f"encoding of {self.column!r}", "needs one finite WOE for each bin", "Export the model again.")
        _complete(self, Standard(absent=self.values[-1]))

    @property
    def names(self) -> tuple[str, ...]:
        """The design column."""
        return (self.column,)

    def raw(self, column: Column) -> Reals:
        """Design column before standardisation, (n, 1)."""
        return np.array(self.values)[self.bins.codes(column)][:, None]

    def counted(self, column: Column) -> NDArray[np.bool_]:
        """All entries, (n, 1)."""
        return np.ones((len(column.values), 1), bool)


ColumnEncoding: TypeAlias = Numeric | OneHot | Woe


class Encoding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All columns of one party, in the order of the design matrix."""

    columns: tuple[ColumnEncoding, ...]

    def __post_init__(self) -> None:
        twice = [name for name, count in Counter(self.names).items() if count > 1]
        if twice:
            raise ConfigurationError("encoding", f"two design columns are called {twice[0]!r}", "Rename or leave out one of the columns.")

    @property
    def names(self) -> tuple[str, ...]:
        """The design columns, (d,)."""
        return tuple(name for part in self.columns for name in part.names)

    @property
    def standard(self) -> tuple[Standard, ...]:
        """The standardisation of each design column, (d,)."""
        return tuple(standard for part in self.columns for standard in part.standard)

    @property
    def centre(self) -> Reals:
        """Of each design column, (d,)."""
        return np.array([standard.centre for standard in self.standard], np.float64)

    @property
    def scale(self) -> Reals:
        """Of each design column, (d,)."""
        return np.array([standard.scale for standard in self.standard], np.float64)

    @property
    def absent_row(self) -> Reals:
        """The design values of a firm that the party does not know, (d,)."""
        return np.array([standard.absent for standard in self.standard], np.float64)

    def design(self, columns: Mapping[str, Column]) -> Reals:
        """Raw values to the design matrix, (n, d) float64, finite. Raises DataError where a column is not there or not of its kind."""
        blocks = []
        for part in self.columns:
            raw = part.raw(_column(columns, part))
            for place, standard in enumerate(part.standard):
                values = standard(raw[:, place])
                blocks.append(np.where(np.isnan(values), standard.absent, values))
        return np.column_stack(blocks) if blocks else np.zeros((_rows(columns), 0))

    def raw(self, columns: Mapping[str, Column]) -> Reals:
        """The design matrix before standardisation, (n, d), and zero where no mean counts (see `counted`): what moments are summed from."""
        counted = self.counted(columns)
        blocks = [part.raw(_column(columns, part)) for part in self.columns]
        return np.where(counted, np.hstack(blocks), 0.0) if blocks else np.zeros((_rows(columns), 0))

    def counted(self, columns: Mapping[str, Column]) -> NDArray[np.bool_]:
        """Which entries of `raw` a training mean is taken over, (n, d): all but missing numbers that the mean is to fill."""
        blocks = [part.counted(_column(columns, part)) for part in self.columns]
        return np.hstack(blocks) if blocks else np.zeros((_rows(columns), 0), bool)

    def fitted(self, mean: Reals, scale: Reals) -> Encoding:
        """The encoding with the training moments of its design columns.

        mean: (d,) of `raw` over the training rows where `counted`; scale: (d,) standard deviation of the filled design column over the
        present training rows (with the fill at the mean, so over all of them), zero for a constant column, which then keeps scale 1.
        """
        out, start = [], 0
        for part in self.columns:
            place = slice(start, start + len(part.names))
            start = place.stop
            out.append(_fitted(part, mean[place], scale[place]))
        return Encoding(tuple(out))

    def in_own_units(self, theta: Reals) -> tuple[Reals, float]:
        """Coefficients of the raw columns, (d,), and what the constant gains, for coefficients in standardised units, (d,)."""
        raw = theta / self.scale
        return raw, -float(raw @ self.centre)

    def ridge(self, C: float | None, total: float = 1.0, *, standardize: bool = True) -> Reals:  # as scikit-learn writes it
        """The penalty 1/(C W) on each standardised coefficient, (d,), zero without one; standardize = False: on those of the raw columns."""
        if C is None:
            return np.zeros(len(self.names))
        scale = np.ones(len(self.names)) if standardize else self.scale
        out: Reals = 1.0 / (C * total * scale**2)
        return out

    def signs(self, rule: Literal["free", "woe"]) -> NDArray[np.int8]:
        """-1 where a WOE coefficient on the log odds of bad must not be positive (higher WOE is safer), 0 where it is free, (d,)."""
        return np.array([-1 if rule == "woe" and isinstance(part, Woe) else 0 for part in self.columns for _ in part.names], np.int8)

    def lines(self, theta: Reals) -> list[str]:
        """A share of a model as lines of text on the declared grid of ten digits, over which it is hashed. theta: all its coefficients."""
        columns = [f"{name} {s.centre:.9e} {s.scale:.9e} {s.absent:.9e}" for name, s in zip(self.names, self.standard, strict=True)]
        return [*columns, *(f"{value:.9e}" for value in theta.tolist())]


def rows_of(matrix: NDArray[T], rows: NDArray[np.intp] | NDArray[np.int64]) -> NDArray[T]:
    """These rows of a design matrix; of a matrix without columns, which does not know how many rows it has, as many empty ones."""
    return matrix[rows] if matrix.shape[1] else np.zeros((len(rows), 0), matrix.dtype)


def rounded(values: Reals) -> Reals:
    """Each number to ten significant digits: the grid on which a share is published and hashed."""
    return np.array([float(f"{value:.9e}") for value in values.tolist()], np.float64)


def one_hot(column: Column, min_share: float, max_levels: int = 64) -> OneHot:
    """Levels from the holder's whole file: those below `min_share`, or beyond `max_levels`, become "other"."""
    present = column.values[~column.missing]
    levels = frequent_levels(present, max_levels, min_share)
    other = len(set(present)) > len(levels)
    return OneHot(column.name, levels, levels[0] if levels else None, other, bool(column.missing.any()))


def plain(columns: Mapping[str, Column], missing: Missing, min_share: float = 0.05) -> Encoding:
    """Numeric and one-hot encodings of the columns, in their order, to be `fitted`."""
    return Encoding(
        tuple(Numeric(name, missing) if column.kind == "numeric" else one_hot(column, min_share) for name, column in columns.items())
    )


def _fitted(part: ColumnEncoding, mean: Reals, scale: Reals) -> ColumnEncoding:
    standards = []
    for m, s in zip(mean.tolist(), scale.tolist(), strict=True):
        spread = s if s > 0 else 1.0
        raw_absent = part.values[-1] if isinstance(part, Woe) else m
        standards.append(Standard(m, spread, (raw_absent - m) / spread))
    changes: dict[str, Any] = {"standard": tuple(standards)}
    if isinstance(part, Numeric) and part.missing in ("mean", "indicator"):
        changes["fill"] = float(mean[0])
    return msgspec.structs.replace(part, **changes)


def _column(columns: Mapping[str, Column], part: ColumnEncoding) -> Column:
    kind = {Numeric: "numeric", OneHot: "categorical"}.get(type(part), "")
    if part.column not in columns:
        raise DataError(f"column {part.column!r}", "is needed by the model and not there", "Add it to the source or the mapping.")
    column = columns[part.column]
    if kind and column.kind != kind:
        raise DataError(f"column {part.column!r}", f"is {column.kind} where the model has {kind}", "Declare its type in [[party]] types.")
    return column


def _rows(columns: Mapping[str, Column]) -> int:
    return len(next(iter(columns.values())).values) if columns else 0


def _complete(part: ColumnEncoding, default: Standard) -> None:
    """Fill in the standardisation of a part made without one, and check that there is one for each design column."""
    if not part.standard:
        msgspec.structs.force_setattr(part, "standard", (default,) * len(part.names))
    if len(part.standard) != len(part.names):
        what = f"has {len(part.standard)} standardisations for {len(part.names)} design columns"
        raise ConfigurationError(f"encoding of {part.column!r}", what, "Export the model again.")
