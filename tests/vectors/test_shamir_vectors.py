"""Shamir's sharing against fixed vectors, and the vectors against a second implementation; what fewer shares, or wrong ones, must not give.

`shamir.json` is in the Wycheproof schema. To write it anew after a deliberate change: python -m tests.vectors.test_shamir_vectors
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.kernel.errors import LocalError
from federation.kernel.role import Randomness
from federation.kernel.secret import Secret
from federation.masked_sum import shamir
from tests.vectors import reference
from tests.vectors.write_wycheproof import document, entry, flipped, pseudorandom, written

FILE = Path(__file__).with_name("shamir.json")
P, TOP = reference.SHAMIR_P, 1 << 256
COUNT = 139

Split = Callable[[Secret, int, Sequence[int], Randomness], dict[int, bytes]]
Combine = Callable[[Mapping[int, bytes], int], Secret | None]
Outcome = Literal["accepted", "refused", "wrong"]


# -- the file, from the second implementation alone ---------------------------------------------------------------------------------


def share_bytes(value: int) -> bytes:
    return value.to_bytes(66, "little")


def shared(label: str, secret: bytes, threshold: int, places: Sequence[int]) -> tuple[bytes, dict[int, int]]:
    """The randomness key of a sharing and its shares: 96 bytes of key stream to a coefficient, that of the highest power first."""
    key = pseudorandom(f"sharing {label}")
    drawn = reference.keystream(key, 0, 12 * (threshold - 1))
    coefficients = [int.from_bytes(drawn[i : i + 96], "little") % P for i in range(0, len(drawn), 96)]
    return key, reference.shares(int.from_bytes(secret, "little"), coefficients[::-1], places)


def listed(shares: Mapping[int, int | bytes]) -> list[dict[str, Any]]:
    return [{"place": x, "share": (y if isinstance(y, bytes) else share_bytes(y)).hex()} for x, y in shares.items()]


def out_of_place(secret: bytes, right: Mapping[int, int]) -> list[dict[str, Any]]:
    """Thresholds, places and bytes that are none, beside right shares of "wrong shares"."""
    three = {x: right[x] for x in (1, 2, 3)}
    _, beyond = shared("wrong shares", secret, 3, [0, P, -1, P + 4])  # the right values there
    cases: list[tuple[str, str, int, Mapping[int, int | bytes], bytes]] = [
        ("NoThreshold", "none of none", 0, {}, bytes(32)),
        ("NoThreshold", "a threshold of 0", 0, three, bytes(32)),
        ("NoThreshold", "a threshold of -2", -2, three, bytes(32)),
        ("NoPlace", "the secret at its own place", 1, {0: beyond[0]}, secret),
        ("NoPlace", "the secret at place p", 1, {P: beyond[P]}, secret),
        ("NoPlace", "one place twice modulo p", 3, {1: right[1], 2: right[2], P + 1: right[1]}, secret),
        ("NoShare", "a share and p", 3, three | {2: right[2] + P}, secret),
        ("NoShare", "a share of 67 bytes", 3, three | {2: share_bytes(right[2]) + b"\0"}, secret),
    ]
    names = {0: "0", P: "p", -1: "-1", P + 4: "p + 4"}
    cases += [("NoPlace", f"place {names[x]} beside two others", 3, {1: right[1], 2: right[2], x: y}, secret) for x, y in beyond.items()]
    return [entry([flag], why, "invalid", threshold=t, shares=listed(some), secret=comes) for flag, why, t, some, comes in cases]


def vectors() -> dict[str, Any]:
    secrets = {
        "pseudorandom": pseudorandom("secret"),
        "zeros": bytes(32),
        "ones": b"\xff" * 32,
        "one": b"\1" + bytes(31),
        "high": bytes(31) + b"\x80",
    }
    sharings = [(2, [1, 2, 3]), (3, [1, 2, 3, 4, 5]), (1, [1]), (1, [4, 2]), (2, [9, 1]), (7, list(range(1, 11))), (10, list(range(1, 11)))]
    sharings += [(3, [1, 255, 256, 65537, (1 << 64) + 1])]
    splits, combines = [], []
    for (name, secret), (threshold, places) in itertools.chain(
        itertools.product(secrets.items(), sharings[:2]), itertools.product([*secrets.items()][:1], sharings[2:])
    ):
        key, shares = shared(f"{name} {threshold} {places}", secret, threshold, places)
        comment = f"{name}, {threshold} of {places}"
        plain = {"secret": secret, "threshold": threshold, "places": places, "random": key}
        splits.append(entry(["Split"], comment, "valid", **plain, shares=listed(shares)))
        subsets = list(itertools.combinations(places, threshold))
        for some in [subsets[0], subsets[-1], tuple(reversed(subsets[len(subsets) // 2])), tuple(places)]:
            given_ = listed({x: shares[x] for x in some})
            combines.append(entry(["Combine"], f"{comment} from {list(some)}", "valid", threshold=threshold, shares=given_, secret=secret))
    refused = {
        "a secret of 31 bytes": (bytes(31), 2, [1, 2]), "a secret of 33 bytes": (bytes(33), 2, [1, 2]), "no secret": (b"", 2, [1, 2]),
        "a threshold of 0": (bytes(32), 0, [1, 2]), "a threshold of -1": (bytes(32), -1, [1, 2]), "too few places": (bytes(32), 3, [1, 2]),
        "no places": (bytes(32), 1, []), "the secret's own place": (bytes(32), 2, [0, 1]), "a place below": (bytes(32), 2, [-1, 1]),
        "a place twice": (bytes(32), 2, [1, 2, 1]), "place p, the secret's own": (bytes(32), 2, [1, P]),
        "a place twice modulo p": (bytes(32), 2, [1, P + 1]),
    }  # fmt: skip
    for why, (secret, threshold, places) in refused.items():
        plain = {"secret": secret, "threshold": threshold, "places": places, "random": bytes(32)}
        splits.append(entry(["InvalidSharing"], why, "invalid", **plain, shares=[]))

    secret, places = secrets["pseudorandom"], [1, 2, 3, 4, 5]
    _, right = shared("wrong shares", secret, 3, places)
    _, other = shared("another sharing", secret, 3, places)

    def bad(flag: str, why: str, shares: Mapping[int, int | bytes], threshold: int = 3) -> None:
        combines.append(entry([flag], why, "invalid", threshold=threshold, shares=listed(shares), secret=secret))

    def unnoticed(why: str, shares: Mapping[int, int], off: int) -> None:
        """Nothing in the shares shows it: another secret comes out, and only who knows a public key or a tag notices."""
        moved = (int.from_bytes(secret, "little") + off).to_bytes(32, "little")
        combines.append(entry(["Unnoticed"], why, "valid", threshold=3, shares=listed(shares), secret=moved))

    three = {x: right[x] for x in (1, 2, 3)}
    bad("TooFewShares", "two of three", {x: right[x] for x in (1, 2)})
    bad("TooFewShares", "none", {})
    combines += out_of_place(secret, right)
    bad("LowerThreshold", "two taken for enough", {x: right[x] for x in (1, 2)}, 2)
    bad("LowerThreshold", "one taken for enough", {4: right[4]}, 1)
    for place, bit in itertools.product((32, 33, 48, 64), (0, 7)):
        bad("ModifiedShare", f"bit {bit} of byte {place}", three | {2: flipped(share_bytes(right[2]), place, bit)})
    bad("ModifiedShare", "a share of zero", three | {1: 0})
    bad("ModifiedShare", "the negative", three | {1: P - right[1]})
    bad("ModifiedShare", "all shares p - 1", dict.fromkeys(three, P - 1))
    bad("MixedShares", "one of another sharing of the same secret", three | {3: other[3]})
    bad("MixedShares", "two exchanged", three | {1: right[2], 2: right[1]})
    bad("MixedShares", "under another place", {1: right[1], 2: right[2], 4: right[3]})
    bad("MixedShares", "one twice, under two places", {1: right[1], 2: right[2], 3: right[2]})
    # Lagrange's weights of places 1, 2, 3 at 0 are 3, -3, 1.
    unnoticed("a third more at place 1: made for the secret plus one", three | {1: (right[1] + pow(3, -1, P)) % P}, 1)
    unnoticed("one more at place 2", three | {2: right[2] + 1}, -3)
    unnoticed("one more at place 3", three | {3: right[3] + 1}, 1)
    unnoticed("2^200 more at place 2", three | {2: (right[2] + (1 << 200)) % P}, -3 << 200)

    forms = [(True, "zero", share_bytes(0)), (True, "p - 1", share_bytes(P - 1)), (True, "of a sharing", share_bytes(right[1]))]
    forms += [
        (False, "p", share_bytes(P)),
        (False, "the most that 66 bytes hold", b"\xff" * 66),
        (False, "one bit too many", share_bytes(1 << 521)),
    ]
    forms += [(False, f"{size} bytes", share_bytes(right[1])[:size].ljust(size, b"\0")) for size in (0, 1, 32, 65, 67, 132)]
    shares_ = [entry(["Form"], why, "valid" if good else "invalid", share=raw) for good, why, raw in forms]
    groups = [
        {"type": "ShamirSplit", "tests": splits},
        {"type": "ShamirCombine", "tests": combines},
        {"type": "ShamirForm", "tests": shares_},
    ]
    return document("SHAMIR", ["Shamir's sharing of 32 bytes modulo 2^521 - 1; shares are 66 bytes, little-endian."], groups)


# -- the runner ---------------------------------------------------------------------------------------------------------------------


def outcome_of(kind: str, test: dict[str, Any], split: Split, combine: Combine) -> Outcome:
    if kind == "ShamirForm":
        return "accepted" if shamir.is_share(bytes.fromhex(test["share"])) else "refused"
    secret, threshold = Secret(bytes.fromhex(test["secret"])), test["threshold"]
    shares = {x["place"]: bytes.fromhex(x["share"]) for x in test["shares"]}
    random = Randomness(Secret(bytes.fromhex(test.get("random", ""))))
    try:
        if kind == "ShamirSplit":
            return "accepted" if split(secret, threshold, test["places"], random) == shares else "wrong"
        found = combine(shares, threshold)
    except LocalError:
        return "refused"
    return "refused" if found is None else "accepted" if found == secret else "wrong"


def failures(split: Split = shamir.split, combine: Combine = shamir.combine) -> list[str]:
    """The first flag of each vector that does not come out as it must, after all of them have been run."""
    stored, out, run = json.loads(FILE.read_text()), [], 0
    for group in stored["testGroups"]:
        for test in group["tests"]:
            run += 1
            if outcome_of(group["type"], test, split, combine) != {"valid": "accepted", "invalid": "refused"}[test["result"]]:
                out.append(test["flags"][0])
    assert run == stored["numberOfTests"] == COUNT
    return out


def test_no_vector_comes_out_otherwise() -> None:
    assert failures() == [], f"of {COUNT}"


def test_the_file_is_what_the_second_implementation_says() -> None:
    assert FILE.read_text() == written(vectors())


def test_the_second_implementation_puts_its_shares_together() -> None:
    """By Neville's scheme, which neither implementation of `combine` uses: each case of the file, valid ones only."""
    tests = [
        t for g in json.loads(FILE.read_text())["testGroups"] if g["type"] == "ShamirCombine" for t in g["tests"] if t["result"] == "valid"
    ]
    for test in tests:
        points = {x["place"]: int.from_bytes(bytes.fromhex(x["share"]), "little") for x in test["shares"]}
        assert reference.at_zero(points) == int.from_bytes(bytes.fromhex(test["secret"]), "little")


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.data())
def test_any_threshold_of_shares_gives_the_secret_back_and_fewer_do_not(secret: bytes, key: bytes, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(1, 1 << 16), min_size=2, max_size=9, unique=True))
    threshold = data.draw(st.integers(2, len(places)))
    shares = shamir.split(Secret(secret), threshold, places, Randomness(Secret(key)))
    some = data.draw(st.permutations(places))
    assert shamir.combine({x: shares[x] for x in some[:threshold]}, threshold) == Secret(secret)
    fewer = {x: shares[x] for x in some[: threshold - 1]}
    assert shamir.combine(fewer, threshold - 1) is None  # another secret of 32 bytes has chance 2^-265
    with pytest.raises(LocalError):
        shamir.combine(fewer, threshold)


