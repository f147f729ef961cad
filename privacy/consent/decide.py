"""Which subjects have consented to what a run asks: over a million of them at once.

Each column that is used, with each party of the run, must be covered by a grant that is valid on that day; two grants may share the columns
between them, as where a form was extended. No grant, no permission.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from federation.kernel.manifest import Manifest
from privacy.consent.days import day_of
from privacy.consent.grant import Terms
from privacy.purposes import require_purpose

Mask = NDArray[np.bool_]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Ask:
    """What a run would do with a subject's record. columns: (name, JR/T 0197 level) each, none where only the row's presence counts;
    recipients: every party of the run.
    """

    purpose: str
    columns: tuple[tuple[str, int], ...]
    recipients: tuple[str, ...]

    @classmethod
    def of(cls, manifest: Manifest, party: str, own: tuple[tuple[str, int], ...] = ()) -> Self:
        """What a run asks of one party's subjects. own: columns that the manifest does not name, label and weight."""
        columns = tuple((column.name, column.level) for column in manifest.party(party).columns)
        return cls(manifest.purpose, columns + own, tuple(name for name in manifest.members if name != party))

    def needs(self, terms: Mapping[int, Terms]) -> tuple[frozenset[int], ...]:
        """Sets of terms, by number: a subject needs a valid grant of one of each set. A set that contains another is left out.

        Raises ConfigurationError for a purpose that is not declared.
        """
        require_purpose(self.purpose)
        found = {
            frozenset(number for number, form in terms.items() if form.cover(self.purpose, column, recipient))
            for column in self.columns or (None,)
            for recipient in self.recipients or (None,)
        }
        return tuple(sorted((need for need in found if not any(other < need for other in found)), key=sorted))


@dataclass(frozen=True, eq=False)
class Grants:
    """Grants as columns, (g,) each. position: which of the asked subjects; terms: number; start, until: days; withdrawn: a moment, FOREVER
    where nobody withdrew.
    """

    position: Integers
    terms: Integers
    start: Integers
    until: Integers
    withdrawn: Integers


def permitted(count: int, grants: Grants, needs: tuple[frozenset[int], ...], now: int) -> Mask:
    """Which of `count` subjects may be used at a moment, (count,): from the first day to the last, both included, and before a withdrawal."""
    today = day_of(now)
    valid = (grants.start <= today) & (today <= grants.until) & (now < grants.withdrawn)
    allowed = np.ones(count, bool)
    for need in needs:
        has = np.zeros(count, bool)
        has[grants.position[valid & np.isin(grants.terms, sorted(need))]] = True
        allowed &= has
    return allowed
