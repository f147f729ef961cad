"""A party's records: read from its source, each column in its kind, every rule of the vault's door checked, rows in the file's order."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clients.party_config import PartyConfig
from clients.sources import kinds, rules
from clients.sources.frame import Frame
from clients.sources.in_pairs import FIRM, PAIR, in_pairs
from clients.sources.opening import open_source, stamp
from clients.sources.table import Source
from clients.sources.together import together
from clients.sources.typed import Records
from federation.align import uscc
from federation.kernel.errors import DataError
from federation.models.bins import OTHER
from federation.models.table import Column
from privacy.dictionary.entries import features
from privacy.dictionary.plausible import outside

RESERVED = ("id", "label", "weight", "as_of", "owner", "owner_id")
"""Names that are features only where `include` or `types` names them: forgotten in the run file, each would be a leak or noise."""
_PLAIN_NAME = re.compile(r"[^\W\d]\w{0,63}")


def load(config: PartyConfig) -> Records:
    """Read, type and check the party's records. Raises DataError.

    A column leaves the frame when it is typed: what is in memory is one table and a column, not two tables.
    """
    before, source = stamp(config), open_source(config)
    roles = _roles(config, source)
    if config.serves == "pairs":
        _require(source, (PAIR, FIRM), "column of a source of pairs")
    offered = [PAIR, FIRM] if config.serves == "pairs" else _offered(config, source, roles)
    exact = {config.id, config.owner or config.id, *(name for name, kind in config.types.items() if kind == "categorical")}
    frame = source.read([*dict.fromkeys((*roles.values(), *offered))], exact)
    if stamp(config) != before:
        raise DataError(source.where, "it was changed while it was read", "Nothing was sent. Try again when its writer is done.")
    if config.serves == "pairs":
        named, own, others = (kinds.ids(frame.take(name)) for name in (PAIR, FIRM, config.id))
        return in_pairs(config.name, named, own, others, config.id_kind)
    columns, notes = _columns(config, source, frame, offered)
    firms, id_kind = _identify(config, kinds.ids(frame.take(config.id)))
    labelled = {role: roles[role] for role in (rules.LABEL, rules.WEIGHT) if role in roles}
    outcome = {name: _outcome(config, frame.take(name), name) for name in labelled.values()}
    typed = outcome | {name: column.values for name, column in columns.items()}
    rules.check(config.name, typed, labelled, {name: column.kind for name, column in columns.items()})
    label = outcome[roles["label"]].astype(np.int8) if "label" in roles else None
    weight = outcome[roles["weight"]] if "weight" in roles else None
    _check_outcome(config, label, weight)
    as_of = _days(config, frame.take(roles["as_of"])) if "as_of" in roles else None
    if config.serves != "models":
        return together(Records(firms, id_kind, columns, None, None, None, tuple(notes)), config.name)
    owners = _owners(kinds.ids(frame.take(roles["owner"]))) if "owner" in roles else []
    found = (*notes, *_constant(config, columns), *_called_other(config, columns), *_implausible(config, columns))
    return Records(firms, id_kind, columns, as_of, label, weight, found, owners)


def _roles(config: PartyConfig, source: Source) -> dict[str, str]:
    """Role to column, for the roles that this source has; a feature party's table may be without dates."""
    wanted = {"id": config.id, "label": config.label, "weight": config.weight, "as_of": config.as_of, "owner": config.owner}
    roles = {role: column for role, column in wanted.items() if column is not None}
    if not config.has_outcomes and roles.get("as_of") not in source.names:
        roles.pop("as_of", None)
    for role, column in roles.items():
        _require(source, [column], f"{role} column")
    if len(set(roles.values())) < len(roles):
        raise DataError(
            config.name, "one column is named for two of id, owner, label, weight and as_of", "Name a column of its own for each."
        )
    return roles


def _offered(config: PartyConfig, source: Source, roles: Mapping[str, str]) -> list[str]:
    """The feature columns by name, in the file's order: include less exclude, and never id, owner, label, weight or date."""
    for key in ("include", "exclude", "levels", "classes", "types", "owner_columns"):
        tables = config.own_columns if key in ("levels", "classes") else ()  # a table of repayments has a level, too
        _require(source, [name for name in getattr(config, key) if name not in tables], f"{key} column")
    taken = [name for name in config.include if name in roles.values()]
    if taken:
        what = f"column {taken[0]!r} is the id, owner, label, weight or date and cannot be a feature"
        raise DataError(config.name, what, "Take it out of include.")
    if config.serves == "asking":
        return []
    asked = {*config.include, *config.types}
    wanted = config.include or [name for name in source.names if name not in RESERVED or name in asked]
    return [name for name in source.names if name in wanted and name not in config.exclude and name not in roles.values()]


def _require(source: Source, names: Sequence[str] | Mapping[str, Any], what: str) -> None:
    """Raises DataError for a name that is no column.

    The nearest column is named only if it reads like a name: a file without a header row has an id there.
    """
    for name in names:
        if name in source.names:
            continue
        near = difflib.get_close_matches(name, [n for n in source.names if _PLAIN_NAME.fullmatch(n)], 1, 0.5)
        headless = not source.typed and not any(_PLAIN_NAME.fullmatch(n) for n in source.names)
        hint = f"Did you mean {near[0]!r}?" if near else "The first row must hold the column names." if headless else "Check [[party]]."
        raise DataError(source.where, f"there is no column {name!r} ({what}) among {len(source.names)}", f"Nothing was sent. {hint}")


