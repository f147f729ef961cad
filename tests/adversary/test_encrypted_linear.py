"""Hostile owners, who want a holder's columns, and hostile holders, who want the owner's vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from federation.encrypted_linear.keys import CommonHalves, OwnerKey
from federation.encrypted_linear.packing import Columns, centred
from federation.encrypted_linear.parameters import ANSWER_MODULUS, ANSWERS_PER_KEY, DATA_PRIMES, DEGREE, FLOOD, KEY_PRIMES, PLAIN_MODULUS
from federation.encrypted_linear.products import Transforms
from federation.encrypted_linear.protocol import Answers, Encrypted, Totals, answer_blinded, hold, own
from federation.encrypted_linear.sanitise import Covers
from federation.kernel.codec import Array, Message
from federation.kernel.errors import PeerError
from federation.kernel.role import Randomness, Role, Run
from federation.kernel.secret import Secret
from privacy.attacks import encrypted_linear as attack
from tests.rooms import Delivery, Room

SEED = 20_240_611
OWNER, HOLDER = "bank", "platform"
ROWS = DEGREE
SIZE = 1 << 80
"""Noise per unit of a column: 2^26 after the switch down, a 2^24th of Delta."""


def columns(count: int = 2) -> Columns:
    """Two columns of 19-bit numbers over one block."""
    rng = np.random.default_rng(SEED)
    return Columns.whole(rng.integers(-(1 << 19), 1 << 19, (ROWS, count)), 20)


def covers(answers: int) -> Covers:
    return Covers.draw(Randomness(Secret(bytes(32))), answers)


def setting(room: Room) -> tuple[attack.Halves, bytes]:
    """An owner's honest halves for a vector of zeros, and its key."""
    run = room.run(OWNER)
    key = OwnerKey.make(run, HOLDER, 0)
    return attack.Halves.honest(run, HOLDER, key, np.zeros(ROWS, np.int64)), next(iter(room.shelves[OWNER].effects.values()))


def ask(room: Room, halves: attack.Halves, data: Columns, run: Run) -> attack.Seen:
    """The answers of our holder to a hostile owner."""

    def holder() -> Role[None]:
        yield from hold(room.run(HOLDER), OWNER, Transforms(data))

    def owner() -> Role[attack.Seen]:
        seen = yield from attack.hostile_owner(run, HOLDER, data.answers, halves, ROWS, 20)
        yield from run.step("totals", send={HOLDER: Totals(Array.of(np.zeros(data.answers, np.uint64)))})
        return seen

    return room.play({OWNER: owner(), HOLDER: holder()})[OWNER]  # type: ignore[no-any-return]


