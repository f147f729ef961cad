"""The mapping.toml of an institution's folder: its records have the dictionary's own names, and money is in yuan."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from privacy.dictionary.entries import record_kinds


def write_mapping(folder: Path, name: str, end: int) -> None:
    """Write it. name: of the institution (bank-1) or source (court); end: the day of the extract."""
    role = name.rpartition("-")[0] or name
    kinds = ["records"] if role == name else [kind for kind, entry in record_kinds().items() if entry.role == role]
    day = np.datetime64(end, "D")
    head = f'role = "{role}"\ndictionary = "1.0"\nname = "{name}"\nextracted = {day}\n'
    tables = "".join(f'\n[{kind}]\nsource = "{kind}.parquet"\n' for kind in kinds)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mapping.toml").write_text(head + tables)
