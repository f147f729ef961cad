"""The default policies: what they must refuse, that an ordinary run passes, and that they say the same as a reference function."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import get_args

import cedarpy
import pytest

from federation.kernel.errors import ConfigurationError
from privacy import levels
from privacy.institutions import institution_roles
from privacy.policy import ask as words
from privacy.policy.ask import ColumnAsk, PersonAsk, ReleaseAsk, RunAsk
from privacy.policy.cases import check_cases, parse_cases
from privacy.policy.decide import FAILED, NO_RULE, Decision, Policies
from privacy.policy.defaults import default_cases, default_files, default_policies, schema_text
from privacy.purposes import RUN_PURPOSES
from tests import policy_reference
from tests.policy_mutants import Mutant, mutants
from tests.policy_reference import reference, sample

OWNER = frozenset({"owner"})
TURNOVER = ColumnAsk("monthly_turnover", 3, "C1", "platform", "decide", "modeller")


def decide(ask):
    return default_policies().decide(ask)


# ---------------------------------------------------------------------------------------------------------------- ordinary runs


@pytest.mark.parametrize(
    ("task", "model"), [("train", "scorecard"), ("train", "logistic"), ("binning", "scorecard"), ("statistics", "logistic")]
)
def test_an_ordinary_run_of_a_modeller_passes(task, model):
    columns = [ColumnAsk("x", 3, "C1", institution, "decide", "modeller", task=task) for institution in ("bank", "platform", "tax")]
    releases = [
        ReleaseAsk(kind, task, "decide", "modeller", rows=14_000, fewest_rows=10, parameters=60)
        for kind in ("statistics", "bin counts", "model")
    ]
    scores = ReleaseAsk(
        "scores",
        task,
        "decide",
        "modeller",
        14_000,
        14_000,
        recipient="label party",
        score_reveals=40,
        partner_columns=20,
        approved_by=OWNER,
    )
    for ask in (RunAsk(model, task, "decide", "modeller", 3), *columns, *releases, scores):
        assert decide(ask).allowed, ask


# -------------------------------------------------------------------------------------------------------- the reference function


def agreement(policies: Policies, size: int, seed: int) -> tuple[int, int]:
    """(questions decided otherwise than the reference, questions allowed)."""
    asks = sample(size, seed)
    wrong = allowed = 0
    for begin in range(0, size, 10_000):
        part = asks[begin : begin + 10_000]
        for ask, decision in zip(part, policies.decide_all(part), strict=True):
            wrong += decision.allowed != reference(ask)
            allowed += decision.allowed
    return wrong, allowed


def test_the_policies_are_the_reference_on_random_questions():
    wrong, allowed = agreement(default_policies(), 10_000, seed=18)
    print(f"{wrong} of 10,000 random questions decided otherwise than the reference; {allowed} allowed")
    assert wrong == 0
    assert 1_000 < allowed < 9_000


@pytest.mark.slow
def test_the_policies_are_the_reference_on_a_million_random_questions():
    wrong, allowed = agreement(default_policies(), 1_000_000, seed=5)
    print(f"{wrong} of 1,000,000 random questions decided otherwise than the reference; {allowed:,} allowed")
    assert wrong == 0


def test_control_a_policy_with_one_rule_less_is_not_the_reference():
    files = {name: text for name, text in default_files().items() if name != "40-approval.cedar"}
    wrong, _ = agreement(Policies.from_texts(schema_text(), files), 2_000, seed=18)
    assert wrong > 0


def test_the_reference_is_short():
    text = inspect.getsource(policy_reference)
    body = text[text.index("# BEGIN reference") : text.index("# END reference")]
    assert len(body.splitlines()) - 1 <= 60


# --------------------------------------------------------------------------------------------------------------------- mutants


def kept_alive(found: list[Mutant], cases=None, size: int = 1_000) -> list[str]:
    """Which mutants decide every case as expected, and every random question as the reference does."""
    cases = parse_cases("cases.toml", default_cases(), "toml") if cases is None else cases
    asks = sample(size, seed=7)
    alive = []
    for mutant in found:
        if all(outcome.as_expected for outcome in check_cases(mutant.policies, cases)):
            decided = mutant.policies.decide_all(asks)
            if all(decision.allowed == reference(ask) for ask, decision in zip(asks, decided, strict=True)):
                alive.append(mutant.what)
    return alive


def test_mutants_of_the_default_policies_are_killed():
    found = list(mutants())[::12]
    alive = kept_alive(found)
    print(f"{len(found) - len(alive)} of {len(found)} mutants killed; alive: {alive}")
    assert len(alive) <= 0.05 * len(found)


@pytest.mark.slow
def test_all_mutants_of_the_default_policies_are_killed():
    found = list(mutants())
    alive = kept_alive(found, size=5_000)
    print(f"{len(found) - len(alive)} of {len(found)} mutants killed; alive: {alive}")
    assert len(found) > 500
    assert len(alive) <= 0.05 * len(found)


def test_control_one_case_alone_kills_few_mutants():
    found = list(mutants())[::12]
    one = parse_cases("cases.toml", default_cases(), "toml")[:1]
    assert len(kept_alive(found, one, size=0)) > len(found) // 2


def test_the_shipped_cases_document_every_rule():
    outcomes = check_cases(default_policies(), parse_cases("cases.toml", default_cases(), "toml"))
    assert [outcome.case.name for outcome in outcomes if not outcome.as_expected] == []
    documented = {name for outcome in outcomes for name in outcome.case.rules or ()}
    assert documented == {rule.id for rule in default_policies().rules}
    print(f"{len(outcomes)} cases document {len(documented)} rules")


# ------------------------------------------------------------------------------------------------------------------ deny and fail


@pytest.mark.parametrize("files", [{}, {"10-empty.cedar": ""}, {"10-empty.cedar": "// nothing yet\n"}])
def test_no_rule_denies_everything(files):
    policies = Policies.from_texts(schema_text(), files)
    for ask in sample(500, seed=3):
        assert policies.decide(ask) == Decision(allowed=False, rules=(), because=NO_RULE)


OVERFLOW = ReleaseAsk("model", "train", "decide", "modeller", rows=1_000, fewest_rows=10, parameters=2**62)


def test_a_rule_that_cannot_be_evaluated_refuses():
    assert decide(OVERFLOW) == Decision(allowed=False, rules=(), because=FAILED)


def test_control_cedar_itself_leaves_such_a_rule_out_and_allows():
    text = "\n".join(default_files().values())
    assert cedarpy.is_authorized(OVERFLOW.request(), text, "[]", schema_text()).allowed


def test_a_rule_that_forbids_wins_over_any_that_permit():
    more = {"90-all.cedar": '@id("all")\n@why("All.")\npermit (principal, action, resource);'}
    policies = Policies.from_texts(schema_text(), default_files() | more)
    five = replace(TURNOVER, level=5)
    assert policies.decide(five).rules == ("level-5-never-leaves",)
    assert policies.decide(replace(TURNOVER, requester="auditor")).rules == ("all",)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"level": 6}, "level"), ({"level": True}, "level"), ({"level": 3.0}, "level"), ({"purpose": "credit"}, "purpose"),
        ({"purpose": "Decide"}, "purpose"), ({"requester": "admin"}, "requester"), ({"classification": "C4"}, "classification"),
        ({"institution": "insurer"}, "institution"), ({"approved_by": frozenset({"boss"})}, "approved_by"), ({"approved_by": {"owner"}}, "approved_by"),
        ({"approved_by": "owner"}, "approved_by"), ({"task": "score"}, "task"), ({"column": 3}, "column"),
    ],
)  # fmt: skip
def test_a_question_with_a_word_that_is_not_declared_is_no_question(change, field):
    with pytest.raises(ConfigurationError) as caught:
        replace(TURNOVER, **change)
    assert caught.value.where == f"ColumnAsk.{field}"


@pytest.mark.parametrize("change", [{"rows": -1}, {"rows": 2**63}, {"parameters": 1.5}, {"noised": 1}])
def test_numbers_and_switches_are_what_they_say(change):
    with pytest.raises(ConfigurationError):
        replace(OVERFLOW, **change)


@pytest.mark.parametrize("role", ["court", "registry", "bureau", "blacklist", "payments"])
@pytest.mark.parametrize(
    "column", [{}, {"level": 4}, {"level": 4, "purpose": "acquire"}, {"level": 5}, {"classification": "C2"}, {"classification": "C3"}]
)
def test_a_source_of_records_is_asked_as_a_tax_bureau_is(role, column):
    decided = [default_policies().decide(replace(TURNOVER, institution=who, **column)) for who in (role, "tax")]
    assert [(one.allowed, one.rules) for one in decided] == [(decided[1].allowed, decided[1].rules)] * 2


def test_a_kind_of_institution_that_the_dictionary_does_not_have_is_refused_before_a_rule_is_asked():
    with pytest.raises(ConfigurationError, match="institution"):
        replace(TURNOVER, institution="casino")
    with pytest.raises(ConfigurationError, match="does not fit the schema"):
        Policies.from_texts(schema_text(), {"10.cedar": default_files()["20-columns.cedar"].replace('"agency"', '"casino"')})
    assert Policies.from_texts(schema_text(), {"10.cedar": default_files()["20-columns.cedar"].replace('"agency"', '"court"')})


def test_an_unknown_attribute_of_a_question_is_refused_by_the_schema(monkeypatch):
    request = TURNOVER.request()
    request["context"]["colour"] = "blue"
    monkeypatch.setattr(ColumnAsk, "request", lambda _self: request)
    with pytest.raises(ConfigurationError, match="colour"):
        default_policies().decide_anew(TURNOVER)


def test_the_schema_has_the_words_of_the_program():
    entities = {}
    for line in schema_text().splitlines():
        if line.startswith("entity ") and " enum " in line:
            name, listed = line.removeprefix("entity ").split(" enum ")
            entities[name] = tuple(listed.strip("[];").replace('"', "").split(", "))
    assert entities == {
        "Role": levels.PERSON_ROLES, "Institution": institution_roles(), "Purpose": RUN_PURPOSES,
        "Classification": get_args(levels.Classification), "Task": get_args(words.Task), "Recipient": get_args(words.Recipient),
        "Release": get_args(words.ReleaseKind), "Node": ("this institution",),
    }  # fmt: skip
    assert get_args(words.Purpose) == RUN_PURPOSES
    assert get_args(levels.PersonRole) == levels.PERSON_ROLES


def test_equal_questions_are_decided_once():
    policies = Policies.from_texts(schema_text(), default_files())
    for _ in range(5):
        policies.decide(ColumnAsk("x", 3, "C1", "tax", "decide", "modeller", frozenset({"owner", "auditor"})))
    assert policies._remembered.cache_info().misses == 1


def test_what_is_kept_is_what_would_be_decided_anew():
    policies = Policies.from_texts(schema_text(), default_files())
    asks = sample(1_000, seed=4)
    assert [policies.decide(ask) for ask in asks + asks] == list(policies.decide_all(asks)) * 2


def test_other_rules_have_another_fingerprint():
    files = default_files()
    changed = files | {"20-columns.cedar": files["20-columns.cedar"].replace("context.level >= 5", "context.level >= 6")}
    made = [Policies.from_texts(schema_text(), texts).fingerprint for texts in (files, changed, dict(reversed(files.items())))]
    assert made[0] != made[1]
    assert made[0] == made[2]


def test_people_of_every_role_do_what_is_theirs_alone():
    allowed = {(role, act) for role in levels.PERSON_ROLES for act in get_args(words.Act) if decide(PersonAsk(role, act)).allowed}
    assert {role for role, act in allowed if act == "approve run"} == {"owner"}
    assert {role for role, act in allowed if act == "set budget"} == {"risk officer"}
    assert {role for role, act in allowed if act == "export log"} == {"auditor"}
    assert "coordinator" not in {role for role, _ in allowed}
    assert not decide(PersonAsk("owner", "approve run", same_person=True)).allowed
