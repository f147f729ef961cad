"""`creditfed coordinator` by itself: what it founds, whom it lets in, and what it says of what is wrong."""

from __future__ import annotations

import json
import shutil
import stat
import tomllib
from pathlib import Path

import pandas as pd
import pytest

from federation.kernel.invitation import read_invitation
from server.certificates import issue
from server.conducting import moment
from server.only_one import the_only_one
from server.pki import renew as make_again
from server.place import Place
from server.store.run_store import RunStore
from tests.end_to_end.scene import Answer, creditfed


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "coordinator"
    assert creditfed("coordinator", "init", "--host", "localhost", "--port", 9099, "--home", folder).code == 0
    return folder


def joined(tmp_path: Path, home: Path, name: str, role: str = "tax") -> str:
    """An institution whose joining file waits; its fingerprint."""
    table = tmp_path / f"{name}.csv"
    pd.DataFrame({"id": [f"f{i}" for i in range(30)], "x": range(30)}).to_csv(table, index=False)
    node = tmp_path / name
    words = ["--name", name, "--role", role, "--source", table, "--home", node, "--invitation", home / "invitation.toml"]
    answer = creditfed("node", "init", *words)
    assert answer.code == 0, answer.err
    (home / "joining" / f"{name}.join.toml").write_bytes((node / f"{name}.join.toml").read_bytes())
    return next(line.split("fingerprint", 1)[1].strip() for line in answer.out.splitlines() if "fingerprint" in line)


def ask(home: Path, *words: object) -> Answer:
    return creditfed("coordinator", *words, "--home", home)


def test_what_init_makes_is_the_owners_alone_and_the_invitation_holds(home: Path) -> None:
    for path in [
        *(home / "keys").iterdir(),
        home / "tls" / "ca.key",
        home / "tls" / "server.key",
        home / "coordinator.toml",
        home / "runs.db",
    ]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path.name
    invited = read_invitation((home / "invitation.toml").read_text())
    assert invited.address == "localhost:9099" and invited.authority == (home / "tls" / "ca.pem").read_text()
    again = creditfed("coordinator", "init", "--home", home)
    assert again.code == 2 and "there is a coordinator already" in again.err


def test_half_of_an_own_pki_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    answer = creditfed("coordinator", "init", "--certificate", tmp_path / "server.pem", "--home", tmp_path / "c")
    assert answer.code == 2 and "Give all three, or none" in answer.err and not (tmp_path / "c").exists()


def test_an_own_pki_that_fits_is_adopted_and_one_for_another_host_is_not(home: Path, tmp_path: Path) -> None:
    own = ["--certificate", home / "tls" / "server.pem", "--key", home / "tls" / "server.key", "--ca", home / "tls" / "ca.pem"]
    good = creditfed("coordinator", "init", "--host", "localhost", *own, "--home", tmp_path / "good")
    assert good.code == 0, good.err
    assert (tmp_path / "good" / "tls" / "server.pem").read_bytes() == (home / "tls" / "server.pem").read_bytes()
    bad = creditfed("coordinator", "init", "--host", "elsewhere.example.org", *own, "--home", tmp_path / "bad")
    assert bad.code == 2 and "elsewhere.example.org" in bad.err and not (tmp_path / "bad" / "coordinator.toml").exists()


def test_an_institution_is_let_in_by_its_fingerprint_and_by_no_other(home: Path, tmp_path: Path) -> None:
    right = joined(tmp_path, home, "tax-a")
    wrong = right.replace(right[0], "0" if right[0] != "0" else "1", 1)
    listed = ask(home, "enrol")
    assert "tax-a" in listed.out and listed.code == 0
    refused = ask(home, "enrol", wrong)
    assert refused.code == 2 and "no joining file that waits here has it" in refused.err
    assert not (home / "consortium.toml").exists(), "nobody was let in"
    assert ask(home, "enrol", *right.split()).code == 0
    (member,) = tomllib.loads((home / "consortium.toml").read_text())["member"]
    assert member["name"] == "tax-a" and "No joining file waits" in ask(home, "enrol").out
    again = ask(home, "enrol", right)
    assert again.code == 2 and "enrolled already" in again.err


def test_a_joining_file_that_was_renamed_on_its_way_waits_too(home: Path, tmp_path: Path) -> None:
    said = joined(tmp_path, home, "tax-a")
    (home / "joining" / "tax-a.join.toml").rename(home / "joining" / "from the mail.toml")
    listed = ask(home, "enrol").out
    assert "tax-a" in listed and said in listed and "by telephone" in listed
    assert ask(home, "enrol", said).code == 0


