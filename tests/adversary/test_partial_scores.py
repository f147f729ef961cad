"""A hostile coordinator, and a curious label party, at the partial scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.codec import Array, Message
from federation.kernel.role import COORDINATOR, Role, Run
from federation.masked_sum import mersenne
from federation.masked_sum.fixed_point import FixedPoint
from federation.masked_sum.partial_scores import MaskedScores, ScoreTotals, receive_scores, route_scores, send_scores
from privacy.attacks import masked_sum as differencing
from privacy.attacks import partial_scores as attack
from tests.masked_sum_scene import REFUSED, Post, Replay, delivered, recorded, to, uniform
from tests.rooms import Delivery, Room

SEED = 20_240_608
LABEL, PARTNERS = "bank", ("platform", "tax", "court")
GRID = FixedPoint(2.0**15, 3, 40)
POSITIONS = np.array([5, 0, 3])
UNIVERSE, EXTRAS, STEPS = 6, 1, 2


def scores(universe: int = UNIVERSE) -> dict[str, list[NDArray[np.float64]]]:
    """Each partner's scores in each step, and its extra scalar behind them."""
    rng = np.random.default_rng(SEED)
    return {p: [rng.normal(0, 3, universe + EXTRAS) for _ in range(STEPS)] for p in PARTNERS}


def sender(run: Run, given: list[NDArray[np.float64]], partners: tuple[str, ...], *, single: bool = False) -> Role[None]:
    for number, vector in enumerate(given):
        cut = len(vector) - EXTRAS
        yield from send_scores(run.within(str(number)), LABEL, vector[:cut], GRID, partners, vector[cut:], single_partner=single)


def play(
    given: dict[str, list[NDArray[np.float64]]], post: Post = delivered, positions: NDArray[np.int64] = POSITIONS, *,
    checked: bool = True, wrap: Callable[[str, Role[None]], Role[None]] = lambda name, role: role, routed: NDArray[np.int64] | None = None,
) -> tuple[dict[str, Any], Room]:  # fmt: skip
    """Every step; what the label party holds, or that it refused. `routed`: the positions that the coordinator uses instead."""
    partners, universe = tuple(given), len(next(iter(given.values()))[0]) - EXTRAS
    room = Room((LABEL, *partners), post=post)
    results: dict[str, Any] = {}
    single = len(partners) == 1

    def label(run: Run) -> Role[list[NDArray[np.float64]]]:
        held, everything = [], np.append(positions, universe)
        for number in range(STEPS):
            step = run.within(str(number))
            if checked:
                pair = yield from receive_scores(step, partners, positions, universe, GRID, EXTRAS, single_partner=single)
                held.append(np.concatenate(pair))
            else:
                held.append((yield from attack.unchecked_receiver(step, partners, everything, universe + EXTRAS, GRID)))
        return held

    def coordinator(run: Run) -> Role[None]:
        for number in range(STEPS):
            chosen = positions if routed is None else routed
            yield from route_scores(run.within(str(number)), LABEL, partners, chosen, universe, EXTRAS)

    roles: dict[str, Any] = {p: wrap(p, sender(room.run(p), given[p], partners, single=single)) for p in partners}
    served: dict[str, Callable[[Run], Role[Any]]] = {LABEL: label, COORDINATOR: coordinator}
    try:
        room.play(roles | {name: recorded(name, role(room.run(name)), results) for name, role in served.items()})
    except RuntimeError as stalled:
        if "every party waits" not in str(stalled):
            raise
    return results, room


def truth(given: dict[str, list[NDArray[np.float64]]], positions: NDArray[np.int64] = POSITIONS) -> list[NDArray[np.float64]]:
    """The exact sums at the label party's positions, and of the extra."""
    sums = [sum(GRID.encode(given[p][step]) for p in given) for step in range(STEPS)]
    return [GRID.decode(s[[*positions, len(s) - 1]]) for s in sums]  # type: ignore[index,arg-type]


def wrong(results: dict[str, Any], given: dict[str, list[NDArray[np.float64]]]) -> bool:
    held = results.get(LABEL, REFUSED)
    return isinstance(held, list) and any(not np.array_equal(a, b) for a, b in zip(held, truth(given), strict=True))


def transcript(room: Room, step: int) -> dict[str, NDArray[np.uint64]]:
    """What the coordinator received in one step."""
    return {
        d.sender: np.frombuffer(d.message.scores.data, "<u8")
        for d in room.deliveries
        if isinstance(d.message, MaskedScores) and d.address.endswith(f"/{step}")
    }


