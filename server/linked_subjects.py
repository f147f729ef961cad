"""What a run file's [[party]] says of the owners behind its firms, checked as the node checks it: docs/adr/0039-linked-subjects.md."""

from __future__ import annotations

from federation.kernel.errors import ConfigurationError
from server.run_tables import Party


def require_owners(file: str, parties: tuple[Party, ...]) -> None:
    """Columns of owners have an owner, and no agency holds their consents. Raises ConfigurationError."""
    for party in parties:
        where = f"{file}: [[party]] {party.name}"
        if party.owner_columns and party.owner is None:
            raise ConfigurationError(
                f"{where} owner_columns", "no column names the owner", 'Name it: owner = "owner_id"; or leave this out.'
            )
        if party.owner is not None and party.consents_at == "agency":
            what = "an agency states the consents of firms alone, and this party's rows speak of owners, too"
            raise ConfigurationError(f"{where} owner", what, "Leave consents_at out: the consents are then in a ledger of its own.")
