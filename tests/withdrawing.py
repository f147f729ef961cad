"""Consent withdrawn at one moment of a run across parties, and what the pooled table comes to when the rows go at the stage after.

The oracle shares with the programs only what was released before the rows went: the encoding, which tests of its own compare with the pooled
one. Everything later is worked out here from plain tables, by scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped, unused-ignore]

from federation.kernel.envelope import Envelope
from federation.kernel.manifest import AlignSettings, BinningSettings
from federation.kernel.role import COORDINATOR
from federation.kernel.withdrawal import RESULTS
from federation.models.encoding import Encoding
from federation.models.sample import draw_sample
from federation.models.table import Table
from federation.models.training import Coordinator, Progress
from simulations import pooled
from simulations.reference import frame, rule
from tests.pooled_case import Firms, Played, PooledCase
from tests.post import Post

Mask = NDArray[np.bool_]
Reals = NDArray[np.float64]
BEFORE_ENCODING = ("align", "place", "encode")


@dataclass
class Consent:
    """The ledger of one party: asked by its participant, changed by the test. gone: the mask that it answers from now on."""

    rows: int
    gone: Mask | None = None
    asked: int = 0

    def __call__(self) -> Mask | None:
        self.asked += 1
        return self.gone


@dataclass
class Withdrawing:
    """A run in which a party's rows withdraw just before it is given a batch. party, number: when; rows: of its table."""

    case: PooledCase
    party: str
    number: int
    rows: tuple[int, ...]
    killed: Callable[[str, int], bool] = lambda _party, _number: False
    forgetful: bool = False
    """Whether the ledger later says that nobody has withdrawn."""
    during: str = field(default="", init=False)
    stages: list[str] = field(default_factory=list, init=False)

    def mask(self) -> Mask:
        return np.isin(np.arange(self.case.tables[self.party].rows), self.rows)

    def play(self) -> Played:
        consent = Consent(self.case.tables[self.party].rows)

        def delivers(post: Post, name: str, number: int, batch: tuple[Envelope, ...]) -> bytes:
            if name != self.party:
                return post.parties[name].deliver(number, batch)
            if number == self.number:
                self.during, consent.gone = post.parties[name].stage, self.mask()
            elif self.forgetful and number > self.number and post.parties[name].withdrawals:
                consent.gone = None
            reply = post.parties[name].deliver(number, batch)
            if not self.stages or self.stages[-1] != post.parties[name].stage:
                self.stages.append(post.parties[name].stage)
            return reply

        programs: dict[str, Any] = {name: (lambda name=name: self.case.program(name)) for name in self.case.tables}
        programs[COORDINATOR] = lambda: Coordinator(self.case.manifest)
        post = Post(self.case.manifest, programs, delivers=delivers, killed=self.killed, more={self.party: {"withdrawn": consent}})
        return Played(self.case, post, post.play())


@dataclass
class Expected:
    """What a pooled table gives whose rows go at one stage. standardized: coefficients by party; scores: of the label party's rows, by key."""

    standardized: dict[str, list[float]]
    intercept: float
    scores: dict[str, float]


def tables_without(case: PooledCase, party: str, rows: tuple[int, ...]) -> dict[str, Table]:
    table = case.tables[party]
    return case.tables | {party: table.kept(~np.isin(np.arange(table.rows), rows))}


def oracle(case: PooledCase, calm: Played, stage: str, party: str, rows: tuple[int, ...]) -> Expected:
    """stage: the first without the rows. calm: the same run in which nobody withdraws."""
    less = tables_without(case, party, rows)
    encoded, fitted, final = stage in BEFORE_ENCODING, stage not in ("finish", RESULTS), stage != RESULTS
    if encoded:
        return pooled_before(case, less, calm)
    encodings = {name: calm.state(name).encoded.encoding for name in case.tables}  # type: ignore[union-attr]
    theta = fit(case, less if fitted else case.tables, encodings)
    shown = (less if final else case.tables) if party != "bank" else less
    key, x = joined(shown, encodings)
    z = theta[0] + x @ theta[1:]
    start, coefficients = 1, {}
    for name, encoding in encodings.items():
        coefficients[name] = theta[start : start + len(encoding.names)].tolist()
        start += len(encoding.names)
    return Expected(coefficients, float(theta[0]), dict(zip(key, z.tolist(), strict=True)))


def joined(tables: Mapping[str, Table], encodings: Mapping[str, Encoding]) -> tuple[tuple[str, ...], Reals]:
    """The label party's keys and the design of all parties: a firm that a party does not know has its absent row."""
    keys, blocks = tables["bank"].keys, []
    for name, table in tables.items():
        place = {key: row for row, key in enumerate(table.keys)}
        own, absent = encodings[name].design(table.columns), encodings[name].absent_row
        blocks.append(np.array([own[place[key]] if key in place else absent for key in keys]).reshape(len(keys), -1))
    return keys, np.hstack(blocks)


