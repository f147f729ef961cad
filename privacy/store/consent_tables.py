"""The tables of the consent ledger. Rows are appended: no statement of the program updates or deletes one.

facts: schema version, fingerprint of the key; changes: the revisions; terms: forms of consent, each once; grants, withdrawals: `privacy.consent.
grant`; runs, uses, models: what was computed with whom; erase_requests, erasures: PIPL art. 47. Subjects and evidence are keyed hashes, and the
reference to evidence is sealed.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

SCHEMA_VERSION: Final = 1

metadata = sa.MetaData()
_number = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite counts up by itself in INTEGER alone


def _hash(name: str, **more: Any) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, **more)


facts = sa.Table(
    "consent_facts", metadata, sa.Column("name", sa.String(40), primary_key=True), sa.Column("value", sa.LargeBinary, nullable=False)
)
changes = sa.Table(
    "consent_changes", metadata,
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, nullable=False), sa.Column("kind", sa.String(40), nullable=False),
)  # fmt: skip
terms = sa.Table(
    "consent_terms", metadata,
    sa.Column("number", _number, primary_key=True), sa.Column("purpose", sa.String(40), nullable=False),
    sa.Column("columns", sa.Text, nullable=False), sa.Column("level", sa.Integer, nullable=False),
    sa.Column("recipients", sa.Text, nullable=False), _hash("digest", nullable=False, unique=True),
)  # fmt: skip
grants = sa.Table(
    "consent_grants", metadata,
    sa.Column("number", _number, primary_key=True), _hash("subject", nullable=False),
    sa.Column("terms", sa.BigInteger, sa.ForeignKey(terms.c.number), nullable=False),
    sa.Column("start", sa.Integer, nullable=False), sa.Column("until", sa.Integer, nullable=False),
    _hash("evidence", nullable=False), _hash("sealed", nullable=False), sa.Column("revision", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("subject", "terms", "start", "until", "evidence"),
)  # fmt: skip
sa.Index("consent_grants_evidence", grants.c.evidence)
sa.Index("consent_grants_until", grants.c.until)
withdrawals = sa.Table(
    "consent_withdrawals", metadata,
    sa.Column("number", _number, primary_key=True), _hash("subject", index=True), _hash("evidence", index=True),
    sa.Column("at", sa.BigInteger, nullable=False), sa.Column("revision", sa.BigInteger, nullable=False, index=True),
)  # fmt: skip
runs = sa.Table(
    "consent_runs", metadata,
    sa.Column("number", _number, primary_key=True), sa.Column("run", sa.String(100), nullable=False, index=True),
    sa.Column("purpose", sa.String(40), nullable=False), sa.Column("columns", sa.Text, nullable=False),
    sa.Column("recipients", sa.Text, nullable=False), sa.Column("began", sa.BigInteger, nullable=False),
    sa.Column("until", sa.Integer, nullable=False),
)  # fmt: skip
uses = sa.Table(
    "consent_uses", metadata,
    _hash("subject", primary_key=True), sa.Column("run", sa.BigInteger, sa.ForeignKey(runs.c.number), primary_key=True),
    sqlite_with_rowid=False,
)  # fmt: skip
models = sa.Table(
    "consent_models", metadata,
    sa.Column("run", sa.String(100), primary_key=True), sa.Column("model", sa.String(100), primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
)  # fmt: skip
erase_requests = sa.Table(
    "consent_erase_requests", metadata,
    sa.Column("number", _number, primary_key=True), _hash("subject", nullable=False, index=True),
    sa.Column("at", sa.BigInteger, nullable=False), sa.Column("due", sa.Integer, nullable=False),
)  # fmt: skip
erasures = sa.Table(
    "consent_erasures", metadata,
    sa.Column("request", sa.BigInteger, sa.ForeignKey(erase_requests.c.number), primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
)  # fmt: skip
