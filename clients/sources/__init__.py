"""Where raw records come from. Only the vault imports this: `table` reads CSV and Parquet, `kinds` decides what each column is."""
