"""The tables as this version knows them; `server.store.migrations` makes them, and a test compares the two."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

SCHEMA_TABLE: Final = "coordinator_schema"
"""Alembic's own, of one row: the revision of the schema. A PostgreSQL database may serve other programs, too."""

metadata = sa.MetaData()
_number = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite counts up by itself in INTEGER alone

nodes = sa.Table(
    "coordinator_nodes", metadata,
    sa.Column("number", _number, primary_key=True),
    sa.Column("name", sa.String(32), nullable=False),
    sa.Column("role", sa.String(32), nullable=False),
    sa.Column("key", sa.String(64), nullable=False, unique=True),
    sa.Column("node_key", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("exchange_key", sa.String(64), nullable=False, unique=True),
    sa.Column("way", sa.String(16), nullable=False),
    sa.Column("enrolled_at", sa.String(20), nullable=False),
    sa.Column("revoked_at", sa.String(20)),
)  # fmt: skip
_in_use = nodes.c.revoked_at.is_(None)
sa.Index("coordinator_nodes_name", nodes.c.name, unique=True, sqlite_where=_in_use, postgresql_where=_in_use)

runs = sa.Table(
    "coordinator_runs", metadata,
    sa.Column("number", _number, primary_key=True),
    sa.Column("name", sa.String(64), nullable=False, unique=True),
    sa.Column("run_file", sa.LargeBinary, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("submitted_at", sa.String(20), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("state_at", sa.String(20), nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("exchanges", sa.BigInteger, nullable=False),
    sa.Column("attempt", sa.BigInteger, nullable=False),
    sa.Column("manifest_hash", sa.String(64)),
    sa.Column("session", sa.String(64)),
    sa.Column("model_hash", sa.String(64)),
    sa.Column("failure_code", sa.String(32)),
    sa.Column("failure_kind", sa.String(64)),
    sa.Column("failure_text", sa.Text),
    sa.Column("failure_exit_code", sa.Integer),
    sa.Column("stop_requested", sa.Boolean, nullable=False),
    sa.Column("conduct", sa.LargeBinary),
    sa.Column("worker", sa.String(128)),
    sa.Column("beat_at", sa.String(20)),
)  # fmt: skip