# -- controls: weakened copies ------------------------------------------------------------------------------------------------------


def drawn_with(size: int, order: int) -> Split:
    """`split` with coefficients of `size` bytes, drawn in another order (-1: the lowest power first)."""

    def split(secret: Secret, threshold: int, places: Sequence[int], random: Randomness) -> dict[int, bytes]:
        shamir.split(secret, threshold, places, Randomness(Secret(bytes(32))))  # what it refuses, the weakened copy refuses
        raw = random.bytes(size * (threshold - 1))
        coefficients = [int.from_bytes(raw[i : i + size], "little") % P for i in range(0, len(raw), size)][::-order]
        values = reference.shares(int.from_bytes(secret.reveal(), "little"), coefficients, places)
        return {x: share_bytes(y) for x, y in values.items()}

    return split


def at_zero(points: Mapping[int, int]) -> int:
    """Zero where there are no points, or two at one place."""
    return reference.at_zero(points) if points and len({x % P for x in points}) == len(points) else 0


def unbounded(shares: Mapping[int, bytes], threshold: int) -> Secret | None:
    """`combine` that cuts what it finds to 32 bytes."""
    if len(shares) < threshold:
        raise LocalError("shamir", "too few", "-")
    points = {x: int.from_bytes(shares[x], "little") for x in sorted(shares)[:threshold]}
    return Secret(share_bytes(at_zero(points))[:32])


