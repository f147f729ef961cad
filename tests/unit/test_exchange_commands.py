"""`creditfed node exchange`: what it answers, says and ends with, at a node whose people must vote."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import clients.exchange
from clients.alone import alone
from clients.consortium import FILE
from clients.exchange import INVITATION, Exchange
from federation.carriage.mailbox import Parcel
from federation.kernel import suite
from federation.kernel.batch import Batch
from federation.kernel.codec import decode, encode
from federation.kernel.errors import ConfigurationError, PolicyRefusal
from federation.kernel.invitation import read_invitation
from federation.kernel.manifest import Description
from federation.kernel.role import COORDINATOR
from federation.kernel.secret import Secret
from federation.kernel.signatures import Signature
from server.file_post import FilePost
from tests.end_to_end.scene import Answer, creditfed
from tests.exchange_scene import correspondent, introduce, names
from tests.house import House
from tests.post import identity

MINE = Secret(b"m" * 32)


class Bureau:
    """A bank's house, its folders, and the coordinator's post to it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.house = House(folder / "bank", monkeypatch)
        introduce(self.house.root, identity(COORDINATOR), MINE)
        self.there, self.back = folder / "there", folder / "back"
        self.there.mkdir()
        self.back.mkdir()
        self.post = FilePost(
            self.there, self.back, correspondent(self.house.root, "bank"), identity(COORDINATOR), MINE, sleep=lambda _: None
        )

    def ask(self, operation: str, payload: bytes = b"", run: str = "test") -> None:
        self.post.forget()
        self.post.send({"bank": Parcel(operation, run, payload)})

    def exchange(self) -> Answer:
        return creditfed("node", "exchange", "--in", self.there, "--out", self.back, "--home", self.house.root)

    def heard(self) -> Parcel:
        answer = self.post.collect()["bank"]
        assert isinstance(answer, Parcel)
        return answer


