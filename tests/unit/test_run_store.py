"""The run store, in SQLite and PostgreSQL alike: who may take part, who works on a run, and that no state follows but one that may."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from federation.kernel.errors import AbortCode, ConfigurationError, DataError, LocalError
from server.store.records import Failure
from server.store.run_store import RunStore, RunTaken
from server.store.states import FOLLOWS, OVER, RunState, WrongTransition
from tests.store_scene import FAILURE, LAPSE, at, node, run_in

HASH = "ab" * 32


@pytest.fixture
def store(url):
    store = RunStore.open(url, lapse=LAPSE)
    yield store
    store.close()


# -- nodes ------------------------------------------------------------------------------------------------------------------------------------


def test_nodes_are_kept_as_they_were_enrolled(store):
    nodes = node(), node("platform-a", 2, "platform", "files"), node("relay", 3, "agency")
    for one in nodes:
        store.enrol(one)
    assert store.nodes() == nodes and store.node("platform-a") == nodes[1]
    with pytest.raises(ConfigurationError, match="no node of this name was enrolled"):
        store.node("tax-a")


def test_a_revoked_node_stays_so_and_none_of_its_keys_comes_back(store):
    store.enrol(node())
    store.revoke("bank-a", at(5))
    revoked = replace(node(), revoked_at=at(5))
    assert store.node("bank-a") == revoked
    fresh = node("bank-b", 2)
    for name in ("bank-a", "bank-b"):
        for key in ("key", "node_key", "exchange_key"):
            with pytest.raises(ConfigurationError, match="was revoked"):
                store.enrol(replace(fresh, name=name, **{key: getattr(node(), key)}))
    for again in ("bank-a", "bank-b"):
        with pytest.raises(ConfigurationError, match="no node of this name is enrolled"):
            store.revoke(again, at(6))
    assert store.nodes() == (revoked,)
    store.enrol(node("bank-a", 2))
    assert store.nodes() == (revoked, node("bank-a", 2)) and store.node("bank-a") == node("bank-a", 2)


def test_two_nodes_share_no_name_and_no_key(store):
    store.enrol(node())
    with pytest.raises(ConfigurationError, match="a node of this name is enrolled"):
        store.enrol(node(seed=2))
    for key in ("key", "node_key", "exchange_key"):
        with pytest.raises(ConfigurationError, match="is that of bank-a"):
            store.enrol(replace(node("bank-b", 2), **{key: getattr(node(), key)}))
    assert store.nodes() == (node(),)


WRONG = {
    "name": ["coordinator", "Bank", ""], "role": ["regulator", ""], "way": ["pigeon"], "enrolled_at": ["today", "2026-13-01T00:00:00Z"],
    "revoked_at": [at(1)], "key": ["", "AB" * 32, "01" + "00" * 31], "exchange_key": ["", "00" * 32],
    "node_key": [b"", node().node_key + b"\n", node().node_key.replace(b"\n", b"\r\n"), b"-----BEGIN PUBLIC KEY-----"],
}  # fmt: skip


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_what_is_no_node_is_not_enrolled(store, field, value):
    with pytest.raises(ConfigurationError):
        store.enrol(replace(node(), **{field: value}))
    assert store.nodes() == ()


def test_of_enrolments_at_the_same_time_one_is_done(url):
    stores = [RunStore.open(url) for _ in range(4)]

    def enrol(number: int) -> bool:
        try:
            stores[number].enrol(node(seed=number + 1))
        except ConfigurationError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(enrol, range(4))) == 1
    assert len(stores[0].nodes()) == 1
    for store in stores:
        store.close()


# -- asking for runs --------------------------------------------------------------------------------------------------------------------------


def test_a_run_is_kept_as_it_was_submitted(store):
    raw = bytes(range(256))
    run = store.submit("first.run_1", raw, at(0))
    assert (run.run_file, run.submitted_at, run.state, run.state_at, run.worker) == (raw, at(0), RunState.SUBMITTED, at(0), None)
    assert run.digest == "40aff2e9d2d8922e47afd4648e6967497158785fbd1da870e7110266bf944880"  # sha256sum
    store.submit("a-second", b"", at(1))
    assert store.run("first.run_1") == run and [run.name for run in store.runs()] == ["first.run_1", "a-second"]


def test_a_name_is_given_once(store):
    store.submit("r", b"one", at(0))
    for raw, says in ((b"one", "this very run file"), (b"two", "another run file")):
        with pytest.raises(ConfigurationError, match=says):
            store.submit("r", raw, at(1))
    assert [run.run_file for run in store.runs()] == [b"one"]


def test_what_is_no_run_is_not_submitted(store):
    for name, raw, now in (
        ("../r", b"", at(0)),
        ("", b"", at(0)),
        ("r" * 65, b"", at(0)),
        ("r", b"x" * ((1 << 20) + 1), at(0)),
        ("r", b"", "now"),
    ):
        with pytest.raises((ConfigurationError, LocalError)):
            store.submit(name, raw, now)
    assert store.runs() == ()


def test_a_stop_is_asked_for_until_the_run_is_over(store):
    for number, state in enumerate(RunState):
        name = f"r{number}"
        run_in(store, state, name)
        if state in OVER:
            with pytest.raises(ConfigurationError, match=f"it is {state} already"):
                store.request_stop(name)
        else:
            store.request_stop(name)
            store.request_stop(name)
        assert store.stop_requested(name) is (state not in OVER) and store.run(name).state is state
        if state is RunState.SUBMITTED:
            store.claim("other", at(0))
    for missing in (store.run, store.stop_requested, store.request_stop):
        with pytest.raises(ConfigurationError, match="there is none of this name"):
            missing("nothing")


# -- working on runs ----------------------------------------------------------------------------------------------------------------------------


def test_a_run_has_one_worker_and_the_oldest_comes_first(store):
    for name in "abc":
        store.submit(name, b"", at(0))
    claimed = [store.claim(worker, at(1)) for worker in ("w1", "w2", "w1", "w3")]
    assert [run.name if run else None for run in claimed] == ["a", "b", "c", None]
    assert [(run.worker, run.beat_at) for run in store.runs()] == [("w1", at(1)), ("w2", at(1)), ("w1", at(1))]


def test_a_dead_workers_run_is_taken_up_as_it_was_left_and_not_a_second_before(store):
    run_in(store, RunState.RUNNING)
    store.advance("r", "w", at(10), stage="fit 3", exchanges=7, session=HASH)
    store.beat("r", "w", at(100))
    assert store.claim("v", at(100 + LAPSE)) is None
    left = store.run("r")
    taken = store.claim("v", at(101 + LAPSE))
    assert taken == replace(left, worker="v", beat_at=at(101 + LAPSE)) and taken.state is RunState.RUNNING and taken.exchanges == 7
    assert store.claim("u", at(101 + LAPSE)) is None


def test_a_worker_that_was_taken_for_dead_changes_nothing_more(store):
    run_in(store, RunState.RUNNING)
    store.claim("v", at(1000))
    before = store.run("r")
    for word in (
        lambda: store.beat("r", "w", at(1001)), lambda: store.advance("r", "w", at(1001), stage="fit"), lambda: store.release("r", "w", at(1001)),
        lambda: store.finish("r", "w", at(1001), conduct=b"{}"), lambda: store.fail("r", "w", at(1001), FAILURE), lambda: store.stop("r", "w", at(1001)),
    ):  # fmt: skip
        with pytest.raises(RunTaken, match="another process works on it"):
            word()
        assert store.run("r") == before


def test_a_run_that_is_let_go_is_free_at_once(store):
    run_in(store, RunState.WAITING)
    store.release("r", "w", at(3))
    with pytest.raises(RunTaken, match="no process works on it"):
        store.beat("r", "w", at(3))
    taken = store.claim("v", at(3))
    assert taken is not None and taken.state is RunState.WAITING


def test_a_run_that_is_over_is_nobodys(store):
    for number, state in enumerate(sorted(OVER)):
        run_in(store, state, f"r{number}")
        run = store.run(f"r{number}")
        assert run.over and (run.state, run.worker, run.beat_at) == (state, None, None)
        with pytest.raises(RunTaken, match=f"it is {state}"):
            store.beat(run.name, "w", at(4))
    assert store.claim("v", at(9999)) is None


def test_what_a_worker_says_is_kept_and_nothing_else_changes(store):
    run_in(store, RunState.WAITING)
    before = store.run("r")
    said = {"stage": "align 2", "exchanges": 1 << 40, "attempt": 2, "manifest_hash": HASH, "session": "cd" * 32}
    assert store.advance("r", "w", at(9), state=RunState.RUNNING, **said) == store.run("r")
    now = replace(before, state=RunState.RUNNING, state_at=at(9), beat_at=at(9), **said)
    assert store.run("r") == now
    assert store.advance("r", "w", at(10), state=RunState.RUNNING) == replace(now, beat_at=at(10))  # said again: since at(9)
    store.request_stop("r")
    assert store.beat("r", "w", at(11)).stop_requested
    done = store.finish("r", "w", at(12), conduct=b'{"a": 1}', model_hash=HASH)
    assert done == replace(
        now, state=RunState.FINISHED, state_at=at(12), beat_at=None, worker=None, stop_requested=True, conduct=b'{"a": 1}', model_hash=HASH
    )


def test_a_failure_is_kept_whole_also_in_words_that_a_database_refuses(store):
    run_in(store, RunState.RUNNING)
    error = DataError("bank", "a column\0 is \udcff odd", "Fix it.", AbortCode.CAP)
    failed = store.fail("r", "w", at(3), Failure.of(error), conduct=b"{}")
    assert failed.failure == Failure("cap", "DataError", "bank: a column\\0 is \\udcff odd\n  Fix it.", 5)
    assert failed.conduct == b"{}" and store.run("r") == failed


@pytest.mark.parametrize("then", RunState)
@pytest.mark.parametrize("now", [state for state in RunState if state not in OVER])
def test_no_state_follows_but_one_of_the_table(store, now, then):
    run_in(store, now)
    worker = "w"
    if now is RunState.SUBMITTED:
        store.claim(worker, at(0))
    before = store.run("r")
    change = {
        RunState.FINISHED: lambda: store.finish("r", worker, at(9), conduct=b"{}"),
        RunState.FAILED: lambda: store.fail("r", worker, at(9), FAILURE),
        RunState.STOPPED: lambda: store.stop("r", worker, at(9)),
    }.get(then, lambda: store.advance("r", worker, at(9), state=then))
    if then in FOLLOWS[now]:
        assert change().state is then and store.run("r").state_at == at(9)
    elif then is now:
        assert change() == replace(before, beat_at=at(9))
    else:
        with pytest.raises(WrongTransition, match=f"it is {now}, and {then} does not follow"):
            change()
        assert store.run("r") == before


def test_the_table_is_what_the_design_says():
    pairs = {(now.value, then.value) for now, following in FOLLOWS.items() for then in following}
    assert pairs == {
        ("submitted", "waiting"), ("waiting", "running"), ("running", "finished"),
        *((now, end) for now in ("submitted", "waiting", "running") for end in ("failed", "stopped")),
    }  # fmt: skip
    assert {"finished", "failed", "stopped"} == OVER


def test_no_run_is_advanced_to_its_end(store):
    run_in(store, RunState.RUNNING)
    for end in OVER:
        with pytest.raises(WrongTransition):
            store.advance("r", "w", at(9), state=end)


def test_what_no_worker_would_say_is_refused(store):
    run_in(store, RunState.RUNNING)
    before = store.run("r")
    for said in ({"exchanges": -1}, {"exchanges": 1 << 63}, {"attempt": 0}, {"session": "ab"}, {"manifest_hash": HASH.upper()}):
        with pytest.raises(LocalError):
            store.advance("r", "w", at(9), **said)
    for worker in ("", "two words", "w" * 129, "w\n"):
        with pytest.raises(LocalError):
            store.claim(worker, at(9))
    for now in ("", "2026-05-01", "2026-05-01T12:00:00+00:00"):
        with pytest.raises(LocalError):
            store.beat("r", "w", now)
    assert store.run("r") == before
