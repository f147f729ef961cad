"""Empty tables to fill in by hand, for a kind of record such as the visit form, and a mapping that explains and reads them.

A CSV with its heading, a line for each record; or a folder with a blank form in TOML, to be copied for each record.
"""

from __future__ import annotations

from pathlib import Path

from federation.kernel.errors import ConfigurationError
from privacy.dictionary import VERSION
from privacy.dictionary.entries import RecordColumn, RecordKind, record_kinds
from privacy.store.durable import READABLE, put
from privacy.store.strict_toml import require_known

BLANK = "_blank.toml"
_FORMS = {
    "id": "an id", "text": "text", "day": "a day, as 2024-03-31", "moment": "a day, as 2024-03-31", "money": "yuan, with at most two decimals",
    "number": "a number", "count": "a whole number", "flag": "yes or no",
}  # fmt: skip


def write_template(kind: str, out: Path) -> Path:
    """An empty CSV at `out`, or where it has no suffix a folder with a blank form; beside it a mapping that explains and reads it: its path.

    Raises ConfigurationError.
    """
    require_known("template", [kind], record_kinds(), "kind of record")
    record = record_kinds()[kind]
    if out.suffix not in ("", ".csv") or out.name in ("", "..") or (not out.suffix and out.is_file()):
        raise ConfigurationError(str(out), "is no place for a template", "Name a new .csv file, or a folder whose name has no dot.")
    empty, mapping = (out if out.suffix else out / BLANK), out.with_suffix(".toml")
    for path in (empty, mapping):
        if path.exists():
            raise ConfigurationError(str(path), "is there already", "Name a new file: what was filled in is never overwritten.")
    if out.suffix:
        content = (",".join(column.name for column in record.columns) + "\n").encode("utf-8-sig")
        fill = f"Fill in {out.name}, a line for each; a cell may stay empty unless it says: needed."
    else:
        content, fill = blank(record).encode(), f"Copy {out.name}/{BLANK} for each, under any name that has no _ in front, and fill it in."
        out.mkdir(parents=True, exist_ok=True)
    put(empty, content, READABLE)
    put(mapping, explained(record, out.name, fill).encode(), READABLE)
    return mapping


def blank(record: RecordKind) -> str:
    """A form in TOML with every question, unanswered."""
    lines = [
        f"# {record.title}: one form, for one record.",
        '# Copy this file, and answer between the quotation marks. "" is no answer, which is allowed unless it says: needed.',
    ]
    for column in record.columns:
        lines += ["", f"# {_meaning(column)}", f'{column.name} = ""']
    return "\n".join(lines) + "\n"


def explained(record: RecordKind, file: str, fill: str) -> str:
    """A mapping for the template, with what each column may hold. fill: how it is filled in."""
    lines = [
        f"# {record.title}. {record.definition}",
        f"# {fill} Then:",
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
    return f"{column.name}: {_meaning(column)}"


def _meaning(column: RecordColumn) -> str:
    form = f"one of: {', '.join(column.values)}" if column.values else _FORMS[column.type] + (f", {column.bounds}" if column.bounds else "")
    return f"{column.definition} ({form}{'' if column.may_be_blank else '; needed'})"
