"""A bank's program by the manifest's task: which plan, what all banks have alike, and what its screen shows."""

from __future__ import annotations

from typing import Any

import msgspec

from federation.kernel import suite
from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest import MOST_WITH_LEVELS, Manifest
from federation.models.horizontal.bin_counts import BinCounts, CountBins
from federation.models.horizontal.bin_counts import share_lines as bin_lines
from federation.models.horizontal.noise import Noise
from federation.models.horizontal.plan import Plan
from federation.models.horizontal.private_binning import CountPrivateBins
from federation.models.horizontal.private_rules import require_private
from federation.models.horizontal.private_statistics import PrivatelyMeasured, PrivateStatistics
from federation.models.horizontal.private_statistics import share_lines as private_lines
from federation.models.horizontal.private_train import PrivateTrain
from federation.models.horizontal.program import Bank
from federation.models.horizontal.size import require_room
from federation.models.horizontal.statistics import Measured, Statistics
from federation.models.horizontal.statistics_document import share_lines as statistics_lines
from federation.models.horizontal.train import Train, Trained
from federation.models.horizontal.train_document import share_lines
from federation.models.sample import draw_sample
from federation.models.training import Local

Levels = dict[str, tuple[str, ...]]


def bank_of(manifest: Manifest, me: str, local: Local) -> Bank[Any]:
    """The program of one bank."""
    require_room(manifest)
    require_private(manifest)
    table, noise = local.table, Noise.of(manifest)

    def train(levels: Levels) -> Plan[Trained]:
        sample = draw_sample(table, manifest.sample)
        if noise is None:
            return Train(table, sample, manifest, levels, local.bins)
        return PrivateTrain(table, sample, manifest, levels, local.bins, noise=noise)

    def statistics(levels: Levels) -> Plan[Measured] | Plan[PrivatelyMeasured]:
        return Statistics(table, manifest, levels) if noise is None else PrivateStatistics(table, manifest, noise)

    def binning(levels: Levels) -> Plan[BinCounts]:
        sample = draw_sample(table, manifest.sample)
        if noise is None:
            return CountBins(table, sample, levels, manifest, local.bins)
        return CountPrivateBins(table, sample, {}, manifest, local.bins, noise)

    if local.bins and len(manifest.members) > MOST_WITH_LEVELS:
        action = "Leave [[party]] bins out: so many banks do not tell each other that their bins are the same."
        raise ConfigurationError(me, f"bins were given by hand in a run of more than {MOST_WITH_LEVELS} banks", action)
    given = suite.digest("bins", msgspec.json.encode(local.bins, order="sorted"))
    if manifest.task == "statistics":
        lines = statistics_lines if noise is None else private_lines
        return Bank(manifest, me, table, statistics, lines, noise=noise)  # type: ignore[arg-type]  # the plan is the one that was made
    if manifest.task == "binning":
        return Bank(manifest, me, table, binning, bin_lines, given=given, noise=noise)  # type: ignore[arg-type]  # the plan is the one that was made
    return Bank(manifest, me, table, train, share_lines, _figures, given, noise)  # type: ignore[arg-type]  # the plan is the one that was made


def _figures(state: Trained) -> dict[str, float | str]:
    """The phase, and of a fit how far it is."""
    fit = state.fits.get(state.comparing) if state.comparing else state.selection.fit if state.selection else None
    out: dict[str, float | str] = {"step": state.phase}
    return out if fit is None else out | {"iteration": fit.iteration}
