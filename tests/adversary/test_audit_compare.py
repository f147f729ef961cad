"""Parties whose accounts of a run do not agree are told apart, by subject and stage; an export holds nothing but what it is meant to."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from clients.audit_commands import compare_logs, export_account, show_entries, verify_log
from federation.kernel import suite
from federation.kernel.errors import ConfigurationError, DataError
from federation.kernel.secret import Secret
from privacy.audit.compare import Difference, account, compare, verify_together
from privacy.store.audit_folder import find
from tests.audit_scene import audit_file, copy, decoded, fill, lines_of, put_lines, rewrite

NAMES = ("bank", "platform", "tax")
KEYS = {name: Secret(bytes([place]) * 32) for place, name in enumerate(NAMES, 1)}
PUBLICS = {name: suite.signing_public(key) for name, key in KEYS.items()}
CANARY = "canary-of-a-note"
Change = Callable[[str, str, dict[str, Any]], dict[str, Any] | None]


def as_told(_name: str, _kind: str, facts: dict[str, Any]) -> dict[str, Any] | None:
    return facts


def market(root: Path, change: Change = as_told, greet: bool = True, end: bool = True) -> dict[str, Path]:
    """Three parties that did run-1 together, each with its log. change: what a party writes instead, or nothing."""
    logs = {name: audit_file(root / name / "audit", KEYS[name], name) for name in NAMES}

    def write(name: str, kind: Any, **facts: Any) -> None:
        told = change(name, kind, facts)
        if told is not None:
            logs[name].append(kind, "run-1", **told)

    for name in NAMES:
        for party in NAMES:
            write(name, "signature", manifest="aa" * 32, party=party, signature=f"{party[:1]}" * 128, snapshot="dd" * 32, note=CANARY)
        write(name, "approval", manifest="aa" * 32, party=name, by="owner", snapshot="dd" * 32, purpose="decide", task="scorecard")
        write(name, "session", manifest="aa" * 32, session="bb" * 32)
    write("tax", "vote", manifest="aa" * 32, party="tax", by="carol", verdict="revoke")
    for name, peer in permutations(NAMES, 2) if greet else ():
        logs[name].saw(peer, PUBLICS[peer], logs[peer].notice(), "run-1")
    for stage, (sender, receiver) in product(("align", "fit 1"), permutations(NAMES, 2)):
        digest = suite.plain_digest(f"{stage} {sender} {receiver}".encode()).hex()
        write(sender, "sent", stage=stage, peer=receiver, messages=1, digest=digest)
        write(receiver, "received", stage=stage, peer=sender, messages=1, digest=digest)
    write("bank", "vault", rows=100, columns=3)
    write("bank", "release", what="bins", numbers=12)
    write("bank", "budget", step="reserved", epsilon=1.0)
    write("bank", "budget", step="spent", epsilon=0.5)
    write("tax", "policy", rule="default-9", allowed=False)
    for name in NAMES:
        if end:
            write(name, "end", model="cc" * 32)
        logs[name].head()
    return {name: root / name for name in NAMES}


def differences(homes: dict[str, Path]) -> tuple[Difference, ...]:
    logs = [find(home).log(name) for name, home in homes.items()]
    reports = verify_together(logs, {name: {PUBLICS[name]} for name in homes})
    assert all(report.sound for report in reports)
    return compare([account(log, report, "run-1") for log, report in zip(logs, reports, strict=True)])


def test_accounts_of_an_honest_run_agree(tmp_path: Path) -> None:
    assert differences(market(tmp_path)) == ()


def only(who: str, what: str, **other: Any) -> Change:
    """That one party writes other facts in entries of one kind; `None` for nothing."""

    def change(name: str, kind: str, facts: dict[str, Any]) -> dict[str, Any] | None:
        if name != who or kind != what or facts.get("stage", "fit 1") != "fit 1" or facts.get("peer", "platform") != "platform":
            return facts
        if facts.get("party", "platform") != "platform":
            return facts
        return facts | other if other else None

    return change


CASES: dict[str, tuple[Change, set[tuple[str, tuple[str, ...]]]]] = {
    "another manifest": (only("tax", "session", manifest="ad" * 32), {("manifest", ("bank", "tax")), ("manifest", ("platform", "tax"))}),
    "another session": (only("tax", "session", session="bd" * 32), {("session", ("bank", "tax")), ("session", ("platform", "tax"))}),
    "another signature": (
        only("bank", "signature", signature="0" * 128),
        {("signature", ("bank", "platform")), ("signature", ("bank", "tax"))},
    ),
    "other messages sent": (only("bank", "sent", digest="0" * 64), {("messages", ("bank", "platform"))}),
    "more messages sent": (only("bank", "sent", messages=2), {("messages", ("bank", "platform"))}),
    "other messages received": (only("bank", "received", digest="0" * 64), {("messages", ("platform", "bank"))}),
    "nothing sent": (only("bank", "sent"), {("messages", ("bank", "platform"))}),
    "nothing received": (only("bank", "received"), {("messages", ("platform", "bank"))}),
}


@pytest.mark.parametrize("name", CASES)
def test_what_one_party_tells_otherwise_is_found(tmp_path: Path, name: str) -> None:
    change, expected = CASES[name]
    found = differences(market(tmp_path, change))
    assert {(difference.subject, difference.parties) for difference in found} == expected
    if name in ("other messages sent", "nothing sent"):
        assert all("fit 1" in difference.what for difference in found)


@pytest.mark.parametrize("name", CASES)
def test_control_without_the_other_partys_log_it_is_missed(tmp_path: Path, name: str) -> None:
    homes = market(tmp_path, CASES[name][0])
    liar = "tax" if "tax" in str(CASES[name][1]) and name in ("another manifest", "another session") else "bank"
    assert differences({liar: homes[liar]}) == ()


def test_a_stage_that_one_side_did_not_record_is_no_difference_in_a_run_that_was_broken_off(tmp_path: Path) -> None:
    assert differences(market(tmp_path, only("bank", "received"), end=False)) == ()


def test_what_a_former_session_lacks_is_no_difference_and_what_the_last_lacks_is(tmp_path: Path) -> None:
    def change(name: str, kind: str, facts: dict[str, Any]) -> dict[str, Any] | None:
        if kind not in ("sent", "received"):
            return facts
        session = "0e" * 32 if facts["stage"] == "align" else "bb" * 32
        return None if name == "bank" and kind == "received" and session == former else facts | {"session": session}

    former = "0e" * 32
    assert differences(market(tmp_path / "former", change)) == ()
    former = "bb" * 32
    assert {difference.what for difference in differences(market(tmp_path / "last", change))} == {"stage fit 1: bank recorded nothing"}


def test_one_digest_for_many_institutions_is_compared_with_none(tmp_path: Path) -> None:
    def change(name: str, kind: str, facts: dict[str, Any]) -> dict[str, Any] | None:
        return facts | {"peer": "2 institutions"} if name == "bank" and kind == "sent" else facts

    assert differences(market(tmp_path, change)) == ()


def test_a_head_that_was_not_exchanged_is_found(tmp_path: Path) -> None:
    found = differences(market(tmp_path, greet=False))
    assert {difference.subject for difference in found} == {"head"} and len(found) == 6


def test_a_log_written_anew_is_found_by_the_heads_in_the_others_logs(tmp_path: Path) -> None:
    homes = market(tmp_path)
    entries = decoded(lines_of(homes["bank"] / "audit"))
    rewrite(homes["bank"] / "audit", entries[:2] + entries[3:], KEYS["bank"])
    logs = [find(home).log(name) for name, home in homes.items()]
    reports = verify_together(logs)
    assert [[finding.fault.value for finding in report.findings] for report in reports] == [["rewritten"], [], []]
    assert verify_together(logs[:1])[0].sound, "control: alone it is sound"


# the commands


def pinned(*names: str) -> dict[str, Any]:
    """A consortium.toml of these members."""
    coordinator = suite.signing_public(Secret(bytes([9]) * 32)).hex()
    return {"coordinator": coordinator, "member": [{"name": name, "role": name, "key": PUBLICS[name].hex()} for name in names]}


@pytest.fixture
def homes(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "consortium.toml").write_text(tomli_w.dumps(pinned(*NAMES)))
    return market(tmp_path)


def test_verify_prints_a_table_and_ends_in_an_error_that_names_what_to_do(
    homes: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank, consortium = homes["bank"], tmp_path / "consortium.toml"
    verify_log(bank, [PUBLICS["bank"].hex()], None, [])
    verify_log(bank / "audit", [], consortium, [homes["tax"]])
    assert "sound" in capsys.readouterr().out
    with pytest.raises(DataError):
        verify_log(bank, [PUBLICS["tax"].hex()], None, [])
    assert "bad head" in capsys.readouterr().out
    old = copy(bank / "audit", tmp_path / "old")
    fill(audit_file(bank / "audit", KEYS["bank"], "bank"), 1)
    peer = audit_file(homes["tax"] / "audit", KEYS["tax"], "tax")
    peer.saw("bank", PUBLICS["bank"], audit_file(bank / "audit", KEYS["bank"], "bank").notice(), "run-2")
    with pytest.raises(DataError, match="evidence") as broken:
        verify_log(old, [], consortium, [homes["tax"]])
    assert broken.value.exit_code == 5 and "rolled back" in capsys.readouterr().out


def test_what_is_no_log_or_no_key_is_said(homes: dict[str, Path], tmp_path: Path) -> None:
    for path, keys, consortium in (
        (tmp_path / "nowhere", [], None),
        (homes["bank"], ["zz"], None),
        (homes["bank"], ["00" * 32], None),
        (homes["bank"], [], tmp_path / "none.toml"),
        (homes["bank"], [], homes["bank"] / "audit" / "heads.jsonl"),
    ):
        with pytest.raises(ConfigurationError):
            verify_log(path, keys, consortium)
    (tmp_path / "small.toml").write_text(tomli_w.dumps(pinned("tax")))
    with pytest.raises(ConfigurationError, match="no member bank"):
        verify_log(homes["bank"], pinned=tmp_path / "small.toml")
    with pytest.raises(ConfigurationError, match="two logs"):
        compare_logs([homes["bank"], homes["bank"]])
    with pytest.raises(ConfigurationError, match="no entry of run run-9"):
        show_entries(homes["bank"], "run-9")
    with pytest.raises(ConfigurationError, match="know a run run-9"):
        compare_logs(list(homes.values()), "run-9")
    with pytest.raises(ConfigurationError, match="one log alone"):
        compare_logs([homes["bank"]])
    with pytest.raises(ConfigurationError, match="no such file"):
        verify_log(homes["bank"], pinned=tmp_path / "nowhere.toml")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        export_account(list(homes.values()), tmp_path / "nowhere" / "account.md")
    empty = tmp_path / "empty" / "audit"
    empty.mkdir(parents=True)
    (empty / "000000000000.jsonl").touch()
    with pytest.raises(ConfigurationError, match="no entry at all"):
        verify_log(empty)


def test_compare_shows_where_accounts_differ(homes: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare_logs(list(homes.values()), None, tmp_path / "consortium.toml")
    assert "The accounts agree" in capsys.readouterr().out
    others = market(tmp_path / "others", CASES["other messages sent"][0])
    with pytest.raises(DataError, match="1 places"):
        compare_logs(list(others.values()), "run-1", tmp_path / "consortium.toml")
    assert "fit 1" in capsys.readouterr().out


def test_show_lists_a_run(homes: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    show_entries(homes["bank"], "run-1")
    assert "approval" in (out := capsys.readouterr().out) and "founding" not in out


def test_an_export_tells_who_computed_what_with_whose_approval_and_nothing_else(homes: dict[str, Path], tmp_path: Path) -> None:
    for name in ("account.md", "account.json"):
        export_account(list(homes.values()), tmp_path / name, tmp_path / "consortium.toml")
    text = (tmp_path / "account.md").read_text()
    for part in ("run-1", "scorecard", "decide", "accounts agree", "| tax |", "owner", "0.5"):
        assert part in text
    whole = json.loads((tmp_path / "account.json").read_text())
    run = whole["runs"][0]
    assert [approval["signature_seen_by"] for approval in run["approvals"]] == [["bank", "platform", "tax"]] * 3
    assert [(approval["by"], approval["against"]) for approval in run["approvals"]] == [("owner", ""), ("owner", ""), ("owner", "carol")]
    assert [part["refusals"] for part in run["parts"]] == [0, 0, 1] and run["parts"][0]["epsilon"] == 0.5
    assert {log["party"] for log in whole["logs"]} == set(NAMES) and not run["differences"]
    assert CANARY not in text + json.dumps(whole)
    assert CANARY in (homes["bank"] / "audit" / "000000000000.jsonl").read_text(), "control: it is in the log"
    with pytest.raises(ConfigurationError):
        export_account(list(homes.values()), tmp_path / "account.pdf", None)


def test_an_export_of_a_log_that_is_not_sound_says_so_and_ends_in_an_error(homes: dict[str, Path], tmp_path: Path) -> None:
    export_account(list(homes.values()), tmp_path / "account.md")
    put_lines(homes["tax"] / "audit", lines_of(homes["tax"] / "audit")[:-2])
    with pytest.raises(DataError, match="not what was written"):
        export_account(list(homes.values()), tmp_path / "account.md")
    assert "| tax |" in (tmp_path / "account.md").read_text()


def test_a_page_shows_a_facts_text_as_text(tmp_path: Path) -> None:
    homes = market(tmp_path, lambda _name, kind, facts: facts | {"purpose": "a | <b>*x*</b>"} if kind == "approval" else facts)
    export_account(list(homes.values()), tmp_path / "account.md", None)
    assert "a \\| \\<b\\>\\*x\\*\\</b\\>" in (tmp_path / "account.md").read_text()
