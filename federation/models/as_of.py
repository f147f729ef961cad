"""Whether partners' columns may have been recorded after the day of the row that they are used for: what the label party can count by itself.

Rows that are matched by firm and month carry the month that they speak of. Where a firm has one row everywhere, or a partner's table has no
dates, nothing ties a partner's values to the day of the label's row; the manifest then says from which months a partner's rows are (`months`),
or on which day its snapshot was taken (`taken`). Months are compared: a feature as of a month may stand beside a row of any day of it.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.manifest import Manifest


class LaterRows(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of one partner. rows: the label party's rows that were looked at; later: those for which all of the partner's values are of a later month;
    perhaps: those for which some may be, `later` among them; undated: nothing says of when the values are.
    """

    rows: int
    later: int = 0
    perhaps: int = 0
    undated: bool = False


def later_rows(manifest: Manifest, as_of: NDArray[np.datetime64] | None) -> dict[str, LaterRows]:
    """What there is to say of each partner; nothing where rows have no dates or carry their own. as_of: (n,) days of the label party's rows."""
    if as_of is None:
        return {}
    months, found = as_of.astype("datetime64[M]"), {}
    for name in manifest.feature_parties:
        party = manifest.party(name)
        if party.dated and (manifest.sample.key == "firm and month" or not party.months):
            continue
        if party.dated or party.taken:
            first, last = (np.datetime64(text[:7], "M") for text in (party.months if party.dated else (party.taken, party.taken)))
            found[name] = LaterRows(len(months), int((months < first).sum()), int((months < last).sum()))
        else:
            found[name] = LaterRows(len(months), undated=len(np.unique(months)) > 1)
    return {name: one for name, one in found.items() if one.perhaps or one.undated}
