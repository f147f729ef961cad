"""What a run over many banks says for the report: the models side by side at every bank, the fit with its uncertainty, who was lost.

Figures of a bank are of that bank's own rows; those of all banks come from totals in score cells, so their AUC is exact to `blur`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from federation.kernel.errors import ConfigurationError
from server.result import Banks, Metrics, PartyFacts, Result, Split

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

T = TypeVar("T")

MODELS = {"global": "Common model", "per bank": "Own intercept", "personal": "Personal slopes", "local": "Bank alone"}
MEANINGS = {
    "global": "every coefficient and the intercept common to all banks",
    "per bank": "common coefficients, an intercept of each bank's own",
    "personal": "slopes of each bank's own, drawn towards the common ones",
    "local": "what the bank finds with nobody else, with a choice of columns of its own",
}
JUDGED = (("test", "test"), ("out_of_time", "out-of-time"), ("train", "training"))
SIDE_FIGURES = {"auc": "AUC", "ks": "KS"}
ALL_BANKS = "all banks"
_GUESSING = 0.5


class CellFigure(msgspec.Struct, frozen=True):
    """A figure over all banks from score cells. blur: how far the figure without cells may be away."""

    value: float | None = None
    interval: tuple[float, float] | None = None
    blur: float | None = None


class CellSplit(msgspec.Struct, frozen=True):
    """One model on one split over all banks. psi: of the score against training."""

    n: int | None = None
    bads: int | None = None
    auc: CellFigure = CellFigure()
    ks: CellFigure = CellFigure()
    psi: float | None = None


class Stability(msgspec.Struct, frozen=True):
    """PSI of a column against training, or why there is none."""

    value: float | None = None
    reason: str = ""


class Step(msgspec.Struct, frozen=True):
    """A column that selection dropped, and why."""

    column: str = ""
    rule: str = ""
    reason: str = ""


class Fit(msgspec.Struct, frozen=True):
    """The common part of a variant. Maps are design column -> figure, `intercept` among errors, z and p; inflation: column -> VIF."""

    iterations: int | None = None
    coefficients: dict[str, float | None] | None = None
    standardized: dict[str, float | None] | None = None
    raw_errors: dict[str, float | None] | None = None
    errors: dict[str, float | None] | None = None
    z: dict[str, float | None] | None = None
    p: dict[str, float | None] | None = None
    inflation: dict[str, float | None] | None = None
    intercept: float | None = None
    constant: float | None = None
    constant_error: float | None = None


@dataclass(frozen=True)
class Measure:
    """A figure with its 95 % interval. best: the largest of its row; a tie marks both."""

    value: float | None = None
    interval: tuple[float, float] | None = None
    best: bool = False

    @property
    def flat(self) -> bool:
        """Whether it is the AUC of a model that scores all rows alike: one without columns."""
        return self.value == _GUESSING and self.interval == (_GUESSING, _GUESSING)


@dataclass(frozen=True)
class SideRow:
    """A bank, or all banks. measures: figure -> model -> its measure on these rows."""

    bank: str
    n: int | None
    bads: int | None
    measures: dict[str, dict[str, Measure]]

    def value(self, figure: str, model: str) -> float | None:
        """A figure's value, or None."""
        return self.measures[figure].get(model, Measure()).value


@dataclass(frozen=True)
class SideBySide:
    """The models of one split. models: in the report's order; rows: one to a bank; overall: all banks, or None; lines: in plain words."""

    split: str
    models: tuple[str, ...]
    rows: tuple[SideRow, ...]
    overall: SideRow | None
    psi: float | None
    blur: float | None
    lines: tuple[str, ...]

    @property
    def shown(self) -> tuple[SideRow, ...]:
        """The banks and then all of them."""
        return (*self.rows, *(() if self.overall is None else (self.overall,)))

    def mean(self, figure: str, model: str) -> float | None:
        """Mean over the banks that have the figure, or None."""
        known = [value for row in self.rows if (value := row.value(figure, model)) is not None]
        return sum(known) / len(known) if known else None

    def best_at(self, figure: str, model: str) -> int:
        """At how many banks this model's figure is the largest."""
        return sum(row.measures[figure].get(model, Measure()).best for row in self.rows)


@dataclass(frozen=True)
class Compared:
    """One model against another over the banks. better: at how many it ranks better; mean: of the differences of AUC; apart: at how many the
    95 % intervals do not overlap, None without intervals.
    """

    banks: int
    better: int
    mean: float
    apart: int | None


@dataclass(frozen=True)
class FitRow:
    """A row of the coefficient table; None where there is no such figure."""

    name: str
    coefficient: float | None
    error: float | None
    standardized: float | None
    standard_error: float | None
    z: float | None
    p: float | None
    vif: float | None


