"""The report of a run: one HTML file that stands alone, from result.json and the label party's curves.

No script, no font, image or style from outside, and a content security policy that would block them; everything that comes from the run is
escaped. The same result gives the same bytes. Whatever part of the document is missing is left out.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from federation.kernel.errors import ConfigurationError
from privacy import contracts
from privacy.store.durable import READABLE, put
from server import report_bank_charts as bank_charts
from server import report_charts as charts
from server.glossary import glossary
from server.report_banks import SIDE_FIGURES, BankView, SideBySide, bank_view, chosen_fit, common_columns, is_over_banks, stability_of
from server.report_findings import IMPLAUSIBLE_IV, SUSPICIOUS_IV, findings, verdict
from server.report_statistics import StatisticsView, statistics_view
from server.report_target import target_views
from server.result import SPLITS, Bin, ColumnFacts, Metrics, PartyFacts, Result, RunFacts, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from markupsafe import Markup

    from privacy.contracts import Contract

DASH = "–"
FIGURES = {"auc": "AUC", "ks": "KS", "gini": "Gini", "brier": "Brier", "log_loss": "Log loss"}
IV_BANDS = ((0.02, "not useful"), (0.1, "weak"), (0.3, "medium"), (SUSPICIOUS_IV, "strong"), (IMPLAUSIBLE_IV, "suspicious: leak?"))
SPLIT_NAMES = {"train": "Train", "test": "Test", "out_of_time": "Out of time"}


@dataclass(frozen=True)
class ColumnCard:
    """One binned column: its party and name, IV, chart and bins. psi: over many banks, its stability in words."""

    party: str
    name: str
    iv: float | None
    chart: Markup | None
    bins: list[Bin]
    psi: str = ""

    @property
    def has_points(self) -> bool:
        """Whether a scorecard gives its bins points."""
        return any(row.points is not None for row in self.bins)


@dataclass(frozen=True)
class RankedColumn:
    """A column in the order of information value, with the trade's reading of it."""

    party: str
    column: ColumnFacts

    @property
    def level(self) -> str:
        """How alarming its strength is."""
        iv = self.column.iv or 0.0
        return "alarm" if iv > IMPLAUSIBLE_IV else "warning" if iv > SUSPICIOUS_IV else "good"

    @property
    def reading(self) -> str:
        """Siddiqi's bands of information value in words."""
        iv = self.column.iv
        return DASH if iv is None else next((words for bound, words in IV_BANDS if iv <= bound), "implausible: leak?")


@dataclass(frozen=True)
class Comparison:
    """A figure, federated and pooled, and how far apart they are."""

    name: str
    federated: float | None
    pooled: float | None

    @property
    def apart(self) -> float | None:
        """The absolute difference, or None where either is missing."""
        return None if self.federated is None or self.pooled is None else abs(self.federated - self.pooled)


def write_report(folder: Path) -> Path:
    """report.html from result.json, whole or not at all. ConfigurationError where there is no result that can be read."""
    source, curves = folder / "result.json", folder / "curves.json"
    if not source.exists():
        raise ConfigurationError(str(folder), "there is no result.json", "Name a folder that `creditfed simulate` finished.")
    try:
        result, drawn = json.loads(source.read_bytes()), json.loads(curves.read_bytes()) if curves.exists() else None
    except ValueError:
        raise ConfigurationError(str(folder), "result.json or curves.json is not JSON", "Run the simulation again.") from None
    if not isinstance(result, dict) or not result.get("run"):
        raise ConfigurationError(str(source), "is not the result of a run", "Name a folder that `creditfed simulate` finished.")
    put(folder / "report.html", render(result, drawn).encode(), READABLE)
    return folder / "report.html"


