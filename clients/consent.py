"""A node's consent ledger: where it is, under which key, and every change of it in the node's audit log.

It is consent/ledger.db in the node's home, or where `consent = "postgresql+psycopg://USER@HOST/DATABASE"` in node.toml says. A password belongs
in PGPASSWORD or ~/.pgpass, not there.
"""

from __future__ import annotations

from clients.clock import utc_now
from clients.home import Home
from federation.kernel.errors import ConfigurationError
from privacy.store.audit_file import AuditFile
from privacy.store.consent_ledger import ConsentLedger, OnChange


def open_ledger(home: Home, on_change: OnChange | None = None) -> ConsentLedger:
    """The ledger of a node; on_change: told of each change before it is committed. Raises ConfigurationError, DataError."""
    url = home.config().get("consent")
    if url is not None and not isinstance(url, str):
        raise ConfigurationError(
            "node.toml", "consent is not the URL of a database", 'Write consent = "postgresql+psycopg://USER@HOST/DATABASE".'
        )
    return ConsentLedger(url or f"sqlite:///{home.root / 'consent' / 'ledger.db'}", home.key("consent"), on_change)


def into_log(log: AuditFile) -> OnChange:
    """What a ledger is told to do with its changes: an entry each, counts alone, on disk before the change is."""

    def note(kind: str, /, **facts: str | int) -> None:
        run = str(facts.pop("run", ""))
        log.append("consent", run, change=kind, **facts)
        log.sync()

    return note


def audited(home: Home) -> ConsentLedger:
    """The ledger of a node, for its own commands."""
    name = str(home.config().get("name", ""))
    return open_ledger(home, into_log(AuditFile(home.root / "audit", home.key("identity"), utc_now, party=name)))
