"""What each source adds, in words: more data is not better, and what is not shown is not claimed."""

from __future__ import annotations

from federation.models.paired import Change
from server.result import SourceFacts

LEAK = 0.15
"""A single source among several that adds more AUC than this knows something that the others cannot: look for the outcome in it."""
NOTHING, WORSE = "adds nothing that this sample can show", "makes the model worse on this sample"


def words(auc: Change, cost: float | None) -> str:
    """A verdict from the gain in AUC, its interval and the cost of a query."""
    if auc.high < 0:
        return WORSE
    if auc.low <= 0:
        paid = f" and costs {1000 * cost:,.0f} CNY for 1,000 firms" if cost else ""
        return NOTHING + paid
    leak = ": so much that a leak must be ruled out first" if auc.gain > LEAK else ""
    return f"adds {100 * auc.gain:.1f} points of AUC, at least {100 * auc.low:.1f} at 95 %{leak}"


def cost_per_point(auc: Change, cost: float | None) -> float | None:
    """CNY for 1,000 firms and a hundredth of AUC; None where no gain is shown."""
    return None if cost is None or auc.low <= 0 else 1000 * cost / (100 * auc.gain)


def to_drop(found: SourceFacts, least: float) -> bool:
    """Whether even the upper end of the 95 % interval of what it adds is below `least`: a sample too small to tell drops nothing."""
    return found.auc_interval is not None and found.auc_interval[1] < least
