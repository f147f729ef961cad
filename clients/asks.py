"""From a manifest to the questions that an institution's policies are asked: the run, each of its own columns, and what would leave."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from federation.kernel.manifest import Manifest
from privacy.levels import Level, PersonRole
from privacy.policy.ask import Approval, ColumnAsk, Purpose, ReleaseAsk, RunAsk

Roles = frozenset[PersonRole]


def run_ask(manifest: Manifest, me: str, partners: Iterable[str], approved_by: Roles, approval: Approval) -> RunAsk:
    """May the run be done here? partners: institutions that have been in a finished run with this one."""
    others = frozenset(manifest.signers) - {me}
    return RunAsk(
        model=manifest.model, task=manifest.task, purpose=_purpose(manifest), requester=_requester(manifest),
        highest_level=highest(manifest, me),
        counterparts=others, new_counterpart=not others <= set(partners), approved_by=approved_by, approval=approval,
    )  # fmt: skip


def column_asks(manifest: Manifest, me: str, approved_by: Roles) -> tuple[ColumnAsk, ...]:
    """May each of this institution's columns be used: a question for each, none at an agency."""
    mine = manifest.declared(me)
    return tuple(
        ColumnAsk(
            column=column.name, level=cast("Level", column.level), classification=column.classification,
            institution=mine.role, purpose=_purpose(manifest), requester=_requester(manifest), approved_by=approved_by,
            task=manifest.task,
        )
        for column in manifest.columns_of(me)
    )  # fmt: skip


def release_asks(manifest: Manifest, me: str, rows: int, approved_by: Roles) -> tuple[ReleaseAsk, ...]:
    """May what the run would release leave? rows: that the vault would open here."""
    privacy, columns = manifest.privacy, len(manifest.party(me).columns)
    across = not manifest.horizontal
    noised = privacy.epsilon is not None or privacy.label_noise is not None
    kinds: list[tuple[str, dict[str, int | bool]]] = []
    if manifest.task == "statistics":
        kinds.append(("statistics", {}))
    if manifest.task == "binning" or (manifest.task == "train" and manifest.model == "scorecard"):
        kinds.append(("bin counts", {"shows_labels": across and privacy.label_disclosure}))
    if manifest.task == "train":
        kinds.append(("model", {"parameters": columns if across else 0}))  # over banks the rows are those of all banks, which none knows
    if manifest.task == "train" and across and me != manifest.label_party:
        partners = sum(len(manifest.party(name).columns) for name in manifest.feature_parties)
        kinds.append(("scores", {"score_reveals": privacy.max_score_reveals, "partner_columns": partners}))
    return tuple(
        ReleaseAsk(
            kind=kind, task=manifest.task, purpose=_purpose(manifest), requester=_requester(manifest), rows=rows,  # type: ignore[arg-type]
            fewest_rows=privacy.minimum_cohort, highest_level=highest(manifest, me), recipient="institutions",
            minimum_cohort=privacy.minimum_cohort, noised=noised, approved_by=approved_by, **more,  # type: ignore[arg-type]
        )
        for kind, more in kinds
    )  # fmt: skip


def highest(manifest: Manifest, me: str) -> Level:
    """The highest level of this institution's columns in the run; 1 where it brings none."""
    return cast("Level", max((column.level for column in manifest.columns_of(me)), default=1))


def _purpose(manifest: Manifest) -> Purpose:
    return cast("Purpose", manifest.purpose)


def _requester(manifest: Manifest) -> PersonRole:
    return cast("PersonRole", manifest.requested_by)
