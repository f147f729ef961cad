"""RUN.toml: what to compute, with whom, and what may be disclosed. Every key is known or an error; nothing is silently ignored.

    [run]         task model purpose seed holdout patience requested_by study valid_days
    [model]       C standardize missing tolerance max_iterations signs intercept personal_C
    [sample]      as_of out_of_time_from weight split_seed
    [target]      days_past_due performance_months rule indeterminate_from restructured written_off fraud level good_standing months_on_book
                  observe_from observe_to observe_every
    [binning]     max_bins min_share min_bads monotone special woe_smoothing
    [select]      iv_min corr_max vif_max p_max drop_sources source_auc_min
    [scorecard]   base_points base_odds pdo
    [align]       visibility from
    [check]       asks bands pad max_asked max_listed max_repeats flag_lenders flag_firms pairs fewest flag_common
    [privacy]     single_partner_disclosure two_member_disclosure label_disclosure max_score_reveals minimum_cohort max_released_counts
                  partner_disclosure threshold drop_outs withdrawal epsilon delta label_noise
    [[party]]     name role source id owner owner_columns label repayments loans include exclude levels classes types bins id_kind approval
                  approvals_needed owners consents consents_at disclosure through sources costs taken
    [[agency]]    name approval approvals_needed owners

Paths are relative to the file. Keys of features that this version does not have yet are refused by name.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest import (
    CHECKS,
    COMPARES,
    BinningSettings,
    CheckSettings,
    ScorecardSettings,
    SelectSettings,
    TargetSettings,
)
from federation.kernel.role import COORDINATOR
from privacy.dictionary.entries import dictionary
from privacy.store import strict_toml
from privacy.store.strict_toml import refuse_later, require_known
from server import check_file
from server.linked_subjects import require_owners
from server.run_rules import binned_run, check_models, refuse_unused
from server.run_tables import (
    Agency,
    AlignSettings,
    AlignTable,
    ModelTable,
    Party,
    PrivacyTable,
    RunSettings,
    SampleTable,
    SelectTable,
)
from server.run_target import read_target

LATER_TASKS = ("score", "acquire", "monitor", "portfolio")
LATER_MODELS = ("boosting", "network", "expert")
LATER_SAMPLE = ("segment",)
LATER_BINNING = ("method",)
TABLES = ("run", "model", "sample", "target", "binning", "select", "scorecard", "align", "privacy", "party", "agency", "check")
_PARTY_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_OF_THE_SIMULATION = ("owners", "consents", "consents_at", "approval", "costs")
"""What a simulation does with of a [[party]] before there is a node, or beside it."""
OF_THE_NODE = (
    "source", "id", "owner", "owner_columns", "loans", "include", "exclude", "levels", "classes", "types", "bins", "id_kind", "approval",
    "approvals_needed", "owners", "consents", "consents_at", "disclosure", "sources", "taken",
)  # fmt: skip
"""Keys of a [[party]] that speak of its records and of its people: in a deployment only its own node.toml does."""


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """A run file, checked. path: absolute; digest: SHA-256 of its bytes, hexadecimal."""

    path: Path
    digest: str
    run: RunSettings
    model: ModelTable
    sample: SampleTable
    select: SelectSettings
    binning: BinningSettings
    scorecard: ScorecardSettings
    align: AlignSettings
    privacy: PrivacyTable
    parties: tuple[Party, ...]
    agencies: tuple[Agency, ...] = ()
    target: TargetSettings | None = None
    source_auc_min: float | None = None
    check: CheckSettings = CheckSettings()

    def party(self, name: str) -> Party:
        """One party's section."""
        return next(party for party in self.parties if party.name == name)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of all who have a node: the parties, then the agencies."""
        return (*(party.name for party in self.parties), *(agency.name for agency in self.agencies))

    def owners(self, name: str) -> tuple[str, ...]:
        """Who approves at a node."""
        return next((agency.owners for agency in self.agencies if agency.name == name), None) or self.party(name).owners

    def node_section(self, name: str) -> dict[str, Any]:
        """What one institution's node.toml says: its own section and the names of its date and weight columns; nothing of the others."""
        party = self.party(name)
        section = {key: value for key, value in msgspec.to_builtins(party).items() if value is not None and key not in _OF_THE_SIMULATION}
        if self.sample.as_of is not None:
            section["as_of"] = self.sample.as_of
        for key in ("through", "sources"):
            if not section[key]:
                del section[key]
        if self.run.task in CHECKS:
            section["serves"] = "pairs" if self.run.task == COMPARES else "asking" if name == self.check.asks else "counting"
        if self.sample.weight is not None and party.has_outcomes:
            section["weight"] = self.sample.weight
        if self.align.folder is not None:
            section["former"] = str(self.align.folder / "parties" / name)
        return section


