"""Whoever carries files can withhold them, and nothing else: what is altered, exchanged, repeated or forged is not taken, on either side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clients.exchange import Exchange, Round
from clients.home import Home
from federation.carriage.mailbox import Parcel
from federation.carriage.parcel_folder import file_name
from federation.carriage.sealing import seal_to
from federation.kernel import sealed_parcel, suite
from federation.kernel.codec import decode
from federation.kernel.errors import PeerError
from federation.kernel.role import COORDINATOR
from federation.kernel.sealed_parcel import HEAD_BYTES, Answer, Ends, Question, about, numbered, read, write
from federation.kernel.secret import Secret
from privacy.attacks.exchange import ALTERATIONS, containing, flipped, forged, signed_anew, spliced
from server.file_post import Correspondent, FilePost
from tests.exchange_scene import correspondent, introduce, names
from tests.house import House
from tests.post import identity

CANARY = b"91310000B6ENAD6HLH"
COORDINATORS, TAX, PLATFORM, OUTSIDER = (identity(name) for name in (COORDINATOR, "tax", "platform", "outsider"))
EXCHANGE = {key: Secret(bytes([number]) * 32) for number, key in enumerate((COORDINATOR, "tax", "platform"), 1)}
PUBLIC = {key: suite.agreement_public(secret) for key, secret in EXCHANGE.items()}


def ends(sender: Secret, recipient: Secret) -> Ends:
    return Ends(suite.signing_public(sender), suite.signing_public(recipient))


TO_TAX, FROM_TAX = ends(COORDINATORS, TAX), ends(TAX, COORDINATORS)
ASKED = Question("deliver", "run-1", CANARY * 3)
QUESTION = write(ASKED, numbered(5), TO_TAX, COORDINATORS, PUBLIC["tax"], seal_to)
SAID = Answer("deliver", "run-1", CANARY * 4)
ANSWER = write(SAID, about(QUESTION), FROM_TAX, TAX, PUBLIC[COORDINATOR], seal_to)
BOTH: dict[str, tuple[bytes, Callable[[bytes], Question | Answer]]] = {
    "question": (QUESTION, lambda raw: read(raw, Question, TO_TAX, EXCHANGE["tax"], COORDINATOR)),
    "answer": (ANSWER, lambda raw: read(raw, Answer, FROM_TAX, EXCHANGE[COORDINATOR], "tax")),
}


def accepted(files: Any, reader: Callable[[bytes], Question | Answer]) -> tuple[int, int]:
    """How many of so many files are taken; a refusal is a PeerError and nothing else."""
    taken = number = 0
    for raw in files:
        number += 1
        try:
            reader(raw)
        except PeerError as error:
            assert CANARY.decode() not in str(error)
        else:
            taken += 1
    return taken, number


def unsigned(patch: pytest.MonkeyPatch) -> None:
    """The weakened copy that takes any signature."""
    patch.setattr(suite, "verifies", lambda *_: True)


# -- one file -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BOTH)
def test_no_file_with_a_flipped_bit_is_accepted(kind: str) -> None:
    raw, reader = BOTH[kind]
    taken, number = accepted(flipped(raw), reader)
    print(f"{taken} of {number} accepted")
    assert (taken, number) == (0, len(raw)) and accepted([raw], reader) == (1, 1)


@pytest.mark.parametrize("kind", BOTH)
def test_control_where_signatures_are_not_checked_flipped_bits_are_accepted(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, reader = BOTH[kind]
    unsigned(monkeypatch)
    taken, number = accepted(flipped(raw), reader)
    print(f"{taken} of {number} accepted")
    assert taken == 64, "those of the signature; the sealing holds the rest"


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_no_altered_file_is_accepted(kind: str, alteration: str) -> None:
    raw, reader = BOTH[kind]
    assert accepted([ALTERATIONS[alteration](raw)], reader) == (0, 1)


def test_control_where_signatures_are_not_checked_an_altered_file_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    unsigned(monkeypatch)
    taken = [name for name, change in ALTERATIONS.items() if accepted([change(QUESTION)], BOTH["question"][1])[0]]
    assert taken == ["a signature of zeros"]


def test_no_file_made_of_the_parts_of_two_is_accepted() -> None:
    other = write(ASKED, numbered(6), TO_TAX, COORDINATORS, PUBLIC["tax"], seal_to)
    assert accepted(spliced(QUESTION, other), BOTH["question"][1]) == (0, 6)
    assert accepted([QUESTION, other], BOTH["question"][1]) == (2, 2)


def test_a_file_is_of_one_direction() -> None:
    """Sent back to whoever wrote it, or read as the other kind between the same two, it is none."""
    own = ends(TAX, COORDINATORS)
    assert accepted([QUESTION], lambda raw: read(raw, Answer, own, EXCHANGE[COORDINATOR], "tax")) == (0, 1)
    same_key = write(SAID, numbered(5), TO_TAX, COORDINATORS, PUBLIC["tax"], seal_to)
    assert accepted([same_key], BOTH["question"][1]) == (0, 1)


def test_control_where_neither_key_nor_message_says_the_direction_a_file_serves_for_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_parcel, "bound", lambda _kind, between, ticket: suite.frame("x", between.sender, between.recipient, ticket))
    raw = write(SAID, numbered(5), TO_TAX, COORDINATORS, PUBLIC["tax"], seal_to)
    assert accepted([raw], BOTH["question"][1]) == (0, 1), "the message's tag is the second thing that tells"
    monkeypatch.setattr(sealed_parcel, "decode", lambda body, _kind, sender, limit: decode(body, Answer, sender, limit))
    assert BOTH["question"][1](raw) == SAID


# -- who wrote it, and for whom ---------------------------------------------------------------------------------------------------------


def test_nobody_else_can_write_a_file() -> None:
    """With all public keys, sealed and bound as it must be; by an outsider, by another member, and signed anew by either."""
    for own in (OUTSIDER, PLATFORM):
        asked = forged(ASKED, numbered(9), TO_TAX, own, PUBLIC["tax"], seal_to)
        said = forged(SAID, about(QUESTION), FROM_TAX, own, PUBLIC[COORDINATOR], seal_to)
        anew = signed_anew(QUESTION, Question, TO_TAX, own), signed_anew(QUESTION, Question, ends(own, TAX), own)
        assert accepted([asked, *anew], BOTH["question"][1]) == (0, 3)
        assert accepted([said], BOTH["answer"][1]) == (0, 1)


def test_control_where_signatures_are_not_checked_an_outsider_writes_to_both(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = forged(ASKED, numbered(9), TO_TAX, OUTSIDER, PUBLIC["tax"], seal_to)
    said = forged(SAID, about(QUESTION), FROM_TAX, OUTSIDER, PUBLIC[COORDINATOR], seal_to)
    unsigned(monkeypatch)
    assert accepted([asked], BOTH["question"][1]) == accepted([said], BOTH["answer"][1]) == (1, 1)


def test_who_signs_another_senders_file_as_its_own_has_nothing_that_opens() -> None:
    """A member that takes a sealed part it cannot read and sends it in its own name: its recipient does not open it for that name."""
    stolen = signed_anew(ANSWER, Answer, ends(PLATFORM, COORDINATORS), PLATFORM)
    with pytest.raises(PeerError, match="does not open"):
        read(stolen, Answer, ends(PLATFORM, COORDINATORS), EXCHANGE[COORDINATOR], "platform")


def test_control_a_sealing_that_is_bound_to_nothing_can_be_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_parcel, "bound", lambda *_: b"")
    raw = write(SAID, about(QUESTION), FROM_TAX, TAX, PUBLIC[COORDINATOR], seal_to)
    stolen = signed_anew(raw, Answer, ends(PLATFORM, COORDINATORS), PLATFORM)
    assert read(stolen, Answer, ends(PLATFORM, COORDINATORS), EXCHANGE[COORDINATOR], "platform") == SAID


def test_a_file_for_one_institution_is_none_for_another_also_where_they_share_an_exchange_key() -> None:
    for private in (EXCHANGE["platform"], EXCHANGE["tax"]):
        with pytest.raises(PeerError, match="signature"):
            read(QUESTION, Question, ends(COORDINATORS, PLATFORM), private, COORDINATOR)


def test_control_where_files_are_bound_to_no_recipient_another_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_parcel, "bound", lambda _kind, between, ticket: suite.frame("x", between.sender, ticket))
    raw = write(ASKED, numbered(5), TO_TAX, COORDINATORS, PUBLIC["tax"], seal_to)
    assert read(raw, Question, ends(COORDINATORS, PLATFORM), EXCHANGE["tax"], COORDINATOR) == ASKED


# -- what a file tells ------------------------------------------------------------------------------------------------------------------

SECRETS = (CANARY, b"deliver", b"run-1", suite.signing_public(TAX), suite.signing_public(COORDINATORS), *PUBLIC.values())


def test_a_file_tells_its_blocks_and_nothing_else() -> None:
    payloads = (b"", CANARY, bytes(4000), CANARY * 200)
    files = [write(Answer("deliver", "run-1", each), about(QUESTION), FROM_TAX, TAX, PUBLIC[COORDINATOR], seal_to) for each in payloads]
    assert len({len(raw) for raw in files}) == 1, "a refusal is as long as a batch of four thousand bytes"
    assert containing([*files, QUESTION, ANSWER], SECRETS) == 0
    assert not any(word in file_name(numbered(5)) for word in ("run", "tax", "5.")) and file_name(numbered(5)) != file_name(numbered(6))


def test_control_what_is_not_sealed_shows_in_every_file() -> None:
    plain = write(ASKED, numbered(5), TO_TAX, COORDINATORS, PUBLIC["tax"], lambda _key, _info, text: bytes(32) + text + bytes(16))
    assert containing([plain], [CANARY]) == containing([plain], [b"deliver"]) == 1


# -- a node, and a post -----------------------------------------------------------------------------------------------------------------


@dataclass
class Desk:
    """The coordinator's post to a bank, the bank's node, and the folders between them."""

    house: House
    folder: Path

    def __post_init__(self) -> None:
        introduce(self.house.root, COORDINATORS, EXCHANGE[COORDINATOR])
        self.there, self.back = self.folder / "there", self.folder / "back"
        for each in (self.there, self.back):
            each.mkdir(parents=True)
        self.post = self.posted()

    def posted(self, node: Correspondent | None = None) -> FilePost:
        return FilePost(
            self.there, self.back, node or correspondent(self.house.root, "bank"), COORDINATORS, EXCHANGE[COORDINATOR], sleep=lambda _: None
        )

    def ask(self, run: str = "test", operation: str = "describe") -> bytes:
        """Another question is put out; its file."""
        self.post.forget()
        before = set(names(self.there))
        self.post.send({"bank": Parcel(operation, run, b"")})
        return next(raw for name, raw in names(self.there).items() if name not in before)

    def carry(self) -> Round:
        return Exchange(self.house.node).carry(self.there, self.back)

    def ends(self) -> tuple[Ends, bytes]:
        node = correspondent(self.house.root, "bank")
        return Ends(suite.signing_public(COORDINATORS), node.key), node.exchange_key


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(House(tmp_path / "bank", monkeypatch), tmp_path / "disk")


def worked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> list[Parcel]:
    """What reaches the node from now on."""
    seen: list[Parcel] = []
    real = type(desk.house.node).answer

    def answer(node: Any, parcel: Parcel) -> Parcel:
        seen.append(parcel)
        return real(node, parcel)

    monkeypatch.setattr(type(desk.house.node), "answer", answer)
    return seen


def test_what_a_courier_alters_or_an_outsider_writes_does_not_reach_the_node(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, raw = worked(desk, monkeypatch), desk.ask()
    for path in desk.there.iterdir():
        path.unlink()
    between, key = desk.ends()
    forgeries = [change(raw) for change in ALTERATIONS.values()] + [
        forged(ASKED, numbered(1), between, OUTSIDER, key, seal_to),
        QUESTION,
        ANSWER,
    ]
    for number, forgery in enumerate(forgeries):
        (desk.there / f"{number}.sealed").write_bytes(forgery)
    round_ = desk.carry()
    print(dict(round_.ignored))
    assert seen == [] and round_.done == [] and sum(round_.ignored.values()) == len(forgeries)
    assert names(desk.back) == {} and not (desk.house.root / "exchange").exists()
    (desk.there / "true.sealed").write_bytes(raw)
    assert [each.outcome for each in desk.carry().done] == ["answered"] and len(seen) == 1


def test_control_a_node_that_checks_no_signature_works_for_an_outsider(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, (between, key) = worked(desk, monkeypatch), desk.ends()
    (desk.there / "1.sealed").write_bytes(forged(Question("describe", "test", b""), numbered(1), between, OUTSIDER, key, seal_to))
    unsigned(monkeypatch)
    assert [each.outcome for each in desk.carry().done] == ["answered"] and seen == [Parcel("describe", "test", b"")]


def test_a_question_that_is_repeated_has_the_same_bytes_for_an_answer_and_is_worked_on_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = worked(desk, monkeypatch)
    raw = desk.ask()
    assert [each.outcome for each in desk.carry().done] == ["answered"]
    first = names(desk.back)
    for number in range(5):
        desk.house.restart()
        (desk.there / f"copy-{number}.sealed").write_bytes(raw)
        (desk.back / next(iter(first))).unlink()
        assert {each.outcome for each in desk.carry().done} == {"answered before"}
        assert names(desk.back) == first
    assert len(seen) == 1


def test_control_a_node_that_keeps_no_answers_answers_one_question_twice_and_differently(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = worked(desk, monkeypatch)
    desk.ask()
    desk.carry()
    first = names(desk.back)
    next((desk.house.root / "exchange").iterdir()).unlink()
    desk.carry()
    assert names(desk.back) != first and len(seen) == 2


def test_a_question_of_a_step_gone_by_is_not_answered_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not from memory, since the next was asked: the coordinator has that answer; and never anew."""
    seen, old = worked(desk, monkeypatch), [desk.ask()]
    desk.carry()
    for _ in range(3):
        assert desk.post.collect()
        old.append(desk.ask())
        desk.carry()
    assert len(seen) == 4 and len(names(desk.back)) == 1, "an answer goes when the next is asked for"
    for number, raw in enumerate(old[:-1]):
        (desk.there / f"old-{number}.sealed").write_bytes(raw)
    round_ = desk.carry()
    assert round_.ignored["of a step gone by"] == 3 and len(seen) == 4
    assert len(names(desk.there)) == 1, "what has gone by is tidied away"


