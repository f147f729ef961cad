"""The pooled reference: the model that one institution would fit if it held everybody's tables, in plain pandas and scikit-learn.

It is what a federated run must equal, so it shares no code with the protocols or their encodings: a table is left-joined, columns are
filled, one-hot coded or binned, standardised with scikit-learn's weighted StandardScaler and fitted with scikit-learn's newton-cholesky. A
few Newton steps in plain numpy then remove what scikit-learn's stopping rule left; `PooledFit.polish` says how much that was.

Inputs
    Rows      the label parties' rows (several banks: one below the other): key, label (1 = bad), weight, train
    tables    party -> DataFrame indexed by key, one column per raw column. Numbers are float with NaN for missing; levels are str with None
              or NaN for missing. A row whose key the frame does not have is *absent* at that party. The label parties' own columns are a
              party like any other. Keys that no label party has are ignored.
    rules     party -> column -> rule, in the order of the design. A rule is a dict of one of three kinds (see the Rule classes):
              {"kind": "numeric", "missing": "mean" | "zero" | "indicator" | "error"}
              {"kind": "levels", "levels": [...], "reference": str or None, "other": bool, "missing": bool}
              {"kind": "woe", "edges": [...] or "groups": [[...], ...] with "other": index, "special": [...], "joined": [...]}
              and in each "sign": -1, 0 or 1 to bound its coefficients (on the log odds of bad: -1 keeps a WOE coefficient from turning).

Training rows alone give means, scales and WOE. Absent counts as the training mean of the present rows (zero once standardised), in WOE as a
bin of its own. Objective, scikit-learn's convention: sum_i w_i log(1 + exp(-y_i z_i)) + |theta|^2 / (2 C), intercept free.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import Bounds, minimize
from scipy.special import expit

from federation.kernel.errors import ConfigurationError, DataError

Floats = NDArray[np.float64]
Rules = Mapping[str, Mapping[str, Mapping[str, Any]]]


class Numeric(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="numeric"):
    """A number. missing: "mean" fills the training mean, "zero" zero, "indicator" adds a column "NAME is missing", "error" refuses."""

    missing: Literal["mean", "zero", "indicator", "error"] = "mean"
    sign: int = 0


class Levels(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="levels"):
    """One-hot columns "NAME=LEVEL" for each level but the reference.

    other: levels not named are one level ("NAME=other", the reference where `reference` is None); missing: missing is a level ("NAME is
    missing"). A value without a level counts as absent.
    """

    levels: tuple[str, ...]
    reference: str | None = None
    other: bool = False
    missing: bool = False
    sign: int = 0


class Woe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="woe"):
    """Weight of evidence ln((goods_b / G) / (bads_b / B)); `smoothing` is added to goods and bads of a bin where one of them is zero.

    Bins in order: intervals (-inf, e1), [e1, e2), ..., [ek, inf) or groups of levels, of which `other` also takes levels not named; each
    special value; missing; absent. joined: for each special value, then for missing, the interval or group that it was merged into, or -1
    for a bin of its own; () means all -1. absent_hidden: the absent bin's counts were not released: it is neutral and counts in no total.
    """

    edges: tuple[float, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    other: int = -1
    special: tuple[float | str, ...] = ()
    joined: tuple[int, ...] = ()
    smoothing: float = 0.5
    absent_hidden: bool = False
    sign: int = 0


Rule = Numeric | Levels | Woe


@dataclass(frozen=True)
class Rows:
    """The label parties' rows. key: (n,) str, unique; label: (n,) in {0, 1}; weight: (n,) >= 0; train: (n,) bool."""

    key: NDArray[Any]
    label: Floats
    weight: Floats
    train: NDArray[np.bool_]


@dataclass(frozen=True)
class BinCounts:
    """A binned column's training counts, absent last. rows: (k,); goods, bads: (k,) weighted; woe: (k,); iv: of the column."""

    rows: Floats
    goods: Floats
    bads: Floats
    woe: Floats
    iv: float


@dataclass(frozen=True)
class PooledFit:
    """The reference.

    intercept, coefficients: in raw units (z = intercept + sum coefficient * value; per unit of WOE for binned columns); standardized,
    standardized_intercept: for columns of training mean 0 and variance 1; both maps are party -> design column -> value.
    scores: (n,) log odds of bad of every row, in the order of Rows. bins: party -> column. gradient: largest entry of the objective's
    gradient per unit of weight at free coefficients; polish: largest change that Newton made to a standardised coefficient.
    """

    intercept: float
    coefficients: dict[str, dict[str, float]]
    standardized_intercept: float
    standardized: dict[str, dict[str, float]]
    scores: Floats
    bins: dict[str, dict[str, BinCounts]]
    gradient: float
    polish: float


@dataclass(frozen=True)
class _Design:
    """The filled design before standardisation. x: (n, d); names: (d,) of (party, design column); sign: (d,)."""

    x: Floats
    names: list[tuple[str, str]]
    sign: NDArray[np.int64]
    bins: dict[str, dict[str, BinCounts]]


def fit(rows: Rows, tables: Mapping[str, pd.DataFrame], rules: Rules, C: float | None = 1.0, *, standardize: bool = True) -> PooledFit:
    """Fit on the training rows, score all. C: None is infinite (no ridge); standardize: False puts the ridge on raw coefficients.

    C is scikit-learn's for the weights as given (not normalised).
    Raises ConfigurationError for a rule that is not understood, DataError for data that a rule forbids.
    """
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped, unused-ignore]  # late: a run without --pooled starts sooner

    design = _design(rows, tables, rules)
    train, weight, label = rows.train, rows.weight[rows.train], rows.label[rows.train]
    columns = bool(design.x.shape[1])  # the scaler refuses a table of none, which a bank with outcomes alone has
    scaler = StandardScaler().fit(design.x[train], sample_weight=weight) if columns else None
    x: Floats = design.x if scaler is None else scaler.transform(design.x)
    scale, mean = (np.zeros(0), np.zeros(0)) if scaler is None else (scaler.scale_, scaler.mean_)
    moving = np.ptp(design.x[train], axis=0) > 0 if columns else np.zeros(0, bool)
    ridge = np.zeros(len(scale)) if C is None else 1.0 / (C * np.where(standardize, 1.0, scale) ** 2)
    problem = _Problem(x[train][:, moving], label, weight, ridge[moving], design.sign[moving])
    start = _scikit(problem, C, scale[moving], standardize=standardize) if not problem.sign.any() else _bounded(problem)
    solved = _polish(problem, start)
    theta = np.zeros(len(scale))
    theta[moving] = solved[1:]
    raw = theta / scale
    return PooledFit(
        intercept=float(solved[0] - raw @ mean),
        coefficients=_by_party(design.names, raw),
        standardized_intercept=float(solved[0]),
        standardized=_by_party(design.names, theta),
        scores=np.asarray(solved[0] + x @ theta, np.float64),
        bins=design.bins,
        gradient=float(np.max(np.abs(np.where(_free(problem, solved), problem.gradient(solved), 0.0)))) / float(weight.sum()),
        polish=float(np.max(np.abs(solved - start))),
    )


