"""An exception at every call that the vault makes, its text full of the data: nothing of it is in a log, a message, or anybody else's folder.

Whole runs in memory, across parties and over banks, with and without consents. What the vault calls is found, not listed: every function and
method of the modules in `VAULT`, wherever it is imported. The exceptions are those of a bug or a library, which quote what they choked on;
here they quote an id, a value and a level of each party, in several spellings. After each run the parties' audit logs, failure.json and
other files, the coordinator's folder, the screen, everything that was logged and everything that reached coordinator or peers are read for
every id, value, level and row of labels of every party, as text, bytes, hexadecimal and base64. Controls let the text through.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import inspect
import json
import logging
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
import tomli_w

import clients.app
from clients.node import Node
from clients.residents import dismiss
from federation.carriage.mailbox import Parcel
from federation.kernel.errors import CreditfedError
from federation.kernel.role import COORDINATOR
from tests.adversary.test_taint import Needles, words
from tests.end_to_end.scene import Answer, creditfed
from tests.end_to_end.wiretap import Tap, wiretap

SEED = 20_260_501
VAULT = (
    "clients.vault", "clients.row_tree", "clients.consented", "clients.consent", "clients.sources.records", "clients.sources.kinds",
    "clients.sources.rules", "clients.sources.table", "clients.sources.frame", "clients.sources.opening", "privacy.store.consent_ledger", "privacy.store.consent_reading",
    "privacy.store.consent_uses", "privacy.store.consent_import",
)  # fmt: skip
CALLED = (
    "clients.sources.records.load", "clients.vault.describe_table", "clients.vault.open_table", "clients.vault.row_tree",
    "clients.consented.Consents.opened", "clients.consented.Consents.gone", "clients.consented.Consents.finished",
)  # fmt: skip
"""Whatever else is called, these are."""
GATHERED = ("scores", "models", "bins")
KINDS = ("across", "across, by consent", "banks", "banks, by consent")


# -- the data, and what must not be found ---------------------------------------------------------------------------------------------


@dataclass
class Planted(Needles):
    """Needles of texts are looked for by their last eight bytes, and then whole: eight digits can stand in any number."""

    texts: dict[str, list[bytes]] = field(default_factory=dict)

    def add_texts(self, kind: str, texts: list[bytes]) -> None:
        """Add."""
        self.add(kind, words(texts))
        self.texts[kind] = texts

    def found(self, text: bytes) -> set[str]:
        """As `Needles.found`."""
        return {kind for kind in super().found(text) if kind not in self.texts or any(whole in text for whole in self.texts[kind])}


@dataclass
class Scene:
    """A run file over tables in a folder. quoted: an id, a value and a level of each party; needles: everything; of: by party, without ids."""

    run_file: Path
    quoted: str
    needles: Planted = field(default_factory=Planted)
    of: dict[str, Planted] = field(default_factory=dict)


def scene(folder: Path, kind: str) -> Scene:
    """Three institutions; firms in all of them across parties, in one each over banks."""
    across, random = kind.startswith("across"), np.random.default_rng(SEED)
    names = ("bank", "platform", "tax") if across else ("bank-a", "bank-b", "bank-c")
    firms = [f"{number}" for number in random.integers(10**17, 10**18, 80 if across else 180)]
    sections, quoted, made = [], [], Scene(folder / "run.toml", "")
    for place, name in enumerate(names):
        mine = firms if across else firms[60 * place : 60 * (place + 1)]
        table = pd.DataFrame({"id": mine})
        columns = [f"{name}_x", f"{name}_y"] if across else ["x", "y"]
        for column in columns:
            table[column] = random.normal(size=len(mine))
        if across:  # over banks the levels are told
            levels = [f"level-{number:08x}" for number in random.integers(1 << 28, 1 << 32, 3)]
            table[f"{name}_level"] = random.choice(levels, len(mine))
        section: dict[str, Any] = {"name": name, "role": name.split("-")[0], "source": f"{name}.csv"}
        if not across or name == "bank":
            table["label"] = (random.random(len(mine)) < 0.4).astype(int)
            section["label"] = "label"
        if kind.endswith("by consent"):
            section["consents"] = f"{name}-consents.csv"
            others = ";".join(other for other in names if other != name)
            lines = [f"{firm},credit,3,{others},2020-01-01,2099-12-31,form {number}" for number, firm in enumerate(mine[:-12])]
            (folder / section["consents"]).write_text("\n".join(["id,purpose,levels,recipients,from,until,evidence", *lines]))
        table.to_csv(folder / section["source"], index=False)
        sections.append(section)
        made.of[name] = Planted()
        _plant(made.of[name], name, table)
        _plant(made.needles, name, table)
        _texts(made.needles, f"{name}: id", mine)
        quoted += [mine[3], repr(float(table[columns[0]].iloc[3])), str(table.iloc[3].get(f"{name}_level", ""))]
    run = {"task": "train", "model": "logistic", "purpose": "decide", "seed": 7, "holdout": 0.3, "patience": 5}
    made.run_file.write_text(tomli_w.dumps({"run": run, "model": {"tolerance": 1e-2, "max_iterations": 3}, "party": sections}))
    made.quoted = " ".join(quoted)
    return made


def _plant(needles: Planted, name: str, table: pd.DataFrame) -> None:
    numbers = np.concatenate([table[column].to_numpy(np.float64) for column in table if table[column].dtype == float])
    needles.add(f"{name}: value", numbers.view(np.uint64))
    needles.add(f"{name}: value, big-endian", numbers.byteswap().view(np.uint64))
    _texts(needles, f"{name}: value as text", [repr(value) for value in numbers.tolist()])
    _texts(needles, f"{name}: value, cut short", [repr(value)[:11] for value in numbers.tolist()])
    _texts(needles, f"{name}: value's bytes in hexadecimal", [raw.tobytes().hex() for raw in numbers])
    if f"{name}_level" in table:
        _texts(needles, f"{name}: level", sorted(table[f"{name}_level"].unique()))
    if "label" in table:
        labels = table.label.to_numpy()[:40]
        forms = [labels.astype(form).tobytes() for form in ("i1", "<i4", "<i8", "<f8")]
        forms += [separator.join(map(str, labels)).encode() for separator in ("", ",", ", ", " ")]
        needles.long[f"{name}: labels"] = forms + [form.hex().encode() for form in forms]


def _texts(needles: Planted, kind: str, texts: list[str]) -> None:
    """Texts as they are, in hexadecimal, and in base64 at each of its three places."""
    raw = [text.encode() for text in texts]
    needles.add_texts(kind, raw)
    needles.add_texts(f"{kind}, hexadecimal", [text.hex().encode() for text in raw])
    coded = [base64.b64encode(bytes(place) + text)[4 : (place + len(text)) // 3 * 4] for text in raw for place in range(3)]
    needles.add_texts(f"{kind}, base64", coded)


# -- failures ---------------------------------------------------------------------------------------------------------------------------


def error(number: int, text: str) -> BaseException:
    """What a library raises: six kinds in turn, each with the text in another place."""
    raw = text.encode()
    kinds: list[Callable[[], BaseException]] = [
        lambda: ValueError(f"could not convert string to float: {text!r}"), lambda: KeyError(text), lambda: OSError(text),
        lambda: UnicodeDecodeError("utf-8", raw, 0, 1, text), lambda: OverflowError(raw, float(text.split()[1])),
        lambda: sa.exc.StatementError(text, "INSERT", {"subject": text}, ValueError(text)),
    ]  # fmt: skip
    found = kinds[number % len(kinds)]()
    found.add_note(text)
    return found


@dataclass
class Calls:
    """Keeps the vault's calls by name and fails at one. at: its number from 1, None for none; after: whether the call is done first."""

    text: str
    at: int | None = None
    after: bool = False
    names: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def around(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        """The function, counted."""

        def call(*arguments: Any, **options: Any) -> Any:
            with self.lock:
                self.names.append(name)
                mine = len(self.names) == self.at
            if not mine:
                return real(*arguments, **options)
            if self.after:
                real(*arguments, **options)
            raise error(self.at or 0, self.text)

        return call


@contextlib.contextmanager
def patched(calls: Calls) -> Iterator[None]:
    """Every function and method of the vault's modules goes through `calls`."""
    with contextlib.ExitStack() as stack:
        for module in map(importlib.import_module, VAULT):
            for name, thing in list(vars(module).items()):
                if getattr(thing, "__module__", None) != module.__name__:
                    continue
                if inspect.isfunction(thing):
                    wrapped = calls.around(f"{module.__name__}.{name}", thing)
                    users = [
                        m for n, m in list(sys.modules.items()) if n.startswith(("clients", "simulations", "privacy")) and m is not None
                    ]
                    for user in users:
                        for alias in [a for a, value in vars(user).items() if value is thing]:
                            stack.enter_context(mock.patch.object(user, alias, wrapped))
                elif inspect.isclass(thing):
                    _patch_class(stack, calls, thing)
        yield


def _patch_class(stack: contextlib.ExitStack, calls: Calls, owner: type) -> None:
    for name, thing in list(vars(owner).items()):
        label = f"{owner.__module__}.{owner.__name__}.{name}"
        if inspect.isfunction(thing) and (name == "__init__" or not name.startswith("__")) and thing.__module__ == owner.__module__:
            stack.enter_context(mock.patch.object(owner, name, calls.around(label, thing)))
        elif isinstance(thing, property) and thing.fget is not None:
            stack.enter_context(mock.patch.object(owner, name, property(calls.around(label, thing.fget))))


# -- runs -------------------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def listening() -> Iterator[list[str]]:
    """Everything that is logged at any level, with what a handler would print of exceptions."""
    told: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(self.format(record))

    ear, root = Ear(), logging.getLogger()
    hearing = [root, logging.getLogger("flwr"), logging.getLogger("creditfed.node")]
    levels = [logger.level for logger in hearing]
    for logger in hearing:
        logger.addHandler(ear)
        logger.setLevel(logging.DEBUG)
    try:
        with mock.patch.object(logging.Logger, "setLevel"):
            yield told
    finally:
        for logger, level in zip(hearing, levels, strict=True):
            logger.removeHandler(ear)
            logger.setLevel(level)


@dataclass(frozen=True)
class Told:
    """A run with a failure, and what it told whom."""

    answer: Answer
    calls: Calls
    leaks: dict[str, set[str]]


def run(made: Scene, out: Path, at: int | None, *, after: bool = False) -> Told:
    """Run with the failure; read everything."""
    calls = Calls(made.quoted, at, after)
    with wiretap() as tap, listening() as logged, patched(calls), mock.patch("os.cpu_count", return_value=1):
        answer = creditfed("simulate", made.run_file, "--out", out)
    for home in (out / "parties").glob("*"):
        dismiss(home)  # else this process keeps every node of every run
    return Told(answer, calls, {where: kinds for where, kinds in _read(made, out, answer, logged, tap) if kinds})


def _read(made: Scene, out: Path, answer: Answer, logged: list[str], tap: Tap) -> Iterator[tuple[str, set[str]]]:
    yield "the screen", made.needles.found((answer.out + answer.err).encode())
    yield "what was logged", made.needles.found("\n".join(logged).encode())
    for party in (COORDINATOR, *made.of):
        yield f"what reached {party}", made.needles.found(b"".join(tap.seen_by(party)))
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        place = path.relative_to(out)
        own = place.parts[1] if place.parts[0] == "parties" else ""
        if place.parts[0] in GATHERED or (not own and answer.code == 0 and place.parts[0] not in ("coordinator", "audit")):
            continue  # what the researcher gathers from everybody at the end
        if own and "results" in place.parts and path.name != "failure.json":  # its own results of its own data
            others = [needles for name, needles in made.of.items() if name != own]
            yield str(place), {kind for needles in others for kind in needles.found(path.read_bytes())}
        elif "consents" not in place.name:
            yield str(place), made.needles.found(path.read_bytes())


def swept(made: Scene, folder: Path, names: list[str], places: list[int]) -> None:
    """Fail at each place, before the call is done or after it in turn; states how many of them leaked."""
    leaked, ended, sizes = {}, 0, sum(len(found) for found in made.needles.kinds.values())
    for turn, at in enumerate(places):
        told = run(made, folder / f"fail-{at}", at, after=bool(turn % 2))
        ended += told.answer.code == 0
        shutil.rmtree(folder / f"fail-{at}")
        if told.leaks:
            leaked[at, names[at - 1]] = told.leaks
    failed = len({names[at - 1] for at in places})
    print(
        f"{len(leaked)} of {len(places)} failures leaked: {failed} functions and {len(names):,} calls in a run, {sizes:,} needles, seed {SEED}"
    )
    print(f"{ended} of these runs came to a good end")
    assert leaked == {}


def whole(made: Scene, folder: Path) -> list[str]:
    """The names of all calls of a run without a failure, which tells nothing either."""
    told = run(made, folder / "whole", None)
    assert told.answer.code == 0, told.answer.err
    assert told.leaks == {}
    assert set(CALLED) <= set(told.calls.names)
    return told.calls.names


def test_no_failure_of_the_vault_tells_anybody_a_value_an_id_or_a_label(tmp_path: Path) -> None:
    made = scene(tmp_path, "across, by consent")
    names = whole(made, tmp_path)
    swept(made, tmp_path, names, sorted({1 + round((len(names) - 1) * (place / 5) ** 4) for place in range(1, 6)}))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_no_failure_of_any_function_of_the_vault_tells_anybody_a_value_an_id_or_a_label(kind: str, tmp_path: Path) -> None:
    """Each function at up to four of its calls, the first and the last among them."""
    made = scene(tmp_path, kind)
    names = whole(made, tmp_path)
    calls: dict[str, list[int]] = {}
    for at, name in enumerate(names, 1):
        calls.setdefault(name, []).append(at)
    chosen = {found[round(place * (len(found) - 1) / 3)] for found in calls.values() for place in range(4)}
    swept(made, tmp_path, names, sorted(chosen))


# -- controls -----------------------------------------------------------------------------------------------------------------------------


def lets_out(node: Node, parcel: Parcel) -> Parcel:
    """The weakened adapter: the text goes wherever a text could."""
    try:
        return node.answer(parcel)
    except CreditfedError:
        raise
    except Exception as problem:  # as the adapter's own
        logging.getLogger("creditfed.node").exception("internal error")
        node.gate.log.append("abort", parcel.run, text=str(problem)[:200])
        node.home.write("failure.json", json.dumps({"exit_code": 1, "code": "internal", "kind": "Bug", "text": str(problem)}))
        return Parcel("refused", parcel.run, str(problem).encode())


def test_control_an_adapter_that_lets_the_text_out_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = scene(tmp_path, "across")
    monkeypatch.setattr(clients.app, "answered", lets_out)
    with mock.patch("clients.vault.open_table", side_effect=error(0, made.quoted)):
        told = run(made, tmp_path / "out", None)
    for where in ("failure.json", "audit", "what was logged", "the screen", f"what reached {COORDINATOR}"):
        found = {kind.partition(": ")[2] for place, kinds in told.leaks.items() if where in place for kind in kinds}
        assert found >= {"id", "value as text", "level"}, where


def test_control_every_kind_of_needle_is_found_wherever_it_is_planted(tmp_path: Path) -> None:
    made = scene(tmp_path, "across")
    plants = {kind: int(found[len(found) // 2]).to_bytes(8, "little") for kind, found in made.needles.kinds.items()}
    plants |= {kind: forms[-1] for kind, forms in (made.needles.texts | made.needles.long).items()}
    assert len(plants) > 20
    for kind, plant in plants.items():
        assert kind in made.needles.found(b"x" * 1_001 + plant + b"y" * 501)
    for number in range(6):
        assert made.needles.found(repr(error(number, made.quoted)).encode()), "the exceptions that are injected do quote the data"
