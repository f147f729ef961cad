"""What Alembic runs: the revisions that are missing, over the connection and inside the transaction that `server.store.database` began."""

from __future__ import annotations

from alembic import context

from server.store.tables import SCHEMA_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=SCHEMA_TABLE)
with context.begin_transaction():
    context.run_migrations()
