"""The report's charts: matplotlib figures as inline SVG that takes its colours from the page, so that they follow its light and dark theme.

Every function returns SVG markup that is safe to inline: no script, no reference outside, ids unique to the chart, the same bytes for the
same input (fixed hash salt, no date). matplotlib's pyplot, its global state and display are never touched.
"""

from __future__ import annotations

import io
import re
import warnings
from html import escape
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from server.result import SPLITS, Bin, Iteration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

INK, MUTED, RULE = "#010101", "#020202", "#030303"
BLUE, ORANGE, GREEN = "#040404", "#050505", "#060606"
_VARIABLES = {INK: "--ink", MUTED: "--muted", RULE: "--rule", BLUE: "--blue", ORANGE: "--orange", GREEN: "--green"}
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "creditfed",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 8.5,
    "text.color": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}
LOOKS = {"train": (BLUE, "--", "train"), "test": (ORANGE, "-", "test"), "out_of_time": (GREEN, "-.", "out of time")}
WIDTH, _HEIGHT = 4.4, 3.0
_CHARACTER, _LINE, _LABEL = 0.08, 0.27, 0.26
"""Inches: a digit of a tick's label, a line of them, an axis' label."""


def roc(curves: Mapping[str, Any]) -> Markup | None:
    """ROC of every split, or None where no split has one."""
    lines = {name: curves[name]["roc"] for name in SPLITS if (curves.get(name) or {}).get("roc")}
    if not lines:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = _figure()
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
        for name, line in lines.items():
            color, style, label = LOOKS[name]
            axes.plot(line["x"], line["y"], color=color, linestyle=style, label=label)
        axes.set(xlabel="goods wrongly refused", ylabel="bads caught", xlim=(0, 1), ylim=(0, 1.005))
        _percent(axes, "xy")
        axes.legend(loc="lower right")
        return as_svg(figure, "roc", "ROC curve of each split: share of bads caught against share of goods wrongly refused.")


def ks(name: str, curve: Mapping[str, Any]) -> Markup:
    """The two distribution functions of one split and where they are furthest apart."""
    with mpl.rc_context(STYLE):
        figure, axes = _figure()
        axes.plot(curve["population"], curve["goods"], color=BLUE, label="goods")
        axes.plot(curve["population"], curve["bads"], color=ORANGE, linestyle="--", label="bads")
        at = int(np.argmin(np.abs(np.subtract(curve["population"], curve["at"]))))
        axes.vlines(curve["at"], curve["bads"][at], curve["goods"][at], color=INK, linewidth=1.1)
        axes.annotate(
            f"KS {curve['ks']:.3f}",
            (curve["at"], curve["bads"][at]),
            (5, -13),
            textcoords="offset points",
            fontweight="bold",
        )
        axes.set(xlabel="share of applicants, safest first", ylabel="share reached", xlim=(0, 1), ylim=(0, 1.005))
        _percent(axes, "xy")
        axes.legend(loc="upper left")
        words = f"KS curve, {LOOKS[name][2]}: goods and bads reached by score; largest distance {curve['ks']:.3f}."
        return as_svg(figure, "ks", words)


def calibration(curves: Mapping[str, Any]) -> Markup | None:
    """Observed against predicted bad rate by decile, with the interval of the observed rate."""
    points = {name: curves[name]["calibration"] for name in SPLITS if (curves.get(name) or {}).get("calibration")}
    if not points:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = _figure()
        top = 1.05 * max(max(point["predicted"], point["high"]) for rows in points.values() for point in rows)
        axes.plot([0, top], [0, top], color=MUTED, linewidth=0.8, linestyle=":")
        for (name, rows), marker in zip(points.items(), "osD", strict=False):
            color, _, label = LOOKS[name]
            observed = np.array([point["observed"] for point in rows])
            spread = [observed - [point["low"] for point in rows], np.array([point["high"] for point in rows]) - observed]
            predicted = [point["predicted"] for point in rows]
            axes.errorbar(predicted, observed, spread, fmt=marker, color=color, markersize=3.6, elinewidth=0.8, label=label)
        axes.set(xlabel="predicted bad rate", ylabel="observed bad rate", xlim=(0, top), ylim=(0, top))
        _percent(axes, "xy")
        axes.legend(loc="upper left")
        return as_svg(figure, "calibration", "Observed against predicted bad rate in ten groups of each split, with 95 % intervals.")