def load(path: Path, *, weighing: bool = False) -> RunFile:
    """The run file of a simulation, checked. weighing: for `creditfed sources`. Raises ConfigurationError: file, table, key, and what to do."""
    found = _checked(path, strict_toml.read(path))
    if found.source_auc_min is not None and not weighing:
        where, what = f"{path.name}: [select] source_auc_min", "one run alone cannot tell what a source adds"
        raise ConfigurationError(where, what, "Use `creditfed sources`, or leave it out.")
    return found


def load_deployed(path: Path) -> tuple[RunFile, tuple[str, ...]]:
    """The run file of a deployment, checked, and which of its keys do not count: what an institution's own node.toml says instead.

    So a file that was tried in a simulation can be submitted as it is. Raises ConfigurationError.
    """
    raw = strict_toml.read(path)
    if isinstance(raw.get("select"), Mapping) and "source_auc_min" in raw["select"]:
        what = "one run alone cannot tell what a source adds"
        raise ConfigurationError(f"{path.name}: [select] source_auc_min", what, "Leave it out.")
    if isinstance(raw.get("align"), Mapping) and "from" in raw["align"]:
        where = f"{path.name}: [align] from"
        raise ConfigurationError(where, "positions of a former run are not available yet in a deployment", "Leave it out.")
    parties = raw.get("party")
    entries = [entry for entry in parties if isinstance(entry, Mapping)] if isinstance(parties, list) else []
    idle = sorted({key for entry in entries for key in entry if key in OF_THE_NODE})
    if entries and isinstance(parties, list) and len(entries) == len(parties):
        raw = {**raw, "party": [_without_the_nodes(entry) for entry in entries]}
    return _checked(path, raw, deployed=True), tuple(idle)