@pytest.fixture
def bureau(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bureau:
    monkeypatch.setenv("COLUMNS", "200")
    return Bureau(tmp_path, monkeypatch)


def test_from_the_description_over_a_refusal_and_a_vote_to_a_signature(bureau: Bureau) -> None:
    bureau.ask("describe")
    said = bureau.exchange()
    assert said.code == 0 and "answered" in said.out and "not proposed yet" in said.out and "Carry the files" in said.out
    assert msgspec.json.decode(bureau.heard().payload, type=Description).party.name == "bank"
    made = bureau.house.drafted()
    bureau.ask("propose", made.canonical())
    said = bureau.exchange()
    assert said.code == 3 and "refused" in said.out and "approval" in said.out and "creditfed node pending" in said.out
    assert bureau.heard() == Parcel("refused", "test", b"approval")
    again = bureau.exchange()
    assert again.code == 0 and "answered before" in again.out, "it was said once"
    bureau.house.vote(made.hash)
    bureau.ask("propose", made.canonical())
    said = bureau.exchange()
    assert said.code == 0 and "approved" in said.out
    assert msgspec.json.decode(bureau.heard().payload, type=Signature).party == "bank"


def test_other_refusals_have_their_own_code(bureau: Bureau) -> None:
    bureau.ask("propose", b"no manifest")
    said = bureau.exchange()
    assert said.code == 4 and "protocol" in said.out and "this node's own log" in said.out
    bureau.ask("open the vault")
    assert bureau.exchange().code == 4 and bureau.heard() == Parcel("refused", "test", b"protocol")


def test_a_bug_is_a_code_and_no_word_of_it_leaves(bureau: Bureau, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ValueError("73519.25")

    monkeypatch.setattr("clients.vault.describe_table", fails)
    bureau.ask("describe")
    said = bureau.exchange()
    assert said.code == 1 and "73519" not in said.out + said.err
    assert bureau.heard() == Parcel("refused", "test", b"internal")


def test_a_run_that_this_nodes_people_end_is_told_by_the_exit_code(bureau: Bureau) -> None:
    made = bureau.house.opened()
    bureau.house.node.close()
    bureau.ask("deliver", encode(Batch(0)))
    said = bureau.exchange()
    assert said.code == 0 and "under way" in said.out
    assert decode(bureau.heard().payload, Batch, "bank", 1 << 20).envelopes
    bureau.house.vote(made.hash, verdict="revoke")
    bureau.ask("deliver", encode(Batch(1)))
    said = bureau.exchange()
    assert said.code == 3 and "ended without a result" in said.out
    assert decode(bureau.heard().payload, Batch, "bank", 1 << 20).done
    assert bureau.exchange().code == 0, "it was said once"


def test_what_is_ignored_is_counted(bureau: Bureau) -> None:
    (bureau.there / "1.sealed").write_bytes(b"x" * 5000)
    (bureau.there / "notes.txt").write_text("SECRET")
    said = bureau.exchange()
    assert said.code == 0 and "no sealed parcel" in said.out and "another kind of file" in said.out and "SECRET" not in said.out
    assert names(bureau.back) == {}


def test_an_empty_folder_says_what_to_do(bureau: Bureau) -> None:
    said = bureau.exchange()
    assert (said.code, said.out) == (0, "Nothing new was asked. Bring what the coordinator has put out since.\n")


def test_two_at_once_are_one_too_many(bureau: Bureau) -> None:
    bureau.ask("describe")
    with alone(bureau.house.root):
        said = bureau.exchange()
    assert said.code == 2 and "works on this node already" in said.err and names(bureau.back) == {}


@pytest.mark.parametrize("which", ["there", "back"])
def test_a_folder_that_is_not_there_is_not_made(bureau: Bureau, which: str) -> None:
    getattr(bureau, which).rmdir()
    said = bureau.exchange()
    assert said.code == 2 and "mount its disk" in said.err and not getattr(bureau, which).exists()


def test_a_home_that_is_none_gets_no_lock(bureau: Bureau, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    assert creditfed("node", "exchange", "--in", bureau.there, "--out", bureau.back, "--home", tmp_path / "none").code == 2
    assert list((tmp_path / "none").iterdir()) == []


# -- whose keys ---------------------------------------------------------------------------------------------------------------------------


def test_a_node_that_does_not_know_its_coordinator_answers_nobody(bureau: Bureau) -> None:
    root = bureau.house.root
    kept, office = (root / INVITATION).read_text(), Exchange(bureau.house.node)
    introduce(root, identity(COORDINATOR), Secret(b"n" * 32))
    with pytest.raises(ConfigurationError, match="have changed"):
        office.carry(bureau.there, bureau.back)
    (root / INVITATION).unlink()
    with pytest.raises(ConfigurationError, match="keys are not here"):
        Exchange(bureau.house.node)
    introduce(root, identity("another"), MINE)
    with pytest.raises(ConfigurationError, match="another key than"):
        Exchange(bureau.house.node)
    (root / INVITATION).write_text(kept)
    assert read_invitation(kept).key == suite.signing_public(identity(COORDINATOR)).hex()
    pinned = (root / FILE).read_text()
    (root / FILE).write_text("coordinator_revoked = true\n" + pinned)
    with pytest.raises(PolicyRefusal, match="revoked"):
        Exchange(bureau.house.node)
    (root / FILE).unlink()
    with pytest.raises(PolicyRefusal, match="pinned"):
        Exchange(bureau.house.node)


# -- what is kept -------------------------------------------------------------------------------------------------------------------------


def test_one_answer_is_kept_for_a_run_and_not_for_any_number_of_runs(bureau: Bureau, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients.exchange, "MOST_KEPT", 3)
    for number in range(6):
        for _ in range(2):
            bureau.ask("describe", run=f"run-{number}")
            assert bureau.exchange().code == 0
            assert bureau.heard().run == f"run-{number}"
    assert len(names(bureau.house.root / "exchange")) == 3


@pytest.mark.parametrize("run", ["../escaped", "", "a/b", "x" * 100])
def test_a_run_with_a_name_that_is_none_is_not_answered(run: str, bureau: Bureau, tmp_path: Path) -> None:
    bureau.ask("describe", run=run)
    assert Exchange(bureau.house.node).carry(bureau.there, bureau.back).done == []
    assert names(bureau.back) == {} and not (bureau.house.root / "exchange").exists() and not list(tmp_path.glob("*escaped*"))


def test_what_was_kept_and_cannot_be_read_is_not_answered_anew(bureau: Bureau) -> None:
    bureau.ask("describe")
    bureau.exchange()
    (path,) = (bureau.house.root / "exchange").iterdir()
    path.write_bytes(path.read_bytes()[:20])
    said = bureau.exchange()
    assert said.code == 2 and "is not an answer that this node has kept" in said.err