def render(result: Mapping[str, Any], curves: Mapping[str, Any] | None = None) -> str:
    """The report as HTML.

    result: the document of server.result, any part of which may be missing. curves: split -> the plain data of
    federation.models.metrics.Curves. ConfigurationError where the document has another schema version or wrong types.
    """
    run = parse(dict(result))
    facts = run.run if isinstance(run.run, RunFacts) else RunFacts(id=run.run)
    known, unknown = _contracts(run)
    page = _environment().get_template("report.html.j2")
    statistics = statistics_view(run.statistics)
    banks = bank_view(run)
    return page.render(
        result=run,
        facts=facts,
        verdict=verdict(run),
        findings=findings(run),
        splits=[(SPLIT_NAMES[name], split) for name in SPLITS if (split := getattr(run.metrics or Metrics(), name)) is not None],
        figures=FIGURES,
        charts=_charts(run, curves or {}),
        banks=banks,
        bank_charts=_bank_charts(banks, statistics),
        statistics=statistics,
        targets=target_views(run),
        cards=_cards(run),
        coefficients=_coefficients(run),
        contracts=known,
        unknown_contracts=unknown,
        comparisons=_comparisons(run),
        glossary=glossary(over_banks=banks is not None, with_target=bool(run.target)),
        match_rate=match_rate,
        ranked=ranked,
        bad_rate=bad_rate,
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("server", "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(fixed=fixed, whole=whole, percent=percent, size=size, duration=duration, tiny=tiny)
    environment.filters.update(chance=chance, digits=digits)
    return environment


def _contracts(run: Result) -> tuple[list[Contract], list[str]]:
    """The contracts that applied, and the names for which this installation has none."""
    known, unknown = [], []
    for name in (run.privacy.leakage if run.privacy else None) or ():
        try:
            known.append(contracts.load(name))
        except ConfigurationError:
            unknown.append(name)
    return known, unknown


def _charts(run: Result, curves: Mapping[str, Any]) -> dict[str, Markup | None]:
    """Every chart but those of single columns; None where there is nothing to draw."""
    shown = next((name for name in ("test", "out_of_time", "train") if (curves.get(name) or {}).get("ks")), None)
    split = curves[shown] if shown else {}
    cost = run.cost
    seconds, sent = (cost.seconds or {}, cost.bytes_sent or {}) if cost else ({}, {})
    return {
        "roc": charts.roc(curves),
        "ks": charts.ks(shown, split["ks"]) if shown else None,
        "calibration": charts.calibration(curves),
        "distribution": charts.distribution(shown, split["histogram"]) if shown and split.get("histogram") else None,
        "convergence": charts.convergence((cost.history if cost else None) or ()),
        "seconds": charts.cost("seconds", "Seconds by phase", seconds, {name: duration(value) for name, value in seconds.items()}),
        "bytes": charts.cost("bytes", "Bytes sent by party", sent, {name: size(value) for name, value in sent.items()}),
    }


def _bank_charts(banks: BankView | None, statistics: StatisticsView | None) -> dict[str, Any]:
    """Of each split compared the charts by figure; and the heat map."""
    sides: list[SideBySide] = banks.sides if banks else []
    drawn = [
        {figure: bank_charts.side_by_side(f"side-{number}-{figure}", side, figure) for figure in SIDE_FIGURES}
        for number, side in enumerate(sides)
    ]
    return {"sides": drawn, "correlations": bank_charts.correlations(statistics.document.correlation) if statistics else None}


def _cards(run: Result) -> list[ColumnCard]:
    """One card per binned column, in the document's order."""
    parties = [*(run.parties or ()), *(common_columns(run.parties or ()) if is_over_banks(run) else ())]
    facts = {(party.name, column.name): column for party in parties for column in party.columns or ()}
    bins = (run.model.bins if run.model else None) or {}
    pairs = [(party, column, rows) for party, columns in bins.items() for column, rows in columns.items()]
    return [
        ColumnCard(
            party,
            column,
            facts.get((party, column), ColumnFacts()).iv,
            charts.woe(f"woe-{number}", column, rows),
            rows,
            stability_of(run.banks, column),
        )
        for number, (party, column, rows) in enumerate(pairs)
    ]


def _coefficients(run: Result) -> list[tuple[str, list[tuple[str, float | None, float | None, float | None]]]]:
    """Each party with its rows of (column, raw coefficient, standardised one, p-value)."""
    model = run.model
    if model is None or not (model.coefficients or model.standardized):
        return []
    raw, standard, p = model.coefficients or {}, model.standardized or {}, model.p_values or {}
    return [
        (
            party,
            [
                (column, raw.get(party, {}).get(column), standard.get(party, {}).get(column), p.get(party, {}).get(column))
                for column in raw.get(party) or standard[party]
            ],
        )
        for party in raw or standard
    ]


def _comparisons(run: Result) -> list[Comparison]:
    """Federated against pooled: the figures of every split, the intercept and each coefficient."""
    if run.pooled is None:
        return []
    if run.banks is not None and run.banks.variant not in (None, "global"):
        return _common_comparisons(run)
    pairs = [
        Comparison(f"{FIGURES[figure]}, {SPLIT_NAMES[name].lower()}", getattr(ours, figure), getattr(theirs, figure))
        for name in SPLITS
        if (ours := getattr(run.metrics or Metrics(), name)) and (theirs := getattr(run.pooled.metrics or Metrics(), name))
        for figure in FIGURES
    ]
    if run.pooled.intercept is not None and run.model is not None:
        pairs.append(Comparison("Intercept", run.model.intercept, run.pooled.intercept))
    mine = (run.model.coefficients if run.model else None) or {}
    for party, columns in (run.pooled.coefficients or {}).items():
        pairs += [Comparison(f"{party} / {column}", mine.get(party, {}).get(column), value) for column, value in columns.items()]
    return pairs


def _common_comparisons(run: Result) -> list[Comparison]:
    """Where the run's model has parts of each bank's own, which nothing pooled has: the common model beside it."""
    fit, pooled = chosen_fit(run.banks, "global"), run.pooled
    if fit is None or pooled is None:
        return []
    pairs = [] if pooled.intercept is None else [Comparison("Intercept", fit.constant, pooled.intercept)]
    mine = fit.coefficients or {}
    return pairs + [
        Comparison(f"{party} / {column}", mine.get(column), value)
        for party, columns in (pooled.coefficients or {}).items()
        for column, value in columns.items()
    ]


# -- how numbers are written ----------------------------------------------------------------------------------------------------------


def fixed(value: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """A number with that many decimals, a dash when it is missing."""
    if value is None:
        return DASH
    rounded = round(value, digits) + 0.0  # no minus zero
    return f"{rounded:{'+' if sign and rounded else ''},.{digits}f}"


def whole(value: float | None) -> str:
    """A count with thousands separated; a weighted count keeps one decimal."""
    return DASH if value is None else f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage."""
    return DASH if value is None else f"{100 * value:.{digits}f} %"


def tiny(value: float | None) -> str:
    """A difference or a probability in scientific notation where it is small."""
    if value is None:
        return DASH
    return "0" if value == 0 else f"{value:.3f}" if abs(value) >= 0.001 else re.sub(r"e-0?", "e-", f"{value:.1e}")


def chance(value: float | None) -> str:
    """A p-value: below a ten-thousandth only that."""
    return DASH if value is None else "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def digits(value: float | None) -> str:
    """A figure of any unit to four digits."""
    if value is None:
        return DASH
    size_of = abs(value)
    if size_of >= 1e9 or 0 < size_of < 1e-4:
        return re.sub(r"e([+-])0*", lambda found: f"e{found[1].strip('+')}", f"{value:.3e}")
    return f"{value:,.0f}" if size_of >= 1000 else f"{value:.4g}"


def size(count: float | None) -> str:
    """Bytes with a decimal unit."""
    if count is None:
        return DASH
    for unit, divisor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= divisor:
            return f"{count / divisor:,.1f} {unit}"
    return f"{count:,.0f} B"


def duration(seconds: float | None) -> str:
    """Seconds, or minutes and seconds, or hours and minutes."""
    if seconds is None:
        return DASH
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def match_rate(party: PartyFacts, parties: Sequence[PartyFacts]) -> float | None:
    """A partner's matched rows as a share of the banks' training rows; of a bank, its training rows as a share of its rows."""
    book = (party.rows or 0) if party.role == "bank" else sum(other.matched or 0 for other in parties if other.role == "bank")
    return party.matched / book if party.matched is not None and book else None


def bad_rate(row: Bin) -> float | None:
    """Share of bads in a bin."""
    total = (row.goods or 0.0) + (row.bads or 0.0)
    return row.bads / total if row.bads is not None and total else None


def ranked(parties: Sequence[PartyFacts]) -> list[RankedColumn]:
    """Every column of every party, the strongest first."""
    rows = [RankedColumn(party.name, column) for party in parties for column in party.columns or ()]
    return sorted(rows, key=lambda row: -1.0 if row.column.iv is None else row.column.iv, reverse=True)
