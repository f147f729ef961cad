"""The masked sum and the partial scores against fixed vectors, and the vectors against a second implementation in whole numbers.

`masked_sum.json` holds keys, inputs, what each member sends, what the coordinator sends back and the sums; `refused` cases must fail. To
write it anew after a deliberate change of the protocol: python -m tests.vectors.test_masked_sum_vectors
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from federation.kernel.errors import ConfigurationError, LocalError, PeerError
from federation.kernel.secret import Secret
from federation.masked_sum.cover import Cover, Masked, stretch, total_of
from federation.masked_sum.fixed_point import FixedPoint

FILE = Path(__file__).with_name("masked_sum.json")
P, WORD = (1 << 61) - 1, 1 << 64


# -- the second implementation: plain whole numbers, no numpy, nothing of federation ------------------------------------------------


def stream(key: str, words: int) -> list[int]:
    """AES-256-CTR from counter 0, as little-endian 64-bit words."""
    raw = Cipher(AES(bytes.fromhex(key)), CTR(bytes(16))).encryptor().update(bytes(8 * words))
    return [int.from_bytes(raw[8 * i : 8 * i + 8], "little") for i in range(words)]


def residue(word: int) -> int:
    """61 bits of a word, p taken as 0."""
    return (word & P) % P


def contribution(case: dict[str, Any], member: str) -> tuple[list[int], int]:
    """What a member sends, from the formulas of `cover` and `pairwise`."""
    names, x = case["members"], case["inputs"][member]
    shift = (len(names) - 1).bit_length()
    group = stream(case["group_mask_key"], len(x) + 1)
    weights = [residue(w) for w in stream(case["weights_key"], len(x))]
    words = [(v << shift) + g for v, g in zip(x, group[:-1], strict=True)]
    tag = sum(a * v for a, v in zip(weights, x, strict=True)) + residue(group[-1])
    for peer in names:
        if peer != member:
            sign = 1 if names.index(member) < names.index(peer) else -1
            mask = stream(case["pair_keys"][" ".join(sorted((member, peer)))], len(x) + 1)
            words = [w + sign * m for w, m in zip(words, mask[:-1], strict=True)]
            tag += sign * residue(mask[-1])
    return [w % WORD for w in words], tag % P


def completed(case: dict[str, Any]) -> dict[str, Any]:
    """The case with all that follows from its keys and inputs."""
    sent = {name: contribution(case, name) for name in case["members"]}
    columns = list(zip(*(words for words, _ in sent.values()), strict=True))
    return case | {
        "sent": {name: {"vector": [f"{w:016x}" for w in words], "tag": tag} for name, (words, tag) in sent.items()},
        "total": {"vector": [f"{sum(c) % WORD:016x}" for c in columns], "tag": sum(tag for _, tag in sent.values()) % P},
        "sum": [sum(c) for c in zip(*(case["inputs"][n] for n in case["members"]), strict=True)],
    }


def key(label: str) -> str:
    return hashlib.sha256(b"masked_sum vector: " + label.encode()).hexdigest()


def case(name: str, members: list[str], clip: float, bits: int, rows: list[list[int]]) -> dict[str, Any]:
    pairs = [" ".join(sorted((a, b))) for i, a in enumerate(members) for b in members[i + 1 :]]
    return completed({
        "name": name, "members": members, "clip": clip, "fraction_bits": bits,
        "group_mask_key": key(f"{name} group"), "weights_key": key(f"{name} weights"), "pair_keys": {p: key(f"{name} {p}") for p in pairs},
        "inputs": dict(zip(members, rows, strict=True)),
    })  # fmt: skip


def vectors() -> dict[str, Any]:
    """All of the file."""
    edge = (P - 1) // 2 // 3 // 1024 * 1024  # a clip that float64 holds exactly
    cases = [
        case("three members", ["bank", "platform", "tax"], 1000.0, 4, [[1, -2, 16000, 0], [5, 5, -16000, 0], [-7, 3, 1, 0]]),
        case("four members, names out of order", ["tax", "bank", "court", "platform"], 3.0, 0, [[1], [2], [3], [-3]]),
        case("the largest numbers", ["a", "b", "c"], float(edge), 0, [[edge, -edge]] * 3),
        case("no numbers", ["a", "b", "c"], 1.0, 0, [[], [], []]),
        case("nine members", [f"m{i}" for i in range(9)], 100.0, 10, [[i * 1000, -i] for i in range(9)]),
    ]
    first = cases[0]["total"]
    bumped = [f"{(int(first['vector'][0], 16) + 4) % WORD:016x}", *first["vector"][1:]]
    low = [f"{(int(first['vector'][0], 16) + 1) % WORD:016x}", *first["vector"][1:]]
    modulus = [f"{(int(first['vector'][0], 16) + (P << 2)) % WORD:016x}", *first["vector"][1:]]
    exchanged = [first["vector"][1], first["vector"][0], *first["vector"][2:]]
    return {
        "cases": cases,
        "refused": {
            "totals": [
                {"case": "three members", "why": "one grid step more", "vector": bumped, "tag": first["tag"]},
                {"case": "three members", "why": "a low bit that the shift leaves empty", "vector": low, "tag": first["tag"]},
                {"case": "three members", "why": "p grid steps more: only the bound shows it", "vector": modulus, "tag": first["tag"]},
                {"case": "three members", "why": "two words exchanged", "vector": exchanged, "tag": first["tag"]},
                {"case": "three members", "why": "another tag", "vector": first["vector"], "tag": (first["tag"] + 1) % P},
            ],
            "encodings": [
                {"clip": 32768.0, "members": 16, "fraction_bits": 40, "why": "2^15 * 2^40 * 16 * 2^4 = 2^63"},
                {"clip": float(1 << 59), "members": 3, "fraction_bits": 0, "why": "3 * 2^59 > (p - 1) / 2"},
                {"clip": 0.25, "members": 3, "fraction_bits": 0, "why": "no whole number but 0"},
                {"clip": 0.0, "members": 3, "fraction_bits": 0, "why": "no clip"},
            ],
            "numbers": [
                {"clip": 10.0, "members": 3, "fraction_bits": 4, "values": [10.0, 10.0625], "why": "beyond the clip"},
                {"clip": 10.0, "members": 3, "fraction_bits": 4, "values": [-10.01], "why": "beyond the clip"},
            ],
        },
    }


STORED: dict[str, Any] = json.loads(FILE.read_text())
CASES = {c["name"]: c for c in STORED["cases"]}


# -- the vectors --------------------------------------------------------------------------------------------------------------------


def encoding(case: dict[str, Any]) -> FixedPoint:
    return FixedPoint(case["clip"], len(case["members"]), case["fraction_bits"])


def cover(case: dict[str, Any]) -> Cover:
    length = len(next(iter(case["inputs"].values())))
    mask_key, weights_key = (Secret(bytes.fromhex(case[name])) for name in ("group_mask_key", "weights_key"))
    return Cover.from_keys(mask_key, weights_key, length, encoding(case))


def masked(total: dict[str, Any]) -> Masked:
    return Masked(np.array([int(w, 16) for w in total["vector"]], np.uint64), total["tag"])


def test_the_file_is_what_the_second_implementation_says() -> None:
    assert json.loads(json.dumps(vectors())) == STORED


@pytest.mark.parametrize("name", CASES)
def test_what_members_send(name: str) -> None:
    case, length = CASES[name], len(CASES[name]["sum"])
    for place, member in enumerate(case["members"]):
        out = cover(case).conceal(np.array(case["inputs"][member], np.int64))
        for other, peer in enumerate(case["members"]):
            if peer != member:
                mask = stretch(Secret(bytes.fromhex(case["pair_keys"][" ".join(sorted((member, peer)))])), length)
                out = out.plus(mask) if place < other else out.minus(mask)
        assert [f"{w:016x}" for w in out.words.tolist()] == case["sent"][member]["vector"]
        assert out.tag == case["sent"][member]["tag"]


@pytest.mark.parametrize("name", CASES)
def test_what_the_coordinator_sends_and_members_open(name: str) -> None:
    case = CASES[name]
    total = total_of((masked(sent) for sent in case["sent"].values()), len(case["sum"]))
    assert [f"{w:016x}" for w in total.words.tolist()] == case["total"]["vector"]
    assert total.tag == case["total"]["tag"]
    assert cover(case).open(masked(case["total"]), len(case["members"])).tolist() == case["sum"]


@pytest.mark.parametrize("bad", STORED["refused"]["totals"], ids=lambda bad: bad["why"])
def test_totals_that_are_refused(bad: dict[str, Any]) -> None:
    case = CASES[bad["case"]]
    with pytest.raises(PeerError):
        cover(case).open(masked(bad), len(case["members"]))


@pytest.mark.parametrize("bad", STORED["refused"]["encodings"], ids=lambda bad: bad["why"])
def test_encodings_that_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        FixedPoint(bad["clip"], bad["members"], bad["fraction_bits"])


@pytest.mark.parametrize("bad", STORED["refused"]["numbers"], ids=lambda bad: str(bad["values"]))
def test_numbers_that_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(LocalError):
        FixedPoint(bad["clip"], bad["members"], bad["fraction_bits"]).encode(np.array(bad["values"]))


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n")
