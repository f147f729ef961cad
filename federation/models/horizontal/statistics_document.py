"""What of the statistics over many banks is fit to be released, as JSON values: what would tell of fewer rows than the cohort is None.

Each None stands beside a reason under `withheld`. What could be worked out from released figures is withheld with it: few missing rows take
the number of present ones along, few rows of a level are not left out but merged with other levels (`bin_merging`), a correlation of columns
that meet in few rows takes both variance inflations along. There is no minimum and no maximum, but `low` and `high` (`quantiles`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from federation.kernel.errors import PolicyRefusal
from federation.models.bin_merging import merge_small
from federation.models.bins import Bins
from federation.models.horizontal.moments import Number, named_levels
from federation.models.horizontal.plan import add_up
from federation.models.horizontal.statistics import Measured, Statistics

Document = dict[str, Any]
_WEIGHT_BITS = 60


def document(program: Statistics, state: Measured) -> Document:
    """All banks' statistics, and under `own` the same of this bank alone, for which nothing was sent."""
    return common(program, state) | {"own": own(program)}


def own(program: Statistics) -> Document:
    """This bank's statistics alone, by the same rules; a reason where it has too few rows."""
    try:
        alone = Statistics(program.table, program.settings)
        (state,) = add_up([alone])
    except PolicyRefusal as error:
        return {"reason": f"this bank alone: {error.what}"}
    return common(alone, state)


def common(program: Statistics, state: Measured) -> Document:
    """What all banks have alike. columns: in the table's order; correlation: of the numeric columns that vary."""
    assert state.moments is not None and state.correlations is not None, "the sums are finished"
    minimum = program.settings.minimum_cohort
    few_bads = 0 < min(state.bads, state.rows - state.bads) < minimum
    correlation, inflation, why = _correlations(program, state)
    columns = []
    for name, column in program.columns.items():
        if column.kind == "categorical":
            columns.append(_category(program, state, name))
        else:
            number = _number(program, state, name)
            reason = why.get(name)
            number["vif"] = inflation.get(name)
            number["withheld"] |= {"vif": reason} if reason else {}
            columns.append(number)
    return {
        "rows": state.rows, "bads": None if few_bads else state.bads, "weight": state.moments.weight, "weighted": program.settings.weighted,
        "minimum_cohort": minimum, "banks": list(state.banks), "sums": state.sums,
        "withheld": {"bads": f"fewer than {minimum} rows of one class"} if few_bads else {},
        "columns": columns, "correlation": correlation,
    }  # fmt: skip


def share_lines(program: Statistics, state: Measured) -> list[str]:
    """What all banks have alike, as lines with numbers to ten digits: the hash of the result is over these."""
    return list(_lines("", common(program, state)))


# -- columns ------------------------------------------------------------------------------------------------------------------------


def _number(program: Statistics, state: Measured, name: str) -> Document:
    """A numeric column."""
    assert state.moments is not None, "moments come first"
    minimum = program.settings.minimum_cohort
    number = program.measure(state).number(state.moments, name)
    withheld: dict[str, str] = {}
    out: Document = {"name": name, "kind": "numeric", "count": number.count, "missing": number.missing, "constant": number.constant}
    figures = {
        "mean": number.mean,
        "variance": number.variance,
        "deviation": None if number.variance is None else math.sqrt(number.variance),
    }
    if number.count < minimum:
        out["constant"], figures = None, dict.fromkeys(figures)
        withheld |= dict.fromkeys(figures, _few(number, minimum))
    elif number.variance is None:
        withheld |= dict.fromkeys(("variance", "deviation"), "not defined, or beyond all doubles")
    if 0 < number.count < minimum or 0 < number.missing < minimum:
        out |= {"count": None, "missing": None}
        withheld |= dict.fromkeys(("count", "missing"), f"fewer than {minimum} rows with or without a value")
    found = program.quantiles.released(state.quantiles, name)
    shown = dict(zip(program.settings.probabilities, found.values, strict=True))
    withheld |= {key: _quantile_reason(minimum) for key, value in (("low", found.low), ("high", found.high)) if value is None}
    if None in found.values:
        withheld["quantiles"] = _quantile_reason(minimum)
    quantiles = [{"probability": p, "value": value} for p, value in shown.items()]
    return out | figures | {"low": found.low, "high": found.high, "quantiles": quantiles, "withheld": withheld}