def test_two_runs_that_are_mixed_up_stay_two(desk: Desk) -> None:
    """Each question of its own run, in whatever order they come; an answer counts for the question that it names."""
    one, other = desk.post, desk.posted()
    one.send({"bank": Parcel("describe", "run-one", b"")})
    other.send({"bank": Parcel("describe", "run-two", b"")})
    assert {each.run for each in desk.carry().done} == {"run-one", "run-two"}
    files = names(desk.back)
    (first, a), (second, b) = files.items()
    (desk.back / first).write_bytes(b)
    (desk.back / second).write_bytes(a)
    assert one.collect()["bank"].run == "run-one"  # type: ignore[union-attr]
    assert one.ignored == {"not an answer that is due": 1}
    assert other.collect()["bank"].run == "run-two"  # type: ignore[union-attr]


def answers(desk: Desk) -> bytes:
    """A question is out, and answered; the answer's file is taken away."""
    desk.ask()
    desk.carry()
    ((name, raw),) = names(desk.back).items()
    (desk.back / name).unlink()
    return raw


def test_the_coordinator_takes_no_answer_but_the_institutions_to_the_question_that_is_due(desk: Desk) -> None:
    earlier = answers(desk)
    (desk.back / "earlier.sealed").write_bytes(earlier)
    assert desk.post.collect()
    due = answers(desk)
    node = correspondent(desk.house.root, "bank")
    question = next(iter(names(desk.there).values()))
    back = Ends(node.key, suite.signing_public(COORDINATORS))
    said = Answer("describe", "test", b"forged")
    forgeries = [earlier, ANSWER, question, *(change(due) for change in ALTERATIONS.values()), *spliced(earlier, due)]
    forgeries += [forged(said, about(question), back, own, PUBLIC[COORDINATOR], seal_to) for own in (OUTSIDER, PLATFORM)]
    of_another_run = write(
        Answer("describe", "other", b""), about(question), back, Home(desk.house.root).key("identity"), PUBLIC[COORDINATOR], seal_to
    )
    for number, raw in enumerate([*forgeries, of_another_run]):
        (desk.back / f"{number}.sealed").write_bytes(raw)
    settled = sum(
        raw[:HEAD_BYTES] == earlier[:HEAD_BYTES] for raw in forgeries
    )  # they say that they answer the question before, and are removed
    for _ in range(3):
        assert desk.post.collect() == {}
    print(dict(desk.post.ignored), f"{settled} removed")
    assert sum(desk.post.ignored.values()) == len(forgeries) + 1 - settled == len(names(desk.back)) and settled == 4
    (desk.back / "true.sealed").write_bytes(due)
    assert set(desk.post.collect()) == {"bank"}
    assert desk.post.collect() == {}, "once"


