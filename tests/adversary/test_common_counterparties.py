"""Two institutions count common counterparties: exactly, for the one that asks alone, and nothing of which they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.align import overlap
from federation.align.chain import Announced, Announcement, KeyedList, TravellingList, keyed_list
from federation.align.curve import Points, Progress, exponentiate, fresh_exponent
from federation.align.overlap import Overlap
from federation.checks import common
from federation.checks.common import Comparer, Comparison, Readiness, require_apart
from federation.kernel.codec import Array, Message
from federation.kernel.errors import ConfigurationError, LocalError, PeerError, PolicyRefusal
from federation.kernel.manifest_rules import check_manifest
from federation.kernel.role import COORDINATOR, Randomness, Role, Run
from federation.kernel.secret import Secret
from federation.models.table import Table
from privacy.attacks import common_counterparties as attack
from privacy.disclosure.differencing import ReleaseLedger
from privacy.disclosure.release import Release
from tests.common_scene import ASKED, ASKS, EXPECTED, FIRST, PAIRS, CommonCase, one
from tests.rooms import Delivery, Room

SEED = 20_261_130
OTHERS = tuple(f"d{number}" for number in range(20))


def half(count: int = 10) -> tuple[str, ...]:
    """A list of twenty with so many of FIRST."""
    return (*FIRST[:count], *OTHERS[: 20 - count])


def keyed(room: Room) -> dict[str, Points]:
    """What the coordinator was sent, by institution."""
    found = {d.sender: d.message for d in room.deliveries if isinstance(d.message, KeyedList)}
    return {name: np.frombuffer(message.points.data, np.uint8).reshape(-1, 32) for name, message in found.items()}


# ------------------------------------------------------------------------------------------------------------------ who is told


def test_counts_are_exact_and_told_to_the_one_that_asks_alone() -> None:
    ends, room = CommonCase().played()
    assert ends[ASKS].found == EXPECTED
    assert ends[ASKED].found == ends[COORDINATOR].found == ()
    assert {d.recipient for d in room.deliveries if isinstance(d.message, Overlap)} == {ASKS}
    assert not [d for d in room.deliveries if isinstance(d.message, Readiness | TravellingList) and d.recipient == COORDINATOR]


@settings(max_examples=15, deadline=None)
@given(st.sets(st.integers(0, 30), min_size=5, max_size=25), st.sets(st.integers(0, 30), min_size=5, max_size=25))
def test_the_count_is_that_of_plain_sets(first: set[int], second: set[int]) -> None:
    lists = [tuple(f"c{number}" for number in numbers) for numbers in (first, second)]
    assert one(lists[0], lists[1], fewest=5).played()[0][ASKS].found == (Comparison(len(first), len(first & second), "compared"),)


def test_what_the_asked_institution_sees_is_the_same_whatever_is_in_common() -> None:
    """Kinds, senders and sizes of all it gets; the only list that it sees is blinded. With a pad above a list's length not even whether it is
    long enough shows.
    """
    seen = []
    for lists in (half(0), half(10), FIRST, FIRST[:3]):
        _, room = one(lists, FIRST, pad=64).played()
        seen.append([(d.sender, d.step, type(d.message).__name__, d.size) for d in room.deliveries if d.recipient == ASKED])
    assert seen[0] == seen[1] == seen[2] == seen[3]


# -------------------------------------------------------------------------------------------------------------- the coordinator


def test_the_coordinator_cannot_tell_two_counts_apart_and_control_without_keys_of_nobody_it_reads_them() -> None:
    """None in common, or ten, at a padding of 32: the best cut there is finds 1/2 + 10/64 = 0.66 of them."""
    right, total = 0, 0
    for count in (0, 10):
        for number in range(40):
            found = attack.equal_points(list(keyed(one(half(count), FIRST, pad=32).played(session=f"{number}".encode())[1]).values()))
            right += (found > 21) == (count == 10)
            total += 1
    print(f"{right} of {total} right")
    assert right <= 65  # expected 52.5, deviation 4.2
    for count in (0, 10):
        with mock.patch.object(overlap, "keys_of_nobody", return_value=[]):
            ends, room = one(half(count), FIRST, pad=32).played()
        assert attack.equal_points(list(keyed(room).values())) == count == ends[ASKS].found[0].common


# -------------------------------------------------------------------------------------------- the coordinator and an institution


def pooled(me: str, *, shuffled: bool) -> tuple[int, int]:
    """One institution, which follows the protocol, and the coordinator: how many of its twenty keys they place rightly."""
    sent: dict[str, Sequence[bytes]] = {}

    def noted(run: Run, keys: Sequence[bytes], *rest: Any, **more: Any) -> Role[tuple[Points, Announced]]:
        sent[run.me] = keys
        return (yield from keyed_list(run, keys, *rest, **(more | {"shuffled": shuffled})))

    right = total = 0
    for number in range(6):
        with mock.patch.object(overlap, "keyed_list", noted):
            _, room = one(half(), FIRST).played(session=f"{number}".encode())
        lists = keyed(room)
        other = next(name for name in lists if name != me)
        told = attack.named(sent[me], lists[me], lists[other])
        mine, theirs = (half(), FIRST) if me == ASKS else (FIRST, half())
        right += sum(told[key.encode()] == (key in theirs) for key in mine)
        total += len(mine)
    return right, total


@pytest.mark.parametrize("me", [ASKS, ASKED])
def test_with_the_coordinator_an_institution_cannot_say_which_and_control_without_shuffling_it_says_all(me: str) -> None:
    right, total = pooled(me, shuffled=True)
    print(f"{me} and the coordinator: {right} of {total} right")
    assert right < 0.7 * total  # half is chance: 60 of 120, deviation 5.5
    assert pooled(me, shuffled=False) == (total, total)


def test_with_the_coordinator_a_marked_list_names_its_members_and_control_alone_it_has_the_count() -> None:
    """What the contract says of an institution that leaves the protocol *and* has the coordinator: nothing hides it from these two."""
    keys, held = [key.encode() for key in half(5)[:12]], {}
    marked: list[Secret] = []

    def crafted(run: Run, own: Sequence[bytes], workers: int, most: int, **more: Any) -> Role[tuple[Points, Announced]]:
        if run.me != ASKS:
            return (yield from keyed_list(run, own, workers, most, **more))
        marked.extend(attack.marks(run, len(keys)))
        points, announced = yield from attack.marked_list(run, keys, marked, most)
        held["points"] = points
        return points, announced

    with mock.patch.object(overlap, "keyed_list", crafted):
        ends, room = one(half(5), FIRST, pad=16).played()
    again = attack.known_again(held["points"], keys, marked)
    told = attack.members(again, keyed(room)[ASKED])
    assert told == {key: key.decode() in FIRST for key in keys}
    assert sum(told.values()) == 5
    assert ends[ASKS].found == (Comparison(20, 0, "contradicted"),)  # alone: one number, less than the keys of nobody that it left out
    seen = {d.message.__class__ for d in room.deliveries if d.recipient == ASKS}
    assert seen == {Readiness, Announcement, TravellingList, Overlap}  # never the other's fully keyed list


# ------------------------------------------------------------------------------------------------------------------ crafted lists


def test_a_crafted_list_reads_one_membership_and_the_other_node_refuses_the_fifth() -> None:
    impossible = tuple(f"x{number}" for number in range(9))
    for guess, member in (("c1", 1), ("d1", 0)):
        ends, _ = one((guess, *impossible), FIRST).played()
        assert ends[ASKS].found[0].common == member
    ledger, asked = ReleaseLedger(), Release(np.array([7], np.uint64), ("check",), "common_counterparties", "decide", most_repeats=4)
    for run in range(4):
        ledger.admit(asked, 10)
        ledger = ledger.with_release(str(run), asked)
    with pytest.raises(PolicyRefusal, match="1 of 1 keys were asked about in 4 checks"):
        ledger.admit(asked, 10)


def test_one_firm_in_two_pairs_of_a_run_is_refused_where_it_is_asked_about_and_control_at_the_one_that_asks_it_is_not() -> None:
    case = CommonCase({"a": (FIRST, FIRST), "b": (FIRST, FIRST)})
    table = case.table(ASKED)
    same = Table(keys=table.keys, firms=("one firm",) * table.rows, columns={}, commitment=table.commitment)
    require_apart(case.manifest, ASKED, table)
    require_apart(case.manifest, ASKS, same)
    with pytest.raises(PolicyRefusal, match="1 of 2 pairs"):
        require_apart(case.manifest, ASKED, same)


def spoiled(member: bool) -> tuple[dict[str, Any], Room]:
    """The asked institution lays down one guess and leaves out one key of nobody: the count is then -1 or 0."""

    def crafted(run: Run, own: Sequence[bytes], workers: int, most: int, **more: Any) -> Role[tuple[Points, Announced]]:
        if run.me == ASKED:
            first = next(at for at, key in enumerate(own) if key.startswith(b"\x01nobody "))
            guess = b"c1" if member else b"d1"
            own = [guess if at == first else b"\0padding " + bytes([at]) if key[:1] == b"c" else key for at, key in enumerate(own)]
        return (yield from keyed_list(run, own, workers, most, **more))

    with mock.patch.object(overlap, "keyed_list", crafted):
        return one(FIRST, FIRST).played()


def test_whether_the_run_ends_tells_the_asked_institution_nothing_and_control_with_an_asker_that_complains_it_does() -> None:
    yes, no = spoiled(True), spoiled(False)
    assert yes[0][ASKS].found == (Comparison(20, 0, "compared"),)
    assert no[0][ASKS].found == (Comparison(20, 0, "contradicted"),)
    views = [[(d.sender, d.step, d.size) for d in room.deliveries if d.recipient == ASKED] for _, room in (yes, no)]
    assert views[0] == views[1]

    def complaining(own: int, count: int, *, enough: bool, ready: bool) -> Comparison:
        if not 0 <= count <= own:
            raise PeerError(ASKED, "another list", "its own")
        return Comparison(own, count, "compared")

    with mock.patch.object(common, "_comparison", complaining):
        spoiled(True)
        with pytest.raises(PeerError):
            spoiled(False)


def test_a_list_treated_with_another_exponent_is_noticed() -> None:
    """The asked institution returns points that nothing can match: no count comes of it, and none is taken for right."""

    def post(d: Delivery) -> Message:
        if isinstance(d.message, TravellingList) and d.sender == ASKED and d.message.origin == ASKS:
            points = np.frombuffer(d.message.points.data, np.uint8).reshape(-1, 32)
            stream = Randomness(Secret(b"another".ljust(32, b"\0")))
            return TravellingList(d.message.origin, d.message.announced, Array.of(_raised(points, stream)))
        return d.message

    assert one(FIRST, FIRST).played(post)[0][ASKS].found == (Comparison(20, 0, "contradicted"),)


def _raised(points: Points, stream: Randomness) -> Points:
    return exponentiate(fresh_exponent(stream), points, "nobody", workers=1, progress=Progress(lambda _done, _total: None, 0))


# ---------------------------------------------------------------------------------------------------------------------- malformed


@pytest.mark.parametrize("size", [-1, 49, 2**40])
def test_a_count_that_no_lists_have_is_refused(size: int) -> None:
    with pytest.raises(PeerError, match="a number in common that no two lists"):
        one(FIRST, FIRST).played(lambda d: Overlap(size) if isinstance(d.message, Overlap) else d.message)


@pytest.mark.parametrize("wrong", ["a point twice", "a point less", "other announcements", "not canonical"])
def test_a_fully_keyed_list_that_is_none_is_refused(wrong: str) -> None:
    def post(d: Delivery) -> Message:
        if not isinstance(d.message, KeyedList) or d.sender != ASKED:
            return d.message
        points, announced = np.frombuffer(d.message.points.data, np.uint8).reshape(-1, 32).copy(), d.message.announced
        if wrong == "a point twice":
            points[1] = points[0]
        elif wrong == "a point less":
            points = points[1:]
        elif wrong == "other announcements":
            announced = bytes(32)
        else:
            points[0] = 255
        return KeyedList(announced, Array.of(points))

    with pytest.raises(PeerError):
        one(FIRST, FIRST).played(post)


@pytest.mark.parametrize("rows", [0, 81, 2**31])
def test_an_announced_length_out_of_range_is_refused(rows: int) -> None:
    def post(d: Delivery) -> Message:
        return Announcement(rows, d.message.commitment) if isinstance(d.message, Announcement) and d.sender == ASKED else d.message

    with pytest.raises(PeerError, match=f"a list of {rows} rows"):
        one(FIRST, FIRST).played(post)


@pytest.mark.parametrize("kind", [Readiness, Overlap])
def test_a_message_of_another_kind_is_refused(kind: type[Message]) -> None:
    with pytest.raises(PeerError):
        one(FIRST, FIRST).played(lambda d: Announcement(1, bytes(32)) if isinstance(d.message, kind) else d.message)


def test_a_firm_with_more_counterparties_than_the_manifest_allows_is_not_shown() -> None:
    many = tuple(f"c{number}" for number in range(65))
    with pytest.raises(LocalError, match="65 keys to compare"):
        one(FIRST, many).played()


@pytest.mark.parametrize(
    "pairs", [(), ("a|b",), ("a", "a"), (" a",)], ids=["none", "a bar in its name", "twice", "a blank"]
)  # fmt: skip
def test_pairs_that_are_none_are_refused(pairs: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="pairs"):
        check_manifest(CommonCase(check={"pairs": pairs}).manifest)
    check_manifest(CommonCase().manifest)


def test_a_withdrawn_consent_takes_its_pair_out_of_the_answer() -> None:
    for who, outcome in ((ASKS, None), (ASKED, "other too few")):
        case = CommonCase(privacy={"withdrawal": "continue"})
        gone = np.array([key.startswith("case 4|") for key in case.table(who).keys])
        case.post = {"more": {who: {"withdrawn": lambda gone=gone: gone}}}
        parties = case.make().play()
        assert all(party.finished and party.failure is None for party in parties.values())
        found = Comparer(case.manifest, ASKS, case.table(ASKS)).found(parties[ASKS].state)
        assert found["case 1"] == EXPECTED[0]
        assert (found["case 4"].outcome if "case 4" in found else None) == outcome
        assert set(found) | {"case 4"} == set(PAIRS)
