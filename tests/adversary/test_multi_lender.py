"""Nobody can tell which bank lends to an applicant: neither a bank, nor the coordinator, nor the bank that asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

import msgspec
import numpy as np
import pytest

from federation.align import probes
from federation.align import union as hidden_union
from federation.align.chain import Announcement, TravellingList, align_coordinator, align_member
from federation.align.probes import Probed
from federation.align.sketch import cells_for, fill
from federation.align.union import Union
from federation.align.universe import Universe
from federation.checks import program as programs
from federation.checks.fields import Counts, Fields
from federation.checks.tally import Asked
from federation.kernel.codec import Array, Message
from federation.kernel.errors import CreditfedError, LocalError, PeerError, PolicyRefusal
from federation.kernel.role import COORDINATOR, Role, Run
from federation.masked_sum import mersenne
from federation.masked_sum.partial_scores import MaskedScores, ScoreTotals
from federation.masked_sum.residues import MaskedResidues
from privacy.attacks import multi_lender as attack
from privacy.disclosure.differencing import ReleaseLedger
from privacy.disclosure.release import Release
from tests.check_room import of, played
from tests.check_scene import ASKS, CheckCase
from tests.masked_sum_scene import uniform
from tests.rooms import Delivery, Room

SEED = 20_261_130
APPLICANT = "applicant"
BANKS = ("bank-b", "bank-c", "bank-d")


def world(lender: str, task: str = "multi_lender", pad: int = 8) -> CheckCase:
    """One applicant, to whom just this bank lends; every bank has a book of four, so that sizes are the same whoever it is."""
    books = {name: {f"{name} {number}": 200_000.0 for number in range(3)} for name in BANKS}
    shift = BANKS.index(lender)
    for place, key in enumerate((APPLICANT, "another", "a third")):  # the union is the same, and who has which of these changes
        books[BANKS[(shift + place) % len(BANKS)]][key] = 200_000.0
    if task == "shared_identity":
        books = {name: dict.fromkeys(book, 2.0) for name, book in books.items()}
    return CheckCase((APPLICANT,), books, task, {"pad": pad})


def contributions(room: Room) -> dict[str, mersenne.Words]:
    return {name: np.frombuffer(message.scores.data, "<u8") for name, message in of(room, MaskedScores, COORDINATOR).items()}


# ------------------------------------------------------------------------------------------------------------ which bank lends


@pytest.mark.parametrize("task", ["multi_lender", "shared_identity"])
def test_views_are_the_same_whichever_bank_lends(task: str) -> None:
    """With the same secrets: what the asking bank, a third bank and the coordinator hold, but for lists and tables that are blinded."""
    (first, one), (second, two) = played(world("bank-b", task)), played(world("bank-c", task))
    assert first == second
    for kind, recipient in ((ScoreTotals, ASKS), (Union, ASKS), (Union, "bank-d"), (Union, "bank-b"), (Asked, COORDINATOR)):
        assert of(one, kind, recipient) == of(two, kind, recipient), (kind, recipient)
    for recipient in (ASKS, "bank-d", COORDINATOR):
        rows = [{name: m.rows for name, m in of(room, Announcement, recipient).items()} for room in (one, two)]
        assert rows[0] == rows[1]
        sizes = [[(d.sender, d.step, d.size) for d in room.deliveries if d.recipient == recipient] for room in (one, two)]
        assert sizes[0] == sizes[1]  # not even by the length of a message
    lists = [{m.points.data for m in of(room, TravellingList, "bank-d").values()} for room in (one, two)]
    assert len(lists[0] & lists[1]) <= 1  # blinded anew where anything changed: no point is the same but in lists that did not change


def test_no_party_can_tell_which_bank_and_control_with_open_votes_the_coordinator_can() -> None:
    """In 60 sessions the coordinator guesses the lender from each bank's word at the applicant's position."""
    rng = np.random.default_rng(SEED)
    print(f"seed {SEED}")

    def right(sessions: int, *, openly: bool) -> int:
        hits = 0
        for number in range(sessions):
            lender = str(rng.choice(BANKS))
            case = world(lender, pad=4)
            position: list[int] = []
            asked = programs.ask

            def noted(
                run: Run, universe: Universe, rows: int, fields: Fields, position: list[int] = position, asked: Any = asked
            ) -> Role[Counts]:
                position.append(int(universe.positions[0]))
                return (yield from asked(run, universe, rows, fields))

            sent: dict[str, mersenne.Words] = {}

            def post(d: Delivery, sent: dict[str, mersenne.Words] = sent) -> Message:
                if isinstance(d.message, MaskedScores):
                    sent[d.sender] = np.frombuffer(d.message.scores.data, "<u8")
                return d.message

            contribute = attack.contribute_openly if openly else programs.contribute
            with mock.patch.object(programs, "ask", noted), mock.patch.object(programs, "contribute", contribute):
                try:
                    played(case, f"session {number}".encode(), post)
                except CreditfedError:
                    assert openly  # the asking bank notices that a tag is wrong, too late
            hits += attack.smallest_at(sent, position[0]) == lender
        return hits

    masked, control = right(60, openly=False), right(6, openly=True)
    print(f"lender named: {masked} of 60 under masks, {control} of 6 without")
    assert 8 <= masked <= 33  # a third is 20; beyond by chance once in 1,500
    assert control == 6


def test_what_the_coordinator_is_sent_is_uniform_whichever_bank_lends() -> None:
    for lender in BANKS:
        _, room = played(world(lender, pad=192))
        for vector in contributions(room).values():
            assert uniform(vector) > 1e-4
        for message in of(room, MaskedResidues, COORDINATOR).values():  # 61 bits: fill the three high ones
            words = np.frombuffer(message.vector.data, "<u8")
            high = np.random.default_rng(SEED).integers(0, 8, words.size, dtype=np.uint64) << np.uint64(61)
            assert uniform(words | high) > 1e-4


def test_the_coordinator_cannot_tell_which_bank_and_control_with_lists_of_their_own_it_can() -> None:
    """What the coordinator can say of the applicant's position. In `align.chain` it matches lists that it knows the owners of."""
    for lender in BANKS:
        case = world(lender)
        room = Room(case.manifest.members)
        roles: dict[str, Any] = {
            name: align_member(room.run(name), table.keys, "hidden", (), 1, 10_000) for name, table in case.tables.items()
        }
        ends = room.play(roles | {COORDINATOR: align_coordinator(room.run(COORDINATOR), "hidden", (), 10_000)})
        position = int(ends[ASKS].positions[0])
        assert set(attack.holders(ends[COORDINATOR], position)) == {ASKS, lender}  # named, though not who the applicant is
        _, hidden = played(case)
        received = {type(d.message).__name__ for d in hidden.deliveries if d.recipient == COORDINATOR}
        assert received == {"Announcement", "MaskedResidues", "Asked", "MaskedScores"}  # no list of anybody's


