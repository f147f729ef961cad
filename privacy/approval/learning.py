"""Which leakage contracts a run is under, from what it does: who drafts a manifest does not choose what people are told that others learn."""

from __future__ import annotations

from typing import Final

from federation.kernel.manifest import AGENCY, COMPARES, Manifest

ACROSS: Final = ("session", "align", "masked_sum", "partial_scores", "encrypted_linear")
CHECKING: Final = ("session", "hidden_union", "partial_scores")
OVER_BANKS: Final = ("session", "bonawitz", "banks")


def contracts_of(manifest: Manifest) -> tuple[str, ...]:
    """The names of the contracts that hold for a run of this task and model; a manifest may name more, and none of these may be left out."""
    if manifest.task == COMPARES:
        return ("session", COMPARES)
    if manifest.is_check:
        return (*CHECKING, manifest.task)
    if manifest.horizontal:
        return OVER_BANKS
    binned = manifest.model == "scorecard" or manifest.task == "binning"
    trained, relayed = manifest.task == "train", bool(manifest.agencies)
    return (*ACROSS, *(("binning",) * binned), *(("logistic",) * trained), *((AGENCY,) * relayed))


def left_out(manifest: Manifest) -> tuple[str, ...]:
    """Contracts that hold for the run and that its manifest does not name."""
    return tuple(name for name in contracts_of(manifest) if name not in manifest.contracts)