def changed(message: Message, place: int, by: int = 0, tag: int = 0, pick: list[int] | None = None) -> Message:
    """`by` added to one score, `tag` to its tag; or scores and tags rearranged."""
    assert isinstance(message, MaskedScores | ScoreTotals)
    words, tags = (np.frombuffer(a.data, "<u8").copy() for a in (message.scores, message.tags))
    words[place : place + 1] += np.uint64(by % (1 << 64))
    tags[place] = (int(tags[place]) + tag) % mersenne.P
    if pick is not None:
        words[: len(pick)], tags[: len(pick)] = words[pick], tags[pick]
    return msgspec.structs.replace(message, scores=Array.of(words), tags=Array.of(tags))


ALTERATIONS: dict[str, Callable[[Message], Message]] = {
    **{f"score {i} up": lambda m, i=i: changed(m, i, by=1) for i in (0, 3)},  # type: ignore[misc]
    **{f"score {i} down": lambda m, i=i: changed(m, i, by=-1) for i in (0, 3)},  # type: ignore[misc]
    "by the tag's modulus": lambda m: changed(m, 0, by=mersenne.P),
    "highest bit": lambda m: changed(m, 0, by=1 << 63),
    "tag": lambda m: changed(m, 0, tag=1),
    "score and tag": lambda m: changed(m, 0, by=1, tag=1),
    "two rows exchanged": lambda m: changed(m, 0, pick=[3, 1, 2, 0]),
    "one row twice": lambda m: changed(m, 0, pick=[3, 1, 2, 3]),
}


def attacks() -> Iterator[tuple[str, Post]]:
    """Every way to treat one message of each kind between each ordered pair, in the second of two steps."""
    for source, target in [*((p, COORDINATOR) for p in PARTNERS), (COORDINATOR, LABEL)]:

        def here(d: Delivery, source: str = source, target: str = target) -> bool:
            return (d.sender, d.recipient) == (source, target) and d.address.endswith("/1")

        def altered(alter: Callable[[Message], Message], here: Callable[[Delivery], bool] = here) -> Post:
            return lambda d: alter(d.message) if here(d) else d.message

        def withheld(d: Delivery, here: Callable[[Delivery], bool] = here) -> Message | None:
            return None if here(d) else d.message

        for name, alter in ALTERATIONS.items():
            yield f"{source}: {name}", altered(alter)
        yield f"{source}: replayed", Replay(here)
        yield f"{source}: withheld", withheld


def test_a_wrong_score_is_never_accepted() -> None:
    given = scores()
    outcomes = {name: play(given, post)[0] for name, post in attacks()}
    accepted = [name for name, results in outcomes.items() if wrong(results, given)]
    finished = [name for name, results in outcomes.items() if isinstance(results.get(LABEL), list)]
    print(f"wrong scores accepted: {len(accepted)} of {len(outcomes)} attacks")
    assert accepted == []
    assert finished == []
    assert len(outcomes) == 48
    honest, _ = play(given)
    assert all(np.array_equal(a, b) for a, b in zip(honest[LABEL], truth(given), strict=True))


def test_control_without_the_tags_altered_scores_are_accepted() -> None:
    given = scores()
    passed = [name for name, post in attacks() if wrong(play(given, post, checked=False)[0], given)]
    assert {f"{s}: score 0 up" for s in (PARTNERS[1], COORDINATOR)} <= set(passed)
    assert {f"{COORDINATOR}: two rows exchanged", f"{COORDINATOR}: replayed"} <= set(passed)


def test_scores_of_other_positions_are_not_passed_off_as_the_label_partys_own() -> None:
    given, refused = scores(), 0
    others = [[5, 0, 4], [0, 5, 3], [5, 0, 1], [3, 0, 5], [1, 2, 4]]
    for routed in others:
        refused += play(given, routed=np.array(routed))[0][LABEL] == REFUSED
    print(f"displaced scores accepted: {len(others) - refused} of {len(others)}")
    assert refused == len(others)


def test_more_scores_than_its_own_are_refused() -> None:
    """The label party gets nothing of other positions, even from a coordinator that would give it everything."""
    given = scores()
    results, _ = play(given, routed=np.arange(UNIVERSE))
    assert results[LABEL] == REFUSED
    _, room = play(given)
    totals = [d.message for d in room.deliveries if d.recipient == LABEL]
    assert all(isinstance(t, ScoreTotals) and t.scores.shape == (len(POSITIONS) + EXTRAS,) for t in totals)
    assert len(totals) == STEPS
    assert {d.sender for d in room.deliveries if d.recipient == LABEL} == {COORDINATOR}


