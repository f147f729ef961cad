"""Every byte that the coordinator and each peer received in a run, read for what must not be in it.

Not in it: a raw value (as a float or as text), a design value, an id or its hash, the labels in any order, an unmasked partial score or
any other input of a masked sum. What the coordinator received is every parcel; what a peer received is every envelope and, opened, every
letter. The tables' numbers are moved by a billionth first, so that each has a mantissa that nothing else has. The controls plant one of
each kind, and weaken one protection at a time: then something must be found.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from clients.node import Node
from federation.align import chain
from federation.kernel.role import COORDINATOR
from federation.masked_sum import partial_scores
from federation.masked_sum.fixed_point import FixedPoint
from federation.models.encoding import Encoding
from federation.models.training import Institution
from simulations.progress import Screen
from tests.end_to_end.scene import COLUMNS, World, creditfed, make_world, simulated
from tests.end_to_end.wiretap import Tap, wiretap

SEED = 20_240_602
LEAST_BYTES = 5
"""A needle has at least so many bytes that are neither 0 nor 255, lest a small number be found by chance."""


# -- what must not be found ---------------------------------------------------------------------------------------------------------


@dataclass
class Needles:
    """kinds: by name, (k,) uint64, the eight bytes to look for; long: by name, byte strings to look for whole."""

    kinds: dict[str, NDArray[np.uint64]] = field(default_factory=dict)
    long: dict[str, list[bytes]] = field(default_factory=dict)

    def add(self, kind: str, words: NDArray[np.uint64]) -> None:
        """Add eight-byte needles, those aside that anything could contain."""
        octets = words.reshape(-1, 1).view(np.uint8)
        telling = ((octets != 0) & (octets != 255)).sum(axis=1) >= LEAST_BYTES
        self.kinds[kind] = np.union1d(self.kinds.get(kind, np.zeros(0, np.uint64)), words[telling])

    def found(self, text: bytes) -> set[str]:
        """The kinds of which the text holds one, at whatever offset."""
        out = {kind for kind, strings in self.long.items() if any(string in text for string in strings)}
        every = np.concatenate(list(self.kinds.values()))
        table = np.zeros(1 << 20, bool)  # by low bits: leaves one word in a few hundred to be compared in full
        table[every & _LOW] = True
        for offset in range(8):
            found = np.frombuffer(text, "<u8", max(0, len(text) - offset) // 8, min(offset, len(text)))
            candidates = np.unique(found[table[found & _LOW]])
            out |= {kind for kind, needles in self.kinds.items() if np.isin(candidates, needles, assume_unique=True).any()}
        return out


_LOW = np.uint64((1 << 20) - 1)


def word(text: bytes) -> int:
    """A text's last eight bytes: those in which ids and long numbers differ."""
    return int.from_bytes(text[-8:], "little")


def words(texts: list[bytes]) -> NDArray[np.uint64]:
    """Of the texts that have eight bytes."""
    return np.array([word(text) for text in texts if len(text) >= 8], np.uint64)


def needles_of(world: World, secrets: Secrets) -> Needles:
    """Everything that may not travel."""
    out = Needles()
    for party, columns in COLUMNS.items():
        table = world.tables[party]
        numbers = np.concatenate([table[c].dropna().to_numpy(np.float64) for c in columns if table[c].dtype == float])
        out.add("raw value", numbers.view(np.uint64))
        out.add("raw value, big-endian", numbers.byteswap().view(np.uint64))
        out.add("raw value as text", words([repr(value).encode() for value in numbers.tolist()]))
        ids = [text.encode() for text in table.id]
        out.add("id", words(ids))
        out.add("hash of an id", np.array([word(hash_(text).digest()[:8]) for text in ids for hash_ in HASHES], np.uint64))
    for kind, found in secrets.values.items():
        out.add(kind, found)
    bank = world.tables["bank"]
    for labels in (bank.label.to_numpy(), bank.sort_values("id").label.to_numpy()):
        window = labels[:400]
        forms = [window.astype(form).tobytes() for form in ("i1", "<i2", "<i4", "<i8", "<f4", "<f8", ">i8")]
        forms += [np.packbits(window, bitorder=order).tobytes() for order in ("big", "little")]
        forms += [separator.join(map(str, window)).encode() for separator in ("", ",", ", ")]
        out.long.setdefault("labels", []).extend(forms)
    return out


HASHES: tuple[Callable[[bytes], Any], ...] = (hashlib.sha256, hashlib.sha512, hashlib.sha1, hashlib.md5, hashlib.blake2b)