def _columns(config: PartyConfig, source: Source, frame: Frame, offered: Sequence[str]) -> tuple[dict[str, Column], list[str]]:
    """Each offered column in its kind, and what was left out and why."""
    out: dict[str, Column] = {}
    notes = []
    reasons = {
        "date": "holds dates (declare types to use it)", "name": "has another value in nearly every row (declare types to use it)",
        "empty": "has no value at all", "nested": "is neither number nor text",
    }  # fmt: skip
    for name in offered:
        values = frame.take(name)
        kind = config.types.get(name) or kinds.kind_of(config.name, name, values, typed=source.typed)
        if kind == "numeric":
            out[name] = Column(name, "numeric", kinds.numbers(config.name, name, values))
        elif kind == "categorical":
            out[name] = Column(name, "categorical", kinds.levels(values))
        elif name in config.include and kind != "empty":
            what = f"column {name!r} {reasons[kind]}"
            raise DataError(config.name, what, "Nothing was sent. Take it out of include or declare its type.")
        else:
            notes.append(f"{config.name}: column {name!r} was left out: it {reasons[kind]}")
    unused = [name for name in source.names if name in RESERVED and name not in offered and name not in _used(config)]
    notes += [f"{config.name}: column {name!r} was left out: its name is that of an id, owner, label, weight or date" for name in unused]
    if not out and not config.has_outcomes and config.serves != "asking":
        raise DataError(config.name, "it has no feature column", "Nothing was sent. Check include, exclude and types.")
    return out, notes


def _used(config: PartyConfig) -> tuple[str | None, ...]:
    return (config.id, config.owner, config.label, config.weight, config.as_of, *config.exclude)


def _identify(config: PartyConfig, raw: Sequence[str | None]) -> tuple[list[str], uscc.Kind]:
    """Ids in their one spelling. A firm may have several rows here: what a key is, and so what a duplicate is, the manifest says."""
    texts = np.array([text or "" for text in raw], object)
    places, found = pd.factorize(texts)
    distinct: list[str] = found.tolist()
    kind: uscc.Kind = config.id_kind if config.id_kind != "auto" else "uscc" if uscc.looks_like_uscc(distinct) else "any"
    spelled = uscc.spellings(distinct, kind)
    if not all(spelled):
        uscc.normalise(texts.tolist(), kind, f"{config.name}: column {config.id!r}")  # raises, with the row numbers
    return np.array(spelled, object)[places].tolist(), kind


def _owners(raw: Sequence[str | None]) -> list[str]:
    """Owners' ids in the spelling of the consent ledger, "" for what is none: no rule, for a row without an owner is one without consent."""
    places, found = pd.factorize(np.array([text or "" for text in raw], object))
    owners: list[str] = np.array(uscc.in_any_kind(found.tolist()), object)[places].tolist()
    return owners


def _outcome(config: PartyConfig, values: pd.Series[Any], name: str) -> NDArray[np.float64]:
    """Label or weight as numbers; True and False are 1 and 0."""
    if pd.api.types.infer_dtype(values, skipna=True) == "boolean":
        return np.array([np.nan if pd.isna(value) else float(value) for value in values.tolist()])
    return kinds.numbers(config.name, name, values)


def _check_outcome(config: PartyConfig, label: NDArray[np.int8] | None, weight: NDArray[np.float64] | None) -> None:
    if label is not None and len(np.unique(label)) == 1:
        what = f"column {config.label!r}: all {len(label):,} rows are of one class (rule: goods and bads)"
        raise DataError(config.name, what, "Nothing was sent. Bring rows of both.")
    if weight is not None and not weight.any():
        raise DataError(config.name, f"column {config.weight!r}: all weights are zero", "Nothing was sent. Correct them at the source.")


def _days(config: PartyConfig, values: pd.Series[Any]) -> NDArray[np.datetime64]:
    days = kinds.dates(values)
    wrong = int(np.isnat(days).sum())
    if wrong:
        raise DataError(
            config.name,
            f"column {config.as_of!r} has {wrong:,} of {len(days):,} values that are no date (rule: a day or a month)",
            "Nothing was sent. Write dates as 2024-01-31 at the source.",
        )
    return days


def _constant(config: PartyConfig, columns: Mapping[str, Column]) -> list[str]:
    """Columns with one value: no error, for another sample may vary."""
    return [
        f"{config.name}: column {name!r} has the same value in every row"
        for name, column in columns.items()
        if not column.missing.any() and (column.values == column.values[0]).all()
    ]


def _called_other(config: PartyConfig, columns: Mapping[str, Column]) -> list[str]:
    """Columns with a level of the name that stands for all rarer ones."""
    return [
        f"{config.name}: column {name!r} has a level {OTHER!r} of its own: it counts with all levels that have no bin; rename it to part them"
        for name, column in columns.items()
        if column.kind == "categorical" and (column.values == OTHER).any()
    ]


def _implausible(config: PartyConfig, columns: Mapping[str, Column]) -> list[str]:
    """Columns with values beyond what the dictionary calls plausible: a sign of another unit or formula, and no error."""
    known, notes = features(), []
    for name, column in columns.items():
        beyond = outside(known[name], column.values) if name in known and column.kind == known[name].kind == "numeric" else 0
        if beyond:
            what = f"{beyond:,} of {len(column.values):,} values beyond the range that the dictionary calls plausible"
            notes.append(f"{config.name}: column {name!r} has {what}")
    return notes
