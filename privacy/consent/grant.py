"""What a subject consented to, and what ends it.

A grant is never changed and never removed. It ends after its last day, or by a withdrawal, which is a record of its own. PIPL art. 14: explicit,
and anew where purpose, manner or kind of data change; art. 15: withdrawn at any time; art. 23: each recipient is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from federation.kernel.errors import ConfigurationError
from privacy.consent.days import day_of
from privacy.purposes import covers, require_purpose

MOST_NAME: Final = 64
"""Characters of the name of a column or recipient."""
MOST_EVIDENCE: Final = 200
FOREVER: Final = 1 << 40
"""A moment that does not come: of a grant that nobody withdrew."""


@dataclass(frozen=True)
class Terms:
    """What one form of consent says: few forms, many subjects.

    purpose: of privacy.purposes, the narrower ones included; columns: by name; level: every column up to this JR/T 0197 level, 0 for none;
    recipients: parties who may learn something of the record, each by name.
    """

    purpose: str
    columns: frozenset[str]
    level: int
    recipients: frozenset[str]

    def require(self) -> None:
        """Raises ConfigurationError for terms that say nothing or too much."""
        require_purpose(self.purpose)
        if not 0 <= self.level <= 5 or not (self.columns or self.level):
            raise ConfigurationError("consent", "it names no column and no level from 1 to 5", "Say what may be used.")
        if not self.recipients:
            raise ConfigurationError("consent", "it names no recipient (PIPL art. 23)", "Name each institution that takes part.")
        if not all(_is_name(name) for name in self.columns | self.recipients):
            what = f"a column or recipient is empty, *, longer than {MOST_NAME} characters or has control characters"
            raise ConfigurationError("consent", what, "Name each one.")

    def cover(self, purpose: str, column: tuple[str, int] | None, recipient: str | None) -> bool:
        """Whether they allow one column, (name, level), to be used for a purpose with one recipient. None: whatever it is."""
        return (
            covers(self.purpose, purpose)
            and (column is None or column[0] in self.columns or column[1] <= self.level)
            and (recipient is None or recipient in self.recipients)
        )


@dataclass(frozen=True)
class Grant:
    """A subject's consent. subject: its hash; start, until: first and last day (days.py); evidence: hash of the reference to what was signed;
    revision: of the ledger when it was recorded; withdrawn: the moment, FOREVER where there is none.
    """

    subject: bytes
    terms: Terms
    start: int
    until: int
    evidence: bytes
    revision: int
    withdrawn: int = FOREVER


@dataclass(frozen=True)
class Withdrawal:
    """The end of a subject's consents, or of all under one evidence, from a moment on. Exactly one of subject and evidence, both hashes."""

    subject: bytes | None
    evidence: bytes | None
    at: int
    revision: int

    def ends(self, subject: bytes, evidence: bytes, start: int, revision: int) -> bool:
        """Whether it ends a grant.

        By evidence: every one under it, also one recorded later. By subject: every one recorded before, and of those recorded later the ones
        that begin on that day or earlier. So the same old file imported once more brings nothing back; a new consent begins the day after.
        """
        if self.evidence is not None:
            return self.evidence == evidence
        return self.subject == subject and (revision < self.revision or start <= day_of(self.at))


def _is_name(text: str) -> bool:
    return 0 < len(text) <= MOST_NAME and text.isprintable() and text == text.strip() and "*" not in text
