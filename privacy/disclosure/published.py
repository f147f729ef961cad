"""A document that an institution gives away, such as a validator's pack, by its own rules: no small cell, and counts rounded where it says so.

    small cells   a count of 1 to minimum_cell - 1 firms is withheld, and with it what stands beside it in the same entry but the whole (`n` is
                  `goods` and `bads` together); of a bin, which has a cohort of firms, goods or bads may be few: weights of evidence are made of
                  them. A bin that is withheld has no share, and the others have theirs of what is shown
    curves        are left out: each step of a ROC curve may be one firm
    rounding      counts to their nearest multiple (`to_base`), shares and rates to a hundredth. Weights of evidence, coefficients and points are
                  the model and stay exact; whoever has them all may work counts out from them

Entries are told by their keys, those of share.json and metrics.json.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from privacy.disclosure.rounding import to_base
from privacy.disclosure.rules import DisclosureRules

WHOLES: Final = ("n", "rows", "own_rows")
PARTS: Final = ("goods", "bads", "count", "missing", "matched", "dropped_out_of_time")
SHARES: Final = ("share", "bad_rate")


def published(document: Any, rules: DisclosureRules) -> Any:
    """The same JSON values, fit to be given away; the argument stays as it is."""
    if isinstance(document, list):
        return _shared([published(entry, rules) for entry in document])
    if not isinstance(document, dict):
        return document
    out = {key: published(value, rules) for key, value in document.items() if key != "curves"}
    out |= dict.fromkeys(_withheld(out, rules.minimum_cell))
    return out if rules.rounding == 1 else out | _rounded(out, rules.rounding)


def _withheld(entry: dict[str, Any], minimum: int) -> set[str]:
    """The keys of an entry that would tell of few firms."""
    numbers = {key: entry[key] for key in (*WHOLES, *PARTS) if _is_number(entry.get(key))}
    if "woe" in entry:
        cell = numbers.get("rows", numbers.get("goods", 0) + numbers.get("bads", 0))
        hidden = entry.get("goods") is None  # its goods and bads were not released: too small, or not shown
        return {*numbers, *SHARES} & entry.keys() if hidden or 0 < cell < minimum else set()
    small = {key for key, value in numbers.items() if 0 < value < minimum}
    return small | {key for key in numbers if key in PARTS or small & set(WHOLES)} if small else set()


def _rounded(entry: dict[str, Any], base: int) -> dict[str, Any]:
    """The counts, rates and whole weights of an entry, rounded."""
    counts = {key: entry[key] for key in (*WHOLES, *PARTS, "weight") if _is_number(entry.get(key))}
    told = {
        key: int(to_base(np.array([round(value)]), base)[0])
        for key, value in counts.items()
        if float(value).is_integer() or key != "weight"
    }
    return told | {key: round(entry[key], 2) for key in SHARES if _is_number(entry.get(key))}


def _shared(entries: list[Any]) -> list[Any]:
    """Bins whose shares are of those that are shown, where one is not: else they would tell how many firms it has."""
    bins = [entry for entry in entries if isinstance(entry, dict) and "woe" in entry and "share" in entry]
    if all(entry["share"] is not None for entry in bins):
        return entries
    whole = sum(entry["share"] for entry in bins if entry["share"] is not None)
    return [
        entry | {"share": entry["share"] / whole} if isinstance(entry, dict) and "woe" in entry and entry.get("share") else entry
        for entry in entries
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
