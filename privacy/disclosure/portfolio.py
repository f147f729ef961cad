"""What of a label party's findings on its repayment table may leave: waterfall, roll rates and vintages without a cell of a few firms.

    cells      a count of 1 to least - 1 firms is hidden, and with it the smallest other of the same sum, since sums are known; where there is
               none to hide with it, the sum itself goes
    rolls      counts, and sums of rows, are rounded down to multiples of so many, and shares are of these: two definitions with other windows,
               or the same table a month later, do not differ in one loan's move
    vintages   a quarter with fewer firms is left out; a curve stands still until at least so many more firms have become bad, so that no step
               tells of a few; and its counts are rounded down to multiples of so many, so that the difference of two definitions of bad, which
               may turn one loan of a quarter where it turns enough firms in all, is not that loan

Source: Hundepool et al. 2012, Statistical Disclosure Control (Wiley), chapter 5 (secondary suppression, rounding). Rounding tells, where the
counts of two definitions lie on two sides of a multiple, that some loan turned, and not how many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_GROUPS = (("excluded",), ("outcome",), ("sample", "left out"))
"""Kinds of steps of a waterfall whose rows add up to what another step says."""


def shown(document: Mapping[str, Any], least: int) -> dict[str, Any]:
    """The findings' document (`federation.models.target.findings`), fit to be given away. least: the institution's minimum cell."""
    rates, curves = document["roll_rates"], document["vintages"]
    kept = [_vintage(curve, least) for curve in curves if curve["firms"] >= least]
    return {
        **{key: document[key] for key in ("definition", "first_month", "last_month", "last_matured")},
        "least_firms": least, "waterfall": _waterfall(document["waterfall"], least),
        "roll_rates": {
            "from": rates["from"], "to": rates["to"], "monthly": _rolls(rates["monthly"], least), "window": _rolls(rates["window"], least)
        },
        "vintages": kept, "vintages_left_out": len(curves) - len(kept),
    }  # fmt: skip


def _hidden(firms: Sequence[int], least: int) -> tuple[set[int], bool]:
    """Which cells of a sum are hidden, and whether the sum goes, too. firms: of each cell."""
    small = {place for place, count in enumerate(firms) if 0 < count < least}
    if not small:
        return small, False
    others = [place for place, count in enumerate(firms) if count >= least]
    if not others:
        return small, True
    return small | {min(others, key=firms.__getitem__)}, False


def _waterfall(steps: Sequence[Mapping[str, Any]], least: int) -> list[dict[str, Any]]:
    found = [{key: step[key] for key in ("name", "kind", "rows")} for step in steps]
    for kinds in _GROUPS:
        places = [place for place, step in enumerate(steps) if step["kind"] in kinds]
        hidden, whole = _hidden([steps[place]["firms"] for place in places], least)
        for place in hidden:
            found[places[place]]["rows"] = None
        if whole or 0 < steps[0]["firms"] < least:
            found[0]["rows"] = None
    return found


def _rolls(rolls: Mapping[str, Any], least: int) -> dict[str, Any]:
    """Counts, shares of each row's total, and totals, all of rounded numbers; None where hidden."""
    counts: list[list[int | None]] = []
    totals: list[int | None] = []
    shares: list[list[float | None]] = []
    for row, firms in zip(rolls["counts"], rolls["firms"], strict=True):
        hidden, whole = _hidden(firms, least)
        total = sum(row) // least * least
        counts.append([None if place in hidden else count // least * least for place, count in enumerate(row)])
        totals.append(None if whole else total)
        shares.append([None if count is None or whole or not total else count / total for count in counts[-1]])
    return {"counts": counts, "totals": totals, "shares": shares}


def _vintage(curve: Mapping[str, Any], least: int) -> dict[str, Any]:
    """The share ever bad by months on book, in steps of at least so many firms, leaving no few who never were, and rounded down."""
    told, bad, shares = 0, 0, []
    for firms, loans in zip(curve["bad_firms"], curve["bad"], strict=True):
        left = curve["firms"] - firms
        if firms - told >= least and not 0 < left < least:
            told, bad = firms, loans // least * least
        shares.append(bad / curve["loans"])
    return {"quarter": curve["quarter"], "loans": curve["loans"], "shares": shares}
