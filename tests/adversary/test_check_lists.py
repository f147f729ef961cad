"""Of checks across institutions: what one gains that breaks the protocol, or that shares what it sees with the coordinator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from unittest import mock

import msgspec
import numpy as np
import pytest

from clients.check_results import check_results
from federation.align import probes, sketch
from federation.align import union as hidden_union
from federation.align.chain import TravellingList
from federation.align.union import Union
from federation.align.universe import Universe
from federation.checks import program as programs
from federation.checks import tally
from federation.checks.fields import Counts, Fields
from federation.checks.program import Checker
from federation.kernel import suite
from federation.kernel.codec import Array, Message
from federation.kernel.errors import CreditfedError, LocalError, PeerError
from federation.kernel.role import COORDINATOR, Role, Run
from federation.masked_sum import mersenne
from federation.masked_sum.partial_scores import MaskedScores, send_scores
from federation.masked_sum.residues import MaskedResidues
from privacy.attacks import check_lists as attack
from privacy.attacks.multi_lender import table_total
from tests.check_room import of, played
from tests.check_scene import ASKS, CheckCase
from tests.rooms import Delivery, Room

BANKS = ("bank-b", "bank-c", "bank-d")
BOOKS = {
    "bank-b": {"firm 0": 200_000.0, "firm 1": 200_000.0, "firm 5": 1.0},
    "bank-c": {"firm 1": 200_000.0, "firm 2": 200_000.0},
    "bank-d": {"firm 3": 200_000.0, "firm 0": 1.0},
}
FIRMS = tuple(f"firm {number}" for number in range(5))


# --------------------------------------------------------------------------------- a list that is treated otherwise in the ring


def otherwise(case: CheckCase, cheat: str, spared: str, share: float = 1.0) -> Callable[[Delivery], Message]:
    """The post of a room whose cheat raises a share of the rows of every list but its own and the spared one to another exponent."""
    rng = np.random.default_rng(7)

    def post(d: Delivery) -> Message:
        if not isinstance(d.message, TravellingList) or d.sender != cheat or d.message.origin in (cheat, spared):
            return d.message
        points = np.frombuffer(d.message.points.data, np.uint8).reshape(-1, 32)
        rows = rng.permutation(len(points))[: round(share * len(points))]
        changed = attack.raised_otherwise(points, rows, d.message.origin.encode())
        return msgspec.structs.replace(d.message, points=Array.of(changed))

    return post


@pytest.mark.parametrize("spared", BANKS)
def test_the_asking_bank_cannot_spare_one_list_and_control_without_probes_it_has_that_banks_loans_by_name(spared: str) -> None:
    case = CheckCase(FIRMS, BOOKS)
    with pytest.raises(PeerError, match="came home as other points") as caught:
        played(case, post=otherwise(case, ASKS, spared))
    assert not any(firm in str(caught.value) for firm in FIRMS)
    with mock.patch.object(probes, "EACH", 0):
        counts, _ = played(case, post=otherwise(case, ASKS, spared))
    assert {firm for firm, row in zip(FIRMS, counts, strict=True) if any(row)} == set(BOOKS[spared]) & set(FIRMS)


def test_no_table_and_no_count_leaves_after_lists_were_treated_otherwise() -> None:
    case = CheckCase(FIRMS, BOOKS)
    manifest, passed = case.manifest, []
    alter = otherwise(case, "bank-d", "bank-b")

    def post(d: Delivery) -> Message:
        passed.append(d)
        return alter(d)

    with pytest.raises(PeerError):
        played(case, post=post)
    assert manifest.members == (ASKS, *BANKS)
    assert not any(isinstance(d.message, MaskedResidues | MaskedScores | Union) for d in passed)


@pytest.mark.slow
def test_a_few_rows_treated_otherwise_are_found_as_often_as_is_said() -> None:
    """A share s = 0.1 of bank-c's rows, of whose probes with EACH = 4 for each of h = 3 others any may tell: 1 - (1 - s)^(4 * 3) = 0.72."""
    found = 0
    with mock.patch.object(probes, "EACH", 4):
        for number in range(40):
            case = CheckCase(FIRMS, BOOKS, check={"pad": 200})
            rng = np.random.default_rng(number)

            def post(d: Delivery, rng: np.random.Generator = rng) -> Message:
                if not isinstance(d.message, TravellingList) or (d.sender, d.message.origin) != (ASKS, "bank-c"):
                    return d.message
                points = np.frombuffer(d.message.points.data, np.uint8).reshape(-1, 32)
                changed = attack.raised_otherwise(points, rng.permutation(len(points))[: len(points) // 10], b"some")
                return msgspec.structs.replace(d.message, points=Array.of(changed))

            try:
                played(case, f"few {number}".encode(), post)
            except PeerError:
                found += 1
    print(f"found {found} of 40")
    assert 20 <= found <= 38  # 28.7, and three deviations


# -------------------------------------------------------------------------------------------------- keys left out of the table


@contextmanager
def leaving_out(cheat: str) -> Iterator[dict[str, int]]:
    """One institution puts keys of nobody into its table in place of its own; yields its keys' pseudonyms, as it knows them."""
    pseudonyms: dict[str, int] = {}
    member, original = hidden_union.union_member, hidden_union.pseudonyms
    noted: list[mersenne.Words] = []

    def of_points(points: Any) -> mersenne.Words:
        noted.append(original(points))
        return noted[-1]

    def crafted(run: Run, ids: Any, *rest: Any, looks: bool = False) -> Role[Universe]:
        if run.me != cheat:
            return (yield from member(run, ids, *rest, looks=looks))
        role = member(run, ids, *rest, looks=True)  # what the asking bank is allowed: nothing of its own in the table
        sent: Any = None
        try:
            while True:
                noted.clear()
                step = role.send(sent)
                if noted:
                    pseudonyms.update(zip(ids, noted[-1][: len(ids)].tolist(), strict=True))
                sent = yield step
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    with mock.patch.object(programs, "union_member", crafted), mock.patch.object(hidden_union, "pseudonyms", of_points):
        yield pseudonyms


def union_of(room: Room) -> list[int]:
    return [int(word) for word in np.frombuffer(of(room, Union, ASKS)[COORDINATOR].pseudonyms.data, "<u8")]


@pytest.mark.parametrize("built", [True, False], ids=["as built", "control"])
def test_a_bank_that_leaves_its_keys_out_learns_what_other_lenders_have_but_not_who_applies(built: bool) -> None:
    """Contract hidden_union, a malicious institution. Control: an asking bank that puts its applicants into the union."""
    applicants = ("firm 7", "firm 8")
    watched = {"firm 0": 1.0, "firm 2": 1.0, "firm 7": 1.0, "firm 9": 1.0}
    case = CheckCase(applicants, BOOKS | {"bank-d": watched})
    with leaving_out("bank-d") as own:
        crafted = programs.union_member

        def asking(run: Run, ids: Any, *rest: Any, looks: bool, built: bool = built) -> Role[Universe]:
            return (yield from crafted(run, ids, *rest, looks=looks and built))

        with mock.patch.object(programs, "union_member", asking):
            _, room = played(case)
    assert set(own) == set(watched)
    seen = attack.had_by_others(own, union_of(room))
    assert seen == {"firm 0", "firm 2"} | (set() if built else {"firm 7"})


def test_the_union_is_the_same_whoever_is_asked_about() -> None:
    unions = [union_of(played(CheckCase(applicants, BOOKS))[1]) for applicants in (("firm 0", "firm 1"), ("nobody", "firm 4"))]
    assert unions[0] == unions[1]


def test_a_firm_that_owes_nothing_is_not_listed() -> None:
    """Else the asking bank would see from the union that some bank knows a firm of which the count is nought."""
    some = {name: dict(book) for name, book in BOOKS.items()}
    some["bank-b"]["firm 4"] = 0.0
    sizes = []
    for books in (BOOKS, some):
        counts, room = played(CheckCase(FIRMS, books))
        assert counts[4] == [0, 0, 0]
        sizes.append(len(union_of(room)))
    assert sizes[0] == sizes[1]


def test_the_coordinator_and_one_bank_learn_which_of_its_keys_other_lenders_have_and_no_more() -> None:
    """Contract hidden_union, coordinator + one institution: it takes that bank's table out of the sum."""
    tables: dict[str, mersenne.Words] = {}
    own: dict[str, mersenne.Words] = {}
    send, fill = hidden_union.send_residues, hidden_union.fill

    def filled(keys: mersenne.Words, *rest: Any) -> mersenne.Words:
        table = fill(keys, *rest)
        own["last"], own["table"] = keys, table
        return table

    def noted(run: Run, vector: mersenne.Words) -> Role[None]:
        tables[run.me], own[run.me] = own["table"], own["last"]
        yield from send(run, vector)

    with mock.patch.object(hidden_union, "fill", filled), mock.patch.object(hidden_union, "send_residues", noted):
        _, room = played(CheckCase(("firm 3", "firm 1"), BOOKS))
    total = table_total(of(room, MaskedResidues, COORDINATOR))
    seed = suite.digest("align/table", room.session, _address(room))
    rest = attack.without_table(total, tables["bank-b"], seed)
    assert rest is not None
    keys = sorted(BOOKS["bank-b"])  # firm 0 (bank-d has it), firm 1 (bank-c has it), firm 5 (nobody)
    assert [int(word) in set(rest.tolist()) for word in own["bank-b"][: len(keys)]] == [True, True, False]
    assert sketch.peel(total, seed) is not None


def _address(room: Room) -> str:
    """Where the table was made: the address of the union."""
    return next(d.address for d in room.deliveries if isinstance(d.message, Union))


# --------------------------------------------------------------------------------------------- two unions, and a league with it


@pytest.mark.parametrize("bound", [True, False], ids=["as built", "control"])
def test_two_unions_open_nothing_to_a_league_and_control_with_masks_bound_to_nothing_each_banks_loans(bound: bool) -> None:
    """The coordinator and the asking bank show bank-b a union in which its keys lie elsewhere. Masks that cancel would give its counts alone."""
    case = CheckCase(FIRMS, BOOKS, check={"pad": 256})
    runs: dict[str, Run] = {}
    universes: dict[str, Universe] = {}
    contribute, pair_key = programs.contribute, Run.pair_key

    def noted(run: Run, asks: str, universe: Universe, counts: Counts, fields: Fields) -> Role[None]:
        runs[run.me], universes[run.me] = run, universe
        yield from contribute(run, asks, universe, counts, fields)

    def unbound(run: Run, peer: str, label: str, *, shown: bool = False) -> Any:
        return pair_key(run, peer, label, shown=shown and bound)

    moved = 100

    def post(d: Delivery) -> Message:
        if not isinstance(d.message, Union):
            return d.message
        words = np.frombuffer(d.message.pseudonyms.data, "<u8")
        front = moved if d.recipient == "bank-b" else 0
        behind = np.arange(mersenne.P - 1 - (moved - front), mersenne.P - 1, dtype=np.uint64)  # of one size for all
        return Union(Array.of(np.sort(np.concatenate([attack.with_numbers_in_front(words, front), behind]))))

    with mock.patch.object(programs, "contribute", noted), mock.patch.object(Run, "pair_key", unbound):
        with pytest.raises(CreditfedError):  # an honest asking bank notices: that is no help against one that is in league
            played(case, post=post, keep=(rooms := []))
        (room,) = rooms
        sent = {name: np.frombuffer(m.scores.data, "<u8") for name, m in of(room, MaskedScores, COORDINATOR).items()}
        assert set(sent) == set(BANKS)
        masks = {name: _mask_with_asker(runs[name], len(sent[name]), bound=bound) for name in BANKS}
        own = universes["bank-b"].positions[: len(BOOKS["bank-b"])]
        opened = attack.opened_in_league(sent, lambda name: masks[name], own)
    low = [int(word) for word in opened]
    if bound:
        assert all(word > 1 << 40 for word in low)
    else:
        assert all(0 < word < 1 << 20 for word in low)  # of bank-b alone, at places where nobody else has a key


def _mask_with_asker(run: Run, width: int, *, bound: bool) -> mersenne.Words:
    """The mask that a bank and the asking bank share; its sign is that of `send_scores`: the asking bank stands last."""
    context = run._context  # a test of a league: the asking bank knows the key
    view = (context.view(),) if bound else ()
    label = f"{run.address} pair scores for {ASKS}"
    key = suite.derive(context.pair[ASKS], context.session, *view, *sorted((run.me, ASKS)), label)
    return suite.keystream(key, 2 * width)[:width]


# ------------------------------------------------------------------------------------ a run that ends where somebody was asked about


@pytest.mark.parametrize("spoil", ["count", "tag"])
@pytest.mark.parametrize("built", [True, False], ids=["as built", "control"])
def test_a_spoiled_position_shows_its_spoiler_nothing_and_control_where_the_run_ends_it_does(spoil: str, built: bool) -> None:
    """bank-d wants to know whether its firm 3 is asked about, and spoils what it sends there. Control: an asking bank that ends the run."""
    ask = tally.ask

    def ends(run: Run, universe: Universe, rows: int, fields: Fields) -> Role[Counts | None]:
        sums = yield from ask(run, universe, rows, fields)
        if sums is None:
            raise LocalError(run.me, "counts that no honest contributions add up to", "Ask who it may be.")
        return sums

    views, told = [], []
    for applicants in (("firm 3", "firm 1"), ("firm 0", "firm 1")):
        case = CheckCase(applicants, BOOKS, post={"tamper": lambda envelope: envelope})
        changed = partial(spoiled_count if spoil == "count" else spoiled_tag, at=sorted(BOOKS["bank-d"]).index("firm 3"))
        with mock.patch.object(programs, "contribute", changed), mock.patch.object(programs, "ask", ask if built else ends):
            post = case.make()
            parties = post.play()
        views.append(
            [(e.sender, e.recipient, e.kind) for e in post.passed if e.sender == ASKS]
            + [(name, party.finished, party.failure is None) for name, party in parties.items() if name != ASKS]
        )
        told.append(parties[ASKS].failure is not None or parties[ASKS].state.spoiled)
        if parties[ASKS].failure is None:
            files = check_results(parties[ASKS], Checker(case.manifest, ASKS, case.tables[ASKS]))
            assert set(files) == ({"share.json"} if told[-1] else {"share.json", "checks.parquet"})
            assert (b"There are no counts" in files["share.json"]) is told[-1]
    assert told == [True, False]  # the asking bank itself knows
    assert (views[0] == views[1]) is built


def spoiled_count(run: Run, asks: str, universe: Universe, counts: Counts, fields: Fields, at: int) -> Role[None]:
    """As `tally.contribute`, but that bank-d takes one off where it should add one."""
    if run.me != "bank-d":
        return (yield from tally.contribute(run, asks, universe, counts, fields))
    vector = np.zeros(universe.size, np.int64)
    vector[universe.positions[at]] = -1
    return (yield from send_scores(run, asks, vector, fields.encoding, tuple(name for name in run.members if name != asks)))


def spoiled_tag(run: Run, asks: str, universe: Universe, counts: Counts, fields: Fields, at: int) -> Role[None]:
    """As `tally.contribute`, but for one tag of bank-d."""
    role = tally.contribute(run, asks, universe, counts, fields)
    if run.me != "bank-d":
        return (yield from role)
    where, step = next(role)
    message = step.send[COORDINATOR]
    assert isinstance(message, MaskedScores)
    tags = np.frombuffer(message.tags.data, "<u8").copy()
    tags[universe.positions[at]] = (int(tags[universe.positions[at]]) + 1) % mersenne.P
    changed = msgspec.structs.replace(message, tags=Array.of(tags))
    yield where, replace(step, send={COORDINATOR: changed})
    return None
