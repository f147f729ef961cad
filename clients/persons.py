"""What a person does at a node with a key of their own: a vote on a run, a change of who may vote, a budget.

Each is asked of the policy by the person's role, is signed, and stays among the votes. A node where nobody is registered yet has nobody who
could sign: its first owner, and a budget before there is one, are written to the log as configuration, once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from clients import clock
from clients.approvals import Approvals
from clients.home import Home
from clients.party_config import PartyConfig
from federation.kernel import suite
from federation.kernel.errors import ConfigurationError
from federation.kernel.secret import Secret
from privacy.approval.vote import Approver, Verdict, about_approver, about_budget, about_name, cast, has_approved, standing
from privacy.audit.entry import Fact, Kind
from privacy.budget.limits import Limits
from privacy.levels import PersonRole
from privacy.policy.ask import Act, PersonAsk
from privacy.policy.explain import require
from privacy.store.audit_file import AuditFile
from privacy.store.budget_file import BudgetFile
from privacy.store.policy_folder import load_policies

_ALONE = "Register an owner first: creditfed node approvers --add NAME."


def acting(approvals: Approvals, who: str, key: Path | None) -> tuple[Approver, Secret]:
    """The person of that name, and their key. Raises ConfigurationError where there is no such person, or the key is not theirs."""
    people = approvals.approvers()
    person = people.get(who)
    if person is None or person.revoked:
        known = ", ".join(f"{name} ({other.role})" for name, other in people.items() if not other.revoked)
        raise ConfigurationError(f"--as {who}", "is nobody who is known here", f"There are: {known or 'none'}. Name one with --as.")
    secret = approvals.key_of(who, key)
    if suite.signing_public(secret).hex() != person.key:
        raise ConfigurationError("--key", f"is not the key of {who}", "Give that person's own key file.")
    return person, secret


class Persons:
    """One node's. who: a name from approvers.toml; key: that person's own key file, approvers/NAME.key where None."""

    def __init__(self, home: Home) -> None:
        self._home, self._approvals = home, Approvals(home)

    @property
    def _me(self) -> str:
        return str(self._home.config()["name"])

    def vote(self, run: str, about: bytes, verdict: Verdict, who: str, key: Path | None) -> None:
        """Vote on a run or `study:NAME`; against a run, on all of its name. about: the hash of what was shown.

        Raises ConfigurationError for nobody's name or key, PolicyRefusal where the role may not, or the same person approves twice.
        """
        name, people, votes = about_name(run), self._approvals.approvers(), self._approvals.votes()
        against = who in standing(votes, name, self._me, people).against
        secret = self._signing(who, "approve run" if verdict == "approve" else "revoke approval", key, b"" if against else about)
        if not run.startswith("study:") and (verdict == "revoke" or against):
            self._cast(who, name, verdict, secret)
        self._cast(who, about, verdict, secret)
        self._log("vote", "" if run.startswith("study:") else run, manifest=about.hex(), party=self._me, by=who, verdict=verdict)

    def add(self, name: str, role: PersonRole, who: str, key: Path | None) -> int:
        """Let a person vote, once as many owners have signed as approve a run. Returns how many are still to sign, 0 when it is done."""
        owners = sum(person.role == "owner" for person in self._approvals.approvers().values())  # of all times: revoking lowers no bar
        if not owners and role != "owner":
            raise ConfigurationError("--add", "this node has no owner yet, who would have to sign", _ALONE)
        made = self._approvals.made(name, role)
        if not owners:
            self._approvals.register(made)
            self._log("configuration", "", change="first approver added", name=name, role=role)
            return 0
        missing = self._sign_change("add", made, who, key, owners)
        if not missing:
            self._approvals.register(made)
        return missing

    def revoke(self, name: str, who: str, key: Path | None) -> int:
        """No vote of a person counts any more, once as many others have signed as approve a run, or the person alone. Returns as `add`."""
        people = self._approvals.approvers()
        if name not in people:
            raise ConfigurationError("--revoke", "there is no approver of this name", "See `creditfed node approvers`.")
        person = people[name]
        others = [other for other in people.values() if other.role == "owner" and other.key != person.key]
        if all(other.revoked for other in others):
            raise ConfigurationError("--revoke", "without this person the node has no owner", "Add another owner first.")
        missing = self._sign_change("revoke", person, who, key, 1 if who == name else len(others))
        if not missing:
            self._approvals.revoke_approver(name)
        return missing

    def set_limits(self, file: BudgetFile, dataset: str, purpose: str, limits: Limits, who: str, key: Path | None) -> None:
        """Set a budget, signed by a person whom the policy lets do it."""
        about = about_budget(dataset, purpose, msgspec.json.encode(limits))
        if self._approvals.approvers():
            self._cast(who, about, "approve", self._signing(who, "set budget", key, b""))
        elif file.current().limits:
            raise ConfigurationError("budget", "a budget is set, and nobody is registered who could sign another", _ALONE)
        file.set_limits(dataset, purpose, limits, who)
        change = "budget set" if self._approvals.approvers() else "first budget set"
        self._log("configuration", "", change=change, dataset=dataset[:200], purpose=purpose, by=who[:200], digest=about.hex())

    def _sign_change(self, change: Literal["add", "revoke"], person: Approver, who: str, key: Path | None, most: int) -> int:
        """One more owner's signature under a change; returns how many it lacks. most: how many there can be."""
        about, people = about_approver(change, person), self._approvals.approvers()
        self._cast(who, about, "approve", self._signing(who, "change policy", key, about))
        signed = standing(self._approvals.votes(), about, self._me, people).approved
        needed = min(PartyConfig.from_dict(self._home.config(), self._home.root).approvals_needed, most)
        if change == "revoke" and who != person.name:
            signed = tuple(name for name in signed if people[name].key != person.key)
        missing = max(0, needed - len(signed))
        state = "in force" if not missing else "signed"
        self._log("configuration", "", change=f"approver {change} {state}", name=person.name, role=person.role, by=", ".join(signed)[:200])
        return missing

    def _signing(self, who: str, act: Act, key: Path | None, about: bytes) -> Secret:
        """The key with which a person signs. about: what must not be approved by the same person already, nothing where that is no matter."""
        person, secret = acting(self._approvals, who, key)
        people = self._approvals.approvers()
        again = act != "revoke approval" and has_approved(self._approvals.votes(), about, self._me, people, person.key)
        require(load_policies(self._home.root / "policy"), PersonAsk(role=person.role, act=act, same_person=again))
        return secret

    def _cast(self, who: str, about: bytes, verdict: Verdict, secret: Secret) -> None:
        self._approvals.record_vote(cast(self._me, who, about, verdict, clock.utc_now(), secret))

    def _log(self, kind: Kind, run: str, /, **facts: Fact) -> None:
        """An entry of the node's audit log, on disk."""
        log = AuditFile(self._home.root / "audit", self._home.key("identity"), clock.utc_now, party=self._me)
        log.append(kind, run, **facts)
        log.sync()
