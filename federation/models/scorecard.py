"""Points: a logistic model on weights of evidence as a table of whole points for each party (Siddiqi 2006, chapter 6).

    factor = PDO / ln 2,   offset = base_points - factor ln(base_odds),   score = offset + factor ln(odds of good)

With z = intercept + sum_j theta_j d_j the log odds of *bad* (the model's score; d_j the design value of the bin), ln(odds of good) = -z, so

    base points     offset - factor intercept            at the label party, whole
    points of a bin -factor theta_j d_j                  at the party whose column it is

The base is not spread over the characteristics: a partner's table then says nothing of the base rate, and a neutral bin has 0
points (unless the design was centred, which moves a constant from each characteristic into the intercept).

Rounding: base and every bin are rounded by themselves to the nearest integer, ties to even, and a firm's published score *is* the sum
of its rounded points. So each party can hand in its own integer, the sum is what the tables say, and it differs from the unrounded score
by at most half a point for each characteristic and half for the base.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import ConfigurationError, DataError
from federation.kernel.manifest import ScorecardSettings
from federation.models.bins import Bins
from federation.models.encoding import Encoding, Woe
from federation.models.table import Column

Points = NDArray[np.int64]
Reals = NDArray[np.float64]


def factor(scale: ScorecardSettings) -> float:
    """Points for one unit of log odds."""
    return scale.pdo / math.log(2)


def offset(scale: ScorecardSettings) -> float:
    """Points at even odds."""
    return scale.base_points - factor(scale) * math.log(scale.base_odds)


def unrounded(scale: ScorecardSettings, log_odds_of_bad: Reals) -> Reals:
    """Points before rounding."""
    return offset(scale) - factor(scale) * log_odds_of_bad


def probability(scale: ScorecardSettings, points: Reals | Points) -> Reals:
    """Probability of bad at so many points."""
    return np.asarray(1 / (1 + np.exp((points - offset(scale)) / factor(scale))), np.float64)


class Characteristic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column's points. points: whole, exact: before rounding; one for each bin, absent last."""

    bins: Bins
    points: tuple[int, ...]
    exact: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.points) == len(self.exact) == self.bins.size:
            raise ConfigurationError(f"points of {self.bins.column!r}", "needs points for each bin", "Export the scorecard again.")


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a firm has fewer points than it might: the characteristic, the bin it is in, and by how many points."""

    column: str
    bin: str
    shortfall: int


class PointsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One party's share of a scorecard. base: base points, 0 at all but the label party."""

    party: str
    scaling: ScorecardSettings
    base: int
    characteristics: tuple[Characteristic, ...]

    @property
    def absent(self) -> int:
        """This party's points for a firm that it does not know."""
        return self.base + sum(part.points[-1] for part in self.characteristics)

    def codes(self, columns: Mapping[str, Column], rows: int = 0) -> Points:
        """The bin of each row in each characteristic, (n, c). rows: n, where there is no column to tell it.

        Raises DataError where a column is not there.
        """
        gone = [part.bins.column for part in self.characteristics if part.bins.column not in columns]
        if gone:
            raise DataError(f"column {gone[0]!r}", "is needed by the scorecard and not there", "Add it to the source or the mapping.")
        codes = [part.bins.codes(columns[part.bins.column]) for part in self.characteristics]
        rows = len(next(iter(columns.values())).values) if columns else rows
        return np.column_stack(codes) if codes else np.zeros((rows, 0), np.int64)

    def points(self, columns: Mapping[str, Column], rows: int = 0) -> Points:
        """This party's points of each row, base included, (n,). The published score is their sum over the parties."""
        out = np.full(len(codes := self.codes(columns, rows)), self.base, np.int64)
        for part, places in zip(self.characteristics, codes.T, strict=True):
            out += np.array(part.points, np.int64)[places]
        return out

    def shortfalls(self, codes: Points, against: Literal["best", "neutral"] = "best") -> Points:
        """Points that each characteristic costs each row, (n, c): against its best bin, or against 0, the neutral value."""
        out = np.zeros(codes.shape, np.int64)
        for place, part in enumerate(self.characteristics):
            points = np.array(part.points, np.int64)
            out[:, place] = (points.max() if against == "best" else 0) - points[codes[:, place]]
        return out

    def reasons(
        self, columns: Mapping[str, Column], most: int = 4, against: Literal["best", "neutral"] = "best"
    ) -> list[tuple[Reason, ...]]:
        """For each row at most `most` reasons, largest shortfall first, ties in the table's order; none for a characteristic that costs
        nothing. A partner's reasons tell its bins: what of them is shown to whom is the manifest's partner_disclosure.
        """
        codes = self.codes(columns)
        cost = self.shortfalls(codes, against)
        order = np.argsort(-cost, axis=1, kind="stable")[:, :most]
        labels = [part.bins.labels for part in self.characteristics]
        return [
            tuple(
                Reason(self.characteristics[c].bins.column, labels[c][codes[row, c]], int(cost[row, c])) for c in places if cost[row, c] > 0
            )
            for row, places in enumerate(order.tolist())
        ]


def points_table(party: str, encoding: Encoding, theta: Reals, scale: ScorecardSettings, intercept: float | None = None) -> PointsTable:
    """One party's points. theta: (d,) coefficients of its design columns in the log odds of bad; intercept: at the label party alone.

    Raises ConfigurationError where a column is not encoded as WOE: only bins have points.
    """
    if len(theta) != len(encoding.names):
        raise ConfigurationError(party, f"{len(theta)} coefficients for {len(encoding.names)} design columns", "This is a bug: report it.")
    parts = []
    for part, coefficient in zip(encoding.columns, theta.tolist(), strict=True):
        if not isinstance(part, Woe):
            raise ConfigurationError(f"column {part.column!r}", "has no bins, and only bins have points", 'Use [model] missing = "bin".')
        (standard,) = part.standard
        design = np.append(standard(np.array(part.values[:-1])), standard.absent)
        exact = -factor(scale) * coefficient * design
        parts.append(Characteristic(part.bins, tuple(np.rint(exact).astype(np.int64).tolist()), tuple(exact.tolist())))
    base = 0 if intercept is None else int(np.rint(offset(scale) - factor(scale) * intercept))
    return PointsTable(party, scale, base, tuple(parts))
