"""Statistics of the numeric columns of many banks under a stated epsilon and delta, in four sums.

    1.      rows, bads; of each number the rows without a value, and rows over cells of 12 bits         L2 norm of a row: sqrt(2 + columns)
    2. 3.   rows over cells of 18 and 24 bits, where many rows lie                                      sqrt(columns)
    4.      sums of v and v^2, v in [-1, 1] the value between the outermost cells with rows             sqrt(2 columns)

Quantiles are the shortest number of the cell that the rank lies in: off by up to a fiftieth of the rows. Mean and variance are of values drawn
in to the outermost cells; how many of its own values were drawn in each bank sees alone. Correlations and variance inflation are not taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import AbortCode, ConfigurationError, DataError, PolicyRefusal
from federation.kernel.manifest import Manifest
from federation.kernel.state import State
from federation.models.horizontal.noise import Noise, Release, Schedule, clipped
from federation.models.horizontal.number_line import Cell
from federation.models.horizontal.private_cells import DIVISIONS, DROWNED, divide, rows_of_parts
from federation.models.horizontal.quantiles import PROBABILITIES, ordered_keys, value_of
from federation.models.horizontal.statistics import Statistics, without_special
from federation.models.horizontal.statistics_document import own
from federation.models.table import Table

Reals = NDArray[np.float64]

SCHEDULE: Schedule = (*zip(DIVISIONS, (0.3, 0.15, 0.1), strict=True), ("moments", 0.45))
_NOT_TAKEN = "not taken in a run with epsilon"


class PrivatelyMeasured(State, frozen=True):
    """rows, bads, missing: with noise; cells, open: of each column; limits: the outermost cells' ends; moments: (d, 2) sums of v and v^2."""

    rows: float = 0.0
    bads: float = 0.0
    missing: dict[str, float] = msgspec.field(default_factory=dict)
    cells: dict[str, tuple[Cell, ...]] = msgspec.field(default_factory=dict)
    open: dict[str, tuple[Cell, ...]] = msgspec.field(default_factory=dict)
    moments: Reals | None = None
    banks: tuple[int, ...] = ()

    @property
    def sums(self) -> int:
        """How many were taken."""
        return len(self.banks)

    @property
    def done(self) -> bool:
        """Whether all four were taken."""
        return self.moments is not None


@dataclass
class PrivateStatistics:
    """The plan of one bank, over all rows of its table. Raises ConfigurationError for a categorical column."""

    table: Table
    manifest: Manifest
    noise: Noise
    kind: type[PrivatelyMeasured] = field(default=PrivatelyMeasured, init=False)
    schedule: Schedule = field(default=SCHEDULE, init=False)

    def __post_init__(self) -> None:
        if self.table.label is None:
            raise DataError("bank", "has no label", "Name the label column in [[party]] label.")
        self.columns = {name: without_special(column, self.manifest.binning.special) for name, column in self.table.columns.items()}
        for name, column in self.columns.items():
            if column.kind == "categorical":
                action = 'Leave it out ([[party]] exclude); its bins can have noise: task = "binning" with bins given by hand.'
                raise ConfigurationError(f"column {name!r}", "is categorical, and levels are told without noise", action)
        self.values = {name: np.asarray(column.values, np.float64) for name, column in self.columns.items()}
        self._keys = {name: np.sort(ordered_keys(values[~np.isnan(values)])) for name, values in self.values.items()}

    def begin(self) -> PrivatelyMeasured:
        """Whole number lines."""
        return PrivatelyMeasured(open={name: (Cell(0, 0),) for name in self.columns})

    def release(self, state: PrivatelyMeasured) -> Release:
        """Of the present sum."""
        share, columns = SCHEDULE[state.sums][1], max(1, len(self.columns))
        if state.sums == len(DIVISIONS):
            return self.noise.reals(share, math.sqrt(2 * columns))
        return self.noise.counts(share, columns if state.sums else columns + 2)

    def ask(self, state: PrivatelyMeasured) -> Reals | None:
        """Counts over cells, then moments; never an empty vector."""
        if state.done:
            return None
        if state.sums == len(DIVISIONS):
            scaled = np.concatenate([self._scaled(state, name) for name in self.columns], axis=1) if self.columns else np.zeros((1, 1))
            return clipped(scaled, self.release(state))[0]
        label = self.table.label
        assert label is not None, "a bank has labels"
        head = (
            [] if state.sums else [float(len(label)), float((label == 1).sum()), *(float(np.isnan(v).sum()) for v in self.values.values())]
        )
        parts = [rows_of_parts(self._keys[name], cell) for name, cells in state.open.items() for cell in cells]
        return np.concatenate([head, *parts, [0.0]])

    def take(self, state: PrivatelyMeasured, total: Reals, banks: int) -> PrivatelyMeasured:
        """On to the next sum. Raises PolicyRefusal where noise leaves no cohort visible, at all banks alike."""
        spread, first = self.release(state).spread(banks), not state.sums
        after = msgspec.structs.replace(state, banks=(*state.banks, banks))
        if state.sums == len(DIVISIONS):
            return msgspec.structs.replace(after, moments=total.reshape(-1, 2) if self.columns else np.zeros((0, 2)))
        if first:
            rows, bads, *missing = total[: 2 + len(self.columns)].tolist()
            least = max(float(self.manifest.privacy.minimum_cohort), DROWNED * spread)
            if rows < least:
                what = f"fewer rows over all banks than noise leaves visible (rule: {math.ceil(least)})"
                raise PolicyRefusal("banks", what, "Raise epsilon, or bring more rows.", AbortCode.COHORT)
            after = msgspec.structs.replace(after, rows=rows, bads=bads, missing=dict(zip(self.columns, missing, strict=True)))
            total = total[2 + len(self.columns) :]
        cells, left = divide(state.cells, state.open, total, spread, self.manifest.privacy.minimum_cohort)
        return msgspec.structs.replace(after, cells=cells, open=left)

    def limits(self, state: PrivatelyMeasured, name: str) -> tuple[float, float]:
        """Between what values are drawn in: the ends of the outermost cells with rows, zero without any."""
        cells = state.cells[name]
        low, high = (value_of(cells[0].first), value_of(cells[-1].last)) if cells else (0.0, 0.0)
        return max(low, -np.finfo(np.float64).max / 4), min(high, np.finfo(np.float64).max / 4)

    def drawn_in(self, state: PrivatelyMeasured) -> dict[str, int]:
        """How many of this bank's own values lie beyond the limits, by column: for its own file alone."""
        out = {}
        for name, values in self.values.items():
            low, high = self.limits(state, name)
            out[name] = int(((values < low) | (values > high)).sum())
        return out

    def _scaled(self, state: PrivatelyMeasured, name: str) -> Reals:
        """Of each row v and v^2, (n, 2), zero where the value is missing."""
        low, high = self.limits(state, name)
        middle, half = (low + high) / 2, (high - low) / 2 or 1.0
        v = np.clip(np.nan_to_num((self.values[name] - middle) / half, nan=0.0), -1.0, 1.0)
        return np.column_stack([v, v**2])


