"""Empty tables to fill in by hand, for a kind of record such as the visit form: a CSV with its heading, and a mapping that explains it."""

from __future__ import annotations

from pathlib import Path

from federation.kernel.errors import ConfigurationError
from privacy.dictionary import VERSION
from privacy.dictionary.entries import RecordColumn, RecordKind, record_kinds
from privacy.store.durable import READABLE, put
from privacy.store.strict_toml import require_known

_FORMS = {
    "id": "an id", "text": "text", "day": "a day, as 2024-03-31", "moment": "a day, as 2024-03-31", "money": "yuan, with at most two decimals",
    "number": "a number", "count": "a whole number", "flag": "yes or no",
}  # fmt: skip


def write_template(kind: str, out: Path) -> Path:
    """An empty CSV at `out`, and beside it a mapping that explains and reads it: its path. Raises ConfigurationError."""
    require_known("template", [kind], record_kinds(), "kind of record")
    record, mapping = record_kinds()[kind], out.with_suffix(".toml")
    for path in (out, mapping):
        if path.exists():
            raise ConfigurationError(str(path), "is there already", "Name a new file: what was filled in is never overwritten.")
    put(out, (",".join(column.name for column in record.columns) + "\n").encode("utf-8-sig"), READABLE)
    put(mapping, explained(record, out.name).encode(), READABLE)
    return mapping


def explained(record: RecordKind, file: str) -> str:
    """A mapping for the template, with what each column may hold."""
    lines = [
        f"# {record.title}. {record.definition}",
        f"# Fill in {file}, a line for each; a cell may stay empty unless it says: needed. Then:",
        "#   creditfed dictionary check THIS FILE      what maps and what fails",
        "#   creditfed features build THIS FILE --as-of 2024-01..2024-12 --out features.parquet",
        "#",
        *(f"# {_line(column)}" for column in record.columns),
        "",
        f'role = "{record.role}"',
        f'dictionary = "{VERSION}"',
        "",
        f"[{record.name}]",
        f'source = "{file}"',
    ]
    return "\n".join(lines) + "\n"


def _line(column: RecordColumn) -> str:
    form = f"one of: {', '.join(column.values)}" if column.values else _FORMS[column.type] + (f", {column.bounds}" if column.bounds else "")
    return f"{column.name}: {column.definition} ({form}{'' if column.may_be_blank else '; needed'})"
