"""For how many of the label's training rows a source has anything to say, as far as a party's own share of a run tells.

Binned columns: one less the share of absent firms and of missing values, at the column that is best filled (a missing bin that was merged into
another is not seen, so that the figure may be high by it). Plain columns: the share of rows whose firm the party knows.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from federation.models.table import Table

BINNED = "rows with a value of its best-filled column"
KNOWN = "rows whose firm the party knows"
OWN = "rows with any value"


def coverage(share: dict[str, Any], columns: Collection[str], rows: int) -> tuple[float | None, str]:
    """Coverage, None where the share does not tell, and what it counts. share: a party's share.json; rows: of the label's training."""
    tables = [table["bins"] for table in share["tables"] if table["column"] in columns]
    if tables:
        return max(1.0 - sum(row["share"] for row in bins if row["label"] in ("missing", "absent")) for bins in tables), BINNED
    return (share["matched"] / rows, KNOWN) if rows else (None, KNOWN)


def own_coverage(table: Table, columns: Collection[str]) -> tuple[float | None, str]:
    """Of the label party's own columns, over all its rows."""
    there = [~table.columns[name].missing for name in columns if name in table.columns]
    return (float(np.mean(np.any(there, axis=0))), OWN) if there else (None, OWN)
