"""What a feature party shows of its bins when a model is done, for the validator of the label party: what `partner_disclosure` says, no more.

    direction   of each column of the model, whether risk rises or falls with it
    edges       also its bins by name: cut points, or groups of levels
    full        also rows, goods, bads and the weight of evidence of each bin

Points and coefficients are never shown. A label party refuses more than the manifest, which every institution has signed, allows.

Who learns what: privacy/contracts/logistic.toml.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import msgspec
import numpy as np

from federation.kernel.codec import Message
from federation.kernel.errors import PeerError
from federation.kernel.manifest import Manifest
from federation.kernel.role import Role, Run
from federation.models.encoding import ColumnEncoding, Numeric, Reals, Woe
from federation.models.prepare import Encoded
from federation.models.woe import WoeTable

Course: TypeAlias = Literal["rises", "falls", "flat", "mixed", "no order"]
"""How the log odds of bad run from a column's lowest value to its highest; levels without a declared direction have no order."""
MOST_BINS = 1_000


class ShownBin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """label: its name; rows: of training; goods, bads: weighted; all but the label None unless everything is shown (and counts where they were
    not released).
    """

    label: str
    rows: int | None = None
    goods: float | None = None
    bads: float | None = None
    woe: float | None = None


class ShownColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column of the model. bins: absent last; none for "direction", and of a column that has none."""

    column: str
    risk: Course
    bins: tuple[ShownBin, ...] = ()


class Shown(Message, frozen=True, tag="training/shown"):
    """From a feature party to the label party, at the end: its columns of the model as far as partner_disclosure allows."""

    columns: tuple[ShownColumn, ...]


def shown(manifest: Manifest, encoded: Encoded, theta: Reals) -> Shown:
    """A feature party's columns. theta: (d,) coefficients of its design columns in the log odds of bad."""
    tables = {table.column: table for table in encoded.tables}
    how_much, out, start = manifest.privacy.partner_disclosure, [], 0
    for part in encoded.encoding.columns:
        own, start = theta[start : start + len(part.names)], start + len(part.names)
        bins = () if how_much == "direction" or part.column not in tables else _bins(tables[part.column], whole=how_much == "full")
        out.append(ShownColumn(part.column, course(part, own), bins))
    return Shown(tuple(out))


def course(part: ColumnEncoding, theta: Reals) -> Course:
    """How risk runs with a column: over the ordinary bins, or with the number itself."""
    if isinstance(part, Numeric):
        steps = theta[:1]
    elif isinstance(part, Woe) and part.bins.ordered:
        steps = np.diff(theta[0] * np.array(part.values[: part.bins.ordinary]))
    else:
        return "no order"
    if not steps.any():
        return "flat"
    return "rises" if (steps >= 0).all() else "falls" if (steps <= 0).all() else "mixed"


def _bins(table: WoeTable, *, whole: bool) -> tuple[ShownBin, ...]:
    if not whole:
        return tuple(ShownBin(row.label) for row in table.rows)
    return tuple(
        ShownBin(row.label, row.rows if row.goods is not None else None, row.goods, row.bads, row.woe) for row in table.rows
    )  # a bin whose goods and bads were not released is too small for its rows to be told


def show(run: Run, manifest: Manifest, encoded: Encoded, theta: Reals) -> Role[None]:
    """A feature party's part."""
    yield from run.step("shown", {manifest.label_party: shown(manifest, encoded, theta)})


def hear_shown(run: Run, manifest: Manifest) -> Role[dict[str, Shown]]:
    """The label party's part: what each partner shows. Raises PeerError for more than is allowed."""
    received = yield from run.step("shown", expect=dict.fromkeys(manifest.feature_parties, Shown))
    told = {name: received.of(name, Shown) for name in manifest.feature_parties}
    for name, message in told.items():
        require_allowed(manifest, name, message)
    return told


def require_allowed(manifest: Manifest, sender: str, told: Shown) -> None:
    """Raises PeerError. Whether what is shown is true nobody can see: a partner that lies about its bins misleads the validator alone."""
    named = [column.column for column in told.columns]
    if len(set(named)) != len(named):
        raise PeerError(sender, "bins of one column twice", "each of its columns at most once")
    how_much = manifest.privacy.partner_disclosure
    bins = [row for column in told.columns for row in column.bins]
    figures = [value for row in bins for value in (row.rows, row.goods, row.bads, row.woe) if value is not None]
    if (how_much == "direction" and bins) or (how_much != "full" and figures):
        raise PeerError(sender, "more of its bins than may be shown", f'as much as partner_disclosure = "{how_much}" allows')
    if len(bins) > MOST_BINS * max(1, len(named)) or not all(map(math.isfinite, figures)):
        raise PeerError(sender, "too many bins, or figures that are not finite", f"at most {MOST_BINS} bins a column")
