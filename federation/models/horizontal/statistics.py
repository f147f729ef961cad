"""Statistics of the columns of many banks, as one plan: everything that can be asked for in one sum is.

    1.      rows and bads; rows over all doubles                            (`quantiles`)
    2. - 5. moments, in units that the first sum has set; rows of levels    (`moments`)    while quantiles go on
    6.      correlations                                                    (`correlation`)

Seven sums, mostly, whatever the number of columns. Declared special values count as missing: they are codes, not amounts.
`statistics_document` says what of it is fit to leave the banks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import AbortCode, DataError, PolicyRefusal
from federation.kernel.manifest import Manifest
from federation.kernel.state import State
from federation.models.horizontal.correlation import Correlate, Correlations
from federation.models.horizontal.moments import ColumnMoments, MeasureColumns
from federation.models.horizontal.quantiles import FindQuantiles, Quantiles
from federation.models.table import Column, Table

Reals = NDArray[np.float64]


class Measured(State, frozen=True):
    """rows, bads: over all banks; one field for each part's own state; banks: how many took part in each sum."""

    quantiles: Quantiles
    rows: int = 0
    bads: int = 0
    moments: ColumnMoments | None = None
    correlations: Correlations | None = None
    banks: tuple[int, ...] = ()

    @property
    def sums(self) -> int:
        """How many were taken."""
        return len(self.banks)

    @property
    def done(self) -> bool:
        """Whether all parts have come to their end."""
        return self.correlations is not None and self.correlations.done and self.quantiles.done


@dataclass
class Statistics:
    """The plan of one bank, over all rows of its table. levels: of each categorical column, common to all banks."""

    table: Table
    manifest: Manifest
    levels: Mapping[str, tuple[str, ...]]
    kind: type[Measured] = field(default=Measured, init=False)

    def __post_init__(self) -> None:
        manifest, table = self.manifest, self.table
        if table.label is None:
            raise DataError("bank", "has no label", "Name the label column in [[party]] label.")
        if manifest.sample.weighted and table.weight is None:
            raise DataError("bank", "has no weights, and the run is weighted", "Name the weight column in [sample] weight.")
        self.columns = {name: without_special(column, manifest.binning.special) for name, column in table.columns.items()}
        self.weight = table.weight if manifest.sample.weighted else None
        self.quantiles = FindQuantiles(self.columns, self.weight, manifest.privacy.minimum_cohort)
        self._measure: MeasureColumns | None = None
        self._correlate: Correlate | None = None
        self._asked: tuple[int, list[Reals]] | None = None

    def begin(self) -> Measured:
        """Before the first sum."""
        return Measured(self.quantiles.begin())

    def ask(self, state: Measured) -> Reals | None:
        """Rows and bads first; then what every part asks for next, one after the other."""
        return None if state.done else np.concatenate(self._vectors(state))

    def take(self, state: Measured, total: Reals, banks: int) -> Measured:
        """Every part takes its own. Raises PolicyRefusal below the minimum cohort, at all banks alike."""
        totals = np.split(total, np.cumsum([len(vector) for vector in self._vectors(state)])[:-1])
        changes: dict[str, Any] = {"banks": (*state.banks, banks)}
        if not state.sums:
            rows, bads = totals.pop(0).tolist()
            changes |= {"rows": round(rows), "bads": round(bads)}
            self._require(round(rows))
        for (name, plan, part), mine in zip(self._parts(state), totals, strict=True):
            changes[name] = plan.take(part, mine, banks)
        state = msgspec.structs.replace(state, **changes)
        if state.moments is None:
            state = msgspec.structs.replace(state, moments=self.measure(state).begin())
        elif state.moments.done and state.correlations is None:
            state = msgspec.structs.replace(state, correlations=self.correlate(state).begin())
        return state

    def measure(self, state: Measured) -> MeasureColumns:
        """The plan of moments, once the first sum was taken."""
        if self._measure is None:
            self._measure = MeasureColumns(self.columns, self.weight, self.levels, state.quantiles.exponent)
        return self._measure

    def correlate(self, state: Measured) -> Correlate:
        """The plan of correlations, once moments are there."""
        if self._correlate is None:
            assert state.moments is not None, "moments come first"
            self._correlate = Correlate(self.columns, self.weight, state.moments)
        return self._correlate

    def _parts(self, state: Measured) -> list[tuple[str, Any, Any]]:
        """The parts that ask for something now: the field of the state, the plan, and its state."""
        parts: list[tuple[str, Any, Any]] = [("quantiles", self.quantiles, state.quantiles)]
        if state.moments is not None:
            parts.append(("moments", self.measure(state), state.moments))
        if state.correlations is not None:
            parts.append(("correlations", self.correlate(state), state.correlations))
        return [part for part in parts if not part[2].done]

    def _vectors(self, state: Measured) -> list[Reals]:
        """What each part asks for, kept until it is answered."""
        if self._asked is None or self._asked[0] != state.sums:
            label = self.table.label
            assert label is not None, "a bank has labels"
            head = [] if state.sums else [np.array([float(len(label)), float((label == 1).sum())])]
            self._asked = state.sums, head + [plan.ask(part) for _, plan, part in self._parts(state)]
        return self._asked[1]

    def _require(self, rows: int) -> None:
        minimum = self.manifest.privacy.minimum_cohort
        if rows < minimum:
            what = f"only {rows} rows over all banks (rule: minimum_cohort = {minimum})"
            raise PolicyRefusal("banks", what, "Nothing is released. Bring more rows.", AbortCode.COHORT)


def without_special(column: Column, special: tuple[float, ...]) -> Column:
    """A numeric column with special values missing; a categorical one as it is."""
    if column.kind == "categorical" or not special:
        return column
    return replace(column, values=np.where(np.isin(column.values, np.array(special)), np.nan, column.values))
