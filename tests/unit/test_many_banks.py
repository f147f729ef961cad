"""More than 64 banks: the k-regular graph, the opening by way of the coordinator, and whole sessions with banks lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import hypergeom

from federation.kernel import suite
from federation.kernel.envelope import Envelope
from federation.kernel.errors import CreditfedError, LostParty, PeerError
from federation.kernel.manifest import PartyDeclaration
from federation.kernel.role import COORDINATOR
from federation.kernel.session import Hello, Introduction, Lots, Roll, certify, draw_lots, introduce
from federation.kernel.state import State
from federation.masked_sum.bonawitz import COMPLETE, Circle, least_threshold, sum_coordinator, sum_member
from federation.masked_sum.fixed_point import FixedPoint
from federation.masked_sum.graph import CORRECTNESS, IN_LEAGUE, LOST, SECURITY, degree, ring
from federation.models.horizontal.plan import Plan
from federation.models.horizontal.program import Adder, Bank
from federation.models.horizontal.task import Task
from federation.models.table import Table
from federation.models.training import Local
from tests.post import Post, identity, manifest
from tests.rooms import Delivery, Room

COUNT = 80
NAMES = tuple(f"bank-{place:03d}" for place in range(COUNT))
SEED = suite.digest("seed of the test")


# -- the graph --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [65, 100, 500, 2000])
def test_every_member_has_k_neighbours_and_neighbourhood_is_mutual(count: int) -> None:
    names = tuple(f"b{place}" for place in range(count))
    graph, (k, threshold) = ring(names, SEED), degree(count)
    assert {len(near) for near in graph.near.values()} == {k + 1}
    assert graph.threshold == threshold > 2 * (k + 1) / 3
    for name, near in graph.near.items():
        assert name in near
        assert all(name in graph.near[other] for other in near)


@pytest.mark.parametrize("count", [65, 100, 500, 2000])
def test_the_degree_is_the_least_that_keeps_both_bounds(count: int) -> None:
    def holds(k: int) -> bool:
        holders = k + 1
        threshold = 2 * holders // 3 + 1
        forced = hypergeom.sf(2 * threshold - holders - 1, count - 1, int(np.ceil(IN_LEAGUE * count)), k)
        stuck = hypergeom.sf(holders - threshold - 1, count - 1, int(np.ceil(LOST * count)), k)
        return bool(forced * count < 2.0**-SECURITY and stuck * count < 2.0**-CORRECTNESS)

    k, _ = degree(count)
    print(f"n = {count}: k = {k}")
    assert holds(k)
    assert not any(holds(smaller) for smaller in range(16, k, 2))


def test_another_seed_gives_other_neighbours() -> None:
    one, other = ring(NAMES, SEED), ring(NAMES, suite.digest("another"))
    assert sum(one.near[name] == other.near[name] for name in NAMES) == 0


def test_above_64_without_a_graph_is_refused() -> None:
    with pytest.raises(CreditfedError, match="at most 64"):
        Circle(NAMES, least_threshold(COUNT))


# -- sums -------------------------------------------------------------------------------------------------------------------------


def summed(gone: dict[str, int], post: Callable[[Delivery], Any] | None = None) -> tuple[dict[str, Any], dict[str, NDArray[np.int64]]]:
    circle = Circle(NAMES, least_threshold(COUNT), COUNT, ring(NAMES, SEED))
    encoding = FixedPoint(2.0**30, COUNT, 0)
    inputs = {name: np.array([place, -place * 7, 1], np.int64) for place, name in enumerate(NAMES)}
    room = Room(NAMES, gone=gone) if post is None else Room(NAMES, gone=gone, post=post)
    roles: dict[str, Any] = {name: sum_member(room.run(name), inputs[name], encoding, circle) for name in NAMES}
    roles[COORDINATOR] = sum_coordinator(room.run(COORDINATOR), circle, 10)
    out = room.play(roles)
    holders = {d.sender: 0 for d in room.deliveries}
    for delivery in room.deliveries:
        holders[delivery.sender] += delivery.message.kind() == "bonawitz/shares"
    assert max(holders.values()) == degree(COUNT)[0] < COUNT - 1, "shares go to neighbours alone"
    return out, inputs


@pytest.mark.parametrize("place", range(5))
def test_banks_lost_anywhere_leave_the_exact_sum_of_the_others(place: int) -> None:
    rng = np.random.default_rng(place)
    gone = {NAMES[i]: place for i in rng.choice(COUNT, 6, replace=False)}
    out, inputs = summed(gone)
    survivors = tuple(name for name in NAMES if not (name in gone and place < 2))
    print(f"seed {place}: {len(gone)} lost at place {place}")
    for name in NAMES:
        if name in out:
            total, told = out[name]
            assert told == survivors
            np.testing.assert_array_equal(total, np.sum([inputs[one] for one in survivors], axis=0))
    assert len(out) >= COUNT - len(gone)


def test_too_many_lost_ends_without_a_sum() -> None:
    with pytest.raises(LostParty):
        summed(dict.fromkeys(NAMES[:30], 2))


def test_a_member_releases_one_share_of_each_neighbour_and_none_of_others() -> None:
    graph = ring(NAMES, SEED)
    seen = []

    def post(delivery: Delivery) -> Any:
        if delivery.message.kind() == "bonawitz/unmask":
            seeds, keys = set(delivery.message.seeds), set(delivery.message.keys)  # type: ignore[attr-defined]
            seen.append(not seeds & keys and seeds | keys == graph.near[delivery.sender])
        return delivery.message

    summed({NAMES[3]: 1, NAMES[40]: 1}, post)
    assert len(seen) == COUNT - 2
    assert all(seen)


# -- the opening ------------------------------------------------------------------------------------------------------------------


def made() -> Any:
    parties = tuple(PartyDeclaration(name=n, role="bank", identity=suite.signing_public(identity(n)).hex(), label=True) for n in NAMES)
    return manifest(*NAMES, parties=parties)


def opened(post: Callable[[Delivery], Any] = lambda delivery: delivery.message) -> dict[str, Any]:
    """Introductions and lots of all, in a room. Returns (hellos, lots) by party."""
    room, whole = Room(NAMES, post=post), made()

    def role(name: str) -> Any:
        run = room.run(name)
        lot = suite.digest("lot of", name)
        public = suite.signing_public(identity(f"run {name}"))
        hello = Hello(suite.digest("lot", lot), public, suite.digest("agreement", name), bytes(32))
        hellos = yield from introduce(run, hello, certify(whole, name, hello, identity(name)), whole)
        lots = yield from draw_lots(run, lot, hellos)
        return hellos, lots

    return room.play({name: role(name) for name in (*NAMES, COORDINATOR)})


def test_all_hold_the_same_hellos_and_lots() -> None:
    out = opened()
    assert len({lots for _, lots in out.values()}) == 1
    assert all(hellos == out[COORDINATOR][0] for hellos, _ in out.values())


def forged(entries: dict[str, Introduction]) -> dict[str, Introduction]:
    """Another run key for one bank, under the certificate of its own."""
    hello = msgspec.structs.replace(entries[NAMES[5]].hello, run_key=suite.signing_public(identity("forger")))
    return entries | {NAMES[5]: Introduction(hello, entries[NAMES[5]].certificate)}


def left_out(entries: dict[str, Introduction]) -> dict[str, Introduction]:
    return {name: entry for name, entry in entries.items() if name != NAMES[5]}


def exchanged(entries: dict[str, Introduction]) -> dict[str, Introduction]:
    return entries | {NAMES[5]: entries[NAMES[6]], NAMES[6]: entries[NAMES[5]]}


@pytest.mark.parametrize("change", [forged, left_out, exchanged])
def test_the_coordinator_changes_no_hello(change: Callable[[dict[str, Introduction]], dict[str, Introduction]]) -> None:
    def post(delivery: Delivery) -> Any:
        if isinstance(delivery.message, Roll) and delivery.recipient == NAMES[0]:
            return Roll(change(delivery.message.entries))
        return delivery.message

    with pytest.raises(PeerError, match=r"certificate|roll"):
        opened(post)


def test_the_coordinator_chooses_no_lot() -> None:
    def post(delivery: Delivery) -> Any:
        if isinstance(delivery.message, Lots) and delivery.recipient == NAMES[0]:
            return Lots(delivery.message.entries | {NAMES[5]: suite.digest("another lot")})
        return delivery.message

    with pytest.raises(PeerError, match="lots"):
        opened(post)


# -- whole sessions ---------------------------------------------------------------------------------------------------------------


class Counted(State, frozen=True):
    """Totals so far, and how many banks each had."""

    totals: tuple[float, ...] = ()
    banks: tuple[int, ...] = ()


class Count(Plan[Counted]):
    """Two sums of two numbers of the bank's own."""

    kind = Counted

    def __init__(self, value: float) -> None:
        self.value = value

    def begin(self) -> Counted:
        return Counted()

    def ask(self, state: Counted) -> NDArray[np.float64] | None:
        return None if len(state.banks) == 2 else np.array([self.value, 1.0])

    def take(self, state: Counted, total: NDArray[np.float64], banks: int) -> Counted:
        return Counted((*state.totals, *total.tolist()), (*state.banks, banks))