def from_what_there_is(shares: Mapping[int, bytes], threshold: int) -> Secret | None:
    """`combine` without a count."""
    points = {x: int.from_bytes(shares[x], "little") for x in sorted(shares)[:threshold]} or {1: 0}
    return Secret(share_bytes(at_zero(points))[:32])


def anywhere(shares: Mapping[int, bytes], threshold: int) -> Secret | None:
    """`combine` that takes any place, share and threshold."""
    if len(shares) < threshold:
        raise LocalError("shamir", "too few", "-")
    value = at_zero({x: int.from_bytes(shares[x], "little") for x in sorted(shares)[: max(threshold, 0)]})
    return Secret(share_bytes(value)[:32]) if value < TOP else None


def unchecked(secret: Secret, threshold: int, places: Sequence[int], random: Randomness) -> dict[int, bytes]:
    """`split` of whatever it is given."""
    drawn = random.bytes(96 * max(threshold - 1, 0))
    coefficients = [int.from_bytes(drawn[i : i + 96], "little") % P for i in range(0, len(drawn), 96)][::-1]
    values = reference.shares(int.from_bytes(secret.reveal(), "little"), coefficients, places)
    return {x: share_bytes(y) for x, y in values.items()}


UNPLACED = {"NoThreshold": 3, "NoPlace": 7, "NoShare": 2}
"""Vectors that a copy fails which looks at no place, share or threshold."""