# -- raw columns to design columns --------------------------------------------------------------------------------------------------


def _design(rows: Rows, tables: Mapping[str, pd.DataFrame], rules: Rules) -> _Design:
    blocks: list[Floats] = [np.zeros((len(rows.key), 0))]
    names: list[tuple[str, str]] = []
    signs: list[int] = []
    bins: dict[str, dict[str, BinCounts]] = {}
    for party, columns in rules.items():
        present: NDArray[np.bool_] = pd.Index(rows.key).isin(tables[party].index)
        joined = tables[party].reindex(rows.key)
        for column, plain in columns.items():
            rule = _rule(party, column, plain)
            if isinstance(rule, Woe):
                block, bins.setdefault(party, {})[column] = _woe(rows, joined[column], present, rule)
                added = [column]
            else:
                added, raw = _numeric(party, column, joined, present, rule) if isinstance(rule, Numeric) else _levels(column, joined, rule)
                block = _filled(rows, np.where(present[:, None], raw, np.nan))
            blocks.append(block)
            names += [(party, name) for name in added]
            signs += [rule.sign] * len(added)
    return _Design(np.hstack(blocks), names, np.array(signs, np.int64), bins)


def _rule(party: str, column: str, plain: Mapping[str, Any]) -> Rule:
    try:
        rule: Rule = msgspec.convert(dict(plain), Rule)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{party} / {column}", f"the rule is not understood: {error}", "See simulations/pooled.py.") from None
    return rule


