"""Any interleaving of two processes' calls on the run store does what the same calls do to a plain dict.

The control is the same machine over a store that does not ask the table of transitions: it must find that out.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from federation.kernel.errors import CreditfedError
from server.store import run_store
from server.store.run_store import RunStore
from server.store.states import RunState
from server.store.tables import metadata
from tests.consent_scene import KINDS, new_database
from tests.store_scene import FAILURE, LAPSE, at, node

WHICH, NAMES, WORKERS = st.integers(0, 1), st.sampled_from(["a", "b", "c"]), st.sampled_from(["w1", "w2"])
SPEAKERS = st.sampled_from(["owner", "owner", "owner", "w1", "w2"])
MAY = {"submitted": ["waiting"], "waiting": ["running"], "running": ["finished"]}
OVER = ("finished", "failed", "stopped")
TOLD = ("state", "state_at", "worker", "beat_at", "stop_requested", "stage", "exchanges", "model_hash")


class Wrong(Exception):
    """What the plain dict does not allow."""


class Stores(RuleBasedStateMachine):
    """Two handles on one store, and the plain dicts."""

    url = ""
    met: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.stores = [RunStore.open(self.url, lapse=LAPSE) for _ in range(2)]
        with self.stores[0]._database.changing() as connection:
            for table in metadata.sorted_tables:
                connection.execute(sa.delete(table))
        self.runs: dict[str, dict[str, Any]] = {}
        self.nodes: list[dict[str, Any]] = []
        self.now = 0
        for name, worker in (("a", "w1"), ("b", "w2")):
            self.submit(0, name)
            self.claim(1, worker)
        for _ in range(2):
            self.go_on(0, "a", "fit")  # waiting, running

    def same(self, which: int, what: str, call, plain) -> None:
        """Both do it, or neither does."""
        try:
            plain()
        except Wrong:
            with pytest.raises(CreditfedError):
                call(self.stores[which])
            self.met[f"no {what}"] += 1
        else:
            call(self.stores[which])
            self.met[what] += 1

    @rule(seconds=st.sampled_from([1, LAPSE, LAPSE + 1]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(which=WHICH, name=NAMES)
    def submit(self, which: int, name: str) -> None:
        def plain() -> None:
            if name in self.runs:
                raise Wrong
            self.runs[name] = dict.fromkeys(TOLD) | {
                "state": "submitted", "state_at": at(self.now), "stop_requested": False, "stage": "", "exchanges": 0,
            }  # fmt: skip

        self.same(which, "submit", lambda store: store.submit(name, b"", at(self.now)), plain)

    @rule(which=WHICH, worker=WORKERS)
    def claim(self, which: int, worker: str) -> None:
        expected = None
        for name, run in self.runs.items():
            if run["state"] not in OVER and (run["worker"] is None or run["beat_at"] < at(self.now - LAPSE)):
                run.update(worker=worker, beat_at=at(self.now))
                expected = name
                break
        found = self.stores[which].claim(worker, at(self.now))
        assert (found.name if found else None) == expected
        self.met["claim" if found else "no claim"] += 1

    def speaker(self, name: str, who: str) -> str:
        """Whoever works on a run, where the owner is asked for."""
        return self.runs.get(name, {}).get("worker") or "w1" if who == "owner" else who

    def plainly_said(self, name: str, worker: str, then: RunState | None, stage: str) -> None:
        run, now = self.runs.get(name), at(self.now)
        if run is None or run["worker"] != worker:
            raise Wrong
        if then is not None and then != run["state"]:
            if then not in [*MAY[run["state"]], "failed", "stopped"]:
                raise Wrong
            run.update(state=then.value, state_at=now)
        if then in OVER:
            run.update(worker=None, beat_at=None, model_hash="ab" * 32 if then == "finished" else None)
        else:
            run.update(beat_at=now, stage=stage, exchanges=self.now)

    @rule(which=WHICH, name=NAMES, who=SPEAKERS, then=st.sampled_from([None, *RunState]), stage=st.sampled_from(["", "fit"]))
    def say(self, which: int, name: str, who: str, then: RunState | str | None, stage: str) -> None:
        worker, now = self.speaker(name, who), at(self.now)
        then = RunState(MAY.get(self.runs.get(name, {}).get("state"), ["failed"])[0]) if then == "next" else then

        def call(store: RunStore) -> None:
            if then is RunState.FINISHED:
                store.finish(name, worker, now, conduct=b"{}", model_hash="ab" * 32)
            elif then is RunState.FAILED:
                store.fail(name, worker, now, FAILURE)
            elif then is RunState.STOPPED:
                store.stop(name, worker, now)
            else:
                store.advance(name, worker, now, state=then, stage=stage, exchanges=self.now)

        self.same(which, then or "stage", call, lambda: self.plainly_said(name, worker, then, stage))

    @rule(which=WHICH, name=NAMES, stage=st.sampled_from(["", "fit"]))
    def go_on(self, which: int, name: str, stage: str) -> None:
        self.say(which, name, "owner", "next", stage)

    @rule(which=WHICH, name=NAMES, who=SPEAKERS, lets_go=st.booleans())
    def beat(self, which: int, name: str, who: str, lets_go: bool) -> None:
        worker = self.speaker(name, who)

        def plain() -> None:
            run = self.runs.get(name)
            if run is None or run["worker"] != worker:
                raise Wrong
            run.update({"worker": None, "beat_at": None} if lets_go else {"beat_at": at(self.now)})

        now = at(self.now)
        self.same(which, "beat", lambda store: store.release(name, worker, now) if lets_go else store.beat(name, worker, now), plain)

    @rule(which=WHICH, name=NAMES)
    def stop(self, which: int, name: str) -> None:
        def plain() -> None:
            run = self.runs.get(name)
            if run is None or run["state"] in OVER:
                raise Wrong
            run.update(stop_requested=True)

        self.same(which, "ask to stop", lambda store: store.request_stop(name), plain)

    @rule(which=WHICH, name=st.sampled_from(["bank-a", "bank-b"]), seed=st.integers(1, 3))
    def enrol(self, which: int, name: str, seed: int) -> None:
        def plain() -> None:
            if any(one["seed"] == seed or (one["name"] == name and one["revoked_at"] is None) for one in self.nodes):
                raise Wrong
            self.nodes.append({"name": name, "seed": seed, "revoked_at": None})

        self.same(which, "enrol", lambda store: store.enrol(node(name, seed)), plain)

    @rule(which=WHICH, name=st.sampled_from(["bank-a", "bank-b"]))
    def revoke(self, which: int, name: str) -> None:
        def plain() -> None:
            there = [one for one in self.nodes if one["name"] == name and one["revoked_at"] is None]
            if not there:
                raise Wrong
            there[0].update(revoked_at=at(self.now))

        self.same(which, "revoke", lambda store: store.revoke(name, at(self.now)), plain)

    @invariant()
    def both_are_the_same(self) -> None:
        for store in self.stores:
            assert [(run.name, {told: getattr(run, told) for told in TOLD}) for run in store.runs()] == list(self.runs.items())
            found = [(one.name, one.key, one.revoked_at) for one in store.nodes()]
            assert found == [(one["name"], node(one["name"], one["seed"]).key, one["revoked_at"]) for one in self.nodes]

    def teardown(self) -> None:
        for store in self.stores:
            store.close()


def machine(kind: str, folder: Path) -> type[Stores]:
    return type("On" + kind, (Stores,), {"url": new_database(kind, folder), "met": Counter()})


@pytest.mark.parametrize("kind", KINDS)
def test_the_store_does_what_a_dict_does_in_any_interleaving(kind, tmp_path):
    stores = machine(kind, tmp_path)
    run_state_machine_as_test(stores, settings=settings(max_examples=30, stateful_step_count=40, deadline=None))
    print(dict(stores.met))
    assert sum(stores.met[end] for end in OVER) >= 3 and min(stores.met["claim"], stores.met["waiting"]) >= 3
    assert sum(count for what, count in stores.met.items() if what.startswith("no ")) >= 50


def test_control_a_store_that_does_not_ask_the_table_is_found_out(tmp_path, monkeypatch):
    monkeypatch.setattr(run_store, "require_transition", lambda *_: None)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        run_state_machine_as_test(
            machine("sqlite", tmp_path),
            settings=settings(max_examples=200, stateful_step_count=40, deadline=None, phases=[Phase.generate], print_blob=False),
        )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_more_interleavings_of_the_store(kind, tmp_path):
    stores = machine(kind, tmp_path)
    run_state_machine_as_test(stores, settings=settings(max_examples=300, stateful_step_count=60, deadline=None))
    print(dict(stores.met))
    whats = ("claim", "no claim", "waiting", "no waiting", "beat", "no beat", "enrol", "no enrol", "revoke", *OVER)
    assert min(stores.met[what] for what in whats) >= 10
