"""A plan over fewer rows: how a bank goes on when consent to the use of some of its rows was withdrawn.

What a plan keeps from one sum to the next is totals, which stand, and what it derives from a table is derived anew: so the plan of the rows
that are left takes over the state as it is, and no later vector has anything of the others. A bank's rows stay on the side of the split that
they were on. Newton's method has no history that would have to go: gradient, Hessian and loss are all new at each point, and a loss that
became smaller because rows went is never taken for a rise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from federation.kernel.state import State
from federation.kernel.withdrawal import refusal
from federation.models.horizontal.plan import Plan
from federation.models.sample import Sample
from federation.models.table import Table

S = TypeVar("S", bound=State)


def over(plan: Plan[S], rows: NDArray[np.bool_], me: str) -> Plan[S]:
    """The same plan over these rows of its table, (n,) bool. Raises PolicyRefusal (code CONSENT) for a plan that has no table."""
    whole: Any = plan
    table, sample = getattr(whole, "table", None), getattr(whole, "sample", None)
    if not isinstance(table, Table):
        raise refusal(me, "this plan cannot go on without a row")
    changes: dict[str, Any] = {"table": table.kept(rows)}
    if isinstance(sample, Sample):
        changes["sample"] = sample.kept(rows)
    fewer: Plan[S] = replace(whole, **changes)
    return fewer


def rows_of(plan: Plan[Any]) -> int:
    """How many rows the minimum cohort is about: those that train, of statistics all."""
    sample = getattr(plan, "sample", None)
    return int(sample.train.sum()) if isinstance(sample, Sample) else int(getattr(plan, "table").rows)  # noqa: B009  # no field of every plan
