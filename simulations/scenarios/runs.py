"""What a scenario leaves beside its records: the tables [features], [columns] and [settings], and its runs, a [[run]] each.

[features]
as_of = ["2023-07..2024-01", "2025-01"]      # months, and ranges of them, that feature tables have
[columns]
tax = ["margin_12m", "sales_void_share_12m"] # what a run takes of each role, the most useful first
[settings.sample]                            # tables of every run file (docs/run-file.md)
out_of_time_from = "2025-01-01"
[[run]]
file = "bank_tax"                            # becomes bank_tax.toml
says = "The bank and its tax bureau"
parties = ["bank-1", "tax-*"]                # every bank brings its repayments, or each of one run over many banks does
[run.settings.privacy]
single_partner_disclosure = true
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta

from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest import CHECKS, BinningSettings, CheckSettings, ScorecardSettings, TargetSettings
from privacy.dictionary.entries import features, record_sources
from privacy.store.strict_toml import nearest, require_known, table
from server.run_tables import AlignTable, ModelTable, PrivacyTable, RunSettings, SampleTable, SelectTable
from simulations.economy.settings import Economy

Month = Annotated[str, Meta(pattern=r"^(19|20)\d\d-(0[1-9]|1[0-2])$")]
Months = Annotated[str, Meta(pattern=r"^(19|20)\d\d-(0[1-9]|1[0-2])(\.\.(19|20)\d\d-(0[1-9]|1[0-2]))?$")]
Settings = Mapping[str, Mapping[str, Any]]
TABLES: Final[dict[str, type[msgspec.Struct]]] = {
    "run": RunSettings, "model": ModelTable, "sample": SampleTable, "target": TargetSettings, "binning": BinningSettings,
    "select": SelectTable, "scorecard": ScorecardSettings, "align": AlignTable, "privacy": PrivacyTable, "check": CheckSettings,
}  # fmt: skip
_FILE: Final = re.compile(r"[a-z][a-z0-9_-]{0,40}")


class FeatureTables(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[features]. as_of: months or ranges; circular: tax bureaus add the features of circular trade; records: kinds of record that are read,
    all where empty (a thousand banks need not read every booking).
    """

    as_of: tuple[Months, ...] = ()
    circular: bool = False
    records: tuple[str, ...] = ()

    def months(self) -> list[np.datetime64]:
        """Every as-of month once, in order."""
        found: set[np.datetime64] = set()
        for text in self.as_of:
            first, _, last = text.partition("..")
            found |= set(np.arange(np.datetime64(first, "M"), np.datetime64(last or first, "M") + 1))
        return sorted(found)


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[[run]]. parties: names or patterns; columns: of a role or of one party, in place of the scenario's; known: outcomes as they were known
    before this month; outcomes: "repayments" by [target], or "label", a column that the scenario makes by the same rule, and banks
    with goods alone are left out (for banks that small); settings: tables of the run file.
    """

    file: str
    says: str
    parties: tuple[str, ...]
    columns: dict[str, tuple[str, ...]] = {}
    known: Month | None = None
    outcomes: Literal["repayments", "label"] = "repayments"
    settings: dict[str, dict[str, Any]] = {}

    @property
    def task(self) -> str:
        """What it computes."""
        return str(self.settings.get("run", {}).get("task", "train"))


@dataclass(frozen=True)
class Plan:
    """All that a scenario says of features and runs. columns: by role or party; settings: of every run."""

    features: FeatureTables
    columns: Mapping[str, tuple[str, ...]]
    settings: Settings
    runs: tuple[Run, ...]

    def require_parties(self, economy: Economy) -> None:
        """Raises ConfigurationError where options leave a run without some party."""
        for run in self.runs:
            for pattern in run.parties:
                if not any(fnmatchcase(name, pattern) for name in everybody(economy)):
                    what = f"{run.file} needs {pattern}, which this economy does not have"
                    raise ConfigurationError("options", what, "Ask for more institutions, or add --raw-only.")

    def settings_of(self, run: Run) -> dict[str, dict[str, Any]]:
        """A run's tables: its own keys before the scenario's."""
        own = run.settings
        shared = {} if run.task in CHECKS else self.settings
        return {name: {**shared.get(name, {}), **own.get(name, {})} for name in TABLES if name in shared or name in own}

    def columns_of(self, run: Run, party: str) -> tuple[str, ...]:
        """What a run takes of a party."""
        for columns in (run.columns, self.columns):
            for key in (party, role_of(party)):
                if key in columns:
                    return columns[key]
        return ()


def role_of(party: str) -> str:
    """bank-1 is a bank; a source is called by its role."""
    return party.rpartition("-")[0] or party


def parties_of(run: Run, economy: Economy) -> list[str]:
    """Names that a run's patterns mean, in the economy's order."""
    return [name for name in everybody(economy) if any(fnmatchcase(name, pattern) for pattern in run.parties)]


def everybody(economy: Economy) -> list[str]:
    """Institutions, and the other sources if there are any."""
    return [*economy.institutions(), *(record_sources() if economy.other_sources else ())]


def read_plan(where: str, raw: Mapping[str, Any], economy: Economy) -> Plan:
    """The tables of a scenario's file. Raises ConfigurationError: unknown keys, columns and parties come with the nearest."""
    settings = raw.get("settings", {})
    _require_settings(f"{where} [settings]", settings)
    columns = _columns(f"{where} [columns]", raw.get("columns", {}), economy)
    listed = raw.get("run", [])
    if not isinstance(listed, list):
        raise ConfigurationError(where, "run is not a list", "Write [[run]] above each.")
    runs = tuple(_run(f"{where} [[run]] {number + 1}", one, economy) for number, one in enumerate(listed))
    files = [run.file for run in runs]
    if twice := [name for name in files if files.count(name) > 1]:
        raise ConfigurationError(where, f"two runs are called {twice[0]!r}", "Give each its own file.")
    found = table(f"{where} [features]", raw.get("features", {}), FeatureTables)
    if runs and not found.as_of:
        raise ConfigurationError(f"{where} [features]", "as_of is missing", 'Name months, such as ["2023-07..2024-01"].')
    return Plan(found, columns, settings, runs)


