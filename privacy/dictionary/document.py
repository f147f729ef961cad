"""The dictionary as pages and as one file for programs: `python -m privacy.dictionary.document [--check] [--to FOLDER]`.

docs/dictionary/*.md and dictionary.json are generated and never edited; `--check` fails when one is stale, missing or left over.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from privacy.dictionary import VERSION
from privacy.dictionary.codes import INDUSTRY_STANDARD, REGION_STANDARD, provinces, sections
from privacy.dictionary.conventions import conventions
from privacy.dictionary.entries import Feature, RecordKind, RecordSource, dictionary
from privacy.generated_pages import bullets, command, table

FOLDER = Path("docs/dictionary")
HEADER = "<!-- Generated from privacy/dictionary by python -m privacy.dictionary.document. Edit the files there. -->"
_INTRODUCTION = """What every institution of a consortium means by the same name: version {version}. A feature means the same at every bank,
platform and tax bureau, whatever their own tables are called.

- A **kind of record** is what a raw table holds: [records](records.md). You map your own tables and columns to it once, in `mapping.toml`.
- A **feature** is what a model sees: one value for each firm and as-of month, by the formula that its entry gives.
- A **role** or source is who has it. Each has a page of its features, below.
- **Codes and conventions** (industries, regions, money, calendar): [codes](codes.md).
- For programs, all of it is in [dictionary.json](dictionary.json).

