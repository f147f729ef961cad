"""An institution's own rules of disclosure, `[disclosure]` in node.toml, and where in a run they are asked.

    what becomes clear to others                                             rule, and where it is asked
    counts: bins, levels, statistics, figures, a partner's shown bins        minimum_cell, of every manifest: each protocol merges or withholds
                                                                             below the manifest's minimum_cohort, which may not be lower
    a column's total: statistics, a logistic fit without bins over banks;    dominance, of the rows that the vault has opened, before anything
    and the total weight of a weighted run                                   of the run leaves
    a column times residuals, in a fit across parties, which its holder      dominance: where one firm is most of the column, its holder reads
    alone learns                                                             that firm's outcome
    a fit over banks, from which all banks but one work out few rows         rows_per_column, of the bank's own rows, where it is set; across
                                                                             parties the policy asks (`ten-rows-for-each-parameter`)
    counts in a validator's pack                                             minimum_cell and rounding (`published`)

Why each bank may judge its own part of a sum: where of every part the n largest make up at most k %, the n largest of the sum are at most all
of these, and so at most k % of it; and where in every part all but the two largest are p % of the largest, they are so in the sum.

Not asked: of bins, into which a column's values do not go; over banks, of a flag (0 or 1), whose total is a count; of a run with
noise, which bounds what any row tells; of a bank of fewer firms than minimum_cell, whose part is never opened alone; of deviations from the
mean, in which one firm may weigh more than in any total. A model is never rounded: its numbers are the release.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from federation.kernel.errors import AbortCode, PolicyRefusal
from federation.kernel.manifest import Manifest
from federation.models.sample import draw_sample
from federation.models.table import Table
from privacy.disclosure.dominance import Dominance, Reals, by_firm
from privacy.disclosure.model_size import require_rows


class DisclosureRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """minimum_cell: firms behind a count, at least; dominance_n, _k: the n largest firms may make up k % of a column's total; dominance_p: the
    second largest must not know the largest to within p %; 0 switches k or p off; dominance_of_squares: the same of the total of squares, of
    which variances and Hessians are made: strict, since amounts with a heavy tail may not pass without a logarithm; rows_per_column: in a fit
    over banks, own firms for each column, 0 for banks that rely on the sum; rounding: counts of a validator's pack are multiples of it, 1 leaves
    them exact.
    """

    minimum_cell: Annotated[int, Meta(ge=1)] = 10
    dominance_n: Annotated[int, Meta(ge=1)] = 1
    dominance_k: Annotated[float, Meta(ge=0, le=100)] = 75.0
    dominance_p: Annotated[float, Meta(ge=0, le=100)] = 10.0
    dominance_of_squares: bool = False
    rows_per_column: Annotated[float, Meta(ge=0)] = 0.0
    rounding: Annotated[int, Meta(ge=1)] = 1

    @property
    def dominance(self) -> Dominance:
        """The rule of dominance."""
        return Dominance(self.dominance_n, self.dominance_k or None, self.dominance_p or None)

    def require_cohort(self, manifest: Manifest) -> None:
        """Raises PolicyRefusal (code COHORT) where the run would show counts of fewer firms."""
        stated = manifest.privacy.minimum_cohort
        if stated < self.minimum_cell:
            what = f"the run's minimum_cohort is {stated}, below this institution's minimum_cell of {self.minimum_cell}"
            action = f"Nothing was opened. Draft it with [privacy] minimum_cohort = {self.minimum_cell} or more."
            raise PolicyRefusal("disclosure control", what, action, AbortCode.COHORT)

    def require_totals(self, manifest: Manifest, me: str, table: Table, weight: str | None) -> None:
        """Raises PolicyRefusal (code DISCLOSURE) where a few firms make up a total that the run makes clear, or a bank has too few of them for
        its columns. weight: the weights' own name.
        """
        _, number = np.unique(np.array(table.firms), return_inverse=True)
        firms = number.astype(np.uint64)
        asked = [np.ones(table.rows, bool)]
        if manifest.horizontal and manifest.task == "train":  # which rows train is by the drafter's seed
            asked.append(draw_sample(table, manifest.sample).train)
            require_rows(len(table.columns), len(np.unique(firms)), self.rows_per_column)
        for rows in asked:
            if manifest.horizontal and len(np.unique(firms[rows])) < self.minimum_cell:  # a bank's part is never opened by itself
                continue
            for column, values in _in_clear(manifest, me, table, weight):
                self.dominance.require(column, by_firm(values[rows], firms[rows]))
                if self.dominance_of_squares:
                    self.dominance.require(column, by_firm(values[rows] ** 2, firms[rows]))

    def lines(self) -> tuple[str, ...]:
        """What stands, a line for each rule, for people who approve runs."""
        n, k, p = self.dominance_n, self.dominance_k, self.dominance_p
        largest = "the largest firm" if n == 1 else f"the {n} largest firms"
        parts = [f"{largest} at most {k:g} %"] * (k > 0) + [f"the largest not to be known to within {p:g} %"] * (p > 0)
        squares = ", of squares too" if self.dominance_of_squares else ""
        return (
            f"minimum cell: no count of 1 to {self.minimum_cell - 1} firms, or of rows where a run counts firms by month (minimum_cell)"
            if self.minimum_cell > 1
            else "minimum cell: none",
            f"dominance: of a column's total that becomes clear {', '.join(parts)}{squares} (dominance_*)"
            if parts
            else "dominance: not asked",
            f"rows per column: a fit over banks needs {self.rows_per_column:g} own firms for each column (rows_per_column)"
            if self.rows_per_column > 0
            else "rows per column: not asked of own firms in a fit over banks",
            f"rounding: counts of a pack to multiples of {self.rounding} (rounding)" if self.rounding > 1 else "rounding: none",
        )


def _in_clear(manifest: Manifest, me: str, table: Table, weight: str | None) -> Iterator[tuple[str, Reals]]:
    """Each column whose total becomes clear and what each row puts in, (n,), in units of the largest, so that no sum overflows."""
    if manifest.privacy.epsilon is not None:
        return
    weights = None if table.weight is None or not manifest.sample.weighted else _in_units(table.weight)
    if weights is not None:
        yield weight or "weight", weights
    unbinned = manifest.task == "statistics" or (manifest.task == "train" and manifest.model == "logistic")
    if not unbinned or (not manifest.horizontal and me == manifest.label_party):  # who has the label adds its own columns up by itself
        return
    for name, column in table.columns.items():
        if column.kind != "numeric":
            continue
        values = np.asarray(column.values, np.float64)
        special = np.isin(values, manifest.binning.special) & (manifest.task == "statistics")  # codes, which statistics leave out
        values = np.where(column.missing | special, 0.0, values)
        if not (manifest.horizontal and np.isin(values, (0.0, 1.0)).all()):
            yield name, _in_units(values) if weights is None else _in_units(values) * weights


def _in_units(values: NDArray[np.float64]) -> Reals:
    largest = float(np.abs(values).max(initial=0.0))
    return values / largest if largest > 0 else values


DEFAULTS = """
# What may leave in clear (docs/guides/institution.md, "What leaves in clear"); these are the defaults.
# [disclosure]
# minimum_cell = 10            # no count of fewer firms: a run with a lower minimum_cohort is refused
# dominance_n = 1              # the n largest firms may make up k % of a column's total; k = 0: not asked
# dominance_k = 75.0
# dominance_p = 10.0           # the second largest must not know the largest to within p %; 0: not asked
# dominance_of_squares = false # the same of squares, of which variances are made; amounts need a logarithm first
# rows_per_column = 0.0        # in a fit over banks: own firms for each column; 10 keeps them out of reach of all other banks together
# rounding = 1                 # counts of a validator's pack to multiples of it; models are never rounded
"""
"""What a new node.toml says of them."""