@dataclass
class Secrets:
    """What a run computes and must not send: by kind, (k,) uint64."""

    values: dict[str, NDArray[np.uint64]] = field(default_factory=dict)

    def keep(self, kind: str, array: NDArray[Any]) -> None:
        """Add."""
        mine = np.unique(np.ascontiguousarray(array).reshape(-1).view(np.uint64))
        self.values[kind] = np.union1d(self.values.get(kind, np.zeros(0, np.uint64)), mine)


@contextlib.contextmanager
def secrets() -> Iterator[Secrets]:
    """Record, inside the block, inputs of masked sums, points that ids are mapped to, and design matrices."""
    out = Secrets()
    encode, hash_to_curve, design = FixedPoint.encode, chain.hash_to_curve, Encoding.design

    def encoded(self: FixedPoint, vector: NDArray[Any], where: str = "masked sum") -> NDArray[np.int64]:
        integers = encode(self, vector, where)
        out.keep("input of a masked sum", integers)
        out.keep("input of a masked sum", integers << np.int64(self.shift))
        out.keep("input of a masked sum as float", np.ldexp(integers.astype(np.float64), -self.bits))
        return integers

    def mapped(*arguments: Any, **options: Any) -> Any:
        points = hash_to_curve(*arguments, **options)
        out.keep("point of an id", np.ascontiguousarray(points)[:, :8])
        return points

    def designed(self: Encoding, columns: Any, rows: int = 0) -> Any:
        x = design(self, columns, rows)
        out.keep("design value", x)
        return x

    with (
        mock.patch.object(FixedPoint, "encode", encoded), mock.patch.object(chain, "hash_to_curve", mapped),
        mock.patch.object(Encoding, "design", designed),
    ):  # fmt: skip
        yield out


def marked(world: World) -> World:
    """The same world with every number moved by a billionth."""
    print(f"marked with seed {SEED}")
    random = np.random.default_rng(SEED)
    for party, columns in COLUMNS.items():
        table = world.tables[party]
        for column in columns:
            if pd.api.types.is_numeric_dtype(table[column]):
                table[column] = table[column].astype(float) * (1 + 1e-9 * random.random(len(table))) + 1e-9 * random.random(len(table))
        table.to_parquet(world.folder / f"{party}.parquet", index=False)
    return world


# -- runs ---------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Heard:
    """A run's tap and needles."""

    tap: Tap
    needles: Needles

    def found(self) -> dict[str, set[str]]:
        """What each party and the coordinator can find."""
        out = {}
        for party in (COORDINATOR, *COLUMNS):
            kinds = self.needles.found(b"".join(self.tap.seen_by(party)))
            if kinds:
                out[party] = kinds
        return out


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A small world whose numbers are unmistakable."""
    return marked(make_world(tmp_path_factory.mktemp("marked"), firms=1_200))


def heard(world: World, kind: str, name: str, **changes: Any) -> Heard:
    """Run and listen."""
    with wiretap() as tap, secrets() as known:
        simulated(world.run_file(name, kind, **changes), world.folder / name)
    return Heard(tap, needles_of(world, known))


@pytest.fixture(scope="module")
def logistic(world: World) -> Heard:
    """A logistic run."""
    return heard(world, "logistic", "logistic")


def test_a_logistic_run_sends_nothing_raw(logistic: Heard) -> None:
    sizes = {kind: len(found) for kind, found in logistic.needles.kinds.items()}
    print(f"needles: {sizes}; bytes read: {sum(len(text) for p in (COORDINATOR, *COLUMNS) for text in logistic.tap.seen_by(p)):,}")
    assert min(sizes.values()) > 800 and set(sizes) >= {"raw value", "id", "point of an id", "design value", "input of a masked sum"}
    assert all(logistic.tap.seen_by(party) for party in (COORDINATOR, *COLUMNS))
    assert logistic.found() == {}


@pytest.mark.parametrize("visibility", [pytest.param("book", marks=pytest.mark.slow), "intersection"])
def test_a_scorecard_run_sends_nothing_raw(visibility: str, world: World) -> None:
    assert heard(world, "scorecard", visibility, align={"visibility": visibility}, privacy={"label_disclosure": True}).found() == {}


# -- controls -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("party", [COORDINATOR, *COLUMNS])
def test_control_whatever_is_planted_is_found(party: str, logistic: Heard, world: World) -> None:
    """One needle of each kind at an odd place of a long letter."""
    letter = max(logistic.tap.seen_by(party), key=len)
    plants = {kind: int(found[len(found) // 2]).to_bytes(8, "little") for kind, found in logistic.needles.kinds.items()}
    plants |= {"labels": world.tables["bank"].label.to_numpy()[:400].astype("<i4").tobytes()}
    for kind, plant in plants.items():
        for place in (0, len(letter) // 2 + 1, len(letter)):
            assert kind in logistic.needles.found(letter[:place] + plant + letter[place:])


def test_control_partial_scores_without_masks_are_found_by_the_coordinator(world: World) -> None:
    def bare(_run: Any, _peer: str, _label_party: str, width: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        return np.zeros(width, np.uint64), np.zeros(width, np.uint64)

    with mock.patch.object(partial_scores, "_masks", bare):
        found = heard(world, "logistic", "bare").found()
    assert "input of a masked sum" in found[COORDINATOR]


def test_control_ids_without_blinding_are_found_by_peers_and_coordinator(world: World) -> None:
    def unmoved(_secret: Any, points: Any, _sender: str, **_: Any) -> Any:
        return points

    with mock.patch.object(chain, "exponentiate", unmoved):
        found = heard(world, "logistic", "unblinded").found()
    assert all("point of an id" in found[party] for party in (COORDINATOR, *COLUMNS))


# -- failures tell nothing ------------------------------------------------------------------------------------------------------------

CANARY = "73519.254417"
"""Stands for a raw value in the text of an exception."""


class Injected(RuntimeError):
    """A bug whose text quotes the data, as many a library's does."""