def session(tamper: Callable[[Envelope], Envelope | None] = lambda envelope: envelope) -> tuple[Post, dict[str, Bank[Counted]]]:
    whole, empty = made(), Table((), (), {}, b"")
    banks = {
        name: Bank(whole, name, Local(empty), Task(lambda *_, place=place: Count(place / 3), lambda _plan, state: [repr(state)]))
        for place, name in enumerate(NAMES)
    }
    programs: dict[str, Any] = {name: (lambda bank=bank: bank) for name, bank in banks.items()} | {COORDINATOR: lambda: Adder(whole)}
    post = Post(whole, programs, tamper=tamper)
    post.play()
    return post, banks


@pytest.mark.slow
def test_a_whole_session_of_eighty_banks() -> None:
    assert COUNT > COMPLETE
    post, banks = session()
    for name, bank in banks.items():
        party = post.parties[name]
        assert party.failure is None
        assert party.finished
        found = bank.state_of(party.state)
        assert found.banks == (COUNT, COUNT)
        assert found.totals[0] == pytest.approx(sum(place / 3 for place in range(COUNT)), abs=1e-12)
        assert found.totals[1] == COUNT
    assert len({party.state.model_hash for party in post.parties.values()}) == 1


def test_a_dealt_group_key_does_not_reach_the_coordinator() -> None:
    shares = []

    def tamper(envelope: Envelope) -> Envelope:
        if envelope.kind == "session/group-share":
            shares.append((envelope.sender, envelope.recipient))
        return envelope

    session(tamper)
    assert {sender for sender, _ in shares} == set(NAMES[:8]), "a few deal"
    assert COORDINATOR not in {recipient for _, recipient in shares}
    assert len(shares) == 8 * (COUNT - 1)
