"""The report's charts of runs over many banks, in the manner of `report_charts`: models side by side, and correlations as a heat map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from server import report_charts as charts
from server.report_banks import MODELS, SIDE_FIGURES, Measure, SideBySide

if TYPE_CHECKING:
    from markupsafe import Markup

    from server.report_statistics import Correlation

LOOKS = {"global": (charts.BLUE, "o"), "per bank": (charts.ORANGE, "s"), "personal": (charts.GREEN, "D"), "local": (charts.INK, "^")}
_DEEPEST = 0.6
"""Opacity of a correlation of 1: text on it stays readable."""
_MOST_WRITTEN = 16
_MOST_DRAWN = 60
_ROW = 0.17


def side_by_side(key: str, side: SideBySide, figure_name: str) -> Markup | None:
    """Each model's figure at each bank, with its 95 % interval; all banks below a line."""
    rows = [row for row in side.shown if any(row.value(figure_name, model) is not None for model in side.models)]
    if not rows:
        return None
    title, models = SIDE_FIGURES[figure_name], side.models
    reach = 0.62 / max(1, len(models) - 1)
    with mpl.rc_context(charts.STYLE):
        figure = Figure(
            figsize=(charts.WIDTH, (0.85 if len(models) < 4 else 1.05) + len(rows) * max(0.3, 0.1 + _ROW * len(models))),
            layout="constrained",
        )
        axes = figure.subplots()
        for number, model in enumerate(models):
            color, marker = LOOKS.get(model, (charts.MUTED, "v"))
            places = [place - (0.31 if len(models) > 1 else 0.0) + reach * number for place in range(len(rows))]
            known = [(place, part) for place, row in zip(places, rows, strict=True) if (part := row.measures[figure_name].get(model))]
            points = [(part.value, place) for place, part in known if part.value is not None]
            spans = [(place, *part.interval) for place, part in known if part.value is not None and part.interval]
            if spans:  # one collection for all: to draw them one by one takes most of a report's time
                axes.hlines(*zip(*spans, strict=True), color=color, linewidth=1.1)
            x, y = [value for value, _ in points], [place for _, place in points]
            axes.plot(x, y, marker=marker, color=color, markersize=4.2, linestyle="none", label=MODELS.get(model, model))
        if side.overall is not None and len(rows) > 1:
            axes.axhline(len(rows) - 1.5, color=charts.MUTED, linewidth=0.8)
        axes.set_yticks(range(len(rows)), [charts.short(row.bank) for row in rows], color=charts.INK)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"{title}, {side.split} rows, with 95 % interval")
        figure.legend(loc="outside upper center", ncols=len(models) if len(models) < 4 else 2, handletextpad=0.1, columnspacing=1.0)
        words = "; ".join(
            f"{row.bank} "
            + ", ".join(
                f"{MODELS.get(model, model)} {value:.3f}"
                for model in models
                if (value := row.measures[figure_name].get(model, Measure()).value) is not None
            )
            for row in rows
        )
        return charts.as_svg(figure, key, f"{title} of each model at each bank, {side.split} rows: {words}.")


def correlations(correlation: Correlation) -> Markup | None:
    """Correlations of numeric columns as a heat map: the deeper, the stronger. None for fewer than two columns or too many to tell apart."""
    names, count = correlation.columns, len(correlation.columns)
    if not 2 <= count <= _MOST_DRAWN or len(correlation.matrix) != count or any(len(row) != count for row in correlation.matrix):
        return None
    with mpl.rc_context(charts.STYLE):
        side = 0.42 if count <= _MOST_WRITTEN else 0.22
        figure = Figure(figsize=(max(5.0, 1.7 + side * count), max(3.2, 1.6 + side * 0.75 * count)), layout="constrained")
        axes = figure.subplots()
        for i, row in enumerate(correlation.matrix):
            for j, value in enumerate(row):
                _cell(axes, i, j, value, written=count <= _MOST_WRITTEN)
        axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5))
        axes.set_xticks(range(count), [charts.short(name, 18) for name in names], rotation=45, ha="left", rotation_mode="anchor")
        axes.xaxis.tick_top()
        axes.set_yticks(range(count), [charts.short(name) for name in names])
        axes.tick_params(colors=charts.INK)
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        words = f"Correlations of {count} numeric columns: blue for positive, orange for negative, deeper for stronger."
        return charts.as_svg(figure, "correlations", words, wide=True)


def _cell(axes: mpl.axes.Axes, i: int, j: int, value: float | None, *, written: bool) -> None:
    """One square; a dash where the value is withheld."""
    if value is None:
        axes.annotate("–", (j, i), ha="center", va="center", color=charts.MUTED)
        return
    color = charts.BLUE if value >= 0 else charts.ORANGE
    axes.add_patch(Rectangle((j - 0.47, i - 0.47), 0.94, 0.94, facecolor=color, alpha=_DEEPEST * min(1.0, abs(value)), linewidth=0))
    if written and i != j:
        axes.annotate(f"{value + 0.0:.2f}".replace("-0.00", "0.00"), (j, i), ha="center", va="center", fontsize=7.5)