def explode(firm: str, after: int = 0) -> Callable[..., Any]:
    """A function that fails, from its call number `after` on, with a value and an id in its text; before that, None."""
    calls = iter(range(1 << 30))

    def fail(*_: Any, **__: Any) -> None:
        if next(calls) >= after:
            raise Injected(f"could not convert {CANARY} of firm {firm}")

    return fail


def before(owner: Any, name: str, fail: Callable[..., Any]) -> Any:
    """Patch: call `fail`, then the real one."""
    real = getattr(owner, name)

    def call(*arguments: Any, **options: Any) -> Any:
        fail()
        return real(*arguments, **options)

    return mock.patch.object(owner, name, call)


PLACES: dict[str, tuple[Any, str, int]] = {
    "the vault, at the estimate": ("clients.vault.load", "", 0),
    "the vault, at the description": ("clients.vault.load", "", 3),
    "the vault, at the opening": ("clients.vault._pick", "", 1),
    "the alignment": ("federation.align.chain.hash_to_curve", "", 1),
    "the encoding": (Encoding, "design", 1),
    "the fit": (FixedPoint, "encode", 60),
    "the end": (Institution, "share_hash", 1),
    "the results": ("clients.part.partner_results", "", 1),
    "the signature": (Node, "approve", 4),
}


@pytest.mark.parametrize(
    "place", [pytest.param(place, marks=pytest.mark.slow if place in ("the encoding", "the results") else ()) for place in PLACES]
)
def test_a_failure_anywhere_tells_no_one_a_value(
    place: str, world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name, after = PLACES[place]
    if isinstance(owner, str):
        module, _, name = owner.rpartition(".")
        owner = __import__(module, fromlist=[name])
    firm, figures = str(world.tables["bank"].id.iloc[0]), []
    party = Screen.party
    monkeypatch.setattr(Screen, "party", lambda self, name, shown: (figures.append(shown), party(self, name, shown))[1])
    monkeypatch.setattr(logging.Logger, "setLevel", lambda *_: None)  # whatever is ever logged is read here
    caplog.set_level(logging.DEBUG)
    with wiretap() as tap, before(owner, name, explode(firm, after)):
        answer = creditfed("simulate", world.run_file("broken"), "--out", tmp_path / "out")
    assert answer.code not in (0, 2), "an internal error is not the user's"
    assert not (tmp_path / "out" / "result.json").exists()
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    told = [answer.out, answer.err, caplog.text, repr(figures), *(path.read_bytes().decode("latin1") for path in files)]
    told += [text.decode("latin1") for p in (COORDINATOR, *COLUMNS) for text in tap.seen_by(p)]
    assert not [text[:200] for text in told if CANARY in text or firm in text]
    assert "Injected" in answer.err and "Traceback" not in answer.err, "the kind of error is named, and no more"


def test_control_the_injected_text_does_hold_a_value(world: World) -> None:
    firm = str(world.tables["bank"].id.iloc[0])
    with pytest.raises(Injected, match=re.escape(CANARY) + f".*{firm}"):
        explode(firm)()


def test_no_progress_figure_is_a_raw_value(logistic: Heard, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Any] = []
    monkeypatch.setattr(Screen, "party", lambda _self, _name, shown: figures.extend(shown.values()))
    simulated(world.run_file("figures"), world.folder / "figures")
    numbers = np.array([value for value in figures if isinstance(value, float)])
    assert len(numbers) > 5
    assert not logistic.needles.found(numbers.tobytes())