def test_names_and_keys_are_whole_on_a_narrow_screen(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = "the-tax-bureau-of-a-long-name-a"
    said = joined(tmp_path, home, name)
    listed = ask(home, "enrol").out
    ask(home, "enrol", said)
    shown = ask(home, "status").out
    for text in (listed, shown):
        assert said in text and "\N{HORIZONTAL ELLIPSIS}" not in text, text


def test_a_joining_file_that_was_changed_is_refused_by_name(home: Path, tmp_path: Path) -> None:
    joined(tmp_path, home, "tax-a")
    path = home / "joining" / "tax-a.join.toml"
    path.write_text(path.read_text().replace('role = "tax"', 'role = "bank"'))
    answer = ask(home, "enrol")
    assert answer.code == 2 and "signature does not hold" in answer.err and "Do not use it" in answer.err


def test_who_is_revoked_stays_in_the_members_file_as_revoked(home: Path, tmp_path: Path) -> None:
    ask(home, "enrol", joined(tmp_path, home, "tax-a"))
    assert ask(home, "enrol", "--revoke", "tax-a").code == 0
    (member,) = tomllib.loads((home / "consortium.toml").read_text())["member"]
    assert member["revoked"] is True
    assert ask(home, "enrol", "--revoke", "tax-a").code == 2
    assert "revoked" in ask(home, "status").out


def test_a_run_of_somebody_who_is_not_enrolled_is_not_submitted(home: Path, tmp_path: Path) -> None:
    run_file = tmp_path / "run.toml"
    parties = "".join(f'[[party]]\nname = "{name}"\nrole = "{role}"\n' for name, role in (("platform", "platform"), ("tax", "tax")))
    run_file.write_text(f'[run]\ntask = "train"\n[[party]]\nname = "bank"\nrole = "bank"\nlabel = true\n{parties}')
    answer = ask(home, "submit", run_file)
    assert answer.code == 2 and "named in it: bank, platform, tax" in answer.err and "Enrolled are none" in answer.err
    store = RunStore.open(Place.there(home).store_url)
    assert store.runs() == ()
    store.close()
    assert ask(home, "status", "nothing").code == 2
    assert ask(home, "stop", "nothing").code == 2


def test_a_run_file_of_a_simulation_is_submitted_and_what_does_not_count_is_named(home: Path, tmp_path: Path) -> None:
    for name, role in (("bank", "bank"), ("platform", "platform"), ("tax", "tax")):
        assert ask(home, "enrol", joined(tmp_path, home, name, role)).code == 0
    run_file = tmp_path / "run.toml"
    run_file.write_text(
        '[run]\ntask = "train"\n'
        '[[party]]\nname = "bank"\nrole = "bank"\nsource = "nowhere.csv"\nlabel = "y"\nexclude = ["z"]\n'
        '[[party]]\nname = "platform"\nrole = "platform"\nsource = "nowhere.csv"\n'
        '[[party]]\nname = "tax"\nrole = "tax"\n'
    )  # fmt: skip
    first, second = ask(home, "submit", run_file), ask(home, "submit", run_file)
    assert first.code == second.code == 0, first.err
    assert "exclude, source" in first.out and "nowhere" not in first.out
    names = [answer.out.splitlines()[1].split(" ")[0] for answer in (first, second)]
    assert names[1] == f"{names[0]}-2"
    taken = ask(home, "submit", run_file, "--name", names[0])
    assert taken.code == 2 and "another name" in taken.err
    assert ask(home, "stop", names[0]).code == 0
    assert "No server runs" in ask(home, "status").out


def test_what_a_killed_server_has_left_says_nothing_of_one_that_runs(home: Path) -> None:
    (home / "server.json").write_text(json.dumps({"pid": 1, "online": ["tax-a"], "runs": []}))
    assert "No server runs" in ask(home, "status").out
    with the_only_one(home):
        assert "The server runs (process 1)" in ask(home, "status").out
    assert "No server runs" in ask(home, "status").out


def test_a_certificate_of_an_own_pki_is_renewed_by_its_next_one_and_no_other(home: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    (home / "tls" / "ca.key").rename(tmp_path / "ca.key")  # as of a PKI that is not here
    before = (home / "tls" / "server.pem").read_bytes()
    answer = ask(home, "renew")
    assert answer.code == 2 and "--certificate PEM" in answer.err
    shutil.copytree(home / "tls", own)
    (tmp_path / "ca.key").rename(own / "ca.key")
    following = make_again(own, moment(), ("localhost",))
    assert ask(home, "renew", "--certificate", following).code == 0
    assert (home / "tls" / "server.pem").read_bytes() == following.read_bytes() != before
    stranger = tmp_path / "stranger"
    issue(stranger, ("localhost",), moment())
    answer = ask(home, "renew", "--certificate", stranger / "server.pem", "--key", stranger / "server.key")
    assert answer.code == 2 and (home / "tls" / "server.pem").read_bytes() == following.read_bytes()


def test_a_certificate_that_has_run_out_is_said_before_the_server_starts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.conducting.moment", lambda: "2040-01-01T00:00:00Z")
    answer = ask(home, "start")
    assert answer.code == 2 and "expired" in answer.err


def test_settings_that_are_none_are_refused_with_the_file(home: Path) -> None:
    (home / "coordinator.toml").write_text('port = 99999\nhosts = ["localhost"]\n')
    answer = ask(home, "status")
    assert answer.code == 2 and "coordinator.toml" in answer.err
