"""What a run over banks with epsilon and delta cannot have: refused before anything is sent, with what to do instead.

Noise needs a bound on what one row adds, and a number of sums that is known before the first. Bins bound a row by themselves; plain columns
have no bound that is not taken from them. Selection by fits, other models side by side, own coefficients and weights would each take sums whose
number or bound depends on the rows.
"""

from __future__ import annotations

from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest import Manifest

_EPSILON = "a run with [privacy] epsilon"


def require_private(manifest: Manifest) -> None:
    """Raises ConfigurationError where a manifest of banks states epsilon and asks for what cannot have noise."""
    if manifest.privacy.epsilon is None or not manifest.horizontal:
        return
    select, banks = manifest.select, manifest.banks
    training = manifest.task == "train"
    refused = {
        "[run] model": (
            training and manifest.model != "scorecard", "plain columns have no bound on what one row adds to a gradient",
            'Use model = "scorecard", whose bins bound it.',
        ),
        "[sample] weight": (manifest.sample.weighted, "weights have no declared bound", "Leave the weight out."),
        "[model] intercept": (
            training and banks.intercept != "common", "each bank's own intercept takes sums of its own", 'Use intercept = "common".',
        ),
        "[model] personal_C": (training and banks.personal_C is not None, "own slopes take sums of their own", "Leave personal_C out."),
    }  # fmt: skip
    by_fits = [key for key in ("corr_max", "vif_max", "p_max") if getattr(select, key) is not None]
    taken = "this selection takes sums without a bound, or as many as the rows decide"
    refused |= {f"[select] {key}": (training, taken, "Select by iv_min, which costs nothing.") for key in by_fits}
    for where, (asked, why, action) in refused.items():
        if asked:
            raise ConfigurationError(where, f"cannot be had in {_EPSILON}: {why}", action)
