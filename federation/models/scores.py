"""The encodings that the models share, stated once: how scores and the optimiser's scalars become integers, and who takes part.

A score (log odds of bad) is a multiple of 2^-40 within +-2^15, in training, in batch scoring and in the service alike, so that all three
agree to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import AbortCode, LocalError
from federation.kernel.manifest import Manifest
from federation.kernel.role import Role, Run
from federation.masked_sum.fixed_point import FixedPoint
from federation.masked_sum.partial_scores import receive_scores, route_scores, send_scores
from federation.models.design import Block

Reals = NDArray[np.float64]

SCORE_BITS = 40
SCORE_CLIP = 2.0**15
_NONE = np.zeros(0)


@dataclass(frozen=True)
class Consortium:
    """Who computes: the label party and the feature parties, in the manifest's order."""

    label_party: str
    feature_parties: tuple[str, ...]
    members: tuple[str, ...]

    @classmethod
    def of(cls, manifest: Manifest) -> Consortium:
        """The parties of a manifest."""
        return cls(manifest.label_party, manifest.feature_parties, manifest.members)

    @property
    def single_partner(self) -> bool:
        """Whether there is one feature party, which the manifest must then accept by name."""
        return len(self.feature_parties) == 1

    @property
    def scores(self) -> FixedPoint:
        """The encoding of partial scores."""
        return FixedPoint(SCORE_CLIP, len(self.feature_parties), SCORE_BITS)

    @property
    def scalars(self) -> FixedPoint:
        """The encoding of inner products and penalties, which are kept near one by public scales."""
        return FixedPoint(2.0**16, len(self.members))

    def send(self, run: Run, scores: Reals, extra: Reals = _NONE) -> Role[None]:
        """At a feature party: its scores over the universe, (u,), and scalars that are summed along, (k,), under masks.

        Raises LocalError, before anything is sent, where they grow beyond the encodings.
        """
        for numbers, encoding in ((scores, self.scores), (extra, self.scalars)):
            if not (np.abs(numbers) <= encoding.clip).all():
                raise LocalError(
                    run.me,
                    f"scores or coefficients grow without bound (rule: |x| <= {encoding.clip:g})",
                    "Nothing was sent. Some column may tell all the bads apart, and then has no finite coefficient without a ridge: set "
                    "[model] C = 1.0, ask for fewer columns or bins, or look for values of a wrong unit.",
                    AbortCode.DATA,
                )
        yield from send_scores(
            run, self.label_party, scores, self.scores, self.feature_parties, extra, extra_encoding=self.scalars,
            single_partner=self.single_partner,
        )  # fmt: skip

    def route(self, run: Run, positions: NDArray[np.int64], universe: int, extras: int = 0) -> Role[None]:
        """At the coordinator: adds them, and forwards what is at the label party's positions."""
        yield from route_scores(run, self.label_party, self.feature_parties, positions, universe, extras)

    def receive(self, run: Run, block: Block, extras: int = 0) -> Role[tuple[Reals, Reals]]:
        """At the label party: the sum of the feature parties' scores of its rows, (n,) in the order of `block.positions`, and the extras, (k,).

        What travels by position travels in ascending order, since the coordinator does not know the order of anyone's rows. `block.routed`:
        the positions that it forwards, where they are more than these: the others' scores go no further.
        """
        forwarded = np.sort(block.positions) if block.routed is None else block.routed
        ascending, extra = yield from receive_scores(
            run, self.feature_parties, forwarded, block.universe, self.scores, extras, extra_encoding=self.scalars,
            single_partner=self.single_partner,
        )  # fmt: skip
        return ascending[np.searchsorted(forwarded, block.positions)], extra


def on_score_grid(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores rounded to the grid, ties to even."""
    return np.ldexp(np.rint(np.ldexp(scores, SCORE_BITS)), -SCORE_BITS)