@dataclass(frozen=True)
class BankView:
    """What the page shows of a run over many banks. selected: whether the document tells of a selection; lost: banks without a result;
    columns: those that all have, once; started: how many banks there were at first.
    """

    variant: str | None
    models: Mapping[str, str]
    meanings: Mapping[str, str]
    figures: Mapping[str, str]
    sides: list[SideBySide]
    fit: Fit | None
    fit_rows: list[FitRow]
    steps: list[Step]
    selected: bool
    lost: tuple[str, ...]
    columns: list[PartyFacts]
    started: int

    @property
    def lost_notes(self) -> tuple[str, ...]:
        """Notes that say no more than the warning of a lost bank."""
        return tuple(f"{name} was lost on the way and has no result" for name in self.lost)


def bank_view(run: Result) -> BankView | None:
    """All that the report says of a run over many banks; None for another run."""
    if not is_over_banks(run):
        return None
    fit = chosen_fit(run.banks)
    return BankView(
        variant=run.banks.variant if run.banks else None,
        models=MODELS,
        meanings=MEANINGS,
        figures=SIDE_FIGURES,
        sides=side_by_side(run.banks),
        fit=fit,
        fit_rows=fit_rows(fit),
        steps=selection_steps(run.banks),
        selected=run.banks is not None and run.banks.selection is not None,
        lost=lost(run),
        columns=common_columns(run.parties or ()),
        started=len(run.parties or ()),
    )


def is_over_banks(run: Result) -> bool:
    """Whether the run was one over many banks, with nothing aligned."""
    return run.banks is not None or run.statistics is not None


def lost(run: Result) -> tuple[str, ...]:
    """Banks without a result; none where no party says how many rows it has, which tells nothing."""
    parties = run.parties or ()
    if not is_over_banks(run) or all(party.rows is None for party in parties):
        return ()
    return tuple(party.name for party in parties if party.rows is None)


def common_columns(parties: Sequence[PartyFacts]) -> list[PartyFacts]:
    """The columns that all banks have, once, as those of one party."""
    columns = {column.name: column for party in reversed(parties) for column in party.columns or ()}
    first = next((party.columns for party in parties if party.columns), ())
    order = [column.name for column in first] + [name for name in columns if name not in {column.name for column in first}]
    known = {column.name: column for party in reversed(parties) for column in party.columns or () if column.iv is not None}
    return [PartyFacts(name=ALL_BANKS, columns=[known.get(name, columns[name]) for name in order])] if columns else []


# -- side by side -------------------------------------------------------------------------------------------------------------------


def side_by_side(banks: Banks | None) -> list[SideBySide]:
    """Test and out-of-time rows where there are figures of them, else training rows."""
    if banks is None:
        return []
    found = [side for name, title in JUDGED if (side := _side(banks, name, title)) is not None]
    later = [side for side in found if side.split != "training"]
    return later or found


def _side(banks: Banks, name: str, title: str) -> SideBySide | None:
    alone, overall = banks.alone or {}, banks.overall or {}
    present = {*overall, *(model for models in alone.values() for model in models)}
    models = (*(model for model in MODELS if model in present), *sorted(present - MODELS.keys()))
    rows = tuple(row for bank, own in alone.items() if (row := _bank_row(bank, own, models, name)) is not None)
    cells = {model: typed(splits[name], CellSplit, f"banks.overall[{model}]") for model, splits in overall.items() if splits.get(name)}
    whole = _overall_row(cells, models) if cells else None
    if not rows and whole is None:
        return None
    chosen = cells.get(banks.variant or "", CellSplit())
    side = SideBySide(title, models, rows, whole, chosen.psi, chosen.auc.blur, ())
    return SideBySide(title, models, rows, whole, chosen.psi, chosen.auc.blur, tuple(_in_words(side)))


def _bank_row(bank: str, own: Mapping[str, Metrics], models: Sequence[str], name: str) -> SideRow | None:
    splits: dict[str, Split] = {model: split for model in models if (split := getattr(own.get(model) or Metrics(), name)) is not None}
    if not any(split.n for split in splits.values()):
        return None
    first = next(split for split in splits.values() if split.n)
    measures = {
        figure: _marked({model: Measure(getattr(split, figure), (split.intervals or {}).get(figure)) for model, split in splits.items()})
        for figure in SIDE_FIGURES
    }
    return SideRow(bank, first.n, first.bads, measures)


def _overall_row(cells: Mapping[str, CellSplit], models: Sequence[str]) -> SideRow:
    measures = {}
    for figure in SIDE_FIGURES:
        parts = {model: getattr(cells[model], figure) for model in models if model in cells}
        measures[figure] = _marked({model: Measure(part.value, part.interval) for model, part in parts.items()})
    first = next(iter(cells.values()))
    return SideRow(ALL_BANKS, first.n, first.bads, measures)


def _marked(measures: Mapping[str, Measure]) -> dict[str, Measure]:
    """The best marked, where there is more than one to choose from."""
    known = [measure.value for measure in measures.values() if measure.value is not None]
    best = max(known) if len(known) > 1 else math.inf
    return {name: Measure(part.value, part.interval, best=part.value == best) for name, part in measures.items()}