def common(program: PrivateStatistics, state: PrivatelyMeasured) -> dict[str, Any]:
    """What all banks have alike, in the words of `statistics_document`."""
    minimum = program.manifest.privacy.minimum_cohort
    few = min(state.bads, state.rows - state.bads) < minimum
    return {
        "rows": round(state.rows), "bads": None if few else round(state.bads), "weight": state.rows, "weighted": False,
        "minimum_cohort": minimum, "banks": list(state.banks), "sums": state.sums,
        "withheld": {"bads": f"fewer than {minimum} rows of one class, or noise says so"} if few else {},
        "columns": [_number(program, state, place, name) for place, name in enumerate(program.columns)],
        "correlation": {"columns": [], "matrix": [], "withheld": _NOT_TAKEN},
    }  # fmt: skip


def document(program: PrivateStatistics, state: PrivatelyMeasured) -> dict[str, Any]:
    """All banks' statistics, and under `own` this bank's alone, without noise, and how many of its values were drawn in; none of it was sent."""
    return common(program, state) | {"own": own(Statistics(program.table, program.manifest, {})) | {"drawn_in": program.drawn_in(state)}}


def share_lines(program: PrivateStatistics, state: PrivatelyMeasured) -> list[str]:
    """What all banks have alike, as lines with numbers to ten digits."""
    lines = [f"{state.rows:.9e} {state.bads:.9e}"]
    for column in common(program, state)["columns"]:
        lines += [f"{column['name']} {key} {value:.9e}" for key, value in column.items() if isinstance(value, float)]
        lines += [f"{column['name']} {q['probability']} {q['value']}" for q in column["quantiles"]]
    return lines


def _number(program: PrivateStatistics, state: PrivatelyMeasured, place: int, name: str) -> dict[str, Any]:
    assert state.moments is not None, "the sums are finished"
    missing = min(max(state.missing[name], 0.0), state.rows)
    count = state.rows - missing
    withheld = {"vif": _NOT_TAKEN}
    figures: dict[str, float | None] = dict.fromkeys(("mean", "variance", "deviation", "low", "high"))
    quantiles: list[float | None] = [None] * len(PROBABILITIES)
    cells = state.cells[name]
    if count < program.manifest.privacy.minimum_cohort or not cells:
        withheld |= dict.fromkeys((*figures, "quantiles"), "too few rows have a value for noise to let see")
    else:
        low, high = program.limits(state, name)
        middle, half = (low + high) / 2, (high - low) / 2
        first, second = (np.clip(state.moments[place] / count, [-1.0, 0.0], [1.0, 1.0])).tolist()
        variance = half**2 * max(second - first**2, 0.0) * count / max(count - 1, 1.0)
        figures = {"mean": middle + half * first, "variance": variance, "deviation": math.sqrt(variance), "low": low, "high": high}
        reached = np.cumsum([cell.rows for cell in cells])
        at = np.searchsorted(reached, np.array(PROBABILITIES) * reached[-1]).clip(max=len(cells) - 1)
        quantiles = [value_of(cells[number].shortest) for number in at.tolist()]
    return {
        "name": name, "kind": "numeric", "count": round(count), "missing": round(missing), "constant": None, **figures, "vif": None,
        "quantiles": [{"probability": p, "value": value} for p, value in zip(PROBABILITIES, quantiles, strict=True)], "withheld": withheld,
    }  # fmt: skip
