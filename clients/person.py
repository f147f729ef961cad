"""Who acts at a node: a person of approvers.toml, shown by their own key."""

from __future__ import annotations

from pathlib import Path

from clients.approvals import Approvals
from federation.kernel import suite
from federation.kernel.errors import ConfigurationError
from federation.kernel.secret import Secret
from privacy.approval.vote import Approver


def acting(approvals: Approvals, who: str, key: Path | None) -> tuple[Approver, Secret]:
    """The person of that name, and their key. Raises ConfigurationError where there is no such person, or the key is not theirs."""
    people = approvals.approvers()
    person = people.get(who)
    if person is None or person.revoked:
        known = ", ".join(name for name, other in people.items() if not other.revoked)
        raise ConfigurationError(f"--as {who}", "is nobody who is known here", f"There are: {known or 'none'} (creditfed node approvers).")
    secret = approvals.key_of(who, key)
    if suite.signing_public(secret).hex() != person.key:
        raise ConfigurationError("--key", f"is not the key of {who}", "Give that person's own key file.")
    return person, secret