def _run(where: str, raw: Any, economy: Economy) -> Run:
    found = table(where, raw, Run)
    if not _FILE.fullmatch(found.file):
        raise ConfigurationError(f"{where} file", f"{found.file!r} is no name", "Use small letters, digits, - and _.")
    _require_settings(where, found.settings)
    _columns(f"{where} columns", found.columns, economy)
    for pattern in found.parties:
        if not any(fnmatchcase(name, pattern) for name in everybody(economy)):
            raise ConfigurationError(f"{where} parties", f"{pattern!r} is nobody's name", nearest(pattern, everybody(economy)))
    return found


def _require_settings(where: str, raw: Any) -> None:
    """Every table and key is one of the run file's; what goes together is checked when the run file is read."""
    if not isinstance(raw, Mapping):
        raise ConfigurationError(where, "settings is not a table", "Write tables of the run file in it.")
    require_known(where, raw, TABLES, "table")
    for name, keys in raw.items():
        if not isinstance(keys, Mapping):
            raise ConfigurationError(f"{where} {name}", "is not a table", "docs/run-file.md shows the form of the run file.")
        encoded = TABLES[name].__struct_encode_fields__
        require_known(f"{where} {name}", keys, encoded)
        if any(isinstance(value, (dt.date, dt.time)) for value in keys.values()):
            raise ConfigurationError(f"{where} {name}", "has a date without quotes", 'Write it as "2024-01-01".')


def _columns(where: str, raw: Any, economy: Economy) -> dict[str, tuple[str, ...]]:
    if not isinstance(raw, Mapping):
        raise ConfigurationError(where, "columns is not a table", "Write a list of features for each role.")
    known = [*dict.fromkeys(map(role_of, everybody(economy))), *everybody(economy)]
    require_known(where, raw, known, "role or party")
    for role, names in raw.items():
        require_known(f"{where} {role}", names, features(), "feature")
    return {role: tuple(names) for role, names in raw.items()}