How to use it: write `mapping.toml`, look with `creditfed dictionary check mapping.toml` what maps and what fails, and make the feature table
with `creditfed features build`: [for institutions](../guides/institution.md#from-raw-tables-to-features). `creditfed dictionary show NAME`
shows one entry.

How to read an entry: *level* is JR/T 0197-2020 (1 public to 5 national importance) and *class* JR/T 0171-2020 (C1 to C3), which your node
takes for a column of that name unless `node.toml` says otherwise. *Range* is what is plausible: values beyond it are counted in a note and
never refused. *Direction* says which way risk usually rises. *Comparable* says whether a value means the same in every industry; where it
does not, compare within one.

**As of a month** means: from records dated before its first day, and no later one. **The version** is raised when an entry changes its
meaning; feature tables and mappings name the version that they were made with."""


def pages() -> dict[str, str]:
    """Every file of the folder by name."""
    found = dictionary()
    roles = dict.fromkeys(feature.role for feature in found.features.values())
    made = {"README.md": _overview(list(roles)), "records.md": _records(), "codes.md": _codes(), "dictionary.json": as_json()}
    return made | {f"{role}.md": _role(role) for role in roles}


def as_json() -> str:
    """The whole dictionary for programs. Infinite bounds of a range are null."""
    found = dictionary()
    built = {
        "version": VERSION,
        "records": [msgspec.to_builtins(record) for record in found.records.values()],
        "sources": [msgspec.to_builtins(source) for source in found.sources.values()],
        "features": [msgspec.to_builtins(feature) for feature in found.features.values()],
        "industries": {"standard": INDUSTRY_STANDARD, "sections": msgspec.to_builtins(sections())},
        "regions": {"standard": REGION_STANDARD, "provinces": msgspec.to_builtins(provinces())},
        "conventions": msgspec.to_builtins(conventions()),
    }
    return json.dumps(_finite(built), ensure_ascii=False, indent=1) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _overview(roles: Sequence[str]) -> str:
    found = dictionary()
    rows = []
    for role in roles:
        own = [feature for feature in found.features.values() if feature.role == role]
        made_of = ", ".join(f"`{source}`" for source in dict.fromkeys(feature.source for feature in own))
        rows.append((f"[{role}]({role}.md)", str(len(own)), made_of))
    listed = table(("Role", "Features", "Made of"), rows)
    return "\n\n".join([HEADER, "# The data dictionary", _INTRODUCTION.format(version=VERSION), "## Features", listed]) + "\n"


def _records() -> str:
    text = (
        "Map your own tables to these in `mapping.toml`. A column that is not *required* may be left out; a cell that is not *may be blank* "
        "must hold a value, or its row is dropped and counted. *Also* are usual names that are tried where you map none."
    )
    return "\n\n".join([HEADER, "# Kinds of record", text, *(_record(record) for record in dictionary().records.values())]) + "\n"


def _record(record: RecordKind) -> str:
    rows = []
    for column in record.columns:
        meaning = column.definition + (f" One of: {', '.join(column.values)}." if column.values else "")
        meaning += f" Range: {column.bounds}." if column.bounds else ""
        rows.append((
            f"`{column.name}`", column.type, meaning, "yes" if column.required else "", "yes" if column.may_be_blank else "",
            str(column.level), column.classification, ", ".join(column.also),
        ))  # fmt: skip
    key = ", ".join(f"`{name}`" for name in record.key)
    head = f"## `{record.name}`\n\n{record.title} (role: {record.role}). {record.definition} Named by {key}; dated by `{record.date}`."
    return f"{head}\n\n{table(('Column', 'Type', 'Meaning', 'Required', 'May be blank', 'Level', 'Class', 'Also'), rows)}"


def _role(role: str) -> str:
    found = dictionary()
    parts = [HEADER, f"# Features of role {role}"]
    own = [feature for feature in found.features.values() if feature.role == role]
    for source in dict.fromkeys(feature.source for feature in own):
        parts += [f"## From `{source}`"]
        if source in found.sources:
            parts += [_source(found.sources[source])]
        parts += [_features([feature for feature in own if feature.source == source])]
    return "\n\n".join(parts) + "\n"


def _source(source: RecordSource) -> str:
    rows = [(f"`{kind.name}`", kind.definition, ", ".join(kind.statuses), ", ".join(kind.also)) for kind in source.kinds]
    return f"{source.title}. {source.definition}\n\n{table(('Kind of record', 'Meaning', 'Statuses', 'Also'), rows)}"


def _features(features: Sequence[Feature]) -> str:
    rows = []
    for one in features:
        low, high = (f"{bound:g}" if math.isfinite(bound) else "" for bound in one.range)
        rows.append((
            f"`{one.name}`", one.definition, one.formula, one.unit, one.period, f"{one.level}, {one.classification}",
            f"{low} to {high}".strip() if low or high else "any", one.direction, one.comparable,
        ))  # fmt: skip
    return table(("Feature", "Meaning", "Formula", "Unit", "Period", "Level, class", "Range", "Direction", "Comparable"), rows)


def _codes() -> str:
    said = conventions()
    industries = [
        (letter, section.name, section.english, ", ".join(f"{code} {name}" for code, name in section.divisions.items()))
        for letter, section in sections().items()
    ]
    regions = [(code, province.name, province.english) for code, province in provinces().items()]
    money = [
        f"Currency: {said.currency.code}, counted in whole {said.currency.minor_unit}, rounded {said.currency.rounding}.",
        f"Units of own tables: {', '.join(said.currency.units)}.",
        f"An amount beyond {said.currency.most_fen // 100:,} yuan is refused.",
    ]
    calendar = [
        f"A day is a day of {said.calendar.time_zone}; a record before {said.calendar.earliest_year} is refused.",
        f"Month: {said.calendar.month}. Year: {said.calendar.year}.",
        f"As of: {said.calendar.as_of}.",
        f"Windows: {', '.join(map(str, said.calendar.windows))} whole months.",
    ]
    return "\n\n".join([
        HEADER, "# Codes and conventions", "## Money", bullets(money), "## Calendar", bullets(calendar),
        f"## Industries ({INDUSTRY_STANDARD})", table(("Section", "Name", "English", "Divisions"), industries),
        f"## Regions ({REGION_STANDARD})", table(("Code", "Name", "English"), regions),
    ]) + "\n"  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or with --check say which are stale. Exit code 1 when any is."""
    return command("privacy.dictionary.document", "The data dictionary as pages.", FOLDER, pages(), arguments)


if __name__ == "__main__":
    sys.exit(main())