def _filled(rows: Rows, raw: Floats) -> Floats:
    """NaN replaced by the weighted training mean of what is there; (n, d)."""
    known = ~np.isnan(raw)
    weight = np.where(known, (rows.weight * rows.train)[:, None], 0.0)
    total = weight.sum(axis=0)
    mean = np.where(known, raw, 0.0).T @ (rows.weight * rows.train) / np.where(total > 0, total, 1.0)
    return np.where(known, raw, mean)


def _numeric(party: str, column: str, joined: pd.DataFrame, present: NDArray[np.bool_], rule: Numeric) -> tuple[list[str], Floats]:
    x = joined[column].to_numpy(np.float64, na_value=np.nan)
    gone = np.isnan(x) & present
    if rule.missing == "error" and gone.any():
        what = f"{int(gone.sum())} values are missing (rule: error)"
        raise DataError(f"{party} / {column}", what, "Choose another rule or fix the source.")
    if rule.missing == "zero":
        x = np.where(gone, 0.0, x)
    if rule.missing == "indicator":
        return [column, f"{column} is missing"], np.column_stack([x, gone.astype(np.float64)])
    return [column], x[:, None]


def _levels(column: str, joined: pd.DataFrame, rule: Levels) -> tuple[list[str], Floats]:
    values = joined[column].astype(object)
    gone = values.isna().to_numpy()
    level = values.where(values.isin(rule.levels), "other").where(~gone, "missing").to_numpy(object)
    named = values.isin(rule.levels).to_numpy()
    shown = [name for name in rule.levels if name != rule.reference]
    columns = {f"{column}={name}": named & (level == name) for name in shown}
    if rule.other and rule.reference is not None:
        columns[f"{column}=other"] = ~named & ~gone
    if rule.missing:
        columns[f"{column} is missing"] = gone
    raw = np.column_stack([np.zeros((len(values), 0)), *(flag.astype(np.float64) for flag in columns.values())])
    unknown = (~named & ~gone & (not rule.other)) | (gone & (not rule.missing))
    return list(columns), np.where(unknown[:, None], np.nan, raw)


def _woe(rows: Rows, values: pd.Series[Any], present: NDArray[np.bool_], rule: Woe) -> tuple[Floats, BinCounts]:
    codes, size = _codes(values, rule)
    codes = np.where(present, codes, size - 1)
    used = rows.train & (present | (not rule.absent_hidden))
    goods: Floats = np.bincount(codes[used], rows.weight[used] * (1 - rows.label[used]), size).astype(np.float64)
    bads: Floats = np.bincount(codes[used], rows.weight[used] * rows.label[used], size).astype(np.float64)
    if not (goods.any() and bads.any()):
        raise DataError("pooled", "the training rows have one class only", "Bring goods and bads.")
    added = rule.smoothing * ((goods == 0) != (bads == 0))
    share_good, share_bad = (goods + added) / goods.sum(), (bads + added) / bads.sum()
    told = (goods > 0) | (bads > 0)
    woe = np.log(np.where(told, share_good, 1.0)) - np.log(np.where(told, share_bad, 1.0))
    iv = float(np.sum(np.where(told, share_good - share_bad, 0.0) * woe))
    return woe[codes][:, None], BinCounts(np.bincount(codes[rows.train], minlength=size).astype(np.float64), goods, bads, woe, iv)


def _codes(values: pd.Series[Any], rule: Woe) -> tuple[NDArray[np.int64], int]:
    """Each row's bin, and how many bins there are, absent included."""
    ordinary = len(rule.groups) if rule.groups else len(rule.edges) + 1
    gone = values.isna().to_numpy()
    if rule.groups:
        place = {level: number for number, group in enumerate(rule.groups) for level in group}
        codes = np.array([place.get(value, rule.other) for value in values], np.int64)
    else:
        numbers = values.to_numpy(np.float64, na_value=np.nan)
        codes = np.sum(numbers[:, None] >= np.array([-np.inf, *rule.edges])[None, 1:], axis=1)
    following = ordinary
    for number, home in enumerate(rule.joined or (-1,) * (len(rule.special) + 1)):
        hit = gone if number == len(rule.special) else (values == rule.special[number]).to_numpy()
        codes = np.where(hit, following if home == -1 else home, codes)
        following += home == -1
    return codes, following + 1