def test_weights_do_not_tell_how_many_have_a_key_and_control_with_weights_of_one_they_do() -> None:
    rng = np.random.default_rng(SEED)
    keys = np.unique(mersenne.uniform(rng.integers(0, 2**64, 60, dtype=np.uint64)))
    have = {key: 1 + number % 7 for number, key in enumerate(keys.tolist())}
    cells, seed = cells_for(len(keys)), b"seed"

    def total(weigh: Callable[[int], mersenne.Words]) -> mersenne.Words:
        out = np.zeros(3 * cells, np.uint64)
        for bank in range(7):
            own = np.array([key for key, count in have.items() if bank < count], np.uint64)
            out = mersenne.add(out, fill(own, weigh(len(own)), cells, seed))
        return out

    control = attack.weights_in(total(lambda count: np.ones(count, np.uint64)), seed)
    assert control == have
    found = attack.weights_in(total(lambda count: mersenne.uniform(rng.integers(0, 2**64, count, dtype=np.uint64))), seed)
    assert set(found) == set(have)
    assert sum(weight <= 7 for weight in found.values()) == 0
    order = np.argsort([found[key] for key in keys.tolist()])
    counts = np.array(list(have.values()))[order]
    assert abs(np.corrcoef(np.arange(len(counts)), counts)[0, 1]) < 0.4  # of 60 without any connection: once in 600


