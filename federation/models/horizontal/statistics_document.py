"""What of the statistics over many banks is fit to be released, as JSON values: what would tell of fewer rows than the cohort is None.

Each None stands beside a reason under `withheld`. What could be worked out from released figures is withheld with it: few missing rows take
the number of present ones along, few rows of a level are not left out but merged with other levels (`bin_merging`), a correlation of columns
that meet in few rows takes both variance inflations along. There is no minimum and no maximum, but `low` and `high` (`quantiles`).

    few differ   mean, variance and correlations need a cohort at or below one value and a cohort at or above a greater one, or one value
                 throughout: of a flag that three rows have, mean times count is three
    rounding     where the count is withheld, mean, variance and correlations are rounded to their standard errors: with all digits, the mean
                 of whole numbers tells the count that it was divided by. Variance inflation is that of the correlations as released

A mean that one large firm rules is no matter of this file: each bank's gate asks its own part for dominance before the first sum
(`privacy.disclosure.rules`). One of few small whole numbers may be worked out from mean and variance together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from federation.kernel.errors import PolicyRefusal
from federation.models.bin_merging import merge_small
from federation.models.bins import Bins
from federation.models.horizontal.moments import Number, named_levels
from federation.models.horizontal.own_stability import own_stability
from federation.models.horizontal.plan import add_up
from federation.models.horizontal.quantiles import Released
from federation.models.horizontal.selection import Feature, variance_inflation
from federation.models.horizontal.statistics import Measured, Statistics

Document = dict[str, Any]
_WEIGHT_BITS = 60


def document(program: Statistics, state: Measured) -> Document:
    """All banks' statistics, and under `own` the same of this bank alone with its stability index (`psi`) against all; none of it was sent."""
    alone = own(program)
    psi = {} if "reason" in alone else {"psi": own_stability(program, state)}
    return common(program, state) | {"own": alone | psi}


def own(program: Statistics) -> Document:
    """This bank's statistics alone, by the same rules; a reason where it has too few rows."""
    try:
        alone = Statistics(program.table, program.manifest, program.levels)
        (state,) = add_up([alone])
    except PolicyRefusal as error:
        return {"reason": f"this bank alone: {error.what}"}
    return common(alone, state)


def common(program: Statistics, state: Measured) -> Document:
    """What all banks have alike. columns: in the table's order; correlation: of the numeric columns that vary."""
    assert state.moments is not None and state.correlations is not None, "the sums are finished"
    minimum = program.manifest.privacy.minimum_cohort
    few_bads = min(state.bads, state.rows - state.bads) < minimum  # none at all, too: that would tell the class of every row
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
        "rows": state.rows, "bads": None if few_bads else state.bads, "weight": state.moments.weight,
        "weighted": program.manifest.sample.weighted,
        "minimum_cohort": minimum, "banks": list(state.banks), "sums": state.sums,
        "withheld": {"bads": f"fewer than {minimum} rows of one class"} if few_bads else {},
        "columns": columns, "correlation": correlation,
    }  # fmt: skip


def share_lines(program: Statistics, state: Measured) -> list[str]:
    """What all banks have alike, as lines with numbers to ten digits: the hash of the result is over these. Without variance inflation, which
    follows from the correlations by an inverse whose last digits two machines need not share.
    """
    return list(_lines("", common(program, state)))


# -- columns ------------------------------------------------------------------------------------------------------------------------


def _number(program: Statistics, state: Measured, name: str) -> Document:
    """A numeric column."""
    assert state.moments is not None, "moments come first"
    minimum = program.manifest.privacy.minimum_cohort
    number = program.measure(state).number(state.moments, name)
    withheld: dict[str, str] = {}
    out: Document = {"name": name, "kind": "numeric", "count": number.count, "missing": number.missing, "constant": number.constant}
    figures = {
        "mean": number.mean,
        "variance": number.variance,
        "deviation": None if number.variance is None else math.sqrt(number.variance),
    }
    found = program.quantiles.released(state.quantiles, name)
    few = _few(number, found, minimum)
    if few:
        out["constant"], figures = None, dict.fromkeys(figures)
        withheld |= dict.fromkeys(figures, few)
    elif number.variance is None:
        withheld |= dict.fromkeys(("variance", "deviation"), "not defined, or beyond all doubles")
    if _count_withheld(number, minimum):
        out |= {"count": None, "missing": None}
        withheld |= dict.fromkeys(("count", "missing"), f"fewer than {minimum} rows with or without a value")
        if not few:
            figures = _rounded_figures(number)
            withheld |= {"digits": "rounded to the standard error: with all digits they would tell the count"}
            withheld |= {key: "not defined, or beyond all doubles" for key, value in figures.items() if value is None}
    shown = dict(zip(program.quantiles.probabilities, found.values, strict=True))
    withheld |= {key: _quantile_reason(minimum) for key, value in (("low", found.low), ("high", found.high)) if value is None}
    if None in found.values:
        withheld["quantiles"] = _quantile_reason(minimum)
    quantiles = [{"probability": p, "value": value} for p, value in shown.items()]
    return out | figures | {"low": found.low, "high": found.high, "quantiles": quantiles, "withheld": withheld}