def test_malformed_messages_are_refused() -> None:
    given = scores()

    def big(message: Message) -> Message:
        assert isinstance(message, MaskedScores | ScoreTotals)
        tags = np.frombuffer(message.tags.data, "<u8").copy()
        tags[0] = mersenne.P
        return msgspec.structs.replace(message, tags=Array.of(tags))

    bad: tuple[Callable[[Message], Message], ...] = (
        big,
        lambda m: msgspec.structs.replace(m, scores=Array.of(np.zeros(3))),
        lambda m: msgspec.structs.replace(m, tags=Array.of(np.zeros(99, np.uint64))),
        lambda m: msgspec.structs.replace(m, tags=Array("<u8", (UNIVERSE + EXTRAS,), bytes(7))),
    )
    for make in bad:
        for target in (LABEL, COORDINATOR):
            assert play(given, to(target, make))[0][target] == REFUSED


def test_what_the_coordinator_receives_is_uniform_whatever_the_scores() -> None:
    for value in (0.0, 2.0**15):
        given = {p: [np.full(4001, value) for _ in range(STEPS)] for p in PARTNERS}
        _, room = play(given, positions=np.arange(4000))
        for step in range(STEPS):
            words = transcript(room, step)
            for name in PARTNERS:
                assert uniform(words[name]) > 1e-4
            assert uniform(differencing.total(words)) > 1e-4  # nor does their sum show a bit
        for d in room.deliveries:
            if isinstance(d.message, MaskedScores):  # 61-bit tags: fill the three high bits
                tags = np.frombuffer(d.message.tags.data, "<u8")
                assert uniform(tags | np.random.default_rng(SEED).integers(0, 8, tags.size, dtype=np.uint64) << np.uint64(61)) > 1e-4


def test_the_coordinator_cannot_read_the_sums_and_control_without_the_label_partys_mask_it_does() -> None:
    given = {p: [v[0]] for p, v in scores().items()}
    exact = sum(GRID.encode(given[p][0]) for p in PARTNERS)
    _, room = play({p: scores()[p] for p in PARTNERS})
    assert (attack.read_sums(transcript(room, 0)) == exact).sum() == 0
    spies = {p: Room((LABEL, *PARTNERS)).run(p).within("0") for p in PARTNERS}

    def bare(name: str, role: Role[None]) -> Role[None]:
        return attack.without_label_mask(role, spies[name].pair_key(LABEL, f"scores for {LABEL}", shown=True))

    _, room = play({p: scores()[p] for p in PARTNERS}, wrap=bare)
    assert np.array_equal(attack.read_sums(transcript(room, 0)), exact)


def test_two_steps_do_not_show_a_change_of_scores() -> None:
    """Control of the same attack: test_masked_sum_reading's, whose members reuse a mask."""
    given = scores(500)
    _, room = play(given, positions=np.arange(500))
    changes = differencing.differences(transcript(room, 0), transcript(room, 1), 0)
    for name in PARTNERS:
        assert (changes[name] == GRID.encode(given[name][1]) - GRID.encode(given[name][0])).sum() == 0


def test_coordinator_and_label_party_cannot_part_two_feature_parties_and_control_a_single_one_they_read() -> None:
    given = scores(500)

    def guess(partners: tuple[str, ...]) -> int:
        some = {p: given[p] for p in partners}
        _, room = play(some, positions=np.arange(20))
        key = Room((LABEL, *partners)).run(LABEL).within("0").pair_key(partners[0], f"scores for {LABEL}", shown=True)
        return int((attack.read_scores(transcript(room, 0)[partners[0]], key) == GRID.encode(given[partners[0]][0])).sum())

    assert guess(PARTNERS[:2]) == 0
    assert guess(PARTNERS[:1]) == 501  # of 501: what single_partner_disclosure accepts


def test_scores_for_two_label_parties_share_no_mask() -> None:
    members = ("bank-a", "bank-b", *PARTNERS)
    room = Room(members)

    def both(name: str) -> Role[None]:
        run = room.run(name)
        for bank in members[:2]:
            yield from send_scores(run, bank, np.zeros(500), GRID, PARTNERS)

    def coordinator() -> Role[None]:
        run = room.run(COORDINATOR)
        for bank in members[:2]:
            yield from route_scores(run, bank, PARTNERS, np.arange(3), 500)

    room.play({**{p: both(p) for p in PARTNERS}, COORDINATOR: coordinator()})
    for name in PARTNERS:
        first, second = (
            np.frombuffer(d.message.scores.data, "<u8") for d in room.deliveries if isinstance(d.message, MaskedScores) and d.sender == name
        )
        assert (first == second).sum() == 0
        assert uniform(second - first) > 1e-4
