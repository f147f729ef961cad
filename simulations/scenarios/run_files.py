"""The run files of a scenario, with no more bins and columns than the released counts allow.

Across parties a partner may ask for as many counts as a tenth of the bads in training (`federation.models.binned.Cap`). A scenario is written
for its own number of firms; with fewer (`--firms`) there are fewer bads, and its scorecards then have fewer bins, then fewer columns of each
partner, the first of its list last to go. Where not even one column fits, the file asks for what it needs and the run is refused: the file
is written all the same, since a cap is never lifted on the quiet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from federation.kernel.manifest import CHECKS, BinningSettings, PrivacySettings, TargetSettings
from federation.models.binned import Cap
from server.run_tables import PrivacyTable
from simulations.economy.settings import Economy
from simulations.scenarios.lending import ASKED, BOOK, write_applicants, write_book
from simulations.scenarios.outcomes import known_before, labels, training_bads
from simulations.scenarios.runs import Plan, Run, parties_of, role_of
from simulations.scenarios.tables import TABLE
from simulations.world import written

FEWEST_BINS = 2


@dataclass(frozen=True)
class RunWritten:
    """path: of the run file; says: what for; note: what was made smaller, "" for nothing."""

    path: Path
    says: str
    note: str = ""


def write_run(out: Path, run: Run, plan: Plan, economy: Economy) -> RunWritten:
    """Write a run file and the tables that are its own. Raises OSError."""
    parties, settings = parties_of(run, economy), plan.settings_of(run)
    path, note = out / f"{run.file}.toml", ""
    settings.setdefault("run", {}).setdefault("seed", economy.seed)
    if run.task in CHECKS:
        sections = [_check_section(out, name, settings, economy) for name in parties]
    else:
        settings.setdefault("sample", {}).setdefault("as_of", "as_of")
        target = msgspec.convert(settings.get("target", {}), TargetSettings)
        columns = {name: plan.columns_of(run, name) for name in parties}
        banks = [name for name in parties if role_of(name) == "bank"]
        made = {name: _outcomes(out, name, run, target) for name in banks}
        if run.outcomes == "label":
            without = [name for name in banks if made[name]["label"].nunique() < 2]
            parties = [name for name in parties if name not in without]
            note = f"{len(without)} of {len(banks)} banks have outcomes of one kind alone and take no part." if without else ""
        if len(banks) == 1 and settings["run"].get("model") == "scorecard":
            columns, note = _affordable(out, columns, banks[0], settings, training_bads(pd.concat(made.values()), settings, target))
        if run.outcomes == "repayments":
            settings.setdefault("target", {})
        else:
            settings.pop("target", None)
        sections = [_section(name, run, columns[name]) for name in parties]
    head = f"# {run.says}\n" + (f"# {note}\n" if note else "")
    path.write_text(head + written({**settings, "party": sections}))
    return RunWritten(path, run.says, note)


def _section(name: str, run: Run, columns: Sequence[str]) -> dict[str, Any]:
    section: dict[str, Any] = {"name": name, "role": role_of(name), "source": f"{name}/{TABLE}"}
    if section["role"] == "bank" and run.outcomes == "label":
        section |= {"source": f"{name}/{run.file}.parquet", "label": "label"}
    elif section["role"] == "bank":
        known = "" if run.known is None else f"-{run.known}"
        section |= {"repayments": f"{name}/repayments{known}.parquet", "loans": f"{name}/loans.parquet"}
    return section | ({"include": list(columns)} if columns else {})


def _outcomes(out: Path, name: str, run: Run, target: TargetSettings) -> pd.DataFrame:
    """A bank's rows with an outcome; writes the tables that only this run has."""
    folder = out / name
    repayments = known_before(pd.read_parquet(folder / "repayments.parquet"), run.known)
    if run.known is not None:
        repayments.to_parquet(folder / f"repayments-{run.known}.parquet", index=False)
    rows = pd.read_parquet(folder / TABLE, columns=["id", "as_of"])
    made = labels(repayments, pd.read_parquet(folder / "loans.parquet", columns=["loan", "opened"]), rows, target)
    if run.outcomes == "label":
        pd.read_parquet(folder / TABLE).merge(made, on=["id", "as_of"]).to_parquet(folder / f"{run.file}.parquet", index=False)
    return made


def _check_section(out: Path, name: str, settings: Mapping[str, Mapping[str, Any]], economy: Economy) -> dict[str, Any]:
    section: dict[str, Any] = {"name": name, "role": role_of(name)}
    if settings["check"]["asks"] == name:
        write_applicants(out / name)
        return section | {"source": f"{name}/{ASKED}"}
    write_book(out / name, np.datetime64(economy.start, "M") + economy.months)
    return section | {"source": f"{name}/{BOOK}", "include": ["outstanding"]}


def _affordable(
    out: Path, columns: Mapping[str, tuple[str, ...]], bank: str, settings: dict[str, dict[str, Any]], bads: int
) -> tuple[dict[str, tuple[str, ...]], str]:
    """Columns by party and, in `settings`, bins that the cap on released counts allows; what was made smaller, in words."""
    privacy = msgspec.convert(settings.get("privacy", {}), PrivacyTable)
    allowed = PrivacySettings(label_disclosure=privacy.label_disclosure, max_released_counts=privacy.max_released_counts)
    cap = Cap.of(10 * bads, bads, allowed).counts
    most = int(settings.get("binning", {}).get("max_bins", BinningSettings().max_bins))
    missing = {name: _with_missing(out / name / TABLE) for name in columns if name != bank}
    bins = most
    while bins > FEWEST_BINS and any(_counts(columns[name], bins, missing[name]) > cap for name in missing):
        bins -= 1
    kept, fewer = dict(columns), 0
    for name, gaps in missing.items():
        while len(kept[name]) > 1 and _counts(kept[name], bins, gaps) > cap:
            kept[name], fewer = kept[name][:-1], fewer + 1
    if bins == most and not fewer:
        return kept, ""
    settings.setdefault("binning", {})["max_bins"] = bins
    left = f" and {fewer} columns fewer" if fewer else ""
    return kept, f"About {bads} bads in training allow {cap} released counts for each partner: {bins} bins{left}."


def _counts(columns: Sequence[str], bins: int, missing: frozenset[str]) -> int:
    return len(columns) * bins + sum(name in missing for name in columns)


def _with_missing(path: Path) -> frozenset[str]:
    table = pq.read_table(path)
    return frozenset(name for name in table.column_names if pd.Series(table[name].to_pandas()).isna().any())
