"""[check] of a run file, and what goes with it: who asks, and that every other institution offers just one number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest import CHECKS, COMPARES, FEWEST_IN_A_CHECK, MOST_IN_A_CHECK, CheckSettings
from federation.kernel.manifest_rules import are_pairs
from privacy.store import strict_toml
from privacy.store.strict_toml import require_known
from server.run_tables import Party, RunSettings

_OF_MODELS = ("label", "bins", "through")
"""Keys of a [[party]] that say nothing in a check."""


def read(file: str, raw: Mapping[str, Any], run: RunSettings, parties: tuple[Party, ...]) -> CheckSettings:
    """[check], with the institutions looked at beside it; the defaults in a run that is none. Raises ConfigurationError."""
    check = strict_toml.table(f"{file}: [check]", raw.get("check", {}), CheckSettings)
    if run.task not in CHECKS:
        return check
    names = [party.name for party in parties]
    _check_circle(file, check, compares=run.task == COMPARES, task=run.task, count=len(names))
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"{file}: [[party]] {name}", "two parties have this name", "Give every party its own name.")
    where = f"{file}: [check] asks"
    if not check.asks:
        raise ConfigurationError(where, "is not set", f"Name the institution that asks, and alone is answered: one of {', '.join(names)}.")
    require_known(where, [check.asks], names, "party")
    if list(check.bands) != sorted(set(check.bands)):
        raise ConfigurationError(f"{file}: [check] bands", "are not in ascending order", "Write edges as [100000, 500000].")
    if check.bands and run.task != "multi_lender":
        raise ConfigurationError(f"{file}: [check] bands", f"says nothing in a run with task {run.task!r}", "Leave it out.")
    if run.purpose not in ("decide", "monitor"):
        what = f"{run.purpose!r} does not go with a check, which serves the lending itself"
        raise ConfigurationError(f"{file}: [run] purpose", what, 'Use "decide" or "monitor".')
    for party in parties:
        _check_party(f"{file}: [[party]] {party.name}", party)
    return check


def _check_circle(file: str, check: CheckSettings, *, compares: bool, task: str, count: int) -> None:
    what = f"it has {count} [[party]] sections"
    if compares and count != 2:
        raise ConfigurationError(file, what, "Two institutions compare counterparties: name just those.")
    if not are_pairs(check.pairs, wanted=compares):
        wrong = "are not there, not distinct, or hold '|'" if compares else f"says nothing in a run with task {task!r}"
        raise ConfigurationError(
            f"{file}: [check] pairs", wrong, "common_counterparties needs the names of its pairs; no other task has any."
        )
    if not compares and not FEWEST_IN_A_CHECK <= count <= MOST_IN_A_CHECK:
        action = f"A check takes {FEWEST_IN_A_CHECK} to {MOST_IN_A_CHECK}: beside the one that asks three at least, or a count tells which."
        raise ConfigurationError(file, what, action)


def _check_party(where: str, party: Party) -> None:
    for key in _OF_MODELS:
        if getattr(party, key):
            raise ConfigurationError(f"{where} {key}", "says nothing in a check across institutions", "Leave it out.")