# ----------------------------------------------------------------------------------------------------------- who was asked about


def test_a_lender_sees_the_same_whoever_applies_and_control_with_the_coordinator_it_reads_who_of_its_own() -> None:
    books = {name: {f"{name} {number}": 1_000.0 for number in range(4)} for name in BANKS}
    universes: dict[str, Universe] = {}
    contribute = programs.contribute

    def noted(run: Run, asks: str, universe: Universe, counts: Counts, fields: Fields) -> Role[None]:
        universes[run.me] = universe
        yield from contribute(run, asks, universe, counts, fields)

    views = []
    for applicants in (("bank-b 0", "bank-c 1"), ("bank-c 0", "bank-c 2")):
        case = CheckCase(applicants, books, check={"pad": 8})
        with mock.patch.object(programs, "contribute", noted):
            _, room = played(case)
        views.append([(d.sender, type(d.message).__name__, d.size) for d in room.deliveries if d.recipient == "bank-b"])
        asked = np.frombuffer(of(room, Asked, COORDINATOR)[ASKS].positions.data, "<i8")
        both = attack.asked_of_own(asked, universes["bank-b"], case.tables["bank-b"].keys)
        assert both == {name for name in applicants if name.startswith("bank-b")}
    assert views[0] == views[1]
    assert {kind for _, kind, _ in views[0]} == {"Announcement", "TravellingList", "Probed", "Union"}


def test_asking_again_and_again_is_refused_and_control_without_the_cap_the_bank_is_named() -> None:
    applicants = tuple(f"firm {number}" for number in range(4))
    three = {name: {"firm 0": 1_000.0, f"{name} own": 1_000.0} for name in BANKS}
    before, _ = played(CheckCase(applicants, three))
    after, _ = played(CheckCase(applicants, three | {"bank-e": {"firm 1": 5_000.0, "firm 3": 5_000.0}}))
    named = attack.newcomer(dict(zip(applicants, before, strict=True)), dict(zip(applicants, after, strict=True)))
    assert named == {"firm 1", "firm 3"}  # both runs are honest, and tell together what neither does
    ledger = ReleaseLedger()

    def asked(rows: list[int]) -> Release:
        return Release(np.array(rows, np.uint64), ("check multi_lender",), "multi_lender", "decide", most_repeats=2)

    for run in ("first", "second"):
        ledger.admit(asked([1, 2, 3]), 10)
        ledger = ledger.with_release(run, asked([1, 2, 3]))
    with pytest.raises(PolicyRefusal, match=r"1 of 2 keys .* 2 checks before"):
        ledger.admit(asked([3, 4]), 10)
    ledger.admit(asked([4, 5]), 10)


# ------------------------------------------------------------------------------------------------------------------- malice


@pytest.mark.parametrize("share", [0.05, 1.0])
def test_a_bank_that_adds_everywhere_is_found_by_the_padding_and_control_without_padding_it_is_not(share: float) -> None:
    contribute = programs.contribute

    def crafted(run: Run, asks: str, universe: Universe, counts: Counts, fields: Fields) -> Role[None]:
        if run.me == "bank-d":
            yield from attack.contribute_everywhere(run, asks, universe, fields, share)
        else:
            yield from contribute(run, asks, universe, counts, fields)

    with mock.patch.object(programs, "contribute", crafted):
        with pytest.raises(LocalError, match="none that honest"):
            played(world("bank-b", pad=256))
        with mock.patch.object(probes, "EACH", 0):
            counts, _ = played(world("bank-b", pad=1)) if share == 1.0 else ([[1, 1, 0]], None)
    assert counts == [[1, 1, 0]]  # bank-b's loan, and one that nobody gave


def altered_unions() -> dict[str, Callable[[Union], Union]]:
    def words(message: Union) -> mersenne.Words:
        return np.frombuffer(message.pseudonyms.data, "<u8").copy()

    def without(place: int) -> Callable[[Union], Union]:
        return lambda message: Union(Array.of(np.delete(words(message), place)))

    def moved(message: Union) -> Union:
        changed = words(message)
        changed[3] += np.uint64(1)
        return Union(Array.of(changed))

    def turned(message: Union) -> Union:
        return Union(Array.of(words(message)[::-1].copy()))

    def more(message: Union) -> Union:
        return Union(Array.of(np.append(words(message), words(message)[-1:] + np.uint64(1))))

    return {"without the first": without(0), "without the fifth": without(4), "one moved": moved, "turned round": turned, "more": more}