def distribution(name: str, histogram: Mapping[str, Any]) -> Markup:
    """Scores of goods and bads in one split."""
    with mpl.rc_context(STYLE):
        figure, axes = _figure()
        for values, color, style, label in ((histogram["goods"], BLUE, "-", "goods"), (histogram["bads"], ORANGE, "--", "bads")):
            axes.stairs(values, histogram["edges"], fill=True, color=color, alpha=0.22, linewidth=0)
            axes.stairs(values, histogram["edges"], color=color, linestyle=style, linewidth=1.4, label=label)
        axes.set(xlabel="score (log odds of bad): riskier to the right", ylabel="share of its class")
        axes.set_ylim(bottom=0)
        _percent(axes, "y", digits=0 if max(histogram["goods"] + histogram["bads"]) > 0.04 else 1)
        axes.legend(loc="upper right")
        return as_svg(figure, "distribution", f"Distribution of scores of goods and of bads, {LOOKS[name][2]}.")


def woe(key: str, column: str, bins: Sequence[Bin]) -> Markup | None:
    """Weight of evidence by bin. key: makes the chart's ids unique."""
    rows = [row for row in bins if row.woe is not None]
    if not rows:
        return None
    values = [row.woe or 0.0 for row in rows]
    words = f"Weight of evidence of {column}: " + "; ".join(f"{row.label} {row.woe:+.2f}" for row in rows) + "."
    with mpl.rc_context(STYLE):
        figure, axes = _bars([row.label for row in rows], values, [BLUE if value >= 0 else ORANGE for value in values])
        axes.axvline(0, color=MUTED, linewidth=0.8)
        reach = max(0.1, *map(abs, values)) * 1.3
        axes.set_xlim(-reach, reach)
        for place, value in enumerate(values):
            axes.annotate(
                f"{value:+.2f}", (value, place), (3 if value >= 0 else -3, 0),
                textcoords="offset points", va="center", ha="left" if value >= 0 else "right", fontsize=7.5,
            )  # fmt: skip
        return as_svg(figure, key, words)


