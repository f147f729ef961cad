"""Where raw records come from. Only the vault imports this.

A node's own table: read opening (which kind), table (CSV, Parquet), folder, database with columns and database_errors; frame, what all of them
give; then kinds, which decides what each column is, and records.

An institution's raw tables, for its adapters: read raw, which names the rest.
"""
