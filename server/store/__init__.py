"""What the coordinator must not forget: which institutions may connect, which runs were asked for, and how far each is.

SQLite in a file, or PostgreSQL by URL; the server process and the commands use it at once. Read states, records, run_store, then database and
migrations.
"""