def _in_words(side: SideBySide) -> Iterable[str]:
    """What the table says, by stated rules: counts of banks, the mean difference, and how many intervals lie apart."""
    for model, words in (
        ("local", "the bank's own model ranks better than the common one"),
        ("per bank", "the model with the bank's own intercept ranks better than the one with a common intercept"),
        ("personal", "personal slopes rank better than the common ones"),
    ):
        found = compared(side, model, "global")
        if found is None:
            continue
        line = f"On {found.better} of {found.banks} banks {words} (AUC, {side.split} rows); the mean difference is {_signed(found.mean)}."
        yield line if model == "per bank" else f"{line} {_apart(found)}"
        flat = sum(row.measures["auc"].get(model, Measure()).flat for row in side.rows)
        if flat:
            yield f"At {flat} of them no column is left in {MODELS[model].lower()}, which then ranks nothing (AUC 0.500)."
    if side.overall is not None:
        known = {model: value for model in side.models if (value := side.overall.value("auc", model)) is not None}
        if len(known) > 1:
            best = max(known, key=lambda model: known[model])
            others = ", ".join(f"{MODELS.get(model, model)} {value:.3f}" for model, value in known.items() if model != best)
            yield f"Over all banks' rows together the best AUC is {known[best]:.3f}: {MODELS.get(best, best)} ({others})."


def compared(side: SideBySide, model: str, other: str) -> Compared | None:
    """The AUC of one model against another's, bank by bank; None where no bank has both."""
    pairs = [(row.measures["auc"].get(model, Measure()), row.measures["auc"].get(other, Measure())) for row in side.rows]
    gains = [(mine.value - theirs.value) for mine, theirs in pairs if mine.value is not None and theirs.value is not None]
    if not gains:
        return None
    known = [(a.interval, b.interval) for a, b in pairs if a.interval and b.interval]
    apart = sum(a[0] > b[1] or b[0] > a[1] for a, b in known) if known else None
    return Compared(len(gains), sum(gain > 0 for gain in gains), sum(gains) / len(gains), apart)


def _apart(found: Compared) -> str:
    if found.apart is None:
        return "There are no intervals, so any of it may be chance."
    if not found.apart:
        return "At no bank do the two 95 % intervals lie apart: each difference alone may be chance."
    return f"At {found.apart} of them the two 95 % intervals lie apart; elsewhere the difference may be chance."


def _signed(value: float) -> str:
    rounded = round(value, 3) + 0.0
    return f"{rounded:+.3f}" if rounded else "0.000"


# -- the fit ------------------------------------------------------------------------------------------------------------------------


def chosen_fit(banks: Banks | None, variant: str | None = None) -> Fit | None:
    """The fit of the run's model, or of another variant."""
    name = variant or (banks.variant if banks else None)
    if banks is None or not banks.fits or name not in banks.fits:
        return None
    return typed(banks.fits[name], Fit, f"banks.fits[{name}]")


def fit_rows(fit: Fit | None) -> list[FitRow]:
    """The intercept, then every column of the design; a column's VIF stands at its first row."""
    if fit is None or not (fit.coefficients or fit.standardized):
        return []
    errors, z, p = fit.errors or {}, fit.z or {}, fit.p or {}
    rows = []
    if fit.constant is not None or fit.intercept is not None:
        key = "intercept"
        rows.append(FitRow("Intercept", fit.constant, fit.constant_error, fit.intercept, errors.get(key), z.get(key), p.get(key), None))
    raw, raw_errors, standard = fit.coefficients or {}, fit.raw_errors or {}, fit.standardized or {}
    shown: set[str] = set()
    for name in raw or standard:
        column = _column_of(name, fit.inflation or {})
        vif = None if column in shown or column is None else (fit.inflation or {})[column]
        shown |= {column} if column is not None else set()
        rows.append(FitRow(name, raw.get(name), raw_errors.get(name), standard.get(name), errors.get(name), z.get(name), p.get(name), vif))
    return rows


def _column_of(name: str, columns: Iterable[str]) -> str | None:
    """The column that a design column was made of: itself, one of its levels, or whether it is missing."""
    found = [column for column in columns if name == column or name.startswith(f"{column}=") or name == f"{column} is missing"]
    return max(found, key=len, default=None)


def selection_steps(banks: Banks | None) -> list[Step]:
    """Every step of selection in its order."""
    return [typed(step, Step, "banks.selection") for step in (banks.selection if banks else None) or ()]


def stability_of(banks: Banks | None, column: str) -> str:
    """A binned column's stability in words; empty where the document has none."""
    splits = (banks.stability if banks else None) or {}
    found = {split: typed(part, Stability, f"banks.stability[{column}]") for split, part in splits.get(column, {}).items()}
    known = [f"{dict(JUDGED).get(split, split)} {part.value:.3f}" for split, part in found.items() if part.value is not None]
    return f"PSI against training: {', '.join(known)}" if known else ""


def typed(value: Any, kind: type[T], where: str) -> T:
    """A loose part of result.json by its type. ConfigurationError where it does not follow."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"result.json {where}", f"does not follow the schema: {error}", "Run the simulation again.") from None
