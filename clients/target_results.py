"""What a finished run leaves of a label party's outcomes: all findings in its own target.json, and in its share what may leave."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from federation.models.sample import Sample
from federation.models.table import Table
from federation.models.target.findings import sampled
from privacy.disclosure.portfolio import shown


def target_documents(
    whole: Table, present: Table, sample: Sample, inside: NDArray[np.bool_] | None = None
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """All of it, and what may leave; None where the labels were not made of repayments.

    whole: the table that the run began with; present: its rows that are still there, whose split is `sample`; inside: (n,) those of them in the
    universe, None for all.
    """
    found = whole.target
    if found is None:
        return None
    apart = 0
    if inside is not None and not inside.all():
        apart, present, sample = int((~inside).sum()), present.kept(inside), sample.kept(inside)
    document = found.document(sampled(present.firms, sample, whole.rows - present.rows - apart, apart))
    return document, shown(document, found.least_firms)