def _category(program: Statistics, state: Measured, name: str) -> Document:
    """A categorical column: levels below the cohort are merged, the smallest first, and missing with them."""
    assert state.moments is not None, "moments come first"
    minimum = program.settings.minimum_cohort
    rows, weight = state.moments.levels[name]
    groups = (*((level,) for level in named_levels(program.settings.levels[name])), ())
    bins = Bins(column=name, kind="categorical", groups=groups, other=len(groups) - 1)
    exponent = _WEIGHT_BITS - math.frexp(max(sum(weight), 1e-300))[1]
    grid = [round(math.ldexp(value, exponent)) for value in weight]
    counts = np.array([[*map(round, rows), 0], [*grid, 0]], np.int64).T
    bins, counts = merge_small(bins, counts, minimum)
    out: Document = {"name": name, "kind": "categorical", "levels": [], "withheld": {}}
    if any(0 < count < minimum for count in counts[:, 0].tolist()):
        return out | {"withheld": {"levels": f"fewer than {minimum} rows have a value"}}
    total = int(counts[:, 0].sum())
    for label, (count, units) in zip(bins.labels, counts.tolist(), strict=True):
        if count:
            out["levels"].append({"label": label, "rows": count, "share": count / total, "weight": math.ldexp(units, -exponent)})
    return out


def _correlations(program: Statistics, state: Measured) -> tuple[Document, dict[str, float], dict[str, str]]:
    """The matrix of the columns that vary and have a cohort of values; variance inflation, and why a column has none."""
    assert state.moments is not None and state.correlations is not None, "the sums are finished"
    assert state.correlations.matrix is not None and state.correlations.both is not None, "the sums are finished"
    plan, minimum, matrix, both = (
        program.correlate(state),
        program.settings.minimum_cohort,
        state.correlations.matrix,
        state.correlations.both,
    )
    numbers = {name: program.measure(state).number(state.moments, name) for name in plan.names}
    why = {name: _few(number, minimum) for name, number in numbers.items() if number.count < minimum}
    why |= {name: "one value throughout" for n, name in enumerate(plan.names) if name not in why and not matrix[n, n] > 0}
    names = [name for name in plan.names if name not in why]
    at = [plan.names.index(name) for name in names]
    meet = both[np.ix_(at, at)]
    apart = (meet > 0) & (meet < minimum)
    shown = [[None if apart[i, j] else _clipped(matrix[at[i], at[j]]) for j in range(len(at))] for i in range(len(at))]
    why |= {name: f"meets another column in fewer than {minimum} rows" for n, name in enumerate(names) if apart[n].any()}
    inflation = plan.inflation(state.correlations, [name for name in names if name not in why])
    why |= {name: "determined by the other columns" for name, value in inflation.items() if math.isinf(value)}
    reason = f"None: the two columns meet in fewer than {minimum} rows" if apart.any() else ""
    return {"columns": names, "matrix": shown, "withheld": reason}, {k: v for k, v in inflation.items() if not math.isinf(v)}, why


def _few(number: Number, minimum: int) -> str:
    return f"fewer than {minimum} rows have a value" if number.count else "no row has a value"


def _quantile_reason(minimum: int) -> str:
    return f"fewer than {minimum} rows would lie beside it, or between it and another one"


def _clipped(value: float) -> float:
    return min(1.0, max(-1.0, float(value)))


def _lines(path: str, value: Any) -> Iterable[str]:
    """One line for each leaf of a JSON value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _lines(f"{path}/{key}", inner)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _lines(f"{path}/{place}", inner)
    else:
        yield f"{path} {value:.9e}" if isinstance(value, float) else f"{path} {value}"
