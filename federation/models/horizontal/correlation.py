"""Correlations of the numeric columns over the rows of many banks, and variance inflation, from one sum.

Deviations are from the common mean in units of the common spread (`ColumnMoments`), missing ones zero: the matrix is that of the table with
means filled in, which is what a linear model sees. Beside it the rows are counted that have both values, so that a correlation of two columns
which meet in fewer rows than the minimum cohort is not released. VIF_j = (R^-1)_jj over the columns that vary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.state import State
from federation.models.horizontal.moments import ColumnMoments
from federation.models.horizontal.selection import Feature, variance_inflation
from federation.models.table import Column

Reals = NDArray[np.float64]


class Correlations(State, frozen=True):
    """matrix: (d, d), zero in the rows of constant columns; both: (d, d) rows that have both values."""

    matrix: Reals | None = None
    both: Reals | None = None

    @property
    def done(self) -> bool:
        """Whether the sum was taken."""
        return self.matrix is not None


@dataclass
class Correlate:
    """The plan. columns, weight: as in `MeasureColumns`, whose end `moments` is."""

    columns: Mapping[str, Column]
    weight: Reals | None
    moments: ColumnMoments
    kind: type[Correlations] = field(default=Correlations, init=False)

    def __post_init__(self) -> None:
        self.names = tuple(name for name, column in self.columns.items() if column.kind == "numeric")

    def begin(self) -> Correlations:
        """Nothing is asked where there is no number."""
        return Correlations() if self.names else Correlations(np.zeros((0, 0)), np.zeros((0, 0)))

    def ask(self, state: Correlations) -> Reals | None:
        """Upper triangles of weighted products and of rows with both values, then weighted sums of deviations, and the weight."""
        if state.done:
            return None
        deviation, there = self._deviations()
        w = np.ones(len(deviation)) if self.weight is None else np.ldexp(self.weight, -self.moments.unit)
        upper = np.triu_indices(len(self.names))
        products, both = deviation.T @ (deviation * w[:, None]), there.T @ there
        return np.concatenate([products[upper], both[upper], w @ deviation, [float(w.sum())]])

    def take(self, state: Correlations, total: Reals, banks: int) -> Correlations:  # noqa: ARG002  # a plan's signature
        """The matrices, around the mean of the filled table: where a bank has left since the fill was found, that is not quite zero."""
        d = len(self.names)
        half = d * (d + 1) // 2
        sums, weight = total[2 * half : 2 * half + d], float(total[-1])
        products = _whole(total[:half], d) - np.outer(sums, sums) / (weight if weight > 0 else 1.0)
        spread = np.sqrt(np.maximum(np.diag(products), 0.0))
        matrix = products / np.where(np.outer(spread, spread) > 0, np.outer(spread, spread), np.inf)
        np.fill_diagonal(matrix, np.where(spread > 0, 1.0, 0.0))
        return msgspec.structs.replace(state, matrix=matrix, both=_whole(total[half : 2 * half], d))

    def inflation(self, state: Correlations, among: Sequence[str] | None = None) -> dict[str, float]:
        """VIF of each of these columns (all, if not given) that varies; infinite where it is determined by the others of them."""
        assert state.matrix is not None, "the sum was taken"
        chosen = self.names if among is None else among
        places = [(name, self.names.index(name)) for name in chosen]
        return variance_inflation([Feature(name, (place,)) for name, place in places if state.matrix[place, place] > 0], state.matrix)

    def _deviations(self) -> tuple[Reals, Reals]:
        """Deviations in units of the spread, zero where there is no value or a column is constant, and which values are there, (n, d)."""
        moments = self.moments
        assert moments.exponent is not None and moments.centre is not None and moments.spread is not None, "moments come first"
        whole = np.column_stack([self.columns[name].values for name in self.names])
        there = ~np.isnan(whole)
        x = np.ldexp(np.where(there, whole, 0.0), -moments.exponent.astype(np.int32))
        safe = np.where(moments.spread > 0, moments.spread, np.inf)
        return np.where(there, (x - moments.centre) / safe, 0.0), there.astype(np.float64)


def _whole(upper: Reals, d: int) -> Reals:
    """A symmetric matrix from its upper triangle."""
    out = np.zeros((d, d))
    out[np.triu_indices(d)] = upper
    return out + np.triu(out, 1).T