def _category(program: Statistics, state: Measured, name: str) -> Document:
    """A categorical column: levels below the cohort are merged, the smallest first, and missing with them."""
    assert state.moments is not None, "moments come first"
    minimum = program.manifest.privacy.minimum_cohort
    rows, weight = state.moments.levels[name]
    groups = (*((level,) for level in named_levels(program.levels[name])), ())
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
        program.manifest.privacy.minimum_cohort,
        state.correlations.matrix,
        state.correlations.both,
    )
    numbers = {name: program.measure(state).number(state.moments, name) for name in plan.names}
    few = {name: _few(number, program.quantiles.released(state.quantiles, name), minimum) for name, number in numbers.items()}
    why = {name: reason for name, reason in few.items() if reason}
    why |= {name: "one value throughout" for n, name in enumerate(plan.names) if name not in why and not matrix[n, n] > 0}
    names = [name for name in plan.names if name not in why]
    at = [plan.names.index(name) for name in names]
    meet = both[np.ix_(at, at)]
    apart = (meet > 0) & (meet < minimum)
    matrix = matrix[np.ix_(at, at)].copy()
    for i, j in itertools.permutations(range(len(names)), 2):
        if meet[i, j] > 0 and any(_count_withheld(numbers[names[k]], minimum) for k in (i, j)):
            matrix[i, j] = _rounded(matrix[i, j], 1 / math.sqrt(meet[i, j]))
    shown = [[None if apart[i, j] else _clipped(matrix[i, j]) for j in range(len(at))] for i in range(len(at))]
    why |= {name: f"meets another column in fewer than {minimum} rows" for n, name in enumerate(names) if apart[n].any()}
    inflation = variance_inflation([Feature(name, (n,)) for n, name in enumerate(names) if name not in why], matrix)
    why |= {name: "determined by the other columns" for name, value in inflation.items() if math.isinf(value)}
    reason = f"None: the two columns meet in fewer than {minimum} rows" if apart.any() else ""
    return {"columns": names, "matrix": shown, "withheld": reason}, {k: v for k, v in inflation.items() if not math.isinf(v)}, why


def _few(number: Number, found: Released, minimum: int) -> str:
    """Why a column has neither mean nor correlations; empty where it has."""
    if number.count < minimum:
        return f"fewer than {minimum} rows have a value" if number.count else "no row has a value"
    varies = found.low is not None and found.high is not None and found.low < found.high
    return "" if number.constant or varies else f"fewer than {minimum} rows, perhaps, differ from the others"


def _count_withheld(number: Number, minimum: int) -> bool:
    return 0 < number.count < minimum or 0 < number.missing < minimum


def _rounded_figures(number: Number) -> dict[str, float | None]:
    """Mean, variance and deviation to their standard errors; none where there is no variance, hence no error."""
    if number.mean is None or number.variance is None:
        return {"mean": None, "variance": None, "deviation": None}
    variance = _rounded(number.variance, number.variance * math.sqrt(2 / number.count))
    mean = _rounded(number.mean, math.sqrt(number.variance / number.count))
    return {"mean": mean, "variance": variance, "deviation": math.sqrt(variance)}


def _rounded(value: float, error: float) -> float:
    """To the power of ten that is no less than the error."""
    return round(float(value), -math.ceil(math.log10(error))) if error > 0 else float(value)


def _quantile_reason(minimum: int) -> str:
    return f"fewer than {minimum} rows would lie beside it, or between it and another one"


def _clipped(value: float) -> float:
    return min(1.0, max(-1.0, float(value)))


def _lines(path: str, value: Any) -> Iterable[str]:
    """One line for each leaf of a JSON value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key != "vif":
                yield from _lines(f"{path}/{key}", inner)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _lines(f"{path}/{place}", inner)
    else:
        yield f"{path} {value:.9e}" if isinstance(value, float) else f"{path} {value}"
