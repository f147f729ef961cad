"""Why the answer is no: which rules, what they looked at, and what would change it.

What would change it is found by trying: every other value of one attribute that the deciding rules read, then of two where neither alone is
enough. What is offered has therefore been decided by the same policies, all rules together; it is no guess from one rule's text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import combinations
from typing import Any, Final

from cedarpy import pst

from federation.kernel.errors import PolicyRefusal
from privacy.levels import PERSON_ROLES
from privacy.policy.ask import LARGEST, Ask, words_of
from privacy.policy.decide import FAILED, Decision, Policies
from privacy.policy.rules import Rule
from privacy.policy.wording import LABELS, looked_at, question, together, way_out

FIXED: Final = frozenset({"column", "model", "kind", "institution", "counterparts", "rows", "partner_columns"})
"""What the person who asks cannot change, or would not call a change of the same question."""
NEAREST: Final = 8
"""Of the numbers that could matter, how many are tried, nearest first."""


@dataclass(frozen=True)
class Explanation:
    """decision: what was decided; asked: the question in words; rules: each with what it looked at; ways_out: changes that would be allowed."""

    decision: Decision
    asked: str
    rules: tuple[tuple[Rule, tuple[str, ...]], ...]
    ways_out: tuple[str, ...]

    @property
    def reasons(self) -> str:
        """The rules, a paragraph."""
        lines = [] if self.decision.rules else [self.decision.because + (" On other terms one of these would:" if self.rules else "")]
        for rule, looked in self.rules:
            lines += [f"Rule {rule.id} ({rule.place}): {rule.why}"]
            lines += [f"  It looked at: {'; '.join(looked)}."] if looked else []
        return "\n  ".join(lines)

    @property
    def outlook(self) -> str:
        """What would change it, a list."""
        if not self.ways_out:
            return "What would change it: nothing in one or two steps but another policy."
        return "\n    - ".join(("What would change it:", *self.ways_out))

    def __str__(self) -> str:
        if self.decision.allowed:
            return f"Allowed: {self.asked}.\n  {self.reasons}"
        return str(self.refusal())

    def refusal(self) -> PolicyRefusal:
        """The same as an error."""
        return PolicyRefusal("Refused", f"{self.asked}.\n  {self.reasons}", self.outlook)


def require(policies: Policies, ask: Ask) -> Decision:
    """The decision, where it is yes. Raises PolicyRefusal with the whole explanation where it is no."""
    decision = policies.decide(ask)
    if not decision.allowed:
        raise explain(policies, ask).refusal()
    return decision


def explain(policies: Policies, ask: Ask) -> Explanation:
    """Which rules decided, what they looked at, and, of a refusal, the smallest changes that would be allowed."""
    decision = policies.decide(ask)
    if decision.rules:
        rules = tuple(policies.rule(name) for name in decision.rules)
    elif decision.because == FAILED:
        rules = ()
    else:
        rules = tuple(rule for rule in policies.rules if rule.tree.effect == "permit" and _concerns(rule, ask.action))
    shown = tuple((rule, tuple(looked_at(ask, field) for field in _read(rule, ask))) for rule in rules)
    return Explanation(decision, question(ask), shown, () if decision.allowed else _ways_out(policies, ask, rules))


def _concerns(rule: Rule, action: str) -> bool:
    match rule.tree.action:
        case pst.ActionEq(entity):
            return entity.id == action
        case pst.ActionIn(entities):
            return any(entity.id == action for entity in entities)
        case _:
            return True


def _nodes(root: object) -> Iterator[object]:
    """Every node under a tree, itself included."""
    yield root
    if isinstance(root, tuple):
        for part in root:
            yield from _nodes(part)
    elif isinstance(root, dict):
        yield from _nodes(tuple(root.values()))
    elif is_dataclass(root):
        for field in fields(root):
            yield from _nodes(getattr(root, field.name))


def _read(rule: Rule, ask: Ask) -> tuple[str, ...]:
    """The fields of the question that a rule looks at, in reading order."""
    found: set[str] = set()
    for node in _nodes(rule.tree.clauses):
        match node:
            case pst.GetAttr(pst.Var("context"), attr):
                found.add(attr)
            case pst.Var("principal"):
                found.add(ask.principal_field)
            case pst.Var("resource"):
                found.add(ask.resource_field)
            case _:
                pass
    if not isinstance(rule.tree.principal, pst.ScopeAny):
        found.add(ask.principal_field)
    if isinstance(rule.tree.resource, pst.ScopeEq):
        found.add(ask.resource_field)
    return tuple(field for field in LABELS if field in found)


def _ways_out(policies: Policies, ask: Ask, rules: Sequence[Rule]) -> tuple[str, ...]:
    """Single changes that would be allowed, and pairs of which neither half is enough.

    Tried among what the deciding rules read, then among what any rule about this action reads.
    """
    concerned = [rule for rule in policies.rules if _concerns(rule, ask.action)]
    for among in (rules, concerned):
        read = {field for rule in among for field in _read(rule, ask)} - FIXED
        options = {field: _options(ask, field, among) for field in LABELS if field in read}
        if found := _search(lambda changed: policies.decide(changed).allowed, ask, options):
            return found
    return ()


def _search(allowed: Callable[[Ask], bool], ask: Ask, options: dict[str, list[Any]]) -> tuple[str, ...]:
    order = {field: at for at, field in enumerate(LABELS)}
    found: list[tuple[int, str]] = []
    alone: set[str] = set()
    for field, values in options.items():
        if good := [value for value in values if allowed(replace(ask, **{field: value}))]:
            alone.add(field)
            found.append((order[field], way_out(ask, field, _least(ask, field, good))))
    for first, second in combinations([field for field in options if field not in alone], 2):
        serving: dict[tuple[Any, ...], list[Any]] = {}
        for other in options[second]:
            good = [value for value in options[first] if allowed(replace(ask, **{first: value, second: other}))]
            if good:
                serving.setdefault(tuple(_least(ask, first, good)), []).append(other)
        for good_first, good_second in serving.items():
            both = (way_out(ask, first, good_first), way_out(ask, second, _least(ask, second, good_second)))
            found.append((order[first], together(*both)))
    return tuple(dict.fromkeys(text for _, text in sorted(found, key=lambda entry: entry[0])))


def _options(ask: Ask, field: str, rules: Sequence[Rule]) -> list[Any]:
    """Other values that the field may have: all words, both switches, numbers at which the rules may turn, one or two more approvals."""
    now = getattr(ask, field)
    words = words_of(type(ask), field)
    if words is not None:
        return [word for word in words if word != now]
    if isinstance(now, bool):
        return [not now]
    nodes = [node for rule in rules for node in _nodes(rule.tree.clauses)]
    if field == "approved_by":
        named = {node.id for node in nodes if isinstance(node, pst.EntityUid)}
        missing = [role for role in PERSON_ROLES if role in named - now]
        return [now | set(roles) for count in (1, 2) for roles in combinations(missing, count)]
    numbers = {node.value for node in nodes if isinstance(node, pst.LongLit)}
    others = {value for rule in rules for other in _read(rule, ask) if type(value := getattr(ask, other)) is int}
    turns = numbers | others | {value * number for value in others for number in numbers}
    turns |= {value // number for value in others for number in numbers if number}
    near = {turn + step for turn in turns for step in (-1, 0, 1)} - {now}
    return sorted((value for value in near if 0 <= value <= LARGEST), key=lambda value: abs(value - now))[:NEAREST]


def _least(ask: Ask, field: str, good: list[Any]) -> list[Any]:
    """Of the values that serve, those worth naming: the nearest number, the approvals of which none less serves, all words."""
    if field == "approved_by":
        return [value for value in good if not any(less < value for less in good)]
    if words_of(type(ask), field) is None:
        return good[:1]
    return good