@pytest.mark.parametrize(
    ("weakened", "caught"),  # all of a kind: 14 of 16 sharings have a coefficient, 8 have more than one
    [
        ({"split": drawn_with(32, 1)}, {"Split": 14}),
        ({"split": drawn_with(96, -1)}, {"Split": 8}),
        ({"combine": unbounded}, UNPLACED | {"LowerThreshold": 2, "ModifiedShare": 11, "MixedShares": 4}),
        ({"combine": from_what_there_is}, UNPLACED | {"TooFewShares": 2, "LowerThreshold": 2, "ModifiedShare": 11, "MixedShares": 4}),
        ({"combine": anywhere}, UNPLACED),
        ({"split": unchecked}, {"InvalidSharing": 12}),
    ],
    ids=["short coefficients", "lowest power first", "no bound", "no count", "any place", "any sharing"],
)
def test_a_weakened_copy_fails(weakened: dict[str, Any], caught: dict[str, int]) -> None:
    flags = failures(**weakened)
    print({flag: flags.count(flag) for flag in sorted(set(flags))})
    assert {flag: flags.count(flag) for flag in set(flags)} == caught


def guesses(split: Split, games: int) -> int:
    """How often one share of a 2-of-3 sharing tells which of two secrets was shared, to a guesser who looks for the shorter coefficient."""
    random, right = Randomness(Secret(pseudorandom("games"))), 0
    for _ in range(games):
        pair = [random.bytes(32), random.bytes(32)]
        pair.sort(key=lambda raw: int.from_bytes(raw, "little"))
        chosen = random.below(2)
        share = int.from_bytes(split(Secret(pair[chosen]), 2, [1, 2, 3], random)[3], "little")
        coefficients = [(share - int.from_bytes(raw, "little")) * pow(3, -1, P) % P for raw in pair]
        right += coefficients.index(min(coefficients)) == chosen
    return right


def test_a_share_less_than_the_threshold_does_not_tell_the_secret() -> None:
    games = 2000
    real, control = guesses(shamir.split, games), guesses(drawn_with(32, 1), games)
    print(f"right guesses of {games}: {real} with the real sharing, {control} with coefficients of 256 bits")
    assert abs(real - games // 2) < 5 * (games / 4) ** 0.5  # 5 standard deviations of a coin
    assert control > 0.8 * games


if __name__ == "__main__":
    FILE.write_text(written(vectors()))