def convergence(history: Sequence[Iteration]) -> Markup | None:
    """Loss above its last value and length of the step, both on a logarithmic axis, by iteration."""
    rows = [row for row in history if row.iteration is not None]
    if not rows:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2 * WIDTH, _HEIGHT))
        left, right = figure.subplots(1, 2)
        _margins(figure, _LABEL + 7 * _CHARACTER, _LABEL + _LINE, between=_LABEL + 8 * _CHARACTER)
        for axes, label, series in ((left, "loss", [row.loss for row in rows]), (right, "length of step", [row.step for row in rows])):
            known = [(row.iteration, value) for row, value in zip(rows, series, strict=True) if value is not None]
            axes.plot([x for x, _ in known], [y for _, y in known], color=BLUE, marker="o", markersize=3.2)
            axes.set(xlabel="iteration", ylabel=label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if all(row.step is not None and row.step > 0 for row in rows):
            right.set_yscale("log")
            right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            right.tick_params(which="minor", length=0)
        last = rows[-1]
        words = f"Convergence over {len(rows)} iterations: last loss {_or_dash(last.loss)}, last step {_or_dash(last.step)}."
        return as_svg(figure, "convergence", words, wide=True)


def cost(key: str, title: str, amounts: Mapping[str, float], shown: Mapping[str, str]) -> Markup | None:
    """Horizontal bars of an amount by phase or party. shown: the text at each bar."""
    if not amounts:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = _bars(list(amounts), list(amounts.values()), [BLUE] * len(amounts))
        axes.set_xlim(0, max(*amounts.values(), 1e-9) * 1.25)
        axes.xaxis.set_visible(False)
        axes.spines["bottom"].set_visible(False)
        for place, (name, value) in enumerate(amounts.items()):
            axes.annotate(shown[name], (value, place), (4, 0), textcoords="offset points", va="center")
        return as_svg(figure, key, f"{title}: " + "; ".join(f"{name} {text}" for name, text in shown.items()) + ".")


def _figure() -> tuple[Figure, Axes]:
    """Of one pair of axes, whose ticks are percentages or scores."""
    figure = Figure(figsize=(WIDTH, _HEIGHT))
    _margins(figure, _LABEL + 5 * _CHARACTER, _LABEL + _LINE)
    return figure, figure.subplots()


def _margins(figure: Figure, left: float, bottom: float, between: float = 0.0) -> None:
    """Room for labels, in inches. matplotlib's own layout draws every figure several times to find it: most of a report's time."""
    width, height = figure.get_size_inches()
    columns = 2 if between else 1
    each = (width - left - 2.5 * _CHARACTER - between) / columns
    figure.subplots_adjust(left / width, bottom / height, 1 - 2.5 * _CHARACTER / width, 1 - 0.08 / height, wspace=between / each)


def _bars(labels: Sequence[str], values: Sequence[float], colors: Sequence[str]) -> tuple[Figure, Axes]:
    """Horizontal bars, the first on top, one fixed height each."""
    figure = Figure(figsize=(WIDTH, 0.5 + 0.27 * len(labels)))
    shown = [short(label) for label in labels]
    _margins(figure, 0.12 + max(map(_width, shown)), _LINE)
    axes = figure.subplots()
    axes.barh(range(len(values)), values, color=colors, height=0.62)
    axes.set_yticks(range(len(labels)), shown, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    return figure, axes


def _percent(axes: Axes, which: str, digits: int = 0) -> None:
    for letter in which:
        axis = axes.xaxis if letter == "x" else axes.yaxis
        axis.set_major_formatter(PercentFormatter(1.0, decimals=digits, symbol=" %"))


def short(label: str, longest: int = 24) -> str:
    """A label that fits beside an axis."""
    return label if len(label) <= longest else label[: longest - 1] + "…"


def _width(text: str) -> float:
    """Of a tick's label, in inches."""
    return text_to_path.get_text_width_height_descent(text, FontProperties(size=STYLE["font.size"]), ismath=False)[0] / 72


def _or_dash(value: float | None) -> str:
    return "not recorded" if value is None else f"{value:.3g}"


def _font(shorthand: re.Match[str]) -> str:
    """Size and weight of a CSS font shorthand, without its family."""
    weight = f"; font-weight: {shorthand[1].strip()}" if shorthand[1] else ""
    return f"font-size: {shorthand[2]}{weight}"


def as_svg(figure: Figure, key: str, words: str, *, wide: bool = False) -> Markup:
    """The figure as inline markup with an accessible name.  key: prefix of its ids, made of letters, digits and hyphens."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the page's own fonts draw the text
        canvas = FigureCanvasSVG(figure)
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})  # type: ignore[no-untyped-call]
    drawn = buffer.getvalue()
    body = drawn[drawn.index(">", drawn.index("<svg")) + 1 : drawn.rindex("</svg>")]
    box = re.search(r'viewBox="([0-9. ]+)"', drawn)
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{key}-', body)
    body = body.replace("url(#", f"url(#{key}-").replace('href="#', f'href="#{key}-')
    body = re.sub(r"font: (\d+ )?([0-9.]+px)[^;\"]*", _font, body)  # the family is the page's
    body = re.sub(r"\s*\n\s*", " ", body)
    for sentinel, variable in _VARIABLES.items():
        body = body.replace(sentinel, f"var({variable})")
    look = "chart wide" if wide else "chart"
    view = box[1] if box else "0 0 316.8 216"
    return Markup(f'<svg class="{look}" viewBox="{view}" role="img" aria-label="{escape(words)}">{body}</svg>')  # noqa: S704 - built above
