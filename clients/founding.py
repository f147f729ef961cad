"""What a node is before its first run: its keys, its folders, the default policy, its configuration, and the first entry of its log.

node.toml  approvers.toml  consortium.toml  policy/*.cedar  keys/  approvals/  audit/

A simulation founds its nodes by the same code, with keys that are thrown away with the folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from clients.approvals import Approvals, require_person
from clients.home import Home
from clients.party_config import PartyConfig
from federation.kernel import suite
from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest import AGENCY
from federation.kernel.manifest_rules import require_party_name
from privacy.approval.words import fingerprint
from privacy.disclosure.rules import DEFAULTS
from privacy.store.audit_file import AuditFile
from privacy.store.policy_folder import write_defaults

KEYS = ("identity", "storage", "snapshot salt", "consent", "releases")


_COLUMNS = """# What of the table takes part: [[party]] of docs/run-file.md has every key; they stand above any [table] of this file.
# include = ["COLUMN"]     # these columns alone; all but id, label, weight and date where it is not given
# owner = "COLUMN"        # the person behind each firm, whose consent to their own columns is needed, too
# levels = { COLUMN = 4 }  # sensitivity, 1 to 5; 3 where none is given, and your policy decides by it
# types = { COLUMN = "categorical" }

"""


@dataclass(frozen=True)
class Founded:
    """A node's home, and what its operator gives to the other members."""

    home: Home
    key: str

    @property
    def fingerprint(self) -> str:
        """To be compared by telephone or on paper."""
        return fingerprint(self.key)


def found(root: Path, section: Mapping[str, Any], clock: Callable[[], str], owners: tuple[str, ...] = ()) -> Founded:
    """Found a node. section: of node.toml; owners: names of people who approve runs, each with a key made here.

    Raises ConfigurationError where a node is there already, or for a section that is not one.
    """
    home = Home(root)
    if (root / "node.toml").exists():
        raise ConfigurationError(str(root), "there is a node already", "Choose another folder; a node's keys are made once.")
    config = PartyConfig.from_dict(section, root)
    _require_names(config.name, owners)
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in KEYS:
        home.key(name)
    if not (root / "policy").exists():
        half = root / "policy.partial"  # what a founding that was cut short has left
        shutil.rmtree(half, ignore_errors=True)
        write_defaults(half)
        half.rename(root / "policy")
    approvals = Approvals(home)
    for owner in owners:
        if owner not in approvals.approvers():
            approvals.add_approver(owner, "owner")
    identity = home.key("identity")
    log = AuditFile(root / "audit", identity, clock, party=config.name)
    key = suite.signing_public(identity).hex()
    log.append("configuration", "", change="founded", party=config.name, role=config.role, key=key)
    log.sync()
    above, below = ("", "") if config.role == AGENCY or "disclosure" in section else (_COLUMNS, DEFAULTS)
    home.keep(root / "node.toml", (above + tomli_w.dumps(dict(section)) + below).encode())  # last: a home with this file is whole
    return Founded(home, key)


def _require_names(name: str, owners: tuple[str, ...]) -> None:
    """Before anything is made. Raises ConfigurationError."""
    require_party_name(name)
    for owner in owners:
        require_person(owner)
    if len(set(owners)) < len(owners):
        raise ConfigurationError("owners", "one name stands twice", "Name every owner once: each has a key of their own.")