def _without_the_nodes(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A [[party]] without what its node knows better. `label` or `repayments` says whether it has outcomes, and of which kind; in which
    column or file is the node's own affair.
    """
    kept = {key: value for key, value in entry.items() if key not in OF_THE_NODE}
    for key in ("label", "repayments"):
        if kept.get(key) is True:
            kept[key] = key
        elif kept.get(key) is False:
            del kept[key]
    return {**kept, "source": "-"}


def _checked(path: Path, raw: Mapping[str, Any], *, deployed: bool = False) -> RunFile:
    file = path.name
    require_known(file, raw, TABLES, "table")
    if not isinstance(raw.get("run"), Mapping):
        raise ConfigurationError(file, "it has no [run] table", 'Add [run] with task = "train" and model = "logistic" or "scorecard".')
    _refuse_later(file, raw)
    run = strict_toml.table(f"{file}: [run]", raw["run"], RunSettings)
    sample = strict_toml.table(f"{file}: [sample]", raw.get("sample", {}), SampleTable, LATER_SAMPLE)
    _check_sample(file, sample)
    privacy = strict_toml.table(f"{file}: [privacy]", raw.get("privacy", {}), PrivacyTable)
    model = _model(file, raw.get("model", {}), run)
    binning = strict_toml.table(f"{file}: [binning]", raw.get("binning", {}), BinningSettings, LATER_BINNING)
    scorecard = strict_toml.table(f"{file}: [scorecard]", raw.get("scorecard", {}), ScorecardSettings)
    align = _align(path, raw.get("align", {}))
    asked = strict_toml.table(f"{file}: [select]", raw.get("select", {}), SelectTable)
    select = SelectSettings(**{key: getattr(asked, key) for key in SelectSettings.__struct_fields__})
    parties = _parties(path, raw.get("party", []), binned=binned_run(run), deployed=deployed)
    agencies = _agencies(file, raw.get("agency", []), parties)
    require_owners(file, parties)
    refuse_unused(file, raw, run, over_banks=all(party.has_outcomes for party in parties))
    check = check_file.read(file, raw, run, parties)
    if run.task not in CHECKS:
        check_models(file, run, model, sample, select, align, privacy, parties)
    target = read_target(file, raw.get("target"), sample, parties)
    return RunFile(
        path=path.resolve(), digest=hashlib.sha256(path.read_bytes()).hexdigest(), run=run, model=model, sample=sample, select=select,
        binning=binning, scorecard=scorecard, align=align, privacy=privacy, parties=parties,
        agencies=agencies, target=target, source_auc_min=asked.source_auc_min, check=check,
    )  # fmt: skip


def _refuse_later(file: str, raw: Mapping[str, Any]) -> None:
    """Tasks, models and selection that the design names and this version does not have."""
    run = raw["run"]
    for key, later in (("task", LATER_TASKS), ("model", LATER_MODELS)):
        if isinstance(run.get(key), str):
            refuse_later(f"{file}: [run]", [run[key]], later, key)


def _model(file: str, raw: Any, run: RunSettings) -> ModelTable:
    """[model] with the defaults that depend on the model."""
    where, binned = f"{file}: [model]", binned_run(run)
    defaults = {"C": math.inf, "missing": "bin"} if binned else {"C": 1.0, "missing": "mean"}
    model = strict_toml.table(where, raw, ModelTable, unbounded=("C",), defaults=defaults)
    if binned != (model.missing == "bin"):
        what = "missing values have a bin of their own" if binned else "a logistic model on plain columns has no bins"
        action = 'Use "bin" or leave it out.' if binned else 'Use "mean", "zero", "indicator" or "error", or [run] model = "scorecard".'
        raise ConfigurationError(f"{where} missing", f"{model.missing!r} does not go with this run: {what}", action)
    if model.signs == "woe" and not binned:
        what = "'woe' bounds coefficients of WOE columns, and this run has none"
        raise ConfigurationError(f"{where} signs", what, 'Use [run] model = "scorecard".')
    return model


def _check_sample(file: str, sample: SampleTable) -> None:
    day, where = sample.out_of_time_from, f"{file}: [sample] out_of_time_from"
    if day is None:
        return
    try:
        real = dt.date.fromisoformat(day).isoformat() == day
    except ValueError:
        real = False
    if not real:
        raise ConfigurationError(where, "is not a day", "Write it as 2024-01-31.")
    if sample.as_of is None:
        raise ConfigurationError(where, "needs the date of each row", "Name the label party's date column: [sample] as_of.")


def _align(path: Path, raw: Any) -> AlignSettings:
    """[align]; `from` must be a folder that a run finished in."""
    align = strict_toml.table(f"{path.name}: [align]", raw, AlignTable)
    if align.folder is None:
        return AlignSettings(align.visibility)
    folder = (path.parent / align.folder).resolve()
    try:
        former = str(json.loads((folder / "result.json").read_bytes())["manifest_hash"])
    except (OSError, ValueError, KeyError, TypeError):
        what, action = f"{folder} is not the folder of a finished run", "Name the --out folder of a former run."
        raise ConfigurationError(f"{path.name}: [align] from", what, action) from None
    return AlignSettings(align.visibility, folder, former)


def _parties(path: Path, raw: Any, *, binned: bool, deployed: bool) -> tuple[Party, ...]:
    if not isinstance(raw, list):
        where = f"{path.name}: [party]"
        raise ConfigurationError(where, "is not a list of parties", "Write [[party]], with two brackets, once for each party.")
    return tuple(_party(path, number, entry, binned=binned, deployed=deployed) for number, entry in enumerate(raw, 1))


def _party(path: Path, number: int, raw: Any, *, binned: bool, deployed: bool) -> Party:
    named = isinstance(raw, Mapping) and isinstance(raw.get("name"), str)
    where = f"{path.name}: [[party]] {raw['name'] if named else f'number {number}'}"
    for column, kind in _mapping(raw, "types").items():
        if isinstance(kind, str):
            require_known(f"{where} types of column {column!r}", [kind], ("numeric", "categorical"), "type")
    party = strict_toml.table(where, raw, Party)
    require_known(f"{where} role", [party.role], dictionary().roles, "role")
    if not _PARTY_NAME.fullmatch(party.name) or party.name == COORDINATOR:
        form = "is not made of a-z, 0-9 and -, starting with a letter, up to 32 characters"
        what = "is reserved" if party.name == COORDINATOR else form
        raise ConfigurationError(f"{where} name", what, "Choose another name, such as bank-a.")
    both = sorted(set(party.include) & set(party.exclude))
    if both:
        raise ConfigurationError(where, f"column {both[0]!r} is both in include and in exclude", "Take it out of one of them.")
    if party.bins is not None and not binned:
        raise ConfigurationError(f"{where} bins", "a logistic model on plain columns has no bins", "Leave it out.")
    if deployed:
        return party
    return msgspec.structs.replace(
        party, source=_existing(where, "source", path.parent, party.source, folder=True),
        bins=None if party.bins is None else _existing(where, "bins", path.parent, party.bins),
        repayments=None if party.repayments is None else _existing(where, "repayments", path.parent, party.repayments, folder=True),
        loans=None if party.loans is None else _existing(where, "loans", path.parent, party.loans, folder=True),
        consents=None if party.consents is None else _existing(where, "consents", path.parent, party.consents),
    )  # fmt: skip


def _agencies(file: str, raw: Any, parties: tuple[Party, ...]) -> tuple[Agency, ...]:
    """Each is named by a party without a label, and each name that a party gives is one of theirs."""
    if not isinstance(raw, list):
        where = f"{file}: [agency]"
        raise ConfigurationError(where, "is not a list of agencies", "Write [[agency]], with two brackets, once for each agency.")
    agencies = tuple(strict_toml.table(f"{file}: [[agency]] number {number}", entry, Agency) for number, entry in enumerate(raw, 1))
    names = [agency.name for agency in agencies]
    for name in names:
        if not _PARTY_NAME.fullmatch(name) or names.count(name) > 1 or name in (COORDINATOR, *(party.name for party in parties)):
            what = "is no name of its own of a-z, 0-9 and -, starting with a letter, up to 32 characters"
            raise ConfigurationError(f"{file}: [[agency]] name", what, "Choose another name, such as agency-a.")
        if all(party.through != name for party in parties):
            raise ConfigurationError(f"{file}: [[agency]] {name}", "no party goes through it", f'Write through = "{name}" in a [[party]].')
    for party in parties:
        where = f"{file}: [[party]] {party.name} through"
        if party.through and party.has_outcomes:
            raise ConfigurationError(
                where, "a party with a label goes through an agency", "Leave it out: an agency stands before platforms."
            )
        if party.through:
            require_known(where, [party.through], names, "agency")
        if party.consents_at == "agency" and not (party.through and party.consents):
            what = "consents are held at an agency, and `through` or `consents` is left out"
            raise ConfigurationError(f"{file}: [[party]] {party.name} consents_at", what, "Name the agency, and the file of consents.")
    return agencies


def _mapping(raw: Any, key: str) -> Mapping[str, Any]:
    inner = raw.get(key) if isinstance(raw, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def _existing(where: str, key: str, root: Path, name: str, *, folder: bool = False) -> str:
    """The whole path of a file that is there. folder: one of parts will do."""
    if "://" in name:
        what, action = "is a URL, and a run file names files", "Databases are sources of nodes (docs/guides/sources.md); give a file here."
        raise ConfigurationError(f"{where} {key}", what, action)
    path = (root / name).resolve()
    parts = folder and any(path.rglob("*.parquet"))
    if not (path.is_file() or parts):
        what = "is a folder" + (" without a *.parquet file" if folder else "") if path.is_dir() else "does not exist"
        raise ConfigurationError(f"{where} {key}", f"{path} {what}", "Give a file; paths are relative to the run file.")
    return str(path)
