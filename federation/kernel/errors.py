"""Whose fault it is, what was found, and what to do about it.

Two families, as in h11: a `PeerError` is a message that no honest peer would have sent; a `LocalError` is this party's own bad input
or bug. Each carries an `AbortCode`, the only thing about it that ever leaves the party. The text of an error names places (a column, a
key of a file, a row number), counts and rules; it never carries a value from the data.
"""

from __future__ import annotations

from enum import StrEnum


class AbortCode(StrEnum):
    """Why a party ended a run: all that its peers and the coordinator are told."""

    CONFIGURATION = "configuration"
    POLICY = "policy"
    APPROVAL = "approval"
    """It waits for people."""
    REVOKED = "revoked"
    """People have said no, or their yes counts no more."""
    DATA = "data"
    COHORT = "cohort"
    CAP = "cap"
    CONSENT = "consent"
    BUDGET = "budget"
    DISCLOSURE = "disclosure"
    EXPIRED = "expired"
    PROTOCOL = "protocol"
    INTERNAL = "internal"
    STOPPED = "stopped"


class CreditfedError(Exception):
    """What happened, where, and the next action.

    where: the party, file or column concerned; what: the finding; action: what the reader can do about it.
    """

    exit_code = 1
    default_code = AbortCode.INTERNAL

    def __init__(self, where: str, what: str, action: str = "", code: AbortCode | None = None) -> None:
        self.where, self.what, self.action = where, what, action
        self.code = code or self.default_code
        super().__init__(where, what, action)

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f"\n  {self.action}" if self.action else "")


class ConfigurationError(CreditfedError):
    """A file or an argument that cannot be carried out as written."""

    exit_code = 2
    default_code = AbortCode.CONFIGURATION


class LocalError(CreditfedError):
    """Bad local input, or a bug, at this party."""

    exit_code = 1
    default_code = AbortCode.INTERNAL


class PolicyRefusal(LocalError):
    """This party's own rules do not allow what the run asks for."""

    exit_code = 3
    default_code = AbortCode.POLICY


class DataError(LocalError):
    """The party's own data break a rule."""

    exit_code = 5
    default_code = AbortCode.DATA


class PeerError(CreditfedError):
    """A message that breaks the protocol: what was found and what was expected, never its content."""

    exit_code = 4
    default_code = AbortCode.PROTOCOL

    def __init__(self, sender: str, found: str, expected: str) -> None:
        self.found, self.expected = found, expected
        super().__init__(
            sender,
            f"sent {found} where {expected} was expected",
            "The run was ended and nothing further was sent. Check that all parties run the same version of creditfed.",
        )


class PeerAborted(CreditfedError):
    """Another party ended the run and gave its reason code."""

    exit_code = 4
    default_code = AbortCode.STOPPED

    def __init__(self, sender: str, reason: AbortCode) -> None:
        self.reason = reason
        super().__init__(sender, f"ended the run (reason: {reason.value})", "Ask that party: its own log has the details.")


class LostParty(CreditfedError):
    """Parties that did not answer in time, where the protocol cannot go on without them."""

    exit_code = 4
    default_code = AbortCode.STOPPED
