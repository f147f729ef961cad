"""The coordinator's post by files: one question at a time, answers once, and after a restart the same file."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import server.file_post
from federation.carriage.mailbox import Parcel
from federation.carriage.parcel_folder import Found, content, file_name, found
from federation.carriage.sealing import seal_to
from federation.kernel import suite
from federation.kernel.errors import ConfigurationError
from federation.kernel.joining import joining
from federation.kernel.sealed_parcel import HEAD_BYTES, Answer, Ends, Question, about, number_of, read, ticket_of, write
from federation.kernel.secret import Secret
from server.courier import Courier
from server.file_post import Correspondent, FilePost
from server.post import LostNode
from tests.exchange_scene import names
from tests.post import identity

ME, TAX = identity("coordinator"), identity("tax")
MINE, THEIRS = Secret(b"m" * 32), Secret(b"t" * 32)
NODE = Correspondent("tax", suite.signing_public(TAX), suite.agreement_public(THEIRS))
BACK = Ends(NODE.key, suite.signing_public(ME))
ASKED = Parcel("deliver", "run", b"question")


class Place:
    """Folders, and the institution's side by hand."""

    def __init__(self, folder: Path) -> None:
        self.out, self.into, self.memory, self.now, self.slept = folder / "out", folder / "in", folder / "own" / "run.tax", 1_000, 0
        self.out.mkdir()
        self.into.mkdir()

    def post(self) -> FilePost:
        def sleep(_: float) -> None:
            self.slept += 1

        return FilePost(self.out, self.into, NODE, ME, MINE, self.memory, clock=lambda: self.now, sleep=sleep)

    def question(self) -> bytes:
        (raw,) = names(self.out).values()
        return raw

    def number(self) -> int:
        return number_of(ticket_of(self.question()[:HEAD_BYTES], "x"))

    def answer(self, question: bytes, payload: bytes = b"answer", name: str = "a") -> None:
        said = write(Answer("deliver", "run", payload), about(question), BACK, TAX, suite.agreement_public(MINE), seal_to)
        (self.into / f"{name}.sealed").write_bytes(said)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_question_is_a_file_that_the_institution_alone_opens(place: Place) -> None:
    place.post().send({"tax": ASKED})
    there = Ends(suite.signing_public(ME), NODE.key)
    assert read(place.question(), Question, there, THEIRS, "coordinator") == Question("deliver", "run", b"question")
    (name,) = names(place.out)
    assert name == file_name(ticket_of(place.question()[:HEAD_BYTES], "x")) and name.removesuffix(".sealed").isdigit()
    assert (place.out / name).stat().st_mode & 0o444 == 0o444, "another user may carry it"


def test_an_answer_comes_once_and_then_nothing_is_carried_any_more(place: Place) -> None:
    post = place.post()
    post.send({"tax": ASKED})
    assert post.collect() == {}
    place.answer(place.question())
    assert post.collect() == {"tax": Parcel("deliver", "run", b"answer")}
    assert post.collect() == {}
    assert len(names(place.out)) == len(names(place.into)) == 1, "until it is made use of"
    post.forget()
    assert names(place.out) == names(place.into) == {}


def test_what_was_answered_is_asked_anew_and_what_was_not_is_left_as_it_is(place: Place) -> None:
    """A coordinator that waits for people's votes asks the same again; one that lost patience does, too."""
    post = place.post()
    post.send({"tax": ASKED})
    first = place.question()
    post.forget()
    post.send({"tax": ASKED})
    assert place.question() == first
    place.answer(first)
    assert post.collect()
    post.forget()
    post.send({"tax": ASKED})
    assert place.question() != first and place.number() > number_of(ticket_of(first[:HEAD_BYTES], "x"))
    place.answer(first, name="late")
    assert post.collect() == {} and names(place.into) == {}, "a second copy is not kept"


def test_another_question_takes_the_place_of_one_that_was_not_answered(place: Place) -> None:
    post = place.post()
    post.send({"tax": ASKED})
    first = place.question()
    post.forget()
    post.send({"tax": Parcel("deliver", "run", b"other")})
    assert place.question() != first
    place.answer(first)
    assert post.collect() == {} and names(place.into) == {}


def test_after_a_restart_the_same_question_is_the_same_file_and_its_answer_counts(place: Place) -> None:
    place.post().send({"tax": ASKED})
    first = place.question()
    place.answer(first)
    again = place.post()
    again.send({"tax": ASKED})
    assert place.question() == first and set(again.collect()) == {"tax"}
    killed_before_use = place.post()
    killed_before_use.send({"tax": ASKED})
    assert set(killed_before_use.collect()) == {"tax"}


