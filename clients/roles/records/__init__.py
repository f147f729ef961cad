"""The one adapter of all sources of dated records: court, business registry, credit bureau, blacklist, payments, and what joins them.

Which kinds of record a source has, and which features are made of them, the dictionary says (`privacy/dictionary/court.toml`, ...): a new
source is such a file, and no code.

Read matters (what is kept of the records, in whatever batches they come), measures (what each formula means), features (the table).
"""
