"""How questions, attributes and ways out are put to a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from privacy.levels import PERSON_ROLES
from privacy.policy.ask import Ask, ColumnAsk, PersonAsk, ReleaseAsk

LABELS: Final[dict[str, str]] = {
    "requester": "asked for by", "role": "role", "same_person": "has asked or approved already", "column": "column", "model": "model",
    "kind": "release", "recipient": "recipient", "purpose": "purpose", "task": "task", "approved_by": "approved by", "level": "level",
    "classification": "class", "institution": "held by", "highest_level": "highest level", "counterparts": "counterparts",
    "new_counterpart": "a counterpart is new", "rows": "rows", "fewest_rows": "fewest rows behind a number",
    "minimum_cohort": "minimum cohort", "parameters": "parameters", "score_reveals": "score vectors shown",
    "partner_columns": "columns behind them", "shows_labels": "shows single labels", "noised": "carries noise",
}  # fmt: skip
"""Every field that a rule can look at, in the order in which a person reads them."""

_HOLDERS: Final = {"bank": "a bank", "platform": "a platform", "tax": "a tax bureau", "agency": "an agency"}
_ARTICLES: Final = {role: ("an " if role[0] in "aeiou" else "a ") + role for role in PERSON_ROLES}
_REPLACED: Final = "another column in its place"
_TASKS: Final = {
    "statistics": "statistics", "binning": "binning", "train": "training", "multi_lender": "a multi-lender check",
    "shared_identity": "a shared-identity check", "common_counterparties": "a comparison of counterparties",
}  # fmt: skip
_ROLE_ORDER: Final = {role: at for at, role in enumerate(PERSON_ROLES)}


def either(words: Iterable[object]) -> str:
    """`a, b or c`."""
    listed = [str(word) for word in words]
    return " or ".join((", ".join(listed[:-1]), listed[-1])) if len(listed) > 1 else listed[0]


def question(ask: Ask) -> str:
    """The question in words, as the object of "Refused: ..."."""
    if isinstance(ask, PersonAsk):
        return f"'{ask.act}' by {_ARTICLES[ask.role]}" + (", who has asked for it or approved it already" if ask.same_person else "")
    if isinstance(ask, ColumnAsk):
        holder = _HOLDERS.get(ask.institution, f"a source of records ({ask.institution})")
        thing = f"column '{ask.column}' of {holder} (level {ask.level}, class {ask.classification})"
        thing += f", in {_TASKS[ask.task]}" if ask.task != "train" else ""
    elif isinstance(ask, ReleaseAsk):
        to = "the institutions" if ask.recipient == "institutions" else f"the {ask.recipient}"
        thing = f"release of {ask.kind} to {to} ({ask.rows:,} rows, columns up to level {ask.highest_level}), in {_TASKS[ask.task]}"
    else:
        without = "approval without a person of " if ask.approval == "automatic" else ""
        thing = f"{without}a run of {_TASKS[ask.task]} (model '{ask.model}', columns up to level {ask.highest_level})"
    return f"{thing}, for the purpose '{ask.purpose}', asked for by {_ARTICLES[ask.requester]}"


def looked_at(ask: Ask, field: str) -> str:
    """One attribute with its value: `approved by: nobody`."""
    value: Any = getattr(ask, field)
    if isinstance(value, bool):
        shown = "yes" if value else "no"
    elif isinstance(value, frozenset):
        shown = ", ".join(sorted(value, key=lambda word: (_ROLE_ORDER.get(word, 0), word))) or "nobody"
    elif isinstance(value, int):
        shown = f"{value:,}"
    else:
        shown = value
    return f"{LABELS[field]}: {shown}"


def way_out(ask: Ask, field: str, values: Sequence[Any]) -> str:
    """What it takes for the field to have one of these values instead of its own."""
    match field:
        case "requester" | "role":
            return f"{either(_ARTICLES[value] for value in values)} who {'asks for' if field == 'requester' else 'does'} it"
        case "purpose":
            return f"the purpose {either(map(repr, values))}, if that is what it is for"
        case "approved_by":
            now: frozenset[str] = getattr(ask, field)
            added = [sorted(value - now, key=_ROLE_ORDER.__getitem__) for value in values]
            return f"approval by {either(' and '.join(f'the {role}' for role in roles) for roles in added)} of this institution"
        case "level" | "highest_level":
            upward = sorted(values)
            few = f"{upward[-1]} or lower" if upward == list(range(1, upward[-1] + 1)) and len(upward) > 1 else either(upward)
            return f"{_REPLACED}, of level {few}" if field == "level" else f"columns of level {few} alone"
        case "classification":
            return f"{_REPLACED}, of class {either(values)}"
        case "task":
            return f"a run of {either(_TASKS[value] for value in values)}"
        case "kind":
            return f"a release of {either(values)}"
        case "recipient":
            return f"a release to {either('the institutions' if value == 'institutions' else f'the {value}' for value in values)}"
        case _:
            return _SWITCHES[field] if isinstance(values[0], bool) else f"{LABELS[field]}: {values[0]:,} instead of {getattr(ask, field):,}"


def together(first: str, second: str) -> str:
    """Two changes as one."""
    if first.startswith(_REPLACED) and second.startswith(_REPLACED):
        return first + " and" + second.removeprefix(_REPLACED + ",")
    return f"{first}, together with {second}"


_SWITCHES: Final = {
    "same_person": "another person, who has neither asked nor approved",
    "new_counterpart": "counterparts with which this institution has finished a run before",
    "shows_labels": "a release from which no single label is found",
    "noised": "noise on what leaves",
}