# -- the fit ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Problem:
    """Training rows in standardised units. x: (m, d); y, w: (m,); ridge: (d,); sign: (d,) bounds of the coefficients."""

    x: Floats
    y: Floats
    w: Floats
    ridge: Floats
    sign: NDArray[np.int64]

    def loss(self, theta: Floats) -> float:
        """The objective at (intercept, coefficients)."""
        z = theta[0] + self.x @ theta[1:]
        return float(self.w @ (np.logaddexp(0.0, z) - self.y * z) + 0.5 * self.ridge @ theta[1:] ** 2)

    def gradient(self, theta: Floats) -> Floats:
        """(d + 1,)."""
        residual = self.w * (expit(theta[0] + self.x @ theta[1:]) - self.y)
        return np.concatenate([[residual.sum()], self.x.T @ residual + self.ridge * theta[1:]])

    def hessian(self, theta: Floats) -> Floats:
        """(d + 1, d + 1)."""
        p = expit(theta[0] + self.x @ theta[1:])
        full = np.column_stack([np.ones(len(self.x)), self.x])
        return np.asarray((full * (self.w * p * (1 - p))[:, None]).T @ full + np.diag(np.append(0.0, self.ridge)))


def _scikit(problem: _Problem, C: float | None, scale: Floats, *, standardize: bool) -> Floats:
    if not problem.x.shape[1]:
        base = float(problem.w @ problem.y / problem.w.sum())
        return np.array([np.log(base / (1 - base))])
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped, unused-ignore]
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped, unused-ignore]

    units = np.ones(len(scale)) if standardize else scale
    model = LogisticRegression(C=np.inf if C is None else C, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # its line search ends at rounding: `gradient` and `polish` tell instead
        model.fit(problem.x * units, problem.y, sample_weight=problem.w)
    return np.concatenate([model.intercept_, model.coef_[0] * units])


def _bounded(problem: _Problem) -> Floats:
    """L-BFGS-B (Byrd, Lu, Nocedal and Zhu 1995) with each coefficient on the allowed side of zero."""
    total = float(problem.w.sum())
    low = np.append(-np.inf, np.where(problem.sign > 0, 0.0, -np.inf))
    high = np.append(np.inf, np.where(problem.sign < 0, 0.0, np.inf))

    def loss(theta: Floats) -> float:
        return problem.loss(theta) / total

    def gradient(theta: Floats) -> Floats:
        return problem.gradient(theta) / total

    found = minimize(
        loss,
        np.zeros(problem.x.shape[1] + 1),
        jac=gradient,
        method="L-BFGS-B",
        bounds=Bounds(low, high),
        options={"maxiter": 10_000, "maxfun": 100_000, "ftol": 0.0, "gtol": 1e-9, "maxcor": 30},
    )
    return np.asarray(found.x, np.float64)


def _free(problem: _Problem, theta: Floats) -> NDArray[np.bool_]:
    """Which entries are not held at zero by their bound, (d + 1,)."""
    return np.append(True, (problem.sign == 0) | (theta[1:] != 0))


def _polish(problem: _Problem, theta: Floats) -> Floats:
    """Plain Newton on the free entries until it only moves rounding; a step that would cross a bound or does not shrink is not taken."""
    free = np.flatnonzero(_free(problem, theta))
    last = np.inf
    for _ in range(20):
        try:
            step = np.linalg.solve(problem.hessian(theta)[np.ix_(free, free)], problem.gradient(theta)[free])
        except np.linalg.LinAlgError:  # separable or collinear without a ridge: there is no unique optimum to polish towards
            return theta
        following = theta.copy()
        following[free] -= step
        length = float(np.max(np.abs(step)))
        if not length < last or np.any(problem.sign * following[1:] < 0):
            return theta
        theta, last = following, length
        if length < 1e-14:
            return theta
    return theta


def _by_party(names: list[tuple[str, str]], values: Floats) -> dict[str, dict[str, float]]:
    out: dict[str, dict[str, float]] = {}
    for (party, column), value in zip(names, values, strict=True):
        out.setdefault(party, {})[column] = float(value)
    return out
