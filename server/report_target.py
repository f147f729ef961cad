"""How outcomes were made, for the report: the definition, the waterfall of the sample, roll rates, and vintage curves as a chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from server import report_charts as charts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup

    from server.result import Result, RollRates, Rolls, Step, Target, Vintage

MOST_PARTIES, _MOST_CURVES = 8, 12
_KINDS = {"all": "", "excluded": "left out: ", "outcome": "", "sample": "", "left out": "in no sample: "}
_SAMPLES = {"train": "train", "test": "test", "out_of_time": "out of time"}
_EVERY_MONTH = ("observe_every", 1)
_STYLES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Line:
    """A line of the waterfall. share: of the rows that it started with."""

    text: str
    kind: str
    rows: int | None
    share: float | None


@dataclass(frozen=True)
class Matrix:
    """A roll-rate matrix. rows: state, total, and for each end its count and share."""

    title: str
    ends: list[str]
    rows: list[tuple[str, int | None, list[tuple[int | None, float | None]]]]


@dataclass(frozen=True)
class TargetView:
    """One label party's outcomes."""

    party: str
    target: Target
    definition: list[tuple[str, str]]
    waterfall: list[Line]
    matrices: list[Matrix]
    chart: Markup | None


def target_views(result: Result) -> list[TargetView]:
    """Of the first parties; there may be a thousand banks."""
    found = list((result.target or {}).items())[:MOST_PARTIES]
    return [
        TargetView(
            party, target, _definition(target.definition or {}), _waterfall(target.waterfall or ()), _matrices(target.roll_rates),
            vintages(f"vintages-{number}", target.vintages or ()),
        )
        for number, (party, target) in enumerate(found)
    ]  # fmt: skip


def _definition(said: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The settings in words; one that is not there is left out."""
    words = {
        "days_past_due": ("Bad from", "{} days past due"), "rule": ("Judged", "{}"), "performance_months": ("Performance window", "{} months"),
        "indeterminate_from": ("Indeterminate from", "{} days past due"), "written_off": ("Written-off loans count as", "{}"),
        "restructured": ("Restructured loans count as", "{}"), "fraud": ("Fraud counts as", "{}"), "level": ("Level", "{}"),
        "good_standing": ("In good standing up to", "{} days past due"), "months_on_book": ("Least months on book", "{}"),
        "observe_from": ("Observed from", "{}"), "observe_to": ("Observed up to", "{}"), "observe_every": ("Observed every", "{} months"),
    }  # fmt: skip
    return [
        (term, form.format(said[key]))
        for key, (term, form) in words.items()
        if said.get(key) is not None and (key, said[key]) != _EVERY_MONTH
    ]


def _waterfall(steps: Sequence[Step]) -> list[Line]:
    whole = next((step.rows for step in steps if step.kind == "all"), None)
    return [
        Line(
            _KINDS.get(step.kind, "") + (_SAMPLES.get(step.name, step.name) if step.kind == "sample" else step.name), step.kind, step.rows,
            step.rows / whole if step.rows is not None and whole else None,
        )
        for step in steps
    ]  # fmt: skip


def _matrices(rates: RollRates | None) -> list[Matrix]:
    if rates is None:
        return []
    parts = (
        ("From one month's end to the next", rates.monthly),
        ("From the observation to the worst in the performance window", rates.window),
    )
    return [_matrix(title, rates, rolls) for title, rolls in parts if rolls is not None and rolls.counts]


def _matrix(title: str, rates: RollRates, rolls: Rolls) -> Matrix:
    rows = []
    for place, (state, counts) in enumerate(zip(rates.start or (), rolls.counts or (), strict=False)):
        shares = rolls.shares[place] if rolls.shares and place < len(rolls.shares) else [None] * len(counts)
        total = rolls.totals[place] if rolls.totals and place < len(rolls.totals) else None
        rows.append((state, total, list(zip(counts, shares, strict=False))))
    return Matrix(title, list(rates.end or ()), rows)


def vintages(key: str, curves: Sequence[Vintage]) -> Markup | None:
    """The share ever bad by months on book, one line a quarter of origin, the later the darker. key: makes the chart's ids unique."""
    drawn = [curve for curve in curves if curve.shares][-_MOST_CURVES:]
    if not drawn:
        return None
    with mpl.rc_context(charts.STYLE):
        figure = Figure(figsize=(2 * charts.WIDTH, 3.4), layout="constrained")
        axes = figure.subplots()
        for place, curve in enumerate(drawn):
            shares = curve.shares or []
            dark = 0.35 + 0.65 * (place + 1) / len(drawn)
            axes.plot(
                range(len(shares)), shares, color=charts.BLUE, alpha=dark, linestyle=_STYLES[place % len(_STYLES)], label=curve.quarter
            )
        axes.set(xlabel="months on book", ylabel="share ever bad")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1, symbol=" %"))
        figure.legend(loc="outside right upper", title="opened in")
        ends = ", ".join(f"{curve.quarter} {100 * (curve.shares or [0.0])[-1]:.1f} %" for curve in drawn)
        return charts.as_svg(
            figure, key, f"Vintage curves: share of loans ever bad, by quarter of origin, at the last age: {ends}.", wide=True
        )