@pytest.mark.parametrize("to", [("bank-b",), (*BANKS, ASKS)], ids=["one", "all"])
@pytest.mark.parametrize("name", altered_unions())
def test_a_union_that_was_tampered_with_gives_no_wrong_count(name: str, to: tuple[str, ...]) -> None:
    alter = altered_unions()[name]
    case = world("bank-b")

    def post(d: Delivery) -> Message:
        return alter(d.message) if isinstance(d.message, Union) and d.recipient in to else d.message

    with pytest.raises((PeerError, LocalError)):
        played(case, post=post)


def test_control_without_looking_a_shortened_union_goes_unnoticed() -> None:
    """Parties that take the nearest place for their own: the coordinator takes a number out and puts one of nobody at the end."""
    case = world("bank-b", pad=1)

    def nearest(union: mersenne.Words, own: mersenne.Words) -> np.ndarray[Any, Any]:
        return np.minimum(np.searchsorted(union, own), len(union) - 1).astype(np.int64)

    wrong = 0
    for place in range(10):

        def post(d: Delivery, place: int = place) -> Message:
            if not isinstance(d.message, Union):
                return d.message
            words = np.frombuffer(d.message.pseudonyms.data, "<u8")
            return Union(Array.of(np.append(np.delete(words, place), words[-1:] + np.uint64(1))))

        with mock.patch.object(probes, "EACH", 0):
            with pytest.raises(PeerError):
                played(case, post=post)
            with mock.patch.object(hidden_union, "own_positions", nearest):
                wrong += played(case, post=post)[0] != [[0, 1, 0]]
    print(f"wrong counts taken for right: {wrong} of 10")
    assert wrong > 0


def malformed() -> Mapping[str, tuple[type[Message], Callable[[Any], Message]]]:
    """Kind of message, and what becomes of it."""
    return {
        "a table of another size": (MaskedResidues, lambda m: MaskedResidues(Array.of(np.zeros(9, np.uint64)))),
        "a number above p": (MaskedResidues, lambda m: MaskedResidues(Array.of(np.full(m.vector.shape, mersenne.P, np.uint64)))),
        "floats for residues": (MaskedResidues, lambda m: MaskedResidues(Array.of(np.zeros(m.vector.shape)))),
        "a table with noise": (
            MaskedResidues, lambda m: MaskedResidues(Array.of(mersenne.add(np.frombuffer(m.vector.data, "<u8"), np.ones(m.vector.shape, np.uint64))))
        ),
        "a hash of probes that is none": (Probed, lambda _: Probed(b"")),
        "an empty union": (Union, lambda m: Union(Array.of(np.zeros(0, np.uint64)))),
        "a union of numbers above p": (Union, lambda m: Union(Array.of(np.full(m.pseudonyms.shape, mersenne.P, np.uint64)))),
        "a union whose bytes are cut": (Union, lambda m: Union(msgspec.structs.replace(m.pseudonyms, data=m.pseudonyms.data[:-3]))),
        "positions of another number": (Asked, lambda m: Asked(Array.of(np.arange(2)))),
        "positions beyond the union": (Asked, lambda m: Asked(Array.of(np.frombuffer(m.positions.data, "<i8") + 10_000))),
        "positions below zero": (Asked, lambda m: Asked(Array.of(np.frombuffer(m.positions.data, "<i8") - 10_000))),
        "one position twice": (Asked, lambda m: Asked(Array.of(np.zeros(m.positions.shape, np.int64)))),
    }  # fmt: skip


@pytest.mark.parametrize("name", malformed())
def test_malformed_messages_are_refused(name: str) -> None:
    kind, change = malformed()[name]

    def post(d: Delivery) -> Message:
        return change(d.message) if isinstance(d.message, kind) else d.message

    with pytest.raises((PeerError, LocalError)):
        played(world("bank-b"), post=post)
