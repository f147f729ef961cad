"""Contracts load whole or not at all, tell the truth about what exists, and their pages are up to date."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from federation.kernel.errors import ConfigurationError
from privacy import contracts
from privacy.contracts import document
from privacy.generated_pages import stale, write

ROOT = Path(__file__).resolve().parents[2]
WHOLE = """
protocol = "sample"
title = "Sample"
purpose = "Shows the schema."
source = "None"
assumptions = ["nobody looks"]
[[learns]]
who = "label party"
what = "a | b"
when = "always"
limit = "one"
[[message]]
kind = "sample/one"
from = "label party"
to = "feature party"
content = "nothing"
[[attack]]
name = "look"
module = "privacy.attacks.sample"
test = "tests/adversary/test_sample.py::test_look"
control = "without the curtain the look succeeds"
"""


@pytest.mark.parametrize("name", contracts.names())
def test_every_contract_loads_and_is_complete(name: str) -> None:
    contract = contracts.load(name)
    assert contract.assumptions
    assert contract.sources
    assert contract.messages
    assert contract.attacks


@pytest.mark.parametrize("name", contracts.names())
def test_the_attacks_and_controls_that_a_contract_names_exist(name: str) -> None:
    for attack in contracts.load(name).attacks:
        assert (ROOT / (attack.module.removesuffix(".py").replace(".", "/") + ".py")).exists(), attack.module
        assert _exists(attack.test), attack.test
        assert _has_control(attack.control), attack.control


def _has_control(text: str) -> bool:
    """A control is a test that exists, the attack's own where a sentence says so; or the contract says that there is no defence to take away."""
    named = re.findall(r"(?:tests/[\w/]+\.py::)?\btest_[a-z0-9_]+\b(?!\.py)", text)
    return text.startswith("no defence") or "(same test)" in text or (bool(named) and all(map(_exists, named)))


@pytest.mark.parametrize("text", ["without masks everything is read", "test_of_wishes", "everything is read (test_of_wishes)", ""])
def test_control_a_sentence_is_no_control(text: str) -> None:
    assert not _has_control(text)


def _exists(test: str) -> bool:
    """Whether a test of that name, or of that pytest id, is written somewhere."""
    path, _, function = test.rpartition("::")
    files = [ROOT / path] if path else [*(ROOT / "tests" / "adversary").glob("*.py"), *(ROOT / "tests" / "unit").glob("*.py")]
    return any(re.search(rf"def {re.escape(function)}\(", file.read_text("utf-8")) for file in files if file.exists())


def test_control_a_test_that_nobody_wrote_is_missed() -> None:
    assert _exists("tests/unit/test_contracts.py::test_pages_are_up_to_date")
    assert not _exists("tests/unit/test_contracts.py::test_that_nobody" + "_wrote")


@pytest.mark.parametrize("name", contracts.names())
def test_the_messages_that_a_contract_names_exist(name: str) -> None:
    source = "\n".join(path.read_text("utf-8") for path in (ROOT / "federation").rglob("*.py"))
    for message in contracts.load(name).messages:
        assert f'tag="{message.kind}"' in source, message.kind


def test_pages_are_up_to_date() -> None:
    assert stale(ROOT / document.FOLDER, document.pages()) == []


def test_a_whole_contract_is_read_into_frozen_structs() -> None:
    contract = contracts.parse("sample", WHOLE)
    assert contract.messages[0].sender == "label party"
    assert contract.sources == ("None",)
    with pytest.raises(AttributeError):
        contract.title = "changed"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('title = "Sample"', ""),
        ('limit = "one"', ""),
        ('limit = "one"', 'limit = " "'),
        ('limit = "one"', 'limit = "one"\ncolour = "red"'),
        ('from = "label party"', ""),
        ('control = "without the curtain the look succeeds"', ""),
        ('protocol = "sample"', 'protocol = "other"'),
        ('purpose = "Shows the schema."', "purpose ="),
        ("[[learns]]", "[[teaches]]"),
    ],
)
def test_half_a_contract_is_refused(old: str, new: str) -> None:
    assert old in WHOLE
    with pytest.raises(ConfigurationError, match=r"sample\.toml"):
        contracts.parse("sample", WHOLE.replace(old, new, 1))


def test_an_unknown_contract_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        contracts.load("../../pyproject")


def test_a_page_shows_every_word_and_no_broken_cell() -> None:
    contract = contracts.parse("sample", WHOLE)
    page = document.page(contract)
    for part in (*contract.learns, *contract.messages, *contract.attacks):
        for value in msgspec.structs.asdict(part).values():
            assert value.replace("|", "\\|") in page
    rows = [line for line in page.splitlines() if line.startswith("| label party")]
    assert len(re.findall(r"(?<!\\)\|", rows[0])) == 5


def test_control_the_check_fails_when_a_page_is_stale_missing_or_left_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert document.main(["--to", str(tmp_path)]) == 0
    assert document.main(["--to", str(tmp_path), "--check"]) == 0
    for spoil in (lambda: (tmp_path / "README.md").write_text("edited"), (tmp_path / "README.md").unlink, (tmp_path / "old.md").touch):
        write(tmp_path, document.pages())
        spoil()
        assert document.main(["--to", str(tmp_path), "--check"]) == 1
        assert "not up to date" in capsys.readouterr().err
