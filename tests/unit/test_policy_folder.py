"""A folder of rules that is not as it should be stops the node, by file, line and rule; and the commands that look at it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from clients.policy_commands import policy_app
from federation.kernel.errors import ConfigurationError
from privacy.policy.ask import ColumnAsk
from privacy.policy.cases import parse_cases
from privacy.policy.defaults import default_cases, default_files, default_policies
from privacy.store.policy_folder import load_policies, write_defaults
from tests.end_to_end.scene import creditfed
from tests.policy_reference import sample

GOOD = '// ours\n\n@id("mine")\n@why("Mine.")\npermit (principal, action == Action::"use column", resource)\nwhen { context.level <= 2 };\n'
TURNOVER = ColumnAsk("monthly_turnover", 3, "C1", "platform", "decide", "modeller")


def test_the_folder_that_is_written_is_the_default(tmp_path):
    written = write_defaults(tmp_path / "policy")
    assert {path.name for path in written} == {*default_files(), "cases.toml"}
    policies = load_policies(tmp_path / "policy")
    assert all(policies.decide(ask) == default_policies().decide(ask) for ask in sample(300, seed=2))


def test_an_institutions_own_rules_are_never_written_over(tmp_path):
    (tmp_path / "20-columns.cedar").write_text(GOOD)
    with pytest.raises(ConfigurationError, match=r"has 20-columns\.cedar already"):
        write_defaults(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["20-columns.cedar"]


def test_an_empty_folder_denies_everything(tmp_path):
    policies = load_policies(tmp_path)
    assert not any(policies.decide(ask).allowed for ask in sample(300, seed=2))


def test_no_folder_is_no_policy(tmp_path):
    with pytest.raises(ConfigurationError, match="is not a folder"):
        load_policies(tmp_path / "policy")


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ("context.level <= 2 }", "context.level <= }", "own.cedar, line 6, rule mine", "unexpected token"),
        ("(principal, action", "(principal action", "own.cedar, line 5, rule mine", "unexpected token"),
        ("permit", "allow", "own.cedar, line 3, rule mine", "allow"),
        ("};", "}", "own.cedar, line 6, rule mine", "unexpected end of input"),
        ('@why("Mine.")', '@why("Mine.)', "own.cedar, line 4, rule mine", "invalid token"),
        ("context.level", "context.lavel", "own.cedar, line 3, rule mine", "`lavel`"),
        ("context.level", "context.counterparts", "own.cedar, line 3, rule mine", "`counterparts`"),
        ("context.level <= 2", 'context.level == "2"', "own.cedar, line 3, rule mine", "does not fit the schema"),
        ("context.level <= 2", 'context.purpose == Purpose::"decid"', "own.cedar, line 3, rule mine", "decid"),
        ("context.level <= 2", 'principal == Role::"boss"', "own.cedar, line 3, rule mine", "boss"),
        ('"use column"', '"use colum"', "own.cedar, line 3, rule mine", "use colum"),
        ('@id("mine")', "", "own.cedar, line 4", "has no @id"),
        ('@why("Mine.")', "", "own.cedar, line 3, rule mine", "has no @why"),
        ('@id("mine")', '@id("My rule")', "own.cedar, line 3, rule My rule", "other characters"),
        ("(principal,", "(principal == ?principal,", "own.cedar, line 3, rule mine", "template"),
    ],
)
def test_a_rule_that_does_not_parse_or_fit_is_named(tmp_path, old, new, where, what):
    assert old in GOOD
    (tmp_path / "00-good.cedar").write_text(GOOD.replace("mine", "other"))
    (tmp_path / "own.cedar").write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigurationError) as caught:
        load_policies(tmp_path)
    assert caught.value.where == where
    assert what in caught.value.what


def test_control_the_rule_as_it_should_be_loads(tmp_path):
    (tmp_path / "00-good.cedar").write_text(GOOD.replace("mine", "other"))
    (tmp_path / "own.cedar").write_text(GOOD)
    assert [(rule.id, rule.line) for rule in load_policies(tmp_path).rules] == [("other", 3), ("mine", 3)]


def test_a_semicolon_in_a_comment_or_a_text_ends_no_rule(tmp_path):
    text = '// a; b "\n' + GOOD.replace('"Mine."', r'"Mine; \"yours\" // not;"')
    (tmp_path / "own.cedar").write_text(text + GOOD.replace("mine", "second"))
    assert [(rule.id, rule.line) for rule in load_policies(tmp_path).rules] == [("mine", 4), ("second", 10)]


@pytest.mark.parametrize("change", [lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n"), str.rstrip])
def test_an_editor_of_another_system_changes_no_rule(tmp_path, change):
    (tmp_path / "own.cedar").write_bytes(change(GOOD).encode())
    assert [(rule.id, rule.line) for rule in load_policies(tmp_path).rules] == [("mine", 3)]


def test_two_rules_of_one_id_are_refused(tmp_path):
    (tmp_path / "a.cedar").write_text(GOOD)
    (tmp_path / "b.cedar").write_text(GOOD)
    with pytest.raises(ConfigurationError, match=r"b\.cedar, line 3, rule mine: has the id of the rule in a\.cedar, line 3"):
        load_policies(tmp_path)


@pytest.mark.parametrize("name", ["20.CEDAR", "20.cedar.bak", "more/20.cedar"])
def test_a_file_of_rules_is_not_left_out_silently(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(GOOD)
    with pytest.raises(ConfigurationError, match="would not be read"):
        load_policies(tmp_path)


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "own.cedar").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="is not UTF-8"):
        load_policies(tmp_path)


# ------------------------------------------------------------------------------------------------------------------------- cases


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('expect = "allow"', 'expect = "yes"', "yes"), ("requester", "requestor", "unknown key 'requestor'"), ("level = 3, ", "", "does not say level"),
        ("level = 3", "level = 9", "holds what the policies do not know"), ("column = {", "colum = {", "colum"), ("[[case]]", "[[case]", "is not TOML"),
        ('name = "c"', 'name = "c"\nrun = {}', "has 2 questions"), ("[[case]]", "[[cases]]", "cases"),
    ],
)  # fmt: skip
def test_cases_that_cannot_be_read_are_refused(old, new, what):
    text = (
        '[[case]]\nname = "c"\nexpect = "allow"\n'
        'column = { column = "x", level = 3, classification = "C1", institution = "bank", purpose = "decide", requester = "modeller" }\n'
    )
    assert parse_cases("cases.toml", text, "toml")[0].allowed
    assert old in text
    with pytest.raises(ConfigurationError) as caught:
        parse_cases("cases.toml", text.replace(old, new), "toml")
    assert what in f"{caught.value.what} {caught.value.action}"


@pytest.mark.parametrize("text", ["", '[[case]]\nname = "c"\nexpect = "allow"\n'])
def test_a_file_without_a_question_is_refused(text):
    with pytest.raises(ConfigurationError):
        parse_cases("cases.toml", text, "toml")


# ---------------------------------------------------------------------------------------------------------------------- commands


def invoke(*arguments):
    return CliRunner().invoke(policy_app, list(map(str, arguments)), env={"COLUMNS": "200"})


def test_the_shipped_cases_pass_and_each_denial_is_explained():
    found = invoke("test")
    assert found.exit_code == 0, found.output
    cases = parse_cases("cases.toml", default_cases(), "toml")
    assert f"{len(cases)} cases, 0 not as expected." in found.output
    assert found.output.count("Refused: ") == sum(not case.allowed for case in cases)


def test_a_case_decided_otherwise_is_exit_code_3(tmp_path):
    case = {
        "name": "turnover for marketing", "expect": "allow",
        "column": {"column": "monthly_turnover", "level": 4, "classification": "C1", "institution": "platform", "purpose": "acquire", "requester": "modeller"},
    }  # fmt: skip
    (tmp_path / "cases.json").write_text(json.dumps({"case": [case]}))
    found = invoke("test", tmp_path / "cases.json")
    assert found.exit_code == 3 == creditfed("node", "policy", "test", tmp_path / "cases.json").code
    assert "turnover for marketing: NOT AS EXPECTED, expected allow" in found.output
    assert "Rule level-4-only-for-lending (20-columns.cedar, line 18)" in found.output
    (tmp_path / "cases.json").write_text(json.dumps({"case": [case | {"expect": "deny"}]}))
    assert invoke("test", tmp_path / "cases.json", "--quiet").exit_code == 0


def test_another_rule_than_stated_is_a_mismatch(tmp_path):
    write_defaults(tmp_path)
    text = (tmp_path / "20-columns.cedar").read_text()
    (tmp_path / "20-columns.cedar").write_text(text.replace("level-5-never-leaves", "our-level-5"))
    found = invoke("test", tmp_path / "cases.toml", "--policies", tmp_path, "--quiet")
    assert found.exit_code == 3
    assert "1 not as expected" in found.output


def test_check_and_show(tmp_path):
    write_defaults(tmp_path)
    found = invoke("check", tmp_path)
    assert found.exit_code == 0
    assert f"{len(default_policies().rules)} rules in 5 files" in found.output
    shown = CliRunner().invoke(policy_app, ["show", "--policies", str(tmp_path)], env={"COLUMNS": "80"})
    assert shown.exit_code == 0
    assert all(rule.id in shown.output for rule in default_policies().rules)
    (tmp_path / "empty").mkdir()
    assert "everything is refused" in invoke("check", tmp_path / "empty").output


def test_check_names_what_does_not_fit(tmp_path):
    (tmp_path / "own.cedar").write_text(GOOD.replace("context.level", "context.lavel"))
    found = invoke("check", tmp_path)
    assert isinstance(found.exception, ConfigurationError)
    assert found.exception.exit_code == 2