def fit(case: PooledCase, tables: Mapping[str, Table], encodings: Mapping[str, Encoding]) -> Reals:
    bank = tables["bank"]
    assert bank.label is not None
    whole = case.tables["bank"]
    split = dict(zip(whole.keys, draw_sample(whole, case.manifest.sample).train.tolist(), strict=True))
    train = np.array([split[key] for key in bank.keys], bool)
    _, x = joined(tables, encodings)
    weight = np.ones(bank.rows) if bank.weight is None else bank.weight
    c = case.manifest.settings.C
    model = LogisticRegression(C=np.inf if c is None else c, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    model.fit(x[train], bank.label[train], sample_weight=weight[train])
    return np.concatenate([model.intercept_, model.coef_[0]])


def pooled_before(case: PooledCase, less: dict[str, Table], calm: Played) -> Expected:
    """The rows were gone before anything was computed from them: the pooled fit of tables without them, encoding and all."""
    bank = less["bank"]
    assert bank.label is not None
    whole = case.tables["bank"]
    split = dict(zip(whole.keys, draw_sample(whole, case.manifest.sample).train.tolist(), strict=True))
    train = np.array([split[key] for key in bank.keys], bool)
    weight = np.ones(bank.rows) if bank.weight is None else bank.weight
    again = PooledCase(less, case.model, case.privacy, case.others, case.align).play()  # for cut points, which come from whole files
    rules = {n: {part["column"]: rule(part, case.manifest, s) for part in s["encoding"]["columns"]} for n, s in again.shares.items()}
    found = pooled.fit(
        pooled.Rows(np.array(bank.keys, object), bank.label.astype(float), weight, train), {n: frame(t) for n, t in less.items()}, rules,
        case.manifest.settings.C, standardize=case.manifest.settings.standardize,
    )  # fmt: skip
    coefficients = {name: list(found.standardized.get(name, {}).values()) for name in case.tables}
    return Expected(coefficients, found.standardized_intercept, dict(zip(bank.keys, found.scores.tolist(), strict=True)))


def errors(played: Played, wanted: Expected) -> tuple[float, float]:
    """The largest differences of a standardised coefficient and of a score; every score that is wanted is there, and no other."""
    shares = played.shares
    differences = [abs(shares["bank"]["intercept"] - wanted.intercept)]
    for name, values in wanted.standardized.items():
        differences += [abs(a - b) for a, b in zip(shares[name]["standardized"].values(), values, strict=True)]
    state: Progress = played.state("bank")
    program = played.case.program("bank")
    table, positions = program.present(state)
    assert state.final is not None
    keys = [key for key, position in zip(table.keys, positions.tolist(), strict=True) if position >= 0]
    assert keys == list(wanted.scores), "scores of other rows"
    return max(differences), float(np.abs(state.final - np.array(list(wanted.scores.values()))).max())


def small(model: str, **privacy: Any) -> PooledCase:
    """Few firms, so that a run is short and each row counts."""
    firms = Firms(rows=260, columns=1, strength=0.9, seed=31).draw()
    settings: dict[str, Any] = {"C": 10.0, "missing": "bin"} if model == "scorecard" else {}
    return PooledCase(
        firms, settings, {"label_disclosure": True, "withdrawal": "continue", **privacy},
        {"model": model, "binning": BinningSettings(max_bins=3)},
    )  # fmt: skip


EXACT = 1e-6
"""As in tests/unit/test_logistic.py: standardised coefficients; a score adds up a few of them."""
ROWS = (3, 5, 8, 13)
CASES = {
    "logistic": lambda: small("logistic"),
    "scorecard": lambda: small("scorecard"),
    "aligned": lambda: aligned(),  # noqa: PLW0108  # defined below
    "no ridge": lambda: without_ridge("logistic"),
    "signs": lambda: without_ridge("scorecard"),
}


def aligned() -> PooledCase:
    case = small("logistic")
    case.align = AlignSettings()
    return case


def without_ridge(model: str) -> PooledCase:
    """A fit that checks its end: signs, and uniqueness by a second start."""
    case = small(model, max_score_reveals=100)
    case.model = {"C": None} | ({"missing": "bin", "signs": "woe"} if model == "scorecard" else {})
    case.tables = Firms(rows=260, columns=1, strength=0.9, present=0.9, seed=31).draw()
    return case


@cache
def calm(name: str) -> Played:
    played = CASES[name]().play()
    assert played.finished, played.failures
    return played


def withdrawn(name: str, party: str, number: int, **more: Any) -> tuple[Withdrawing, Played]:
    scene = Withdrawing(CASES[name](), party, number, ROWS, **more)
    return scene, scene.play()


def stage_after(scene: Withdrawing) -> str:
    """The stage that follows the one in which the rows withdrew; the session's own stages use no row."""
    first, stage = "align" if scene.case.align else "place", scene.during
    if stage.startswith("fit"):
        later = f"fit {int(stage.split()[1]) + 1}"
        return later if later in scene.stages else "finish"
    return {first: "encode", "encode": "fit 0", "finish": RESULTS}.get(stage, first)
