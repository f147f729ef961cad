"""A small consortium with a known answer: tables, the real programs exchanging real envelopes, and the fit of the pooled table.

The reference is `simulations.pooled` (scikit-learn, newton-cholesky, tolerance 1e-12), which shares no code with the protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from federation.align.universe import Universe
from federation.kernel.envelope import Envelope
from federation.kernel.manifest import AlignSettings, Manifest, ModelSettings, PrivacySettings, SampleSettings
from federation.kernel.participant import Participant
from federation.models.course import Fit
from federation.models.outcome import share_document
from federation.models.table import Column, Table
from federation.models.training import Coordinator, FeatureParty, LabelParty, Local, Progress, program_of
from simulations import pooled
from simulations.reference import frame, rule
from tests.post import Post, manifest

Reals = NDArray[np.float64]
Program = LabelParty | FeatureParty
PARTNERS = ("platform", "tax", "court", "customs")
FORMER = AlignSettings(former="00")
"""Positions are drawn by the test: alignment has tests of its own."""


@dataclass(frozen=True)
class Firms:
    """How a population is drawn. rows: firms; columns: of each party; correlation: of every two columns; partners: feature parties;
    present: share of firms that a partner knows; beyond: firms that only a partner knows; missing: share of missing values in the first
    column of each party; levels: whether each party has a categorical column too; weighted: rows have weights; strength: of the effects.
    """

    rows: int = 1500
    columns: int = 3
    correlation: float = 0.3
    partners: int = 2
    present: float = 0.75
    beyond: int = 40
    missing: float = 0.0
    levels: bool = False
    weighted: bool = False
    strength: float = 0.5
    seed: int = 1

    def draw(self) -> dict[str, Table]:
        """A table for each party, the bank's with labels."""
        rng, names = np.random.default_rng(self.seed), ("bank", *PARTNERS[: self.partners])
        total, width = self.rows + self.beyond, self.columns * len(names)
        mixed = np.sqrt(self.correlation) * rng.standard_normal((total, 1))
        x = mixed + np.sqrt(1 - self.correlation) * rng.standard_normal((total, width))
        y = rng.random(total) < expit(x @ (self.strength * rng.standard_normal(width)) - 1.0)
        keys = np.array([f"f{i:06d}" for i in range(total)], object)
        out = {}
        for place, name in enumerate(names):
            known = np.arange(total) < self.rows if place == 0 else rng.random(total) < self.present
            own = x[known, place * self.columns : (place + 1) * self.columns]
            columns = {f"{name}{j}": self._numeric(rng, f"{name}{j}", own[:, j], gaps=j == 0) for j in range(self.columns)}
            if self.levels:
                columns[f"{name}_kind"] = self._levels(rng, f"{name}_kind", own[:, 0])
            weight = np.where(y[known], 0.4, 1.7) * rng.uniform(0.5, 1.5, int(known.sum())) if self.weighted and place == 0 else None
            label = y[known].astype(np.int8) if place == 0 else None
            out[name] = table(keys[known], columns, label, weight)
        return out

    def _numeric(self, rng: np.random.Generator, name: str, values: Reals, *, gaps: bool) -> Column:
        gone = rng.random(len(values)) < (self.missing if gaps else 0.0)
        return Column(name, "numeric", np.where(gone, np.nan, 3.0 + 2.0 * values))

    def _levels(self, rng: np.random.Generator, name: str, near: Reals) -> Column:
        drawn = np.array(["a", "b", "c", "rare"], object)[np.digitize(near + rng.standard_normal(len(near)), [-0.5, 0.8, 3.2])]
        if self.missing:
            drawn[rng.random(len(near)) < self.missing] = None
        return Column(name, "categorical", drawn)


def table(keys: NDArray[Any], columns: Mapping[str, Column], label: NDArray[np.int8] | None = None, weight: Reals | None = None) -> Table:
    """A party's table of one row for each firm, already in the order of its keys."""
    named = tuple(keys.tolist())
    return Table(named, named, columns, b"c" * 32, label=label, weight=weight)


def changed(table: Table, **columns: Reals) -> Table:
    """The table with numeric columns added or replaced."""
    made = {name: Column(name, "numeric", values) for name, values in columns.items()}
    return Table(table.keys, table.firms, {**table.columns, **made}, table.commitment, table.as_of, table.label, table.weight)