def test_control_without_a_memory_the_answer_that_is_under_way_is_lost(place: Place) -> None:
    place.post().send({"tax": ASKED})
    place.answer(place.question())
    place.memory.unlink()
    place.now += 1
    again = place.post()
    again.send({"tax": ASKED})
    assert again.collect() == {}


def test_numbers_go_up_also_when_the_clock_goes_back(place: Place) -> None:
    place.post().send({"tax": ASKED})
    before = place.number()
    place.now = 5
    post = place.post()
    post.send({"tax": Parcel("deliver", "run", b"next")})
    assert place.number() == before + 1
    place.answer(place.question())
    assert post.collect()
    post.forget()
    place.post().send({"tax": ASKED})
    assert place.number() == before + 2


def test_a_memory_that_is_none_is_refused(place: Place) -> None:
    place.memory.parent.mkdir()
    place.memory.write_bytes(b"\x93")
    with pytest.raises(ConfigurationError, match="remembers"):
        place.post()


def test_a_file_that_is_still_being_copied_is_taken_when_it_is_whole(place: Place) -> None:
    post = place.post()
    post.send({"tax": ASKED})
    place.answer(place.question())
    path = place.into / "a.sealed"
    raw = path.read_bytes()
    for end in (0, 10, HEAD_BYTES, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:end])
        assert post.collect() == {}
    path.write_bytes(raw)
    assert set(post.collect()) == {"tax"}


def test_a_file_is_read_once_and_its_content_is_in_no_word(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    post = place.post()
    post.send({"tax": ASKED})
    place.answer(place.question())
    path = place.into / "a.sealed"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    (place.into / "notes.txt").write_text("SECRET")
    reads: list[object] = []

    def read_again(file: Found) -> bytes | None:
        reads.append(file)
        return content(file)

    monkeypatch.setattr(server.file_post, "content", read_again)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert post.collect() == {}
    assert len(reads) == 1 and len(caplog.records) == 1
    assert "1 cut short, altered or not from this institution" in caplog.text and "SECRET" not in caplog.text


def test_a_disk_that_is_away_is_waited_for_when_reading_and_said_when_writing(place: Place) -> None:
    post = place.post()
    post.send({"tax": ASKED})
    place.into.rmdir()
    assert post.collect() == {}
    place.into.mkdir()
    place.answer(place.question())
    assert set(post.collect()) == {"tax"}
    for path in place.out.iterdir():
        path.unlink()
    place.out.rmdir()
    place.out.write_text("")
    post.forget()
    with pytest.raises(LostNode, match="cannot be written"):
        post.send({"tax": Parcel("deliver", "run", b"next")})
    with pytest.raises(ConfigurationError, match="no such folder"):
        place.post()


def test_it_sleeps_only_where_something_is_awaited(place: Place) -> None:
    """A courier waits at every post: those behind a Grid are not held up by one that has nothing to do."""
    post = place.post()
    post.wait()
    assert place.slept == 0
    post.send({"tax": ASKED})
    post.wait()
    assert place.slept == 1
    post.send({})
    post.wait()
    assert place.slept == 2


def test_a_parcel_for_another_institution_is_refused(place: Place) -> None:
    with pytest.raises(ConfigurationError, match="platform"):
        place.post().send({"platform": ASKED})


def test_a_courier_with_a_silent_institution_loses_it_and_may_ask_again(place: Place) -> None:
    now = iter(range(1000))
    courier = Courier({"tax": place.post()}, patience=5, clock=lambda: next(now))
    assert isinstance(courier.hear({"tax": ASKED})["tax"], LostNode)
    place.answer(place.question())
    assert courier.exchange({"tax": ASKED}) == {"tax": Parcel("deliver", "run", b"answer")}


def test_an_institution_is_known_by_its_joining(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    node_key = generate_private_key(SECP384R1()).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert Correspondent.of(joining("tax", "tax", TAX, node_key, NODE.exchange_key.hex())) == NODE


def test_names_are_no_links_and_no_folders(tmp_path: Path) -> None:
    (tmp_path / "folder.sealed").mkdir()
    (tmp_path / "link.sealed").symlink_to(tmp_path / "folder.sealed")
    (tmp_path / "file.sealed.partial").touch()
    (tmp_path / "file.sealed").touch()
    assert [(file.path.name, file.ticket) for file in found(tmp_path)] == [("file.sealed", None)]
