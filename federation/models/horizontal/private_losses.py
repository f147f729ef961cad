"""What a run with noise costs, as the losses that a ledger books: known from the manifest, before anything is computed."""

from __future__ import annotations

import math

from federation.kernel.manifest import Manifest
from federation.models.horizontal.noise import Noise, Release, Schedule, costs
from federation.models.horizontal.private_binning import SCHEDULE as BINNING
from federation.models.horizontal.private_statistics import SCHEDULE as STATISTICS
from federation.models.horizontal.private_train import SCHEDULE as TRAINING
from privacy.budget.loss import DiscreteGaussian, Loss, Stated

_SCHEDULES: dict[str, Schedule] = {"statistics": STATISTICS, "binning": BINNING, "train": TRAINING}
_UNIT = 1024.0


def losses(manifest: Manifest) -> tuple[tuple[str, Loss], ...]:
    """Each release with its name, at the most that the schedule allows it; empty for a run without noise. To reserve before a run.

    A sum over banks stands as one discrete Gaussian of the same zCDP cost; turned labels as their epsilon, for one label.
    """
    if manifest.privacy.label_noise is not None:
        return (("labels turned over", Stated(manifest.privacy.label_noise)),)
    noise = Noise.of(manifest) if manifest.horizontal else None
    if noise is None:
        return ()
    named = costs(noise, _SCHEDULES[manifest.task])
    return tuple((name, DiscreteGaussian(_UNIT, _UNIT * math.sqrt(2 * rho), 1)) for name, rho in named)


def loss_of(release: Release, noise: Noise, numbers: int) -> DiscreteGaussian:
    """One sum as it was taken: its own grid, norm and length. To book before it leaves; never more than was reserved for it."""
    return DiscreteGaussian(math.sqrt(float(release.variance)), math.sqrt(release.square), numbers, noise.honest)
