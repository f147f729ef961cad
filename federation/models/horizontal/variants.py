"""The models over many banks that stand side by side: which there are, which is the run's, and how each is fitted.

`global` has all coefficients in common, `per bank` an intercept of each bank's own, and `personal` slopes of its own, too.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from federation.kernel.manifest import Manifest
from federation.models.horizontal.newton import FitSettings, Intercept

Variant: TypeAlias = Literal["global", "per bank", "personal"]


def selecting_variant(manifest: Manifest) -> Variant:
    """The variant by which columns are selected: without own slopes, beside which the common ones would seem uncertain."""
    return "per bank" if manifest.banks.intercept == "per bank" else "global"


def chosen_variant(manifest: Manifest) -> Variant:
    """The variant that is the run's model."""
    return selecting_variant(manifest) if manifest.banks.personal_C is None else "personal"


def variants(manifest: Manifest) -> tuple[Variant, ...]:
    """All that are fitted, in this order: the one that selects, then the others; under noise that one alone."""
    first = selecting_variant(manifest)
    if manifest.privacy.epsilon is not None:
        return (first,)
    others: tuple[Variant, ...] = ("global", "per bank") if manifest.banks.personal_C is None else ("global", "per bank", "personal")
    return (first, *(name for name in others if name != first))


def fit_settings(manifest: Manifest, variant: str) -> FitSettings:
    """How a variant is fitted."""
    own, banks = manifest.settings, manifest.banks
    intercept: Intercept = "per bank" if variant == "per bank" else banks.intercept if variant == "personal" else "common"
    personal = banks.personal_C if variant == "personal" else None
    return FitSettings(tolerance=own.tolerance, max_iterations=own.max_iterations, intercept=intercept, personal_C=personal)
