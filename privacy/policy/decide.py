"""Yes or no, and by which rule: an institution's policies over one question.

Cedar's semantics (Cutler et al., "Cedar", OOPSLA 2024): allowed when some rule permits and none forbids. Cedar skips a rule whose evaluation
fails, such as one whose product leaves 64 bits, and a skipped `forbid` would let through what it is there to stop; so here a question on
which any rule fails is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cedarpy

from federation.kernel.errors import ConfigurationError
from federation.kernel.suite import digest
from privacy.policy.ask import Ask
from privacy.policy.rules import Rule, read_rules

REMEMBERED: Final = 1 << 16
"""Decisions kept by one `Policies`: about 30 MB at most."""

NO_RULE: Final = "No rule permits it."
FAILED: Final = "A rule could not be evaluated on these numbers, so that it is refused."


@dataclass(frozen=True)
class Decision:
    """rules: ids of those that decided, in the order of the files; none where nothing permits it. because: their reasons, one sentence each."""

    allowed: bool
    rules: tuple[str, ...]
    because: str


class Policies:
    """The rules of one institution, parsed and checked once.

    Equal questions are decided once (`decide`); the decision depends on the question alone, so that none that is kept can be out of date:
    changed rules are another `Policies`. fingerprint: SHA-256 of schema and rules, hexadecimal, by which a log says what decided.
    """

    def __init__(self, schema: cedarpy.Schema, rules: Iterable[Rule]) -> None:
        self.rules: Final = tuple(rules)
        self._schema: Final = schema
        self._by_id: Final = {rule.id: rule for rule in self.rules}
        self._order: Final = {rule.id: at for at, rule in enumerate(self.rules)}
        self._set: Final = cedarpy.PolicySet.from_str("\n".join(rule.text for rule in self.rules))
        self._no_entities: Final = cedarpy.Entities.from_json_str("[]", schema)
        self._remembered: Final = lru_cache(maxsize=REMEMBERED)(self.decide_anew)
        self.fingerprint: Final = digest("policy", str(schema), *(part for rule in self.rules for part in (rule.file, rule.text))).hex()

    @staticmethod
    def from_texts(schema: str, files: Mapping[str, str]) -> Policies:
        """From the schema's text and the files of rules by name, read in the order of their names.

        No file, or none with a rule in it, denies everything. Raises ConfigurationError for a schema or rule that does not parse, a rule that
        does not fit the schema, and an id that two rules have.
        """
        try:
            words = cedarpy.Schema.from_str(schema)
        except ValueError as error:
            raise ConfigurationError("schema.cedarschema", f"is not a Cedar schema: {error}", "Install creditfed again.") from None
        rules = [rule for name in sorted(files) for rule in read_rules(name, files[name], words)]
        seen: dict[str, Rule] = {}
        for rule in rules:
            if rule.id in seen:
                raise ConfigurationError(f"{rule.place}, rule {rule.id}", f"has the id of the rule in {seen[rule.id].place}", "Rename one.")
            seen[rule.id] = rule
        return Policies(words, rules)

    def rule(self, name: str) -> Rule:
        """The rule with this id. Raises ConfigurationError where there is none."""
        if name not in self._by_id:
            raise ConfigurationError(f"rule {name}", "is not among the policies", "`creditfed node policy show` lists them.")
        return self._by_id[name]

    def decide(self, ask: Ask) -> Decision:
        """The answer to one question. Raises ConfigurationError where question and schema do not fit, which is a fault of the program."""
        return self._remembered(ask)

    def decide_anew(self, ask: Ask) -> Decision:
        """What `decide` answers, evaluated again."""
        return self._decision(cedarpy.is_authorized(ask.request(), self._set, self._no_entities, self._schema))

    def decide_all(self, asks: Iterable[Ask]) -> tuple[Decision, ...]:
        """Many questions at once, evaluated anew, in their order."""
        requests = [ask.request() for ask in asks]
        return tuple(map(self._decision, cedarpy.is_authorized_batch(requests, self._set, self._no_entities, self._schema)))

    def _decision(self, found: cedarpy.AuthzResult) -> Decision:
        if found.decision is cedarpy.Decision.NoDecision:
            raise ConfigurationError(
                "policy", "; ".join(found.diagnostics.errors), "The program and its policy schema do not fit: report it."
            )
        if found.diagnostics.errors:
            return Decision(allowed=False, rules=(), because=FAILED)
        names = sorted(found.diagnostics.id_annotations_by_reason.values(), key=self._order.__getitem__)
        because = " ".join(self._by_id[name].why for name in names) or NO_RULE
        return Decision(found.allowed, tuple(names), because)
