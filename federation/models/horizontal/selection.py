"""Which columns a model keeps, decided by totals alone and so by all banks alike; every step is written down with its reason.

    1. iv_min     a column with less information value goes
    2. corr_max   of two columns correlated by more than this the weaker goes (by information value, else by correlation with the label)
    3. vif_max    the column with the largest variance inflation goes, and the rest is looked at again
    4. p_max      fit; the column with the largest Wald p-value goes; fit again from there (backward elimination)

A column that is several design columns (levels, or a number and its missing indicator) stays or goes whole: its correlation is the largest
of its design columns', its inflation the generalised one of Fox and Monette (1992), GVIF^(1/df), and its p-value the joint Wald test's.
p-values after selection are too small, as always (Harrell 2015, section 4.3); they order columns, they do not prove them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from federation.kernel.manifest import SelectSettings
from federation.kernel.state import State
from federation.models.encoding import Encoding
from federation.models.horizontal.newton import FitSettings, Newton, NewtonFit, wald
from federation.models.horizontal.personal import Rows

Reals = NDArray[np.float64]
Rule: TypeAlias = Literal["iv_min", "corr_max", "vif_max", "p_max", "sign"]
SINGULAR = 1e-10


class Dropped(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A step. column: what went; rule and limit; value: what it had; beside: of two correlated columns the one that stayed."""

    column: str
    rule: Rule
    value: float
    limit: float
    beside: str = ""

    @property
    def reason(self) -> str:
        """For the report."""
        if self.rule == "sign":
            return "its coefficient would have the wrong sign and was held at zero"
        what = {"iv_min": "information value", "corr_max": "correlation", "vif_max": "variance inflation", "p_max": "p-value"}[self.rule]
        beside = f" with {self.beside!r}" if self.beside else ""
        return f"{what}{beside} {self.value:.4g}, {self.rule} = {self.limit:g}"


class Feature(msgspec.Struct, frozen=True):
    """A column and the design columns that it is made into: name; places: in the design, ascending."""

    name: str
    places: tuple[int, ...]


def features(encoding: Encoding) -> tuple[Feature, ...]:
    """The columns of an encoding."""
    out, start = [], 0
    for part in encoding.columns:
        out.append(Feature(part.column, tuple(range(start, start + len(part.names)))))
        start += len(part.names)
    return tuple(out)


# -- before a fit -------------------------------------------------------------------------------------------------------------------


def screen(
    candidates: Sequence[Feature], correlation: Reals, iv: Mapping[str, float], settings: SelectSettings
) -> tuple[list[Feature], list[Dropped]]:
    """Steps 1 to 3. correlation: (d + 1, d + 1) of the design, the label last; iv: of columns that have one."""
    log: list[Dropped] = []
    kept = list(candidates)
    if settings.iv_min is not None:
        log += [Dropped(c.name, "iv_min", iv[c.name], settings.iv_min) for c in kept if iv.get(c.name, np.inf) < settings.iv_min]
        kept = [c for c in kept if iv.get(c.name, np.inf) >= settings.iv_min]
    if settings.corr_max is not None:
        kept, correlated = _uncorrelated(kept, correlation, iv, settings.corr_max)
        log += correlated
    while settings.vif_max is not None and len(kept) > 1:
        inflation = variance_inflation(kept, correlation)
        worst = max(kept, key=lambda c: inflation[c.name])  # the first of equals
        if inflation[worst.name] <= settings.vif_max:
            break
        log.append(Dropped(worst.name, "vif_max", inflation[worst.name], settings.vif_max))
        kept.remove(worst)
    return kept, log


def variance_inflation(kept: Sequence[Feature], correlation: Reals) -> dict[str, float]:
    """GVIF^(1/df) of each column among those kept, which is the VIF where a column is one design column; inf where it is determined."""
    places = [place for c in kept for place in c.places]
    whole = correlation[np.ix_(places, places)]
    out, start = {}, 0
    for c in kept:
        mine = np.arange(start, start + len(c.places))
        rest = np.setdiff1d(np.arange(len(places)), mine)
        start += len(c.places)
        own = whole[np.ix_(mine, mine)]
        across = whole[np.ix_(mine, rest)]
        left = own - across @ np.linalg.pinv(whole[np.ix_(rest, rest)], rcond=SINGULAR, hermitian=True) @ across.T
        size, remaining = np.linalg.slogdet(own)[1], np.linalg.eigvalsh((left + left.T) / 2)
        determined = bool(remaining.min() <= SINGULAR)
        out[c.name] = np.inf if determined else float(np.exp((size - np.log(remaining).sum()) / len(mine)))
    return out


def _uncorrelated(kept: list[Feature], correlation: Reals, iv: Mapping[str, float], limit: float) -> tuple[list[Feature], list[Dropped]]:
    """Strongest first: a column stays unless it is too close to one that stayed before it."""
    strength = {c.name: iv.get(c.name, float(np.abs(correlation[list(c.places), -1]).max())) for c in kept}
    stay: list[Feature] = []
    log = []
    for c in sorted(kept, key=lambda c: -strength[c.name]):
        near = [(float(np.abs(correlation[np.ix_(c.places, other.places)]).max()), other.name) for other in stay]
        value, name = max(near, key=lambda pair: pair[0], default=(0.0, ""))
        if value > limit:
            log.append(Dropped(c.name, "corr_max", value, limit, name))
        else:
            stay.append(c)
    return [c for c in kept if c in stay], log


# -- with fits ----------------------------------------------------------------------------------------------------------------------


