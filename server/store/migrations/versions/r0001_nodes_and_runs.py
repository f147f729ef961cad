"""Nodes and runs: the first schema."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0001"
down_revision: Final[str | None] = None
branch_labels: Final[str | None] = None
depends_on: Final[str | None] = None


def upgrade() -> None:
    """Make both tables."""
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "coordinator_nodes",
        sa.Column("number", number, primary_key=True),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("key", sa.String(64), nullable=False, unique=True),
        sa.Column("node_key", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("exchange_key", sa.String(64), nullable=False, unique=True),
        sa.Column("way", sa.String(16), nullable=False),
        sa.Column("enrolled_at", sa.String(20), nullable=False),
        sa.Column("revoked_at", sa.String(20)),
    )
    in_use = sa.text("revoked_at IS NULL")
    op.create_index("coordinator_nodes_name", "coordinator_nodes", ["name"], unique=True, sqlite_where=in_use, postgresql_where=in_use)
    op.create_table(
        "coordinator_runs",
        sa.Column("number", number, primary_key=True),
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
    )
