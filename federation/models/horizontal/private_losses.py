"""What a run with noise may cost, known from its manifest before anything is computed: all of it, and each sum's part."""

from __future__ import annotations

from federation.kernel.loss import Stated
from federation.kernel.manifest import Manifest
from federation.models.horizontal.noise import Noise, Schedule, costs
from federation.models.horizontal.private_binning import SCHEDULE as BINNING
from federation.models.horizontal.private_statistics import SCHEDULE as STATISTICS
from federation.models.horizontal.private_train import SCHEDULE as TRAINING

_SCHEDULES: dict[str, Schedule] = {"statistics": STATISTICS, "binning": BINNING, "train": TRAINING}


def reserved(manifest: Manifest) -> tuple[Stated, ...]:
    """The whole, to reserve before the run: what it states, of sums over banks or of labels that are turned over; empty without noise.

    What the sums then cost, one by one (`Release.loss`), composes to no more.
    """
    privacy = manifest.privacy
    if privacy.label_noise is not None:
        return (Stated(privacy.label_noise),)
    if privacy.epsilon is None or privacy.delta is None:
        return ()
    return (Stated(privacy.epsilon, privacy.delta),)


def sums(manifest: Manifest) -> list[tuple[str, float]]:
    """Of a run over banks with noise each sum, in order: its name, and what it costs at most, as rho; empty for another run."""
    noise = Noise.of(manifest) if manifest.horizontal else None
    return [] if noise is None else costs(noise, _SCHEDULES[manifest.task])