class Selection(State, frozen=True):
    """kept: the columns of the fit, in the design's order; fit: its present state; log: all steps; fits: fits finished; sums: so far."""

    kept: tuple[Feature, ...]
    fit: NewtonFit
    log: tuple[Dropped, ...] = ()
    start: Reals | None = None
    fits: int = 0
    sums: int = 0
    done: bool = False

    @property
    def places(self) -> tuple[int, ...]:
        """The design columns of the fit."""
        return tuple(place for c in self.kept for place in c.places)


@dataclass
class Select:
    """The plan: fit the kept columns, and go back by p-values where asked. Without p_max it is one fit.

    rows: this bank's, over the whole design; names, penalty, signs: (d,) of the whole design; kept, log: what `screen` left and said;
    start: the intercept to begin with, the log odds of the common base rate.
    """

    rows: Rows
    names: tuple[str, ...]
    penalty: Reals
    signs: NDArray[np.int8]
    kept: tuple[Feature, ...]
    log: tuple[Dropped, ...] = ()
    p_max: float | None = None
    settings: FitSettings = field(default_factory=FitSettings)
    start: float = 0.0
    kind: type[Selection] = field(default=Selection, init=False)

    def __post_init__(self) -> None:
        self._newton: tuple[tuple[int, ...], Newton] | None = None

    def begin(self) -> Selection:
        """All that were kept."""
        start = np.zeros(1 + sum(len(c.places) for c in self.kept))
        start[0] = self.start
        return self._begun(self.kept, start, self.log, 0, 0)

    def ask(self, state: Selection) -> Reals | None:
        """What the present fit asks for."""
        return None if state.done else self.newton(state).ask(state.fit)

    def take(self, state: Selection, total: Reals, banks: int) -> Selection:
        """On with the fit; at its end drop a column and begin again, or be done."""
        fit = self.newton(state).take(state.fit, total, banks)
        return self._after(msgspec.structs.replace(state, fit=fit, sums=state.sums + 1))

    def newton(self, state: Selection) -> Newton:
        """The plan of the present fit."""
        places = state.places
        if self._newton is None or self._newton[0] != places:
            chosen = list(places)
            x = (
                self.rows.x
                if len(chosen) == len(self.names)
                else np.ascontiguousarray(self.rows.x[:, [0, *(place + 1 for place in chosen)]])
            )
            rows = Rows(x, self.rows.y, self.rows.w)
            names = tuple(self.names[place] for place in chosen)
            self._newton = places, Newton(rows, names, self.penalty[chosen], self.settings, self.signs[chosen], state.start)
        return self._newton[1]

    def _begun(self, kept: tuple[Feature, ...], start: Reals, log: tuple[Dropped, ...], fits: int, sums: int) -> Selection:
        blank = NewtonFit(np.zeros(0), np.zeros(0, bool), np.zeros(0))
        state = Selection(kept, blank, log, start, fits, sums)
        return self._after(msgspec.structs.replace(state, fit=self.newton(state).begin()))

    def _after(self, state: Selection) -> Selection:
        if not state.fit.done:
            return state
        state = msgspec.structs.replace(state, fits=state.fits + 1)
        failed = state.fit.failure in ("separated", "unfinished")  # then p-values would be of nothing
        if self.p_max is None or failed or not state.kept:
            return msgspec.structs.replace(state, done=True)
        newton = self.newton(state)
        chances = feature_chances(newton, state.fit, state.kept)
        worst = max(state.kept, key=lambda c: chances[c.name])
        if chances[worst.name] <= self.p_max:
            return msgspec.structs.replace(state, done=True)
        held = all(state.fit.theta[_local(state.kept, worst) + newton.offset] == 0)
        rule: Rule = "sign" if held and state.fit.free.all() else "p_max"
        log = (*state.log, Dropped(worst.name, rule, chances[worst.name], self.p_max))
        kept = tuple(c for c in state.kept if c != worst)
        return self._begun(kept, _restart(newton, state, worst, self.start), log, state.fits, state.sums)


def feature_chances(newton: Newton, fit: NewtonFit, kept: Sequence[Feature]) -> dict[str, float]:
    """The p-value of each column: Wald's joint test of its design columns, 1 where all are fixed at zero."""
    found = wald(fit, newton.bounds)
    out = {}
    for c in kept:
        mine = _local(kept, c) + newton.offset
        mine = mine[~np.isnan(found.error[mine])]
        if not len(mine):
            out[c.name] = 1.0
            continue
        theta = fit.theta[mine]
        out[c.name] = float(chdtrc(len(mine), theta @ np.linalg.solve(found.covariance[np.ix_(mine, mine)], theta)))
    return out


def _local(kept: Sequence[Feature], feature: Feature) -> NDArray[np.intp]:
    """The places of a column among the design columns that are kept."""
    first = sum(len(c.places) for c in kept[: list(kept).index(feature)])
    return np.arange(first, first + len(feature.places), dtype=np.intp)


def _restart(newton: Newton, state: Selection, dropped: Feature, intercept: float) -> Reals:
    """Where the quadratic model of the last fit has its minimum once a column's coefficients are zero, (1 + d,)."""
    gone = np.zeros(len(state.fit.theta), bool)
    gone[_local(state.kept, dropped) + newton.offset] = True
    rest = ~gone & state.fit.free
    theta = state.fit.theta.copy()
    if state.fit.information is not None:
        hessian = state.fit.information + np.diag(newton.ridge)
        theta[rest] += np.linalg.lstsq(hessian[np.ix_(rest, rest)], hessian[np.ix_(rest, gone)] @ theta[gone], rcond=None)[0]
    left = theta[~gone]
    return left if newton.offset else np.concatenate([[intercept], left])
