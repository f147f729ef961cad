"""A bank's program by the manifest: the tasks that there are over many banks, each with its plan and what is made of its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from federation.kernel import suite
from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest import MOST_WITH_LEVELS, Manifest
from federation.models.bins import Bins
from federation.models.encoding import ColumnEncoding, Woe
from federation.models.horizontal import bin_counts, private_statistics, statistics_document, train_document
from federation.models.horizontal.bin_counts import BinCounts, CountBins
from federation.models.horizontal.noise import Noise
from federation.models.horizontal.private_binning import CountPrivateBins
from federation.models.horizontal.private_rules import require_private
from federation.models.horizontal.private_statistics import PrivatelyMeasured, PrivateStatistics
from federation.models.horizontal.private_train import PrivateTrain
from federation.models.horizontal.program import Bank
from federation.models.horizontal.size import require_room
from federation.models.horizontal.statistics import Measured, Statistics
from federation.models.horizontal.task import Agreed, Document, Task
from federation.models.horizontal.train import Train, Trained
from federation.models.sample import draw_sample
from federation.models.training import Local


def bank_of(manifest: Manifest, me: str, local: Local) -> Bank[Any]:
    """The program of one bank."""
    require_room(manifest)
    require_private(manifest)
    if local.bins and len(manifest.members) > MOST_WITH_LEVELS:
        action = "Leave [[party]] bins out: so many banks do not tell each other that their bins are the same."
        raise ConfigurationError(me, f"bins were given by hand in a run of more than {MOST_WITH_LEVELS} banks", action)
    noise = Noise.of(manifest)
    given = b"" if manifest.task == "statistics" else suite.digest("bins", msgspec.json.encode(local.bins, order="sorted"))
    return Bank(manifest, me, local, TASKS[manifest.task, noise is not None], given, noise)


def _private_statistics(manifest: Manifest, local: Local, _agreed: Agreed, noise: Noise | None) -> PrivateStatistics:
    assert noise is not None, "a run with noise"
    return PrivateStatistics(local.table, manifest, noise)


def _binning(manifest: Manifest, local: Local, agreed: Agreed, noise: Noise | None) -> CountBins:
    sample = draw_sample(local.table, manifest.sample)
    if noise is None:
        return CountBins(local.table, sample, agreed, manifest, local.bins)
    return CountPrivateBins(local.table, sample, {}, manifest, local.bins, noise)


def _train(manifest: Manifest, local: Local, agreed: Agreed, _noise: Noise | None) -> Train:
    return Train(local.table, draw_sample(local.table, manifest.sample), manifest, agreed, local.bins)


def _private_train(manifest: Manifest, local: Local, agreed: Agreed, noise: Noise | None) -> PrivateTrain:
    return PrivateTrain(local.table, draw_sample(local.table, manifest.sample), manifest, agreed, local.bins, noise=noise)


def _private_document(plan: PrivateTrain, state: Trained, me: str) -> Document:
    document = train_document.share_document(plan, state, me)
    document["own"]["shortened"] = plan.shortened(state)
    return document


def _bins(parts: Iterable[ColumnEncoding]) -> dict[str, Bins]:
    return {part.column: part.bins for part in parts if isinstance(part, Woe)}


def _model_bins(plan: Train, state: Trained) -> dict[str, Bins] | None:
    return _bins(plan.encoding(state).columns) if state.tables else None


def _figures(state: Trained) -> dict[str, float | str]:
    """The phase, and of a fit how far it is."""
    fit = state.fits.get(state.comparing) if state.comparing else state.selection.fit if state.selection else None
    out: dict[str, float | str] = {"step": state.phase}
    return out if fit is None else out | {"iteration": fit.iteration}


_BINNING = Task[CountBins, BinCounts](
    plan=_binning, lines=bin_counts.share_lines, document=lambda plan, state, _me: bin_counts.document(plan, state),
    bins=lambda _plan, state: _bins(bin_counts.woe_parts(state)),
)  # fmt: skip

TASKS: Mapping[tuple[str, bool], Task[Any, Any]] = {
    ("statistics", False): Task[Statistics, Measured](
        plan=lambda manifest, local, agreed, _noise: Statistics(local.table, manifest, agreed), lines=statistics_document.share_lines,
        document=lambda plan, state, _me: {"statistics": statistics_document.document(plan, state)},
    ),
    ("statistics", True): Task[PrivateStatistics, PrivatelyMeasured](
        plan=_private_statistics, lines=private_statistics.share_lines,
        document=lambda plan, state, _me: {"statistics": private_statistics.document(plan, state)},
    ),
    ("binning", False): _BINNING,
    ("binning", True): _BINNING,
    ("train", False): Task[Train, Trained](
        plan=_train, lines=train_document.share_lines, document=train_document.share_document, bins=_model_bins,
        scores=train_document.scores, figures=_figures,
    ),
    ("train", True): Task[PrivateTrain, Trained](
        plan=_private_train, lines=train_document.share_lines, document=_private_document, bins=_model_bins,
        scores=train_document.scores, figures=_figures,
    ),
}  # fmt: skip
"""By the manifest's task, and whether its sums carry noise."""
