"""A bank's program by the manifest: the tasks that there are over many banks, each with its plan and what is made of its end."""

from __future__ import annotations

from collections.abc import Iterable
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
    given = b"" if manifest.task == "statistics" else suite.digest("bins", msgspec.json.encode(local.bins, order="sorted"))
    return Bank(manifest, me, local, task_of(manifest), given, Noise.of(manifest))


def _private_statistics(manifest: Manifest, local: Local, _agreed: Agreed) -> PrivateStatistics:
    noise = Noise.of(manifest)
    assert noise is not None, "a run with noise"
    return PrivateStatistics(local.table, manifest, noise)


def _binning(manifest: Manifest, local: Local, agreed: Agreed) -> CountBins:
    sample, noise = draw_sample(local.table, manifest.sample), Noise.of(manifest)
    if noise is None:
        return CountBins(local.table, sample, agreed, manifest, local.bins)
    return CountPrivateBins(local.table, sample, {}, manifest, local.bins, noise)


def _train(manifest: Manifest, local: Local, agreed: Agreed) -> Train:
    sample, noise = draw_sample(local.table, manifest.sample), Noise.of(manifest)
    if noise is None:
        return Train(local.table, sample, manifest, agreed, local.bins)
    return PrivateTrain(local.table, sample, manifest, agreed, local.bins, noise=noise)


def _model(plan: Train, state: Trained, me: str) -> Document:
    document = train_document.share_document(plan, state, me)
    if isinstance(plan, PrivateTrain):
        document["own"]["shortened"] = plan.shortened(state)
    return document


def _bins(parts: Iterable[ColumnEncoding]) -> dict[str, Bins]:
    return {part.column: part.bins for part in parts if isinstance(part, Woe)}


def _figures(state: Trained) -> dict[str, float | str]:
    """The phase, and of a fit how far it is."""
    fit = state.fits.get(state.comparing) if state.comparing else state.selection.fit if state.selection else None
    out: dict[str, float | str] = {"step": state.phase}
    return out if fit is None else out | {"iteration": fit.iteration}


_STATISTICS = Task[Statistics, Measured](
    plan=lambda manifest, local, agreed: Statistics(local.table, manifest, agreed), lines=statistics_document.share_lines,
    document=lambda plan, state, _me: {"statistics": statistics_document.document(plan, state)},
)  # fmt: skip
_PRIVATE_STATISTICS = Task[PrivateStatistics, PrivatelyMeasured](
    plan=_private_statistics, lines=private_statistics.share_lines,
    document=lambda plan, state, _me: {"statistics": private_statistics.document(plan, state)},
)  # fmt: skip
_BINNING = Task[CountBins, BinCounts](
    plan=_binning, lines=bin_counts.share_lines, document=lambda plan, state, _me: bin_counts.document(plan, state),
    bins=lambda _plan, state: _bins(bin_counts.woe_parts(state)),
)  # fmt: skip
_TRAIN = Task[Train, Trained](
    plan=_train, lines=train_document.share_lines, document=_model, scores=train_document.scores, figures=_figures,
    bins=lambda plan, state: _bins(plan.encoding(state).columns) if state.tables else None,
)  # fmt: skip


def task_of(manifest: Manifest) -> Task[Any, Any]:
    """What a manifest of banks asks for. Binning and training have the same plan with noise, but for what it adds."""
    if manifest.task == "statistics":
        return _STATISTICS if manifest.privacy.epsilon is None else _PRIVATE_STATISTICS
    return _BINNING if manifest.task == "binning" else _TRAIN
