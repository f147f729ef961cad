"""Any history of grants and withdrawals is decided as the plain decision does."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from privacy.consent.decide import Ask
from privacy.store import consent_reading
from privacy.store.consent_ledger import ConsentLedger
from tests.consent_scene import (
    KEY,
    WITHIN,
    Ended,
    Given,
    allowed,
    give,
    new_database,
    plain_decision,
    terms,
)

DAY0 = dt.date(2026, 3, 10)


def draw(generator: np.random.Generator):
    """A history before a run, one during it, and what the run asks; made so that about half of the decisions permit."""
    pick = generator.choice

    def some(options, fewest=1) -> list:
        return sorted(pick(options, generator.integers(fewest, len(options) + 1), replace=False).tolist())

    def step() -> tuple:
        kind = pick(["give", "withdraw", "withdraw evidence", "pass", "look"], p=[0.5, 0.1, 0.05, 0.2, 0.15])
        name, evidence = str(pick(["ann", "bob", "cat"])), str(pick(["form 1", "form 2", "form 3"]))
        if kind == "give":
            purpose = str(pick(["credit", "decide", "acquire", "research"], p=[0.4, 0.4, 0.1, 0.1]))
            form = terms(purpose, some(["a", "b"]), int(generator.integers(0, 4)), some(["bank", "tax"]))
            return kind, name, form, int(generator.integers(-1, 2)), int(generator.integers(0, 5)), evidence
        return {"withdraw": (kind, name), "withdraw evidence": (kind, evidence), "pass": (kind, int(generator.integers(1, 31)))}.get(
            kind, (kind,)
        )

    purpose = str(pick(["decide", "acquire", "research"], p=[0.7, 0.2, 0.1]))
    columns = [(name, int(generator.integers(1, 5))) for name in some(["a", "b", "c"])[:2]]
    gives = [taken for taken in (step() for _ in range(40)) if taken[0] == "give"][:7]
    return [*gives, step(), step()], [step() for _ in range(generator.integers(2, 7))], (purpose, columns, some(["bank", "tax"]))


_example = iter(range(10**9))


def check_history(ledger: ConsentLedger, first, later, ask) -> tuple[int, int]:
    """Play a history; returns how many decisions were compared, and how many of them permitted. Names are this example's own."""
    tag, (purpose, columns, recipients) = f" {next(_example)}", ask
    ids = [name + tag for name in ("ann", "bob", "cat")]
    now, given, ended = dt.datetime(2026, 3, 10, 4, tzinfo=dt.UTC), [], []
    compared = permitted = 0

    def play(step) -> None:
        nonlocal now
        order, clock = len(given) + len(ended), now.isoformat()
        match step:
            case ("give", name, form, start, length, evidence):
                begin = DAY0 + dt.timedelta(days=start)
                again = Given(order, name + tag, form, begin, begin + dt.timedelta(days=length), evidence + tag)
                ledger.grant(again.id, form, again.start, again.until, again.evidence, clock)
                same = [old for old in given if (old.id, old.terms, old.start, old.until, old.evidence) == (again.id, form, *_rest(again))]
                given.extend([] if same else [again])
            case ("withdraw", name):
                ledger.withdraw([name + tag], clock)
                ended.append(Ended(order, name + tag, None, now))
            case ("withdraw evidence", evidence):
                ledger.withdraw_evidence([evidence + tag], clock)
                ended.append(Ended(order, None, evidence + tag, now))
            case ("pass", hours):
                now += dt.timedelta(hours=hours)

    def expected() -> list[bool]:
        return [plain_decision(given, ended, name, purpose, columns, recipients, now) for name in ids]

    for step in first:
        play(step)
    mark = ledger.mark(now.isoformat())
    kept = ledger.permitted(ids, purpose, columns, recipients, now.isoformat())
    assert kept.tolist() == expected()
    for step in (*later, ("look",)):
        play(step)
        fresh = ledger.permitted(ids, purpose, columns, recipients, now.isoformat())
        assert fresh.tolist() == expected()
        compared, permitted = compared + len(ids), permitted + int(fresh.sum())
        if step[0] == "look":
            own = np.flatnonzero(kept)
            found = ledger.gone([ids[i] for i in own], Ask(purpose, tuple(columns), tuple(recipients)), mark, now.isoformat())
            want = kept & np.array(expected())
            kept[own[found.mask]], mark = False, found.mark
            assert kept.tolist() == want.tolist()
            assert found.withdrawn + found.run_out == found.mask.sum()
    return compared, permitted


def _rest(grant: Given):
    return grant.start, grant.until, grant.evidence


@pytest.fixture(scope="module")
def long_ledger(kind, tmp_path_factory):
    ledger = ConsentLedger(new_database(kind, tmp_path_factory.mktemp("long")), KEY)
    yield ledger
    ledger.close()


def sweep(ledger, examples: int) -> None:
    totals = sum((np.array(check_history(ledger, *draw(np.random.default_rng([11, seed])))) for seed in range(examples)), np.zeros(2, int))
    print(f"{totals[0]:,} decisions equal to the plain ones, {totals[1]:,} of them permitted")
    assert totals[1] > 0.1 * totals[0]  # no property of refusals alone


def test_any_history_is_decided_as_the_plain_decision_does(long_ledger):
    sweep(long_ledger, 12)


@pytest.mark.slow
def test_any_history_is_decided_as_the_plain_decision_does_long(long_ledger):
    sweep(long_ledger, 1_000)


@pytest.mark.parametrize("few", [0, 5])
def test_looked_up_and_read_whole_are_the_same(ledger, monkeypatch, few):
    generator = np.random.default_rng(5)
    for i in range(12):
        give(ledger, name=f"n{i % 8}", evidence=f"form {i}", columns=[["a"], ["b"], ["a", "b"]][generator.integers(3)], level=0)
    ledger.withdraw(["n3"], WITHIN)
    ledger.withdraw_evidence(["form 5"], WITHIN)
    ids, columns = [f"n{i % 10}" for i in range(20)], [("a", 3), ("b", 3)]
    monkeypatch.setattr(consent_reading, "FEW", 100)
    looked_up = allowed(ledger, ids, columns=columns)
    monkeypatch.setattr(consent_reading, "FEW", few)
    monkeypatch.setattr(consent_reading, "_CHUNK", 2)
    assert allowed(ledger, ids, columns=columns) == looked_up
    assert any(looked_up) and not all(looked_up)
