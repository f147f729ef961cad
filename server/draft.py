"""From a run file and what the nodes say of themselves to the manifest that every institution is asked to sign."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

import msgspec
import numpy as np

from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest import (
    AGENCY,
    AgencyDeclaration,
    AlignSettings,
    BankSettings,
    Description,
    Manifest,
    ModelSettings,
    PrivacySettings,
    SampleSettings,
    TargetSettings,
)
from federation.kernel.manifest_rules import check_manifest
from federation.models.horizontal.private_rules import require_private
from federation.models.horizontal.size import require_room
from federation.models.target.observation import observed
from privacy.approval.learning import contracts_of
from server.run_file import RunFile


def code_version() -> str:
    """The installed version of creditfed, "source" when run from a checkout that is not installed."""
    try:
        return version("creditfed")
    except PackageNotFoundError:
        return "source"


def _periods(target: TargetSettings | None, months: Iterable[str]) -> tuple[str, ...]:
    """The months of the label parties' rows; with a target those alone at which it observes."""
    found = np.array(sorted(set(months)), "datetime64[M]")
    return tuple(found.astype(str).tolist() if target is None else found[observed(target, found)].astype(str).tolist())


def _without(descriptions: list[Description], run_file: RunFile) -> list[Description]:
    """Without the columns of sources that [select] drops; a partner of which nothing is left takes no part.

    Raises ConfigurationError for a source that nobody has.
    """
    dropped = run_file.select.drop_sources
    sources = {said.party.source_of(column) for said in descriptions for column in said.party.columns}
    for name in dropped:
        if name not in sources:
            where, what = "[select] drop_sources", f"no party has a source {name!r}"
            whole = f" To do without all of {name}, take its [[party]] out." if name in run_file.nodes else ""
            raise ConfigurationError(where, what, f"Sources are {', '.join(sorted(sources))}; a party's own is called as the party.{whole}")
    left = [msgspec.structs.replace(said, party=said.party.without(dropped)) for said in descriptions]
    return [said for said in left if said.party.columns or said.party.label or not dropped]


def draft_manifest(run_file: RunFile, run: str, descriptions: tuple[Description, ...], coordinator: str, now: dt.datetime) -> Manifest:
    """The manifest, checked; it expires `valid_days` from now. Raises ConfigurationError where nodes and run file do not fit together."""
    by_name = {description.party.name: description for description in descriptions}
    wanted = run_file.nodes
    if sorted(by_name) != sorted(wanted) or len(descriptions) != len(wanted):
        raise ConfigurationError(
            "run file", f"it names {list(wanted)}, the connected nodes are {sorted(by_name)}", "Connect just those nodes."
        )
    ordered = _without([by_name[party.name] for party in run_file.parties], run_file)
    between = [by_name[agency.name].party for agency in run_file.agencies]
    if any(party.role != AGENCY for party in between):
        raise ConfigurationError("run file", "an [[agency]] names a node that is none", 'Its node.toml must say role = "agency".')
    through = {said.party.through for said in ordered} | ({party.name for party in between} if not run_file.select.drop_sources else set())
    label = next((description for description in ordered if description.party.label), ordered[0])  # a check has none
    several = any(description.rows_per_firm for description in ordered if description.party.label)
    kinds = {description.id_kind for description in ordered}
    if len(kinds) > 1:
        raise ConfigurationError(
            "run file", "some parties' ids are Unified Social Credit Codes and others' are not", "All parties must use one kind of id."
        )
    manifest = Manifest(
        run=run, task=run_file.run.task, model=run_file.run.model, purpose=run_file.run.purpose, seed=run_file.run.seed,
        coordinator=coordinator, parties=tuple(description.party for description in ordered),
        contracts=(),
        agencies=tuple(AgencyDeclaration(name=party.name, identity=party.identity) for party in between if party.name in through),
        sample=SampleSettings(
            holdout=run_file.run.holdout,
            split_seed=run_file.run.seed if run_file.sample.split_seed is None else run_file.sample.split_seed,
            as_of=run_file.sample.as_of is not None, out_of_time_from=run_file.sample.out_of_time_from,
            weighted=run_file.sample.weight is not None, key="firm and month" if several else "firm",
            periods=_periods(run_file.target, (period for d in ordered if d.party.label for period in d.periods)) if several else (),
            target=run_file.target,
        ),
        align=AlignSettings(visibility=run_file.align.visibility, kind=label.id_kind, former=run_file.align.former),
        settings=ModelSettings(
            C=None if math.isinf(run_file.model.C) else run_file.model.C, standardize=run_file.model.standardize,
            missing=run_file.model.missing, tolerance=run_file.model.tolerance, max_iterations=run_file.model.max_iterations,
            signs=run_file.model.signs,
        ),
        select=run_file.select,
        banks=BankSettings(
            threshold=run_file.privacy.threshold, drop_outs=run_file.privacy.drop_outs, intercept=run_file.model.intercept,
            personal_C=run_file.model.personal_C,
        ),
        binning=run_file.binning, scorecard=run_file.scorecard, check=run_file.check,
        privacy=PrivacySettings(
            **{f: getattr(run_file.privacy, f) for f in PrivacySettings.__struct_fields__ if hasattr(run_file.privacy, f)}
        ),
        code_version=code_version(), requested_by=run_file.run.requested_by, study=run_file.run.study,
        expires=(now + dt.timedelta(days=run_file.run.valid_days)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )  # fmt: skip
    if several and run_file.target is not None and not manifest.sample.periods:
        what = "no month of the label party's rows is one of its observation months"
        raise ConfigurationError("run file: [target]", what, "Correct observe_from, observe_to or observe_every.")
    manifest = msgspec.structs.replace(manifest, contracts=contracts_of(manifest))
    check_manifest(manifest)
    if manifest.horizontal:
        require_room(manifest)
        require_private(manifest)
    return manifest
