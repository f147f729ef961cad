"""An economy in the raw: what each institution records of firms whose hidden traits are known (other_sources: courts, registries, bureaus)."""
