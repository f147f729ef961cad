"""Questions with their expected answers, as an institution writes them down to test and to document its rules.

    [[case]]
    name = "a modeller uses a column of level 3 to decide"
    expect = "allow"                    # or "deny"
    rules = ["columns-for-those..."]    # optional: exactly the rules that decide; [] where none permits
    [case.column]                       # column, run, release or person: the fields of the question (privacy/policy/ask.py)
    column = "monthly_turnover"
    level = 3
    ...

JSON with the same keys serves too.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final, Literal

import msgspec

from federation.kernel.errors import ConfigurationError
from federation.kernel.known import known
from privacy.policy.ask import KINDS, Ask
from privacy.policy.decide import Decision, Policies


class _Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    expect: Literal["allow", "deny"]
    rules: tuple[str, ...] | None = None
    column: dict[str, Any] | None = None
    run: dict[str, Any] | None = None
    release: dict[str, Any] | None = None
    person: dict[str, Any] | None = None


class _Cases(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    case: tuple[_Case, ...] = ()


@dataclass(frozen=True)
class Case:
    """rules: those that must decide, None where the case does not say."""

    name: str
    ask: Ask
    allowed: bool
    rules: tuple[str, ...] | None


@dataclass(frozen=True)
class Outcome:
    """A case and what the policies decided."""

    case: Case
    decision: Decision

    @property
    def as_expected(self) -> bool:
        """Whether answer and, where stated, rules are those of the case."""
        rules = self.case.rules
        return self.decision.allowed == self.case.allowed and (rules is None or set(rules) == set(self.decision.rules))


def parse_cases(where: str, text: str, form: Literal["toml", "json"]) -> tuple[Case, ...]:
    """The cases of a text, in order. where: names the file in errors.

    Raises ConfigurationError for a text that does not parse, a key that is unknown or missing, no case at all, and two of one name.
    """
    decode = msgspec.toml.decode if form == "toml" else msgspec.json.decode
    try:
        found = decode(text, type=known(_Cases)).case
    except msgspec.ValidationError as error:
        raise ConfigurationError(where, str(error), _SHAPE) from None
    except msgspec.DecodeError as error:
        raise ConfigurationError(where, f"is not {form.upper()}: {error}", _SHAPE) from None
    if not found:
        raise ConfigurationError(where, "has no [[case]]", _SHAPE)
    names = [case.name for case in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(where, f"has two cases named {twice[0]!r}", "Give each case a name of its own.")
    return tuple(_case(where, case) for case in found)


_SHAPE: Final = "Each [[case]] has name, expect and one of [case.column], [case.run], [case.release] and [case.person]."


def _case(where: str, case: _Case) -> Case:
    place = f"{where}, case {case.name!r}"
    given = {kind: asked for kind in KINDS if (asked := getattr(case, kind)) is not None}
    if len(given) != 1:
        raise ConfigurationError(place, f"has {len(given)} questions", _SHAPE)
    ((kind, asked),) = given.items()
    declared = {field.name: field for field in fields(KINDS[kind])}
    for key in asked:
        if key not in declared:
            near = difflib.get_close_matches(key, declared, n=1)
            raise ConfigurationError(
                place, f"asks with an unknown key {key!r}", f"Did you mean {near[0]!r}?" if near else f"Use {', '.join(declared)}."
            )
    if missing := [name for name, field in declared.items() if field.default is MISSING and name not in asked]:
        raise ConfigurationError(place, f"does not say {', '.join(missing)}", f"[case.{kind}] needs it.")
    values = {key: frozenset(map(str, value)) if isinstance(value, list) else value for key, value in asked.items()}
    try:
        ask: Ask = KINDS[kind](**values)
    except ConfigurationError as error:
        raise ConfigurationError(place, f"{error.where} {error.what}", error.action) from None
    return Case(case.name, ask, case.expect == "allow", case.rules)


def check_cases(policies: Policies, cases: Iterable[Case]) -> tuple[Outcome, ...]:
    """What the policies decide on each case."""
    return tuple(Outcome(case, policies.decide(case.ask)) for case in cases)
