"""The schema's history, one revision a file; Alembic applies what is missing whenever the store is opened.

A revision is never changed once it was released, and knows nothing of `server.store.tables`, which goes on without it.
"""
