"""Bins as a document that a person edits: cut or merge, order groups, force a direction, mark special values, and say why.

    [columns.no_emp]
    kind = "numeric"
    edges = [2.0, 10.0]               # (-inf, 2), [2, 10), [10, inf)
    special = [-1.0]                  # a bin each
    direction = "decreasing"          # of the bad rate; leave out for the run's setting
    reason = "2019 credit policy"     # needed as soon as the column differs from what was generated

    [columns.state]
    kind = "categorical"
    groups = [["CA", "NV"], ["NY"], ["other"]]   # "other" takes every level not named

    [generated.no_emp]                # digests of what was generated: not to be edited
    edges = "..."

`joined` (one number for each special value, then one for missing) counts that value with an ordinary bin, from 0; -1 or no key: own bin.
The file itself is read and written elsewhere; here are dictionaries.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from federation.kernel import suite
from federation.kernel.errors import ConfigurationError
from federation.kernel.known import known
from federation.models.bins import OTHER, OWN, Bins, Direction

Document = dict[str, Any]
Generated = Mapping[str, Mapping[str, str]]
_SECTIONS = ("columns", "generated")


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column of the document."""

    kind: Literal["numeric", "categorical"]
    edges: tuple[float, ...] | None = None
    groups: tuple[tuple[str, ...], ...] | None = None
    special: tuple[float | str, ...] = ()
    joined: tuple[int, ...] | None = None
    direction: Direction | None = None
    reason: str = ""


_KEYS = tuple(field for field in _Entry.__struct_fields__ if field != "reason")


class Edit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column edited by hand. what: the keys that differ; reason: the editor's own words. Both go into the report and the audit log."""

    column: str
    what: str
    reason: str


def to_toml_dict(bins: Mapping[str, Bins]) -> Document:
    """The document of these bins, ready to be written as TOML and edited."""
    columns = {name: _plain(found) for name, found in bins.items()}
    return {"columns": columns, "generated": {name: _digests(entry) for name, entry in columns.items()}}


def generated_digest(document: Mapping[str, Any]) -> str:
    """What the node keeps to recognise its own document, hexadecimal."""
    generated: Generated = document.get("generated", {})
    flat = [part for name in sorted(generated) for part in (name, *(f"{k}={v}" for k, v in sorted(generated[name].items())))]
    return suite.digest("bins document", *flat).hex()


def from_toml_dict(document: Mapping[str, Any], digest: str) -> tuple[dict[str, Bins], list[Edit]]:
    """The bins of an edited document, and what was edited. digest: `generated_digest` of the document as generated.

    Raises ConfigurationError naming column and key: an unknown name (with the nearest known one), a column that was removed, an edit
    without a reason, bins that cannot be, or a document that was generated from something else.
    """
    _known(document, _SECTIONS, "bins file", "section")
    columns, generated = _table(document, "columns"), _table(document, "generated")
    for name in generated:
        _table(generated, name)
    if generated_digest(document) != digest:
        what = "was not generated for these columns, or its [generated] part was changed"
        raise ConfigurationError("bins file", what, "Generate it again and repeat the edits.")
    _known(columns, generated, "bins file", "column")
    removed = [name for name in generated if name not in columns]
    if removed:
        where = f"bins file, column {removed[0]!r}"
        raise ConfigurationError(where, "was removed", "Put it back, or leave the column out with [[party]] exclude.")
    bins, edits = {}, []
    for name in columns:
        entry = _entry(name, _table(columns, name))
        bins[name] = _bins(name, entry)
        changed = sorted(_differences(_digests(_plain(bins[name])), generated[name]))
        if changed and not entry.reason.strip():
            where, what = f"bins file, column {name!r}", f"{' and '.join(changed)} changed without a reason"
            raise ConfigurationError(where, what, 'Say why: reason = "..." in the same section.')
        if changed:
            edits.append(Edit(name, ", ".join(changed), entry.reason.strip()))
    return bins, edits


def _plain(bins: Bins) -> dict[str, Any]:
    """A column's section; keys at their default are left out, so that the file stays short."""
    out: dict[str, Any] = {"kind": bins.kind}
    if bins.kind == "numeric":
        out["edges"] = list(bins.edges)
    else:
        out["groups"] = [[*group, *([OTHER] if place == bins.other else [])] for place, group in enumerate(bins.groups)]
    if bins.special:
        out["special"] = list(bins.special)
    if any(home != OWN for home in bins.joined):
        out["joined"] = list(bins.joined)
    if bins.direction is not None:
        out["direction"] = bins.direction
    return out


def _bins(name: str, entry: _Entry) -> Bins:
    joined = entry.joined if entry.joined is not None else (OWN,) * (len(entry.special) + 1)
    if entry.kind == "numeric":
        if entry.edges is None or entry.groups is not None:
            raise ConfigurationError(f"bins file, column {name!r}", "is numeric and needs edges, not groups", "Correct the section.")
        return Bins(column=name, kind="numeric", edges=entry.edges, special=entry.special, joined=joined, direction=entry.direction)
    if entry.groups is None or entry.edges is not None:
        raise ConfigurationError(f"bins file, column {name!r}", "is categorical and needs groups, not edges", "Correct the section.")
    others = [place for place, group in enumerate(entry.groups) if OTHER in group]
    if len(others) != 1 or entry.groups[others[0]].count(OTHER) != 1:
        what = f"has {OTHER!r} in {len(others)} groups" if len(others) != 1 else f"has {OTHER!r} twice in a group"
        raise ConfigurationError(f"bins file, column {name!r}", what, "Put it in one group, once: that group takes every level not named.")
    groups = tuple(tuple(level for level in group if level != OTHER) for group in entry.groups)
    return Bins(
        column=name, kind="categorical", groups=groups, other=others[0], special=entry.special, joined=joined, direction=entry.direction
    )


def _entry(name: str, section: Mapping[str, Any]) -> _Entry:
    _known(section, _Entry.__struct_fields__, f"bins file, column {name!r}", "key")
    try:
        return msgspec.convert(section, known(_Entry), strict=True)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"bins file, column {name!r}", str(error), "Correct the section.") from None


def _digests(entry: Mapping[str, Any]) -> dict[str, str]:
    """A short digest of each key of a section."""
    return {key: suite.digest(key, msgspec.json.encode(entry[key])).hex()[:16] for key in _KEYS if key in entry}


def _differences(now: Mapping[str, str], then: Mapping[str, str]) -> set[str]:
    return {key for key in now.keys() | then.keys() if now.get(key) != then.get(key)}


def _table(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = document.get(key)
    if not isinstance(table, Mapping):
        raise ConfigurationError("bins file", f"[{key}] is not there or not a section", "Generate the file again and edit it.")
    return table


def _known(given: Iterable[str], known: Iterable[str], where: str, what: str) -> None:
    names = list(known)
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1, 0.4)
            action = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(names)}."
            raise ConfigurationError(where, f"{what} {name!r} is not known", action)