def test_control_a_coordinator_that_checks_no_signature_takes_an_outsiders_answer(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    question = desk.ask()
    back = Ends(correspondent(desk.house.root, "bank").key, suite.signing_public(COORDINATORS))
    said = Answer("describe", "test", b"forged")
    (desk.back / "1.sealed").write_bytes(forged(said, about(question), back, OUTSIDER, PUBLIC[COORDINATOR], seal_to))
    unsigned(monkeypatch)
    assert desk.post.collect() == {"bank": Parcel("describe", "test", b"forged")}


def test_an_institutions_answer_is_none_of_another_institution(desk: Desk) -> None:
    """Two institutions in one folder: each post takes its own alone."""
    desk.ask()
    platform = Correspondent("platform", suite.signing_public(PLATFORM), PUBLIC["platform"])
    other = desk.posted(platform)
    other.send({"platform": Parcel("describe", "test", b"")})
    round_ = desk.carry()
    assert len(round_.done) == 1 and sum(round_.ignored.values()) == 1
    assert other.collect() == {} and set(desk.post.collect()) == {"bank"}


def test_what_is_too_large_is_not_opened_and_links_are_not_followed(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    desk.ask()
    (name,) = names(desk.there)
    (desk.there / name).rename(tmp_path / "elsewhere")
    (desk.there / "link.sealed").symlink_to(tmp_path / "elsewhere")
    with (desk.there / "huge.sealed").open("wb") as huge:
        huge.truncate(sealed_parcel.LARGEST + 1)
    monkeypatch.setattr(suite, "open_sealed", lambda *_: pytest.fail("opened"))
    monkeypatch.setattr(suite, "plain_digest", lambda *_: pytest.fail("read"))
    assert desk.carry().done == []
