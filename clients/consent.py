"""A node's consent ledger: where it is, under which key, and every change of it in the node's audit log.

It is consent/ledger.db in the node's home, or where `consent = "postgresql+psycopg://USER@HOST/DATABASE"` in node.toml says. A password belongs
in PGPASSWORD or ~/.pgpass, not there. An agency has one ledger for each platform whose consents it holds: consent/PLATFORM.db, or a URL with
`{platform}` in it, under the key that the two share (`clients.consent_key`).
"""

from __future__ import annotations

from clients.clock import utc_now
from clients.consent_key import shared_key
from clients.home import Home
from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest import AGENCY
from privacy.consent.statement import ledger_key
from privacy.store.audit_file import AuditFile
from privacy.store.consent_ledger import ConsentLedger, OnChange


def open_ledger(home: Home, on_change: OnChange | None = None, platform: str = "") -> ConsentLedger:
    """The ledger of a node, at an agency the one for a platform; on_change: told of each change before it is committed.

    Raises ConfigurationError, DataError.
    """
    config = home.config()
    url = config.get("consent")
    if (config.get("role") == AGENCY) != bool(platform):
        raise ConfigurationError(
            "consent ledger", "an agency has one for each platform, and nobody else has", "Give --platform, or leave it out."
        )
    if url is not None and not (isinstance(url, str) and ("{platform}" in url) == bool(platform)):
        what = "consent is not the URL of a database, or not of one for each platform"
        raise ConfigurationError(
            "node.toml", what, 'Write consent = "postgresql+psycopg://USER@HOST/DATABASE", at an agency with {platform} in it.'
        )
    url = url or f"sqlite:///{home.root / 'consent' / (platform or 'ledger')}.db"
    key = ledger_key(shared_key(home, platform)) if platform else home.key("consent")
    return ConsentLedger(url.replace("{platform}", platform), key, on_change)


def into_log(log: AuditFile, **whose: str) -> OnChange:
    """What a ledger is told to do with its changes: an entry each, counts alone, on disk before the change is. whose: facts of every entry."""

    def note(kind: str, /, **facts: str | int) -> None:
        run = str(facts.pop("run", ""))
        log.append("consent", run, change=kind, **whose, **facts)
        log.sync()

    return note


def audited(home: Home, platform: str = "") -> ConsentLedger:
    """The ledger of a node, for its own commands."""
    log = AuditFile(home.root / "audit", home.key("identity"), utc_now, party=str(home.config().get("name", "")))
    return open_ledger(home, into_log(log, **({"platform": platform} if platform else {})), platform)