def share_read(found: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> float:
    """How many entries an attack has right to one per cent."""
    return float((np.abs(found - truth) <= 0.01 * np.abs(truth)).mean())


def correlation(found: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> float:
    return abs(float(np.corrcoef(found.astype(np.float64).ravel(), truth.astype(np.float64).ravel())[0, 1]))


# -- huge noise -------------------------------------------------------------------------------------------------------------------


def test_control_a_holder_that_returns_c0_whole_is_read_entry_by_entry_through_huge_noise() -> None:
    room, data = Room((OWNER, HOLDER)), columns()
    halves, key = setting(room)
    seen = attack.weak_answers(data, halves.with_noise(SIZE), covers(2), lacks=["cut"])
    assert share_read(attack.columns_from_noise(seen, key, SIZE), data.integers.T) == 1.0


def test_huge_noise_reads_none_of_the_16384_entries() -> None:
    room, data = Room((OWNER, HOLDER)), columns()
    halves, key = setting(room)
    seen = ask(room, halves.with_noise(SIZE), data, room.run(OWNER))
    found = attack.columns_from_noise(seen, key, SIZE)
    assert share_read(found, data.integers.T) < 0.02
    assert correlation(found, data.integers.T) < 0.04  # 16,384 entries: five standard deviations


def test_noise_of_the_size_of_the_flood_tells_one_bit_of_an_answer_and_the_contract_says_so() -> None:
    """The bound that the contract states is met: an owner who knows the column but for one sign learns that sign."""
    room, answers = Room((OWNER, HOLDER)), 40
    signs = np.random.default_rng(SEED).integers(0, 2, answers)
    data = Columns.whole(np.concatenate([signs[None, :], np.zeros((ROWS - 1, answers), np.int64)]), 20)
    halves, key = setting(room)
    step = ANSWER_MODULUS // PLAIN_MODULUS
    seen = ask(room, halves.with_noise(step // 2 * DATA_PRIMES[2]), data, room.run(OWNER))
    noise = [attack.noises(a, b, key)[DEGREE - 1] for a, b in zip(seen.c0, seen.c1, strict=True)]
    assert [int(abs(x) > step // 4) for x in noise] == signs.tolist()


def test_a_quarter_of_that_noise_leaves_three_of_four_answers_undecided() -> None:
    room, answers = Room((OWNER, HOLDER)), 40
    data = Columns.whole(np.concatenate([np.ones((1, answers), np.int64), np.zeros((ROWS - 1, answers), np.int64)]), 20)
    halves, key = setting(room)
    step = ANSWER_MODULUS // PLAIN_MODULUS
    seen = ask(room, halves.with_noise(step // 8 * DATA_PRIMES[2]), data, room.run(OWNER))
    noise = [attack.noises(a, b, key)[DEGREE - 1] for a, b in zip(seen.c0, seen.c1, strict=True)]
    decided = sum(x > FLOOD + (1 << 14) for x in noise)  # beyond what a zero could give
    assert 0 < decided < 20  # expected 10 of 40


# -- halves of the owner's choice ---------------------------------------------------------------------------------------------------


def test_control_a_holder_that_takes_the_owners_second_halves_is_read_from_c1() -> None:
    room, data = Room((OWNER, HOLDER)), columns()
    halves, _ = setting(room)
    found = attack.columns_from_masks(attack.weak_answers(data, halves.chosen(), covers(2)))
    assert np.abs(found - data.integers.T).max() <= 2


def test_an_owner_cannot_choose_second_halves() -> None:
    room, data = Room((OWNER, HOLDER)), columns()
    halves, _ = setting(room)
    found = attack.columns_from_masks(ask(room, halves.chosen(), data, room.run(OWNER)))
    assert share_read(found, data.integers.T) < 0.001
    assert correlation(found, data.integers.T) < 0.04


@pytest.mark.parametrize("p0", [0, 1])
def test_no_first_half_of_a_public_key_makes_c1_tell_anything(p0: int) -> None:
    """p0 = 0, or 1: what the holder then adds to c0 is known, but c1 never depends on p0."""
    room, data = Room((OWNER, HOLDER)), columns()
    halves, _ = setting(room)
    bad = attack.Halves(np.full_like(halves.p0, p0), halves.p1, np.zeros_like(halves.c0), halves.c1)
    found = attack.columns_from_masks(ask(room, bad, data, room.run(OWNER)))
    assert correlation(found, data.integers.T) < 0.04


def test_second_halves_differ_by_session_place_owner_holder_and_key_and_are_uniform() -> None:
    room = Room((OWNER, HOLDER, "tax"))
    run = room.run(OWNER)
    found = [
        CommonHalves.of(run, OWNER, HOLDER, 0, 1),
        CommonHalves.of(run, OWNER, HOLDER, 1, 1),
        CommonHalves.of(run, OWNER, "tax", 0, 1),
        CommonHalves.of(run, "tax", HOLDER, 0, 1),
        CommonHalves.of(run.within("again"), OWNER, HOLDER, 0, 1),
        CommonHalves.of(Room((OWNER, HOLDER), session=bytes(32)).run(OWNER), OWNER, HOLDER, 0, 1),
    ]
    parts = [half.p1[0] for half in found] + [half.c1[0, 0] for half in found]
    for place, one in enumerate(parts):
        assert abs(one.mean() / KEY_PRIMES[0] - 0.5) < 0.02
        assert not any(np.count_nonzero(one == other) > 2 for other in parts[:place])
    again = CommonHalves.of(room.run(HOLDER), OWNER, HOLDER, 0, 1)
    assert np.array_equal(again.p1, found[0].p1)
    assert np.array_equal(again.c1, found[0].c1)


# -- encryptions of zero used twice -------------------------------------------------------------------------------------------------


def test_control_with_one_encryption_of_zero_the_owner_confirms_a_guess_of_two_columns_difference() -> None:
    room, data = Room((OWNER, HOLDER)), columns()
    halves, _ = setting(room)
    found = attack.difference_of_masks(attack.weak_answers(data, halves, covers(2), lacks=["fresh zeros"]))
    right = data.integers[:, 0] - data.integers[:, 1]
    wrong = right.copy()
    wrong[17] += 1
    assert np.abs(found - attack.expected_difference(right, halves.c1)).max() <= 2
    assert np.abs(found - attack.expected_difference(wrong, halves.c1)).max() > 1 << 40


def test_control_with_one_encryption_of_zero_and_chosen_halves_the_owner_reads_the_difference() -> None:
    room, data = Room((OWNER, HOLDER)), columns()
    halves, _ = setting(room)
    mixed = halves.chosen_ciphertext()
    found = attack.difference_of_masks(attack.weak_answers(data, mixed, covers(2), lacks=["fresh zeros"]))
    assert np.abs(found[::-1] - (data.integers[:, 0] - data.integers[:, 1])).max() <= 2
    fresh = attack.difference_of_masks(attack.weak_answers(data, mixed, covers(2)))
    assert np.abs(fresh).max() > 1 << 50


def test_differences_of_masks_confirm_no_guess() -> None:
    room, data = Room((OWNER, HOLDER)), columns()
    halves, _ = setting(room)
    found = attack.difference_of_masks(ask(room, halves, data, room.run(OWNER)))
    expected = attack.expected_difference(data.integers[:, 0] - data.integers[:, 1], halves.c1)
    assert np.count_nonzero(np.abs(found - expected) <= 1 << 40) < 10  # of 8,192; expected 1
    assert correlation(found, expected) < 0.06


def test_the_same_columns_and_vector_twice_give_unrelated_answers() -> None:
    data = columns()
    seen = []
    for session in (bytes(32), bytes(31) + b"\1"):
        room = Room((OWNER, HOLDER), session=session)
        halves, _ = setting(room)
        seen.append(ask(room, halves, data, room.run(OWNER)))
    assert np.count_nonzero(seen[0].c1 == seen[1].c1) == 0
    assert not (seen[0].c0[:, :, -1] == seen[1].c0[:, :, -1]).any()


# -- totals in the owner's eyes -------------------------------------------------------------------------------------------------------


def test_the_owner_sees_totals_only_under_the_holders_blinding_and_control_without_it_exactly() -> None:
    data = Columns.whole(np.ones((100, 40), np.int64), 20)
    vector = np.arange(100)
    room = Room((OWNER, HOLDER))

    def owner() -> Role[Any]:
        run = room.run(OWNER)
        blinded = yield from answer_blinded(run, {HOLDER: 40}, vector, 20)
        yield from run.step("totals", send={HOLDER: Totals(Array.of(blinded[HOLDER]))})
        return blinded[HOLDER]

    out = room.play({OWNER: owner(), HOLDER: hold(room.run(HOLDER), OWNER, Transforms(data))})
    assert out[HOLDER] == [4950] * 40
    assert len(set(out[OWNER].tolist())) == 40
    assert abs(float(out[OWNER].mean()) / PLAIN_MODULUS - 0.5) < 0.25

    run = Room((OWNER, HOLDER)).run(OWNER)
    key = OwnerKey.make(run, HOLDER, 0)
    seen = attack.weak_answers(data, attack.Halves.honest(run, HOLDER, key, vector), Covers(np.zeros(40, np.uint64), (0,) * 40))
    assert centred(key.open(seen.c1, seen.c0[:, :, -1])).tolist() == [4950] * 40


# -- the decryption oracle ------------------------------------------------------------------------------------------------------------


def test_control_an_owner_without_the_cap_gives_away_its_key_and_vector() -> None:
    rng, answers = np.random.default_rng(SEED), -(-DEGREE // attack.DIGITS)
    vector, room = rng.integers(0, 2, 1000), Room((OWNER, HOLDER))
    out = room.play(
        {
            OWNER: attack.weak_owner(room.run(OWNER), HOLDER, answers, vector, 1),
            HOLDER: attack.hostile_holder(room.run(HOLDER), OWNER, answers, 1000, [0], answers),
        }
    )
    encrypted, totals = out[HOLDER]
    key = attack.key_from_totals(totals)[:DEGREE].astype(np.int8).tobytes()
    assert key == next(iter(room.shelves[OWNER].effects.values()))
    common = CommonHalves.of(room.run(HOLDER), OWNER, HOLDER, 0, 1)
    assert attack.decrypt(key, encrypted.c0.read("", "<u8", (1, 1, 3, DEGREE))[0], common.c1)[:1000].tolist() == vector.tolist()


def test_forty_answers_to_a_key_leave_four_fifths_of_it_unknown_and_other_answers_have_other_keys() -> None:
    rng, answers = np.random.default_rng(SEED), 2 * ANSWERS_PER_KEY
    vector, room = rng.integers(0, 2, 1000), Room((OWNER, HOLDER))
    firsts = [0, attack.DIGITS * ANSWERS_PER_KEY]
    out = room.play(
        {
            OWNER: own(room.run(OWNER), {HOLDER: answers}, vector, 1),
            HOLDER: attack.hostile_holder(room.run(HOLDER), OWNER, answers, 1000, firsts, ANSWERS_PER_KEY),
        }
    )
    encrypted, totals = out[HOLDER]
    found, keys = attack.key_from_totals(totals), [np.frombuffer(x, np.int8) for x in room.shelves[OWNER].effects.values()]
    read = attack.DIGITS * ANSWERS_PER_KEY
    assert len(keys) == 2
    assert read == 1440 < DEGREE / 5
    assert np.array_equal(found[:read], keys[0][:read])
    assert np.array_equal(found[read:], keys[1][read : 2 * read])  # what the contract says
    guess = np.zeros(DEGREE, np.int8)
    guess[: 2 * read] = found  # as if it were one key
    common = CommonHalves.of(room.run(HOLDER), OWNER, HOLDER, 0, 1)
    plain = attack.decrypt(guess.tobytes(), encrypted.c0.read("", "<u8", (2, 1, 3, DEGREE))[0], common.c1)[:1000]
    assert np.count_nonzero(plain == vector) < 5  # of 1,000


def test_a_holder_that_sends_more_answers_than_it_announced_ends_the_run() -> None:
    room = Room((OWNER, HOLDER))
    with pytest.raises(PeerError):
        room.play(
            {
                OWNER: own(room.run(OWNER), {HOLDER: 1}, np.ones(10, np.int64), 1),
                HOLDER: attack.hostile_holder(room.run(HOLDER), OWNER, 2, 10, [0], 2),
            }
        )


def test_one_crafted_answer_reads_57_labels_one_less_than_the_contract_says() -> None:
    labels = np.random.default_rng(SEED).integers(0, 2, 100)
    column = np.zeros((100, 1), np.int64)
    column[:57, 0] = 1 << np.arange(57, dtype=np.int64)
    room = Room((OWNER, HOLDER))
    out = room.play(
        {OWNER: own(room.run(OWNER), {HOLDER: 1}, labels, 0), HOLDER: hold(room.run(HOLDER), OWNER, Transforms(Columns.whole(column, 0)))}
    )
    assert [out[HOLDER][0] >> i & 1 for i in range(57)] == labels[:57].tolist()


# -- malformed messages ---------------------------------------------------------------------------------------------------------------


def _changed(message: Message, **fields: Any) -> Message:
    return type(message)(**{name: getattr(message, name) for name in message.__struct_fields__} | fields)


def _raised(message: Any, name: str, value: int, *place: int) -> Message:
    """The array with one word set."""
    array = getattr(message, name)
    words = np.frombuffer(array.data, "<u8").reshape(array.shape).copy()
    words[place] = value
    return _changed(message, **{name: Array.of(words)})


BAD_ENCRYPTED: dict[str, Any] = {
    "a residue equal to its prime": lambda m: _raised(m, "c0", DATA_PRIMES[1], 0, 0, 1, 5),
    "a residue of the largest word": lambda m: _raised(m, "c0", (1 << 64) - 1, 0, 0, 0, 0),
    "a public residue above the short prime": lambda m: _raised(m, "p0", KEY_PRIMES[3], 0, 3, 8191),
    "another number of rows": lambda m: _changed(m, rows=m.rows + 1),
    "more bits than the columns allow": lambda m: _changed(m, bits=57),
    "negative bits": lambda m: _changed(m, bits=-1),
    "another type": lambda m: _changed(m, c0=Array("<i8", m.c0.shape, m.c0.data)),
    "another shape": lambda m: _changed(m, c0=Array("<u8", (1, 1, DEGREE, 3), m.c0.data)),
    "no keys": lambda m: _changed(m, p0=Array("<u8", (0, 4, DEGREE), b"")),
    "a byte less": lambda m: _changed(m, p0=Array("<u8", m.p0.shape, m.p0.data[:-1])),
    "a byte more": lambda m: _changed(m, p0=Array("<u8", m.p0.shape, m.p0.data + b"\0")),
}
BAD_ANSWERS: dict[str, Any] = {
    "a mask equal to its prime": lambda m: _raised(m, "c1", DATA_PRIMES[0], 0, 0, 0),
    "an answer equal to its prime": lambda m: _raised(m, "c0", DATA_PRIMES[1], 0, 1),
    "another shape of answers": lambda m: _changed(m, c1=Array("<u8", (1, DEGREE, 2), m.c1.data)),
}
BAD_TOTALS: dict[str, Any] = {
    "a total of t": lambda m: _raised(m, "blinded", PLAIN_MODULUS, 0),
    "two totals for one": lambda m: _changed(m, blinded=Array.of(np.zeros(2, np.uint64))),
}


def _play_one(post: Any) -> dict[str, Any]:
    room = Room((OWNER, HOLDER), post=post)
    data = Columns.whole(np.arange(20)[:, None], 10)
    return room.play(
        {OWNER: own(room.run(OWNER), {HOLDER: 1}, np.ones(20, np.int64), 10), HOLDER: hold(room.run(HOLDER), OWNER, Transforms(data))}
    )


CASES = [
    (kind, change)
    for kind, cases in ((Encrypted, BAD_ENCRYPTED), (Answers, BAD_ANSWERS), (Totals, BAD_TOTALS))
    for change in cases.values()
]
NAMES = [*BAD_ENCRYPTED, *BAD_ANSWERS, *BAD_TOTALS]


@pytest.mark.parametrize(("kind", "change"), CASES, ids=NAMES)
def test_a_malformed_message_is_the_peers_fault_and_never_reaches_seal(kind: type[Message], change: Callable[[Message], Message]) -> None:
    def post(delivery: Delivery) -> Message:
        return change(delivery.message) if isinstance(delivery.message, kind) else delivery.message

    with pytest.raises(PeerError):
        _play_one(post)


def test_control_unchanged_messages_pass() -> None:
    assert _play_one(lambda delivery: delivery.message)[HOLDER] == [190]
