"""Every default rule with one thing wrong: dropped, turned round, weakened, or with another constant, operator, attribute or word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, get_args

import cedarpy
from cedarpy import pst

from federation.kernel.errors import ConfigurationError
from privacy import levels
from privacy.institutions import institution_roles
from privacy.policy import ask
from privacy.policy.decide import Policies
from privacy.policy.defaults import default_files, schema_text
from privacy.policy.rules import Rule, read_rules

SWAPPED = {
    "eq": ["not_eq"], "not_eq": ["eq"], "less": ["less_eq", "greater_eq"], "less_eq": ["less", "greater"],
    "greater": ["greater_eq", "less_eq"], "greater_eq": ["greater", "less"], "and": ["or"], "or": ["and"], "mul": ["add", "sub"],
}  # fmt: skip
BOOLEAN = {"eq", "not_eq", "less", "less_eq", "greater", "greater_eq", "and", "or", "in", "contains"}
WORDS = {
    "Role": levels.PERSON_ROLES, "Institution": institution_roles(), "Classification": get_args(levels.Classification),
    "Purpose": get_args(ask.Purpose), "Task": get_args(ask.Task), "Recipient": get_args(ask.Recipient), "Release": get_args(ask.ReleaseKind),
    "Action": (*get_args(ask.Act), "start run", "approve automatically"),
}  # fmt: skip
LIKE = [
    {"rows", "fewest_rows", "minimum_cohort", "parameters", "score_reveals", "partner_columns", "highest_level"}, {"shows_labels", "noised"},
]  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """what: the change in words; policies: the default ones with this change."""

    what: str
    policies: Policies


def other_words(uid: pst.EntityUid) -> list[pst.EntityUid]:
    """Every other entity of its kind."""
    return [replace(uid, id=word) for word in WORDS[uid.type.basename] if word != uid.id]


def expressions(node: Any) -> Iterator[tuple[str, Any]]:  # noqa: C901, PLR0912  # one table of changes
    """The expression with one change, anywhere in it."""
    match node:
        case pst.BinaryOp(op, left, right):
            yield from ((f"{op} -> {new}", replace(node, op=new)) for new in SWAPPED.get(op, []))
            if op in BOOLEAN:
                yield f"not ({op})", pst.UnaryOp("not", node)
            if op in ("and", "or", "mul"):
                yield f"{op}: left alone", left
                yield f"{op}: right alone", right
        case pst.UnaryOp("not", arg):
            yield "without not", arg
        case pst.LongLit(value):
            yield from ((f"{value} -> {new}", pst.LongLit(new)) for new in (value - 1, value + 1))
        case pst.EntityLit(uid):
            yield from ((f"{uid} -> {new}", pst.EntityLit(new)) for new in other_words(uid)[:2])
        case pst.Set(elements) if len(elements) > 1:
            yield from ((f"without {gone}", pst.Set(tuple(e for e in elements if e is not gone))) for gone in elements)
        case pst.GetAttr(base, attr):
            if attr in LIKE[1]:
                yield f"not {attr}", pst.UnaryOp("not", node)
            for alike in LIKE:
                yield from ((f"{attr} -> {new}", pst.GetAttr(base, new)) for new in sorted(alike - {attr}) if attr in alike)
        case _:
            pass
    if is_dataclass(node):
        for field in fields(node):
            value = getattr(node, field.name)
            if isinstance(value, tuple):
                for at, part in enumerate(value):
                    yield from (
                        (what, replace(node, **{field.name: (*value[:at], new, *value[at + 1 :])})) for what, new in expressions(part)
                    )
            elif is_dataclass(value) and not isinstance(value, pst.EntityUid):
                yield from ((what, replace(node, **{field.name: new})) for what, new in expressions(value))


def scopes(rule: pst.Template) -> Iterator[tuple[str, pst.Template]]:
    """The rule for another principal, action or resource."""
    for part in ("principal", "resource"):
        scope = getattr(rule, part)
        if isinstance(scope, pst.ScopeEq):
            yield f"any {part}", replace(rule, **{part: pst.ScopeAny()})
            yield from ((f"{part} {new}", replace(rule, **{part: pst.ScopeEq(new)})) for new in other_words(scope.entity))
    if isinstance(rule.action, pst.ActionEq):
        yield "any action", replace(rule, action=pst.ScopeAny())
        yield from ((f"action {new}", replace(rule, action=pst.ActionEq(new))) for new in other_words(rule.action.entity))
    if isinstance(rule.action, pst.ActionIn):
        for entity in rule.action.entities:
            left = tuple(other for other in rule.action.entities if other != entity)
            yield f"not for {entity}", replace(rule, action=pst.ActionIn(left))
            yield from ((f"{entity} -> {new}", replace(rule, action=pst.ActionIn((*left, new)))) for new in other_words(entity))


def templates(rule: pst.Template) -> Iterator[tuple[str, pst.Template]]:
    """The rule with one change."""
    yield "turned round", replace(rule, effect="forbid" if rule.effect == "permit" else "permit")
    for at, clause in enumerate(rule.clauses):
        without = (*rule.clauses[:at], *rule.clauses[at + 1 :])
        yield f"clause {at} dropped", replace(rule, clauses=without)
        turned = pst.Unless(clause.expr) if isinstance(clause, pst.When) else pst.When(clause.expr)
        yield f"clause {at} turned round", replace(rule, clauses=(*rule.clauses[:at], turned, *rule.clauses[at + 1 :]))
        for what, new in expressions(clause):
            yield what, replace(rule, clauses=(*rule.clauses[:at], new, *rule.clauses[at + 1 :]))
    yield from scopes(rule)


def mutants() -> Iterator[Mutant]:
    """All mutants that the schema lets through, in a fixed order."""
    schema = cedarpy.Schema.from_str(schema_text())
    rules = Policies.from_texts(schema_text(), default_files()).rules
    for at, rule in enumerate(rules):
        before, after = rules[:at], rules[at + 1 :]
        yield Mutant(f"{rule.id}: dropped", Policies(schema, (*before, *after)))
        for what, tree in templates(rule.tree):
            changed = reread(rule, tree, schema)
            if changed is not None:
                yield Mutant(f"{rule.id}: {what}", Policies(schema, (*before, changed, *after)))


def reread(rule: Rule, tree: pst.Template, schema: cedarpy.Schema) -> Rule | None:
    """The changed rule written out and read again; None where the schema refuses it, as a node would when it starts."""
    text = str(cedarpy.PolicySet.from_pst(pst.PolicySet({}, {tree.id: tree}, ())))
    try:
        (found,) = read_rules(rule.file, text if text.rstrip().endswith(";") else text + ";", schema)
    except ConfigurationError:
        return None
    return found
