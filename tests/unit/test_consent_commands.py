"""`creditfed node consent`: identifiers from files and standard input alone, results as counts, every change in the audit log."""

from __future__ import annotations

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from clients.consent import open_ledger
from clients.consent_commands import consent_app
from clients.home import Home
from federation.kernel.errors import ConfigurationError
from privacy.audit.verify import verify
from privacy.store.audit_folder import find

HEADER = "id,purpose,columns,recipients,from,until,evidence"
IDS = ["firm-canary-1", "firm-canary-2", "firm-canary-3"]


@pytest.fixture
def home(tmp_path):
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "node.toml").write_text('name = "platform-a"\n')
    rows = [f"{name},credit,turnover,bank,2020-01-01,2090-01-01,form {i}" for i, name in enumerate(IDS)]
    (tmp_path / "consents.csv").write_text("\n".join([HEADER, *rows]))
    return tmp_path / "node"


def run(*words: object, stdin: str | None = None) -> str:
    result = CliRunner().invoke(consent_app, [str(word) for word in words], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def allowed(home) -> list[bool]:
    ledger = open_ledger(Home(home))
    found = ledger.permitted(IDS, "decide", [("turnover", 3)], ["bank"], "2026-03-01T00:00:00Z")
    later = ledger.permitted(IDS, "decide", [("turnover", 3)], ["bank"], "2080-03-01T00:00:00Z")
    ledger.close()
    assert found.any()
    return later.tolist()


def test_a_life_of_consents(home):
    said = [run("import", home.parent / "consents.csv", "--home", home)]
    assert "3 rows: 3 consents added" in said[-1]
    assert (home / "consent" / "ledger.db").exists() and allowed(home) == [True] * 3
    (home.parent / "ids.txt").write_text(f"{IDS[0].upper()}\n\n")
    said.append(run("withdraw", "--ids", home.parent / "ids.txt", "--home", home))
    assert "of 1 subjects withdrawn" in said[-1] and allowed(home) == [False, True, True]
    (home.parent / "forms.txt").write_text("form 1\nform 9\n")
    said.append(run("withdraw", "--evidence", home.parent / "forms.txt", "--home", home))
    assert "2 references withdrawn; 1 have consents" in said[-1] and allowed(home) == [False, False, True]
    said.append(run("explain", "--id-stdin", "--home", home, stdin=IDS[0]))
    assert "What platform-a holds" in said[-1] and "form 0" in said[-1] and "Withdrawn on" in said[-1]
    said.append(run("erase", "--id-stdin", "--home", home, stdin=IDS[2]))
    assert "Request for deletion no. 1" in said[-1] and allowed(home) == [False] * 3
    said.append(run("show", "--home", home))
    assert "3" in said[-1] and "Requests for deletion: 1 open, 0 done" in said[-1]
    assert "no. 1: done" in run("erase", "--done", 1, "--home", home)
    assert "0 open, 1 done" in run("show", "--home", home)
    assert not any("canary" in text.lower() for text in said)

    log = find(home).log()
    text = b"".join(log.lines())
    assert verify(log).sound and b"canary" not in text and b"form 1" not in text
    assert [
        word in text for word in (b'"change":"import"', b'"change":"withdrawal"', b'"change":"erase request"', b'"change":"erased"')
    ] == [True] * 4


def test_no_identifier_can_be_given_on_the_command_line(home):
    for command in get_command(consent_app).commands.values():
        for parameter in command.params:
            kinds = {
                "home": "path",
                "file": "path",
                "ids": "path",
                "evidence": "path",
                "id_stdin": "boolean",
                "done": "integer",
                "out": "path",
                "subject": "choice",
            }
            assert kinds.get(parameter.name, "text") in parameter.type.name, (command.name, parameter.name)
            assert parameter.type.name != "text" or parameter.name in ("sql", "query", "platform")


def test_commands_that_are_not_clear_are_refused(home):
    (home.parent / "two.txt").write_text("\n".join(IDS))
    for words in (
        ["import"], ["import", home.parent / "consents.csv", "--sql", "sqlite:///x"], ["import", "--sql", "sqlite:///x"], ["withdraw"],
        ["withdraw", "--ids", home.parent / "two.txt", "--id-stdin"], ["withdraw", "--evidence", home.parent / "two.txt", "--id-stdin"],
        ["explain", "--ids", home.parent / "two.txt"], ["erase"], ["explain", "--ids", home.parent / "missing.txt"],
    ):  # fmt: skip
        with pytest.raises(ConfigurationError) as error:
            run(*words, "--home", home, stdin="")
        assert "canary" not in str(error.value)


def test_the_ledger_is_where_the_configuration_says(home):
    other = home.parent / "elsewhere" / "ledger.db"
    (home / "node.toml").write_text(f'name = "platform-a"\nconsent = "sqlite:///{other}"\n')
    run("import", home.parent / "consents.csv", "--home", home)
    assert other.exists() and not (home / "consent").exists()
    (home / "node.toml").write_text('name = "platform-a"\nconsent = 3\n')
    with pytest.raises(ConfigurationError, match="not the URL"):
        run("show", "--home", home)


def test_an_identifier_that_nobody_here_has_is_not_told_as_done(home):
    run("import", home.parent / "consents.csv", "--home", home)
    said = run("withdraw", "--id-stdin", "--home", home, stdin=f"{IDS[0]}\nfirm-canary-9\n")
    assert "All consents of 1 subjects withdrawn" in said and "1 of the identifiers have no consent here" in said
    assert "no consent here" not in run("withdraw", "--id-stdin", "--home", home, stdin=IDS[1]), "and the control, who has one"
    said = run("erase", "--id-stdin", "--home", home, stdin="firm-canary-9")
    assert "no consent and no use of this identifier" in said
    assert "no consent and no use" not in run("erase", "--id-stdin", "--home", home, stdin=IDS[2])
    assert "done before" not in run("erase", "--done", 1, "--home", home)
    assert "no. 1: done before" in run("erase", "--done", 1, "--home", home)


def test_a_file_that_brings_nothing_says_why(home):
    (home.parent / "empty.csv").write_text(HEADER + "\n")
    assert "no row below the header" in run("import", home.parent / "empty.csv", "--home", home)
    (home.parent / "gb.csv").write_bytes((HEADER + "\n税务登记").encode("gb18030"))
    for name, words in (("gb.csv", "not UTF-8"), ("absent.csv", "No such file")):
        with pytest.raises(ConfigurationError, match=words) as error:
            run("import", home.parent / name, "--home", home)
        assert "Error" not in str(error.value)
