"""The consortium of a simulation: nodes founded and pinned by the code of a deployment, with keys that go with the folder.

One person plays every owner: a node approves at once with its owners' keys, which lie in its home, unless its section of the run file says
`approval = "people"`. No node reads that: it is told by the code that makes it (`simulated`).
Rows need no consent unless the section names a file of consents.
"""

from __future__ import annotations

import math
import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import tomli_w

from clients.budget_commands import ledger_path
from clients.clock import utc_now
from clients.consent import audited
from clients.consent_key import give_key, take_key
from clients.consortium import Member, write
from clients.founding import Founded, found
from clients.home import Home
from clients.node import Node
from clients.residents import node_of
from federation.kernel import suite
from federation.kernel.manifest import AGENCY
from federation.kernel.secret import Secret
from privacy.budget.limits import ANY, Limits
from privacy.store.budget_file import BudgetFile
from privacy.store.consent_import import import_csv
from server.run_file import RunFile

SIMULATED = Limits(epsilon=100.0, delta=math.nextafter(0.01, 0.0))
"""A simulated institution's budget: room for any run that a manifest can state, counted all the same."""

AT_ONCE = "simulated-at-once"
"""A file in a simulated node's home, which the simulation alone looks for: the node approves at once."""


def node_toml(settings: RunFile, name: str, journal: str) -> dict[str, Any]:
    """What an institution's node.toml says in a simulation, or an agency's."""
    for agency in settings.agencies:
        if agency.name == name:
            return {
                "name": name, "role": AGENCY, "journal": journal, "approvals_needed": agency.approvals_needed,
            }  # fmt: skip
    section = settings.node_section(name)
    party = settings.party(name)
    basis = "simulation" if party.consents is None else "agency" if party.consents_at == "agency" else "consent"
    own = {"journal": journal, "workers": os.cpu_count() or 1, "legal_basis": basis}
    return section | own


def simulated(root: Path) -> Node:
    """A simulation's node, which approves at once where the run file has it so."""
    return node_of(root, at_once=(root / AT_ONCE).exists())


def found_homes(settings: RunFile, homes: dict[str, Path], coordinator: Secret, journal: str, *, resuming: bool) -> None:
    """Found and pin every node; where a run goes on, only what may change between two calls is written again."""
    if resuming:
        for name, home in homes.items():
            (home / "node.toml").write_text(tomli_w.dumps(node_toml(settings, name, journal)))
        return
    approvals = {p.name: p.approval for p in settings.parties} | {agency.name: agency.approval for agency in settings.agencies}
    founded: dict[str, Founded] = {}
    roles: dict[str, Any] = {}
    for name, home in homes.items():
        _clear(home)
        section = node_toml(settings, name, journal)
        founded[name] = found(home, section, utc_now, settings.owners(name))
        roles[name] = section["role"]
        if approvals[name] == "at once":
            (home / AT_ONCE).touch()
        if section["role"] == AGENCY:
            continue
        budget = BudgetFile(ledger_path(home))
        budget.set_limits(Path(section["source"]).stem, ANY, SIMULATED, "simulation")
        budget.close()
    for party in settings.parties:
        if party.consents is None:
            continue
        holder, whose = (party.through, party.name) if party.consents_at == "agency" else (party.name, "")
        if whose:
            _share_key(homes[holder], homes[whose], whose)
        with closing(audited(Home(homes[holder]), whose)) as ledger:
            import_csv(ledger, Path(party.consents), utc_now())
    members = [Member(name, roles[name], there.key) for name, there in founded.items()]
    for home in homes.values():
        write(home, suite.signing_public(coordinator).hex(), members)


def _share_key(agency: Path, platform: Path, name: str) -> None:
    """The consent key's way from the one to the other."""
    file = platform / "consent-key.toml"
    give_key(Home(agency), name, file)
    take_key(Home(platform), file)
    file.unlink()


def _clear(home: Path) -> None:
    """Forget all but the keys: every simulation begins with a node that has released nothing."""
    if home.exists():
        for path in home.iterdir():
            if path.name == "keys":
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
