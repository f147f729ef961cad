"""What a person reads who is refused: the rule, what it looked at, and ways out that are true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from federation.kernel.errors import AbortCode, PolicyRefusal
from privacy.policy.ask import ColumnAsk, PersonAsk, ReleaseAsk, RunAsk
from privacy.policy.decide import Policies
from privacy.policy.defaults import default_files, default_policies, schema_text
from privacy.policy.explain import explain, require
from tests.policy_reference import sample

OWNER = frozenset({"owner"})
LEVEL_4 = ColumnAsk("monthly_turnover", 4, "C1", "platform", "acquire", "modeller")


MESSAGE = """\
Refused: column 'monthly_turnover' of a platform (level 4, class C1), for the purpose 'acquire', asked for by a modeller.
  Rule level-4-only-for-lending (20-columns.cedar, line 18): Level 4 serves the lending itself: purposes decide and monitor.
    It looked at: purpose: acquire; level: 4.
  Rule level-4-needs-the-owner (20-columns.cedar, line 24): Level 4 leaves only where the owner of the data has approved the run.
    It looked at: approved by: nobody; level: 4.
  What would change it:
    - the purpose 'decide' or 'monitor', if that is what it is for, together with approval by the owner of this institution
    - another column in its place, of level 3 or lower"""


def test_a_column_of_level_4_asked_for_acquire_by_a_modeller():
    assert str(explain(default_policies(), LEVEL_4)) == MESSAGE


def test_the_guide_shows_this_message_and_this_rule():
    guide = (Path(__file__).parents[2] / "docs/guides/institution.md").read_text()
    assert MESSAGE in guide
    assert default_policies().rule("level-4-only-for-lending").text in guide


def test_the_ways_out_of_it_are_true_and_no_shorter_one_is():
    policies = default_policies()
    assert policies.decide(replace(LEVEL_4, purpose="decide", approved_by=OWNER)).allowed
    assert policies.decide(replace(LEVEL_4, purpose="monitor", approved_by=OWNER)).allowed
    assert policies.decide(replace(LEVEL_4, level=3)).allowed
    for less in (
        replace(LEVEL_4, purpose="decide"),
        replace(LEVEL_4, approved_by=OWNER),
        replace(LEVEL_4, purpose="collect", approved_by=OWNER),
    ):
        assert not policies.decide(less).allowed


def test_the_rule_is_named_with_the_line_where_it_stands():
    policies = default_policies()
    for rule in policies.rules:
        assert default_files()[rule.file].splitlines()[rule.line - 1] == f'@id("{rule.id}")'


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (
            RunAsk("scorecard", "train", "decide", "owner", 3),
            ["No rule permits it.", "a modeller or a validator who asks for it", "a run of statistics"],
        ),
        (
            ReleaseAsk("model", "train", "decide", "modeller", 399, 10, parameters=40),
            ["ten-rows-for-each-parameter", "parameters: 39 instead of 40"],
        ),
        (ReleaseAsk("model", "train", "decide", "modeller", 399, 3), ["fewest rows behind a number: 10 instead of 3"]),
        (
            ReleaseAsk("scores", "train", "decide", "modeller", 900, 900, score_reveals=40, partner_columns=12),
            ["approval by the owner of this institution", "score vectors shown: 11 instead of 40"],
        ),
        (PersonAsk("owner", "approve run", same_person=True), ["four-eyes", "another person, who has neither asked nor approved"]),
        (ColumnAsk("x", 5, "C3", "bank", "decide", "modeller"), ["of level 3 or lower and of class C1"]),
        (ColumnAsk("x", 1, "C1", "agency", "decide", "modeller"), ["nothing in one or two steps but another policy"]),
        (ReleaseAsk("model", "train", "decide", "modeller", 1_000, 10, parameters=2**62), ["could not be evaluated"]),
    ],
)
def test_refusals_say_what_would_change_them(ask, said):
    text = str(explain(default_policies(), ask))
    assert [words for words in said if words not in text] == []


def test_every_refusal_of_random_questions_is_explained():
    refused = [ask for ask in dict.fromkeys(sample(100, seed=11)) if not default_policies().decide(ask).allowed][:15]
    for ask in refused:
        found = explain(default_policies(), ask)
        assert tuple(rule.id for rule, _ in found.rules) == found.decision.rules or not found.decision.rules
        assert str(found).startswith("Refused: ")
        assert "It looked at: " in str(found)
    print(f"{len(refused)} random refusals explained")


def test_a_refusal_is_an_error_that_tells_peers_its_code_alone():
    with pytest.raises(PolicyRefusal) as caught:
        require(default_policies(), LEVEL_4)
    assert caught.value.code is AbortCode.POLICY
    assert caught.value.exit_code == 3
    assert str(caught.value) == str(explain(default_policies(), LEVEL_4))
    assert require(default_policies(), replace(LEVEL_4, level=3)).allowed


def test_two_approvals_that_a_policy_wants_together_are_found():
    text = """
@id("all") @why("All.") permit (principal, action == Action::"use column", resource);
@id("two") @why("Both sign.") forbid (principal, action == Action::"use column", resource)
unless { context.approved_by.containsAll([Role::"owner", Role::"risk officer"]) };
"""
    policies = Policies.from_texts(schema_text(), {"own.cedar": text})
    assert "approval by the owner and the risk officer of this institution" in str(explain(policies, LEVEL_4))


def test_a_rule_about_one_column_by_name_offers_no_other_name():
    text = """
@id("all") @why("All.") permit (principal, action, resource);
@id("not-this") @why("Not this one.") forbid (principal, action, resource == Column::"monthly_turnover");
"""
    policies = Policies.from_texts(schema_text(), {"own.cedar": text})
    assert "nothing in one or two steps but another policy" in str(explain(policies, LEVEL_4))
    assert policies.decide(replace(LEVEL_4, column="region")).allowed


def test_what_is_allowed_is_explained_too():
    text = str(explain(default_policies(), PersonAsk("owner", "approve run")))
    assert text.startswith("Allowed: 'approve run' by an owner.\n  Rule the-owner-approves (50-people.cedar, line 3)")
