"""What a pack says of the model, from a party's results: one form for runs across parties and over banks, since a validator reads both alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from federation.kernel.manifest import Manifest

SHOWN: Final = {
    "direction": "whether risk rises or falls with each column", "edges": "the direction, and the bins by name",
    "full": "the direction, the bins by name, their rows, goods, bads and weights of evidence",
}  # fmt: skip
_NO_LABELS: Final = "This institution has neither labels nor the split: the label party's pack has them."
_BANKS: Final = "Bins, weights of evidence and coefficients are of totals over all banks; points, figures and scores of this bank's rows."


def model_part(manifest: Manifest, me: str, files: Mapping[str, Any]) -> dict[str, Any]:
    """This institution's own part, what partners show, and figures. files: its results by name, as JSON values."""
    share, metrics = files.get("share.json", {}), files.get("metrics.json") or {}
    validation = files.get("validation.json", {})
    if manifest.horizontal:
        partners = {"partner_disclosure": "", "shows": "of other banks nothing but what totals over all banks say", "columns": {}}
        note, stability = _BANKS, _stability(share)
    else:
        disclosure = manifest.privacy.partner_disclosure
        partners = {"partner_disclosure": disclosure, "shows": SHOWN[disclosure], "columns": validation.get("partners", {})}
        note, stability = "" if manifest.party(me).label else _NO_LABELS, validation.get("stability", {})
    return {
        "own": own_part(share), "partners": partners, "sensitivity": validation.get("sensitivity", {}), "stability": stability,
        "metrics": metrics, "all_banks": share.get("overall", {}).get(share.get("variant"), {}),
        "out_of_time": metrics.get("out_of_time", {}), "note": note, "withdrawals": share.get("withdrawals", []),
    }  # fmt: skip


def own_part(share: Mapping[str, Any]) -> dict[str, Any]:
    """A share.json with tables (column, iv, bins with points), points by column and coefficients where a reader looks for them."""
    own = share.get("own", {})  # of a run over banks, what is this bank's alone
    model = own.get("models", {}).get(share.get("variant"), share)
    points = {
        part["bins"]["column"]: part["points"] for part in (own.get("points") or share.get("points") or {}).get("characteristics", ())
    }
    coefficients = {key: model[key] for key in ("coefficients", "standardized", "intercept", "constant") if key in model}
    return {
        **share, **coefficients, "tables": [_with_points(table, points) for table in share.get("tables", ())],
        "points_by_bin": points, "points_range": {name: [min(values), max(values)] for name, values in points.items() if values},
    }  # fmt: skip


def _with_points(table: Mapping[str, Any], points: Mapping[str, list[int]]) -> dict[str, Any]:
    own = points.get(table["column"], ())
    return {**table, "bins": [row | ({"points": own[place]} if own else {}) for place, row in enumerate(table["bins"])]}


def _stability(share: Mapping[str, Any]) -> dict[str, Any]:
    """Over banks: of the score, by the cells of its sums, and of each column where the run was for bins."""
    score = {split: found.get("psi") for split, found in share.get("overall", {}).get(share.get("variant"), {}).items()}
    columns = {name: {split: psi["value"] for split, psi in found.items()} for name, found in share.get("stability", {}).items()}
    return {"score": score, "columns": columns} if score or columns else {}
