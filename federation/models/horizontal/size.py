"""Whether a run's sums fit: how many numbers the longest of them has, known from the columns that the manifest declares.

A sum has at most `LONGEST` numbers. What grows fastest with the d numeric columns is

    statistics           correlations, two triangles of d (d + 1) / 2, and beside them what quantiles ask for
    binning, scorecards  rows of the first cells of the number line, 2^12 + 1 to a column, and of each declared special value
    training             products of the design, (d + 1) (d + 2) / 2 with the label

A design of more columns than are declared (levels, indicators of missing values) shows only in the run: `program` then refuses that sum.
"""

from __future__ import annotations

from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest import Manifest
from federation.models.horizontal.number_line import FIRST_BITS
from federation.models.horizontal.quantiles import LONGEST as QUANTILES

LONGEST = 1 << 22
"""Numbers in one sum at most: 32 MB for each of its three limbs."""


def longest_sum(manifest: Manifest, numeric: int) -> tuple[str, int]:
    """What the longest sum of a run with so many numeric columns holds, and how many numbers that is."""
    if manifest.task == "statistics":
        return "correlations", numeric * (numeric + 2) + 1 + QUANTILES
    products = "products of the design", (numeric + 1) * (numeric + 2) // 2
    cells = "the first cells of the number line", numeric * ((1 << FIRST_BITS) + 1 + len(manifest.binning.special))
    if manifest.task == "binning":
        return cells
    return max(products, cells, key=lambda found: found[1]) if manifest.model == "scorecard" else products


def require_room(manifest: Manifest) -> None:
    """Raises ConfigurationError where a sum would be too long, before anything is sent."""
    numeric = sum(column.kind == "numeric" for column in manifest.parties[0].columns)
    what, numbers = longest_sum(manifest, numeric)
    if numbers <= LONGEST:
        return
    most = next(count for count in range(numeric, -1, -1) if longest_sum(manifest, count)[1] <= LONGEST)
    raise ConfigurationError(
        f"columns of a run over banks ({manifest.task})",
        f"{numeric:,} numeric columns, so that {what} would be a sum of {numbers:,} numbers (rule: at most {LONGEST:,})",
        f"Take at most {most:,} numeric columns ([[party]] include or exclude), in several runs if there are more.",
    )
