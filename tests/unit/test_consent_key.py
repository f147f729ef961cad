"""The key that an agency and a platform share: made once, in files of mode 600, for two names, and quoted nowhere; and consents held under it."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest
import tomli_w

from clients.consent import open_ledger
from clients.consent_key import give_key, shared_key, take_key
from clients.home import Home
from clients.party_config import PartyConfig
from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest_rules import check_manifest
from privacy.approval.words import describe
from tests.agency_consent_scene import Held
from tests.agency_scene import behind_an_agency
from tests.unit.test_consent_commands import HEADER, run

CANARY = "firm-canary-1"


@pytest.fixture
def agency(tmp_path: Path) -> Home:
    return home(tmp_path / "agency-a", name="agency-a", role="agency")


@pytest.fixture
def platform(tmp_path: Path) -> Home:
    return home(tmp_path / "platform-a", name="platform-a", role="platform")


def home(root: Path, **facts: str) -> Home:
    root.mkdir()
    (root / "node.toml").write_text(tomli_w.dumps(facts))
    return Home(root)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_key_comes_to_the_platform_and_is_shown_nowhere(agency: Home, platform: Home, tmp_path: Path) -> None:
    file = tmp_path / "key.toml"
    said = [
        run("key", "--home", agency.root, "--platform", "platform-a", "--out", file),
        run("key", "--home", platform.root, "--from", file),
    ]
    key = shared_key(agency, "platform-a")
    assert shared_key(platform, "agency-a") == key and len(key) == 32
    assert {mode(path) for path in (file, agency.root / "keys/consent-platform-a.key", platform.root / "keys/consent-agency-a.key")} == {
        0o600
    }
    assert not any(key.reveal().hex() in line for line in (*said, repr(key)))
    take_key(platform, file)
    assert shared_key(platform, "agency-a") == key, "taken twice, it is the same"


def test_each_platform_has_a_key_of_its_own(agency: Home, tmp_path: Path) -> None:
    give_key(agency, "platform-a", tmp_path / "a.toml")
    give_key(agency, "platform-b", tmp_path / "b.toml")
    assert shared_key(agency, "platform-a") != shared_key(agency, "platform-b")


def test_a_key_is_not_taken_for_another_nor_over_another(agency: Home, platform: Home, tmp_path: Path) -> None:
    give_key(agency, "platform-b", tmp_path / "b.toml")
    with pytest.raises(ConfigurationError, match="for another platform"):
        take_key(platform, tmp_path / "b.toml")
    give_key(agency, "platform-a", tmp_path / "a.toml")
    take_key(platform, tmp_path / "a.toml")
    key = shared_key(platform, "agency-a")
    (tmp_path / "c.toml").write_text(tomli_w.dumps({"agency": "agency-a", "platform": "platform-a", "key": "1" * 64}))
    with pytest.raises(ConfigurationError, match="another key already"):
        take_key(platform, tmp_path / "c.toml")
    assert shared_key(platform, "agency-a") == key
    with pytest.raises(ConfigurationError, match="cannot be written"):
        give_key(agency, "platform-a", tmp_path / "a.toml")


@pytest.mark.parametrize(
    "text", ["", "key =", 'agency = "agency-a"', 'agency = "agency-a"\nplatform = "platform-a"\nkey = "0102SECRET"', "\0", "agency = 1"]
)
def test_what_is_no_key_is_refused_and_not_quoted(platform: Home, tmp_path: Path, text: str) -> None:
    (tmp_path / "key.toml").write_text(text)
    with pytest.raises(ConfigurationError, match="no consent key") as refusal:
        take_key(platform, tmp_path / "key.toml")
    assert "SECRET" not in str(refusal.value)


@pytest.mark.parametrize("name", ["../identity", "", "A", "a/b"])
def test_a_name_reaches_no_other_file(agency: Home, platform: Home, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError):
        give_key(agency, name, tmp_path / "key.toml")
    (tmp_path / "other.toml").write_text(tomli_w.dumps({"agency": name, "platform": "platform-a", "key": "1" * 64}))
    with pytest.raises(ConfigurationError):
        take_key(platform, tmp_path / "other.toml")
    with pytest.raises(ConfigurationError):
        shared_key(platform, name)


def test_only_an_agency_makes_one_and_without_one_there_is_no_ledger(agency: Home, platform: Home, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="an agency makes it"):
        give_key(platform, "platform-a", tmp_path / "key.toml")
    for where, whose in ((agency, "platform-a"), (agency, ""), (platform, "platform-a")):
        with pytest.raises(ConfigurationError):
            open_ledger(where, platform=whose)
    assert not (agency.root / "consent").exists()
    for words in ((), ("--platform", "platform-a"), ("--out", "k"), ("--from", "k", "--out", "k", "--platform", "platform-a")):
        with pytest.raises(ConfigurationError):
            run("key", "--home", agency.root, *words)


def test_an_agencys_ledgers_are_apart(agency: Home, tmp_path: Path) -> None:
    (tmp_path / "consents.csv").write_text(f"{HEADER}\n{CANARY},credit,turnover,bank,2020-01-01,2090-01-01,form 1")
    for name in ("platform-a", "platform-b"):
        give_key(agency, name, tmp_path / f"{name}.toml")
    run("import", tmp_path / "consents.csv", "--home", agency.root, "--platform", "platform-a")
    assert "0 open" in run("show", "--home", agency.root, "--platform", "platform-a")
    assert "no consent" in run("show", "--home", agency.root, "--platform", "platform-b")
    assert "You consented to" in run("explain", "--id-stdin", "--home", agency.root, "--platform", "platform-a", stdin=CANARY)
    assert "know of no consent" in run("explain", "--id-stdin", "--home", agency.root, "--platform", "platform-b", stdin=CANARY)
    assert "Pass it on to platform-a" in run("erase", "--id-stdin", "--home", agency.root, "--platform", "platform-a", stdin=CANARY)
    assert not any(CANARY.encode() in path.read_bytes() for path in agency.root.rglob("*") if path.is_file())


def test_a_person_is_told_by_an_agency_what_the_record_may_have_been_used_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(tmp_path, monkeypatch)
    held.open()
    said = run("explain", "--id-stdin", "--home", held.homes["agency"].root, "--platform", "platform", stdin="firm1")
    assert "where platform has one, could be used" in said and "run test" in said and "was used in" not in said


@pytest.mark.parametrize("changes", [{"through": ""}, {"label": "bad"}, {"weight": "w"}, {"consent": "sqlite:///x.db"}])
def test_the_basis_agency_needs_one_and_goes_with_nothing_else(tmp_path: Path, changes: dict[str, str]) -> None:
    section = {"name": "a", "role": "platform", "source": "a.csv", "legal_basis": "agency", "through": "agency-a"}
    assert PartyConfig.from_dict(section, tmp_path).legal_basis == "agency"
    with pytest.raises(ConfigurationError, match="legal_basis"):
        PartyConfig.from_dict(section | changes, tmp_path)


def test_a_manifest_says_where_consents_are_held_and_people_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Held(tmp_path, monkeypatch).drafted()
    check_manifest(made)
    for name, words in (("platform", "holds the consents and says which rows"), ("agency", "tells platform which firms have consented")):
        assert words in " ".join(line for section in describe(made, name) for line in section.lines), name
    bare = behind_an_agency("bank", "platform", "tax")
    parties = tuple(msgspec.structs.replace(party, consents_at_agency=party.name == "tax") for party in bare.parties)
    with pytest.raises(ConfigurationError, match="goes through none"):
        check_manifest(msgspec.structs.replace(bare, parties=parties))
