"""What a label party finds when it makes its outcomes: the waterfall of its rows, roll rates and vintages, as they stand in its own results.

The waterfall goes from the rows of the feature table to goods and bads when the rows are opened, and on to the samples when the run is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.manifest import TargetSettings
from federation.models.sample import SPLITS, Sample
from federation.models.target.histories import Histories
from federation.models.target.observation import Months, last_matured, observed
from federation.models.target.outcomes import BAD, GOOD, INDETERMINATE, OUTCOMES, Judged
from federation.models.target.roll_rates import FROM, TO, Rolls, month_to_month, over_the_window
from federation.models.target.vintages import Vintage, vintages

Counted = tuple[int, int]
"""Rows, and the firms that they are of."""


@dataclass(frozen=True)
class Findings:
    """settings: the definition; first, last: months of the repayment table, matured: the last month with outcomes, YYYY-MM; source: of the
    feature table; outcomes: by place in `OUTCOMES`; unseen: as in `Judged`; gaps: as in `month_to_month`; least_firms: no count of fewer firms
    leaves.
    """

    settings: TargetSettings
    first: str
    last: str
    matured: str
    source: Counted
    outcomes: tuple[Counted, ...]
    unseen: int
    monthly: Rolls
    gaps: int
    window: Rolls
    vintages: tuple[Vintage, ...]
    least_firms: int

    def document(self, samples: dict[str, Counted]) -> dict[str, Any]:
        """As JSON values. samples: where the good and bad rows went, from `sampled`."""
        return {
            "definition": self._definition(),
            "first_month": self.first, "last_month": self.last, "last_matured": self.matured,
            "waterfall": self._waterfall(samples), "unseen": self.unseen, "gaps": self.gaps,
            "roll_rates": {
                "from": list(FROM), "to": list(TO),
                "monthly": {"counts": self.monthly.counts.tolist(), "firms": self.monthly.firms.tolist()},
                "window": {"counts": self.window.counts.tolist(), "firms": self.window.firms.tolist()},
            },
            "vintages": [
                {"quarter": one.quarter, "loans": one.loans, "firms": one.firms, "bad": list(one.bad), "bad_firms": list(one.bad_firms)}
                for one in self.vintages
            ],
        }  # fmt: skip

    def _definition(self) -> dict[str, Any]:
        """The settings, with what stands where nothing is set."""
        said = {"indeterminate_from": self.settings.gray_from, "good_standing": self.settings.standing}
        return dict(msgspec.to_builtins(self.settings)) | said

    def _waterfall(self, samples: dict[str, Counted]) -> list[dict[str, Any]]:
        def step(name: str, kind: str, counted: Counted) -> dict[str, Any]:
            return {"name": name, "kind": kind, "rows": counted[0], "firms": counted[1]}

        return [
            step("rows of the feature table", "all", self.source),
            *(step(OUTCOMES[code], "excluded", self.outcomes[code]) for code in range(GOOD) if self.outcomes[code][0]),
            step("indeterminate", "excluded", self.outcomes[INDETERMINATE]),
            step("good", "outcome", self.outcomes[GOOD]),
            step("bad", "outcome", self.outcomes[BAD]),
            *(step(name, "sample" if name in SPLITS else "left out", counted) for name, counted in samples.items()),
        ]


def find(loans: Histories, settings: TargetSettings, judged: Judged, firms: Sequence[str], months: Months, least_firms: int) -> Findings:
    """All findings. firms, months: (n,) of the feature table's rows, whose outcomes are `judged`."""
    names = np.array(firms, object)
    monthly, gaps = month_to_month(loans)
    distinct = np.unique(months.astype("datetime64[M]"))
    return Findings(
        settings, str(loans.first), str(loans.last), str(last_matured(settings, loans.last)), (len(names), len(set(firms))),
        tuple(_counted(names, judged.code == code) for code in range(len(OUTCOMES))), judged.unseen, monthly, gaps,
        over_the_window(loans, settings, distinct[observed(settings, distinct)]), vintages(loans, settings), least_firms,
    )  # fmt: skip


def sampled(firms: Sequence[str], sample: Sample, withdrawn: int = 0, apart: int = 0) -> dict[str, Counted]:
    """Where good and bad rows went.

    firms: (n,) of the rows that are there; withdrawn: rows whose consent was withdrawn meanwhile; apart: rows of firms that are not in the
    universe. Of both at most as many firms.
    """
    names = np.array(firms, object)
    masks = {"performance window reaches over the split": sample.purged, "out of time, of a firm that trains": sample.late_of_training}
    left = {name: _counted(names, rows) for name, rows in masks.items() if rows is not None and rows.any()}
    counts = {"consent withdrawn during the run": withdrawn, "not in the alignment": apart}
    gone = {name: (count, count) for name, count in counts.items() if count}
    return gone | left | {name: _counted(names, getattr(sample, name)) for name in SPLITS}


def _counted(firms: NDArray[np.object_], rows: NDArray[np.bool_]) -> Counted:
    return int(rows.sum()), len(set(firms[rows].tolist()))