@dataclass
class PooledCase:
    """A run and its pooled twin. model, privacy: settings of the manifest; others: whatever else of it; align: None draws positions;
    build: makes an institution's program, for a test that plays a false one; seed: of the positions.
    """

    tables: dict[str, Table]
    model: Mapping[str, Any] = field(default_factory=dict)
    privacy: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)
    align: AlignSettings | None = None
    build: Callable[[Manifest, str, Local], Program] = program_of
    tamper: Callable[[Envelope], Envelope | None] = lambda envelope: envelope
    seed: int = 5

    @cached_property
    def manifest(self) -> Manifest:
        weighted = any(each.weight is not None for each in self.tables.values())
        settings: dict[str, Any] = {
            "align": self.align or FORMER, "settings": ModelSettings(**self.model), "sample": SampleSettings(weighted=weighted),
            "privacy": PrivacySettings(single_partner_disclosure=len(self.tables) == 2, **self.privacy),
        }  # fmt: skip
        return manifest(*self.tables, **(settings | dict(self.others)))

    @cached_property
    def locals(self) -> dict[str, Local]:
        """What each node gives its program: all firms of anyone at random positions, where alignment is left out."""
        everyone = sorted({key for each in self.tables.values() for key in each.keys})
        drawn = np.random.default_rng(self.seed).permutation(len(everyone))
        place = dict(zip(everyone, drawn.tolist(), strict=True))
        return {
            name: Local(each, former=Universe(len(everyone), np.array([place[key] for key in each.keys], np.int64)))
            for name, each in self.tables.items()
        }

    def program(self, name: str) -> Program:
        return self.build(self.manifest, name, self.locals[name])

    def play(self) -> Played:
        """The run, to its end or its failure."""

        def make(name: str) -> Callable[[], Any]:
            return lambda: self.program(name)

        programs: dict[str, Callable[[], Any]] = {name: make(name) for name in self.tables}
        post = Post(self.manifest, programs | {"coordinator": lambda: Coordinator(self.manifest)}, tamper=self.tamper)
        return Played(self, post, post.play())


@dataclass
class Played:
    """A run that was played, by party."""

    case: PooledCase
    post: Post
    parties: dict[str, Participant[Progress]]

    @property
    def failures(self) -> dict[str, Exception]:
        return {name: party.failure for name, party in self.parties.items() if party.failure is not None}

    @property
    def finished(self) -> bool:
        return not self.failures and all(party.finished for party in self.parties.values())

    def state(self, name: str) -> Progress:
        return self.parties[name].state

    def fit(self, name: str = "bank") -> Fit:
        found = self.state(name).fit
        assert found is not None
        return found

    @property
    def reason(self) -> str:
        """Why the fit did not converge, as every institution holds it; "" where it did."""
        (reason,) = {self.fit(name).reason for name in self.case.tables}
        return reason

    @cached_property
    def shares(self) -> dict[str, dict[str, Any]]:
        assert self.finished, self.failures
        return {name: msgspec.to_builtins(share_document(self.case.program(name), self.state(name))) for name in self.case.tables}

    @cached_property
    def joined(self) -> pooled.Rows:
        """The label party's rows that are in the universe."""
        bank = self.case.tables["bank"]
        assert bank.label is not None
        program = self.case.program("bank")
        assert isinstance(program, LabelParty)
        positions = self.state("bank").positions
        assert positions is not None
        kept = positions >= 0
        weight = np.ones(bank.rows) if bank.weight is None else bank.weight
        return pooled.Rows(np.array(bank.keys, object)[kept], bank.label[kept].astype(float), weight[kept], program.sample().train[kept])

    @cached_property
    def reference(self) -> pooled.PooledFit:
        m = self.case.manifest
        rules = {n: {part["column"]: rule(part, m, share) for part in share["encoding"]["columns"]} for n, share in self.shares.items()}
        frames = {name: frame(each) for name, each in self.case.tables.items()}
        return pooled.fit(self.joined, frames, rules, m.settings.C, standardize=m.settings.standardize)

    @property
    def error(self) -> float:
        """The largest difference of a standardised coefficient, the intercept's included, from the pooled fit's."""
        found = [share["standardized"] for share in self.shares.values()]
        wanted = [self.reference.standardized.get(name, {}) for name in self.case.tables]
        assert [list(a) for a in found] == [list(b) for b in wanted], "the designs have different columns"
        differences = [abs(value - b[column]) for a, b in zip(found, wanted, strict=True) for column, value in a.items()]
        return float(max([abs(self.shares["bank"]["intercept"] - self.reference.standardized_intercept), *differences]))

    @property
    def score_error(self) -> float:
        """The largest difference of a final score from the pooled fit's, over all of the bank's rows in the universe."""
        final = self.state("bank").final
        assert final is not None
        return float(np.abs(final - self.reference.scores).max())
