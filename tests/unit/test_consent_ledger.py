"""The ledger permits what was consented to and nothing else, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import datetime as dt
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from federation.kernel.errors import AbortCode, ConfigurationError, DataError
from federation.kernel.secret import Secret
from privacy.consent.days import moment
from privacy.consent.decide import Ask
from privacy.consent.rights import erase_text, explain_text
from privacy.store import consent_reading
from privacy.store.consent_ledger import ConsentLedger
from privacy.store.consent_tables import metadata
from tests.consent_scene import KEY, KINDS, Ended, Given, new_database, plain_decision, terms

START, UNTIL = dt.date(2026, 3, 10), dt.date(2026, 3, 20)
WITHIN = "2026-03-15T04:00:00Z"
BOTH = ["bank", "tax"]


@pytest.fixture(params=KINDS, scope="module")
def kind(request):
    return request.param


@pytest.fixture
def url(kind, tmp_path):
    return new_database(kind, tmp_path)


@pytest.fixture
def ledger(url):
    ledger = ConsentLedger(url, KEY)
    yield ledger
    ledger.close()


def allowed(ledger, ids=("ann",), purpose="decide", columns=(("turnover", 4),), recipients=BOTH, now=WITHIN) -> list[bool]:
    return ledger.permitted(list(ids), purpose, list(columns), list(recipients), now).tolist()


def give(ledger, name="ann", start=START, until=UNTIL, evidence="form 1", now="2026-03-01T00:00:00Z", **said) -> None:
    ledger.grant(name, terms(**said), start, until, evidence, now)


# -- boundaries -----------------------------------------------------------------------------------------------------------------------


def test_without_a_grant_nobody_is_permitted(ledger):
    assert allowed(ledger, ["ann", "bob", ""]) == [False] * 3
    give(ledger)
    assert allowed(ledger, ["bob", "ann", "", "ann"]) == [False, True, False, True]
    assert allowed(ledger, []) == []


def test_from_the_first_day_to_the_last_in_china_standard_time(ledger):
    give(ledger)
    for now, expected in (
        ("2026-03-09T15:59:59Z", False), ("2026-03-09T16:00:00Z", True), ("2026-03-10T00:00:00+08:00", True),
        ("2026-03-20T15:59:59Z", True), ("2026-03-20T16:00:00Z", False), ("2026-03-21T00:00:00+08:00", False),
    ):  # fmt: skip
        assert allowed(ledger, now=now) == [expected], now


def test_a_withdrawal_counts_from_its_moment(ledger):
    give(ledger)
    ledger.withdraw(["ANN "], WITHIN)  # any spelling of the id
    assert allowed(ledger, now="2026-03-15T03:59:59Z") == [True]
    assert allowed(ledger, now=WITHIN) == [False]
    assert allowed(ledger, now="2026-03-16T04:00:00Z") == [False]


def test_one_that_comes_into_force_later_is_noticed_when_it_does(ledger):
    give(ledger)
    ledger.withdraw(["ann"], "2026-03-17T00:00:00Z")
    mark, ask = ledger.mark(WITHIN), Ask("decide", (("turnover", 4),), ("bank",))
    assert allowed(ledger) == [True]
    assert ledger.gone(["ann"], ask, mark, "2026-03-16T23:59:59Z").mask.tolist() == [False]
    assert ledger.gone(["ann"], ask, mark, "2026-03-17T00:00:00Z").mask.tolist() == [True]


def test_a_wider_purpose_covers_the_narrower_and_no_other(ledger):
    for purpose in ("credit", "decide", "research"):
        give(ledger, name=f"for {purpose}", purpose=purpose)
    for granted, asked, expected in (
        ("decide", "decide", True), ("credit", "decide", True), ("decide", "acquire", False), ("decide", "research", False),
        ("credit", "research", False), ("research", "decide", False), ("decide", "credit", False),
    ):  # fmt: skip
        assert allowed(ledger, [f"for {granted}"], purpose=asked) == [expected], (granted, asked)


def test_a_column_is_within_scope_by_name_or_by_level(ledger):
    give(ledger)
    for columns, expected in (
        ([("turnover", 4)], True), ([("turnover", 5)], True), ([("staff", 2)], True), ([("staff", 3)], False), ([("Turnover", 3)], False),
        ([("turnover", 4), ("staff", 1)], True), ([("turnover", 4), ("staff", 3)], False), ([], True),
    ):  # fmt: skip
        assert allowed(ledger, columns=columns) == [expected], columns


def test_every_recipient_must_be_named(ledger):
    give(ledger)
    for recipients, expected in ((["bank"], True), (BOTH, True), ([*BOTH, "platform"], False), (["Bank"], False), ([], True)):
        assert allowed(ledger, recipients=recipients) == [expected], recipients


def test_two_grants_may_share_the_columns_but_a_recipient_of_one_is_none_of_the_other(ledger):
    give(ledger, columns=["a"], level=0, recipients=["bank"])
    give(ledger, columns=["b"], level=0, recipients=["tax"])
    assert allowed(ledger, columns=[("a", 3)], recipients=["bank"]) == allowed(ledger, columns=[("b", 3)], recipients=["tax"]) == [True]
    assert allowed(ledger, columns=[("a", 3), ("b", 3)], recipients=["bank"]) == [False]
    assert allowed(ledger, columns=[("a", 3)], recipients=BOTH) == [False]
    give(ledger, columns=["b"], level=0, recipients=["bank"])
    assert allowed(ledger, columns=[("a", 3), ("b", 3)], recipients=["bank"]) == [True]


def test_terms_that_say_nothing_are_refused(ledger):
    for said in (
        {"columns": (), "level": 0},
        {"recipients": ()},
        {"recipients": ("*",)},
        {"purpose": "marketing"},
        {"level": 6},
        {"columns": (" ",)},
    ):
        with pytest.raises(ConfigurationError):
            give(ledger, **said)
    with pytest.raises(DataError):
        give(ledger, start=UNTIL, until=START)
    with pytest.raises(DataError):
        give(ledger, name="\u200b")
    with pytest.raises(ConfigurationError, match="declared"):
        allowed(ledger, purpose="marketing")
    with pytest.raises(ConfigurationError, match="time zone"):
        allowed(ledger, now="2026-03-15T04:00:00")
    assert ledger.revision() == 0


def test_all_spellings_of_a_code_are_one_subject(ledger):
    give(ledger, name="91 3301 06ma 2axxxx0e".replace("xxxx", "1234"))  # no valid code: any text
    assert allowed(ledger, ["913301 06MA2A12340E"]) == [False]
    give(ledger, name="91350100m000100y43")  # GB 32100's own example: a code in whatever spelling
    assert allowed(ledger, ["91350100M000100Y43", "９１３５０１００Ｍ０００１００Ｙ４３", "9135 0100 M000 100Y 43"]) == [True] * 3


# -- withdrawal is final ------------------------------------------------------------------------------------------------------------------


def test_the_same_file_imported_again_brings_nothing_back(ledger):
    give(ledger)
    ledger.withdraw(["ann"], WITHIN)
    for evidence in ("form 1", "form 2"):  # also under another reference
        give(ledger, evidence=evidence, now="2026-03-16T00:00:00Z")
    give(ledger, start=dt.date(2026, 3, 15), evidence="form 3", now="2026-03-16T00:00:00Z")  # begins on the day of the withdrawal
    assert allowed(ledger, now="2026-03-16T04:00:00Z") == [False]
    give(ledger, start=dt.date(2026, 3, 16), evidence="form 4", now="2026-03-16T00:00:00Z")
    assert allowed(ledger, now="2026-03-16T04:00:00Z") == [True]


def test_a_withdrawal_that_comes_before_the_import_holds(ledger):
    ledger.withdraw(["ann"], WITHIN)
    give(ledger, now="2026-03-16T00:00:00Z")
    assert allowed(ledger, now="2026-03-16T04:00:00Z") == [False]


def test_it_ends_grants_that_have_not_begun(ledger):
    give(ledger)
    ledger.withdraw(["ann"], "2026-03-05T00:00:00Z")
    assert allowed(ledger) == [False]


def test_by_evidence_it_ends_what_stands_under_it_and_nothing_else(ledger):
    give(ledger, evidence="form 1")
    give(ledger, name="bob", evidence="form 1")
    give(ledger, name="eve", evidence="form 2")
    assert ledger.withdraw_evidence(["form 1", "form 9"], WITHIN) == 1
    assert allowed(ledger, ["ann", "bob", "eve"]) == [False, False, True]
    give(ledger, name="cat", evidence="form 9", now=WITHIN)
    assert allowed(ledger, ["cat"]) == [False]


def test_one_bad_id_and_nothing_is_withdrawn(ledger):
    give(ledger)
    with pytest.raises(DataError, match="rows 2"):
        ledger.withdraw(["ann", ""], WITHIN)
    assert allowed(ledger) == [True]


def everything(url) -> dict[str, set]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        rows = {table.name: {tuple(row) for row in connection.execute(sa.select(table))} for table in metadata.sorted_tables}
    engine.dispose()
    return rows


def test_nothing_is_ever_overwritten_or_removed(ledger, url):
    ask = Ask("decide", (("turnover", 4),), ("bank",))
    doings = [
        lambda: give(ledger), lambda: give(ledger, name="bob"), lambda: ledger.record_use("run 1", ["ann", "bob"], ask, UNTIL, WITHIN),
        lambda: ledger.record_model("run 1", "ab" * 32, WITHIN), lambda: ledger.withdraw(["ann"], WITHIN),
        lambda: ledger.withdraw_evidence(["form 1"], WITHIN), lambda: ledger.request_erasure("bob", WITHIN), lambda: ledger.erased(1, WITHIN),
        lambda: give(ledger), lambda: ledger.record_use("run 1", ["ann", "bob"], ask, UNTIL, WITHIN),
    ]  # fmt: skip
    before, revision = everything(url), 0
    for do in doings:
        do()
        after = everything(url)
        assert all(before[name] <= after[name] for name in before)
        assert ledger.revision() > revision
        before, revision = after, ledger.revision()


# -- a run that is under way -----------------------------------------------------------------------------------------------------------------


def test_withdrawn_or_run_out_between_two_stages(ledger, url):
    ask = Ask("decide", (("turnover", 4),), ("bank",))
    for name, until in (("ann", UNTIL), ("bob", dt.date(2026, 3, 15)), ("cat", UNTIL), ("dan", dt.date(2026, 3, 15))):
        give(ledger, name=name, until=until)
    give(ledger, name="dan", evidence="another form")  # what runs out is not all that dan gave
    ids, mark = ["ann", "bob", "cat", "dan"], ledger.mark(WITHIN)
    assert allowed(ledger, ids) == [True] * 4
    still = ledger.gone(ids, ask, mark, "2026-03-15T15:59:59Z")
    assert (still.mask.tolist(), still.withdrawn, still.run_out) == ([False] * 4, 0, 0)
    other = ConsentLedger(url, KEY)  # another process, as `creditfed node consent withdraw` is
    other.withdraw(["cat", "stranger"], "2026-03-15T15:59:59Z")
    other.close()
    found = ledger.gone(ids, ask, still.mark, "2026-03-15T16:00:00Z")
    assert (found.mask.tolist(), found.withdrawn, found.run_out) == ([False, True, True, False], 1, 1)
    later = ledger.gone(["ann", "dan"], ask, found.mark, "2026-03-16T00:00:00Z")
    assert not later.mask.any()


def test_what_is_withdrawn_between_mark_and_decision_is_not_missed(ledger):
    give(ledger)
    ask, mark = Ask("decide", (("turnover", 4),), ("bank",)), ledger.mark(WITHIN)
    kept = allowed(ledger)
    ledger.withdraw(["ann"], WITHIN)
    assert kept == [True]
    assert ledger.gone(["ann"], ask, mark, WITHIN).mask.tolist() == [True]


def test_a_clock_that_goes_back_has_everything_decided_anew(ledger):
    give(ledger)
    mark, ask = ledger.mark(WITHIN), Ask("decide", (("turnover", 4),), ("bank",))
    assert ledger.gone(["ann"], ask, mark, "2026-03-09T00:00:00Z").mask.tolist() == [True]


def test_a_ledger_that_goes_back_ends_the_run(ledger, kind, tmp_path):
    give(ledger)
    mark, restored = ledger.mark(WITHIN), ConsentLedger(new_database(kind, tmp_path), KEY)
    with pytest.raises(DataError, match="older") as error:
        restored.gone(["ann"], Ask("decide", (), ("bank",)), mark, WITHIN)
    assert error.value.code is AbortCode.CONSENT
    restored.close()


# -- any ledger equals the plain decision ----------------------------------------------------------------------------------------------------

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


# -- uses, and what a person may ask -------------------------------------------------------------------------------------------------------


def test_explain_and_erase(ledger):
    give(ledger, evidence="form 77")
    give(ledger, name="bob")
    ask = Ask("decide", (("turnover", 4), ("staff", 2)), ("bank", "tax"))
    for _ in range(2):  # a run that goes on after a crash
        ledger.record_use("run 1", ["ann", "cat", "ann"], ask, dt.date(2026, 4, 1), WITHIN)
    ledger.record_use("run 2", ["bob"], ask, dt.date(2026, 4, 1), WITHIN)
    ledger.record_model("run 1", "ab" * 32, WITHIN)
    known = ledger.explain("Ann")
    (use,) = known.uses
    assert (use.run, use.purpose, use.columns, use.recipients, use.models) == (
        "run 1",
        "decide",
        ("turnover", "staff"),
        ("bank", "tax"),
        ("ab" * 32,),
    )
    assert known.evidence == ("form 77",)
    text = explain_text(known, "platform-a", moment(WITHIN))
    assert (
        all(word in text for word in ("run 1", "turnover", "bank, tax", "2026-04-01", "form 77", "In force", "abababababab"))
        and "run 2" not in text
    )
    request, listed = ledger.request_erasure("ann", "2026-03-15T17:00:00Z")  # the 16th in China
    assert str(dt.date(1970, 1, 1) + dt.timedelta(days=request.due)) == "2026-04-15"
    assert [(item.run, dt.date(1970, 1, 1) + dt.timedelta(days=item.by)) for item in listed] == [("run 1", dt.date(2026, 4, 1))] * 2
    assert "By 2026-04-01: rows in tables" in erase_text(request, listed)
    assert allowed(ledger, ["ann", "bob"], now="2026-03-16T04:00:00Z") == [False, True]  # a request withdraws
    assert ledger.requests()[0].done is None
    ledger.erased(request.number, "2026-03-17T00:00:00Z")
    assert ledger.requests()[0].done == moment("2026-03-17T00:00:00Z")
    assert "done on 2026-03-17" in explain_text(ledger.explain("ann"), "platform-a", moment("2026-03-18T00:00:00Z"))
    with pytest.raises(DataError, match="no such request"):
        ledger.erased(99, WITHIN)
    stranger = ledger.explain("nobody we know")
    assert (stranger.grants, stranger.uses) == ((), ()) and "no consent of yours" in explain_text(stranger, "platform-a", moment(WITHIN))


def test_standing_counts_by_purpose(ledger):
    give(ledger)
    give(ledger, name="bob", until=dt.date(2026, 3, 11))
    give(ledger, name="cat", start=dt.date(2026, 3, 18))
    give(ledger, name="dan", purpose="research")
    ledger.withdraw(["dan"], WITHIN)
    counts = {row.purpose: (row.in_force, row.not_begun, row.run_out, row.withdrawn) for row in ledger.standing(WITHIN)}
    assert counts == {"decide": (1, 1, 1, 0), "research": (0, 0, 0, 1)}


# -- changes ---------------------------------------------------------------------------------------------------------------------------------


def test_no_change_that_the_log_does_not_have(url):
    def refuse(kind, /, **facts):
        raise OSError

    silent = ConsentLedger(url, KEY)
    give(silent)
    deaf = ConsentLedger(url, KEY, refuse)
    before = everything(url)
    for change in (
        lambda: give(deaf, name="bob"), lambda: deaf.withdraw(["ann"], WITHIN), lambda: deaf.request_erasure("ann", WITHIN),
        lambda: deaf.record_use("run", ["ann"], Ask("decide", (), ()), UNTIL, WITHIN), lambda: deaf.record_model("run", "ab", WITHIN),
    ):  # fmt: skip
        with pytest.raises(OSError):
            change()
        assert everything(url) == before
    silent.close()
    deaf.close()


def test_changes_at_the_same_time_have_revisions_of_their_own(url):
    ledgers = [ConsentLedger(url, KEY) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: ledgers[i % 4].withdraw([f"n{i}"], WITHIN), range(12)))
    assert ledgers[0].revision() == 12
    assert len({row[-1] for row in everything(url)["consent_withdrawals"]}) == 12
    for ledger in ledgers:
        ledger.close()


# -- the database ------------------------------------------------------------------------------------------------------------------------------


def test_another_schema_is_refused_and_not_touched(url):
    ConsentLedger(url, KEY).close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE consent_facts SET value = :new WHERE name = 'schema'"), {"new": b"2"})
    engine.dispose()
    before = everything(url)
    with pytest.raises(ConfigurationError, match="schema 2, and this version of creditfed knows 1"):
        ConsentLedger(url, KEY)
    assert everything(url) == before


def test_another_key_is_refused(url):
    ConsentLedger(url, KEY).close()
    with pytest.raises(ConfigurationError, match="another key"):
        ConsentLedger(url, Secret(bytes(32)))


def test_the_file_is_its_owners_alone(tmp_path):
    ConsentLedger(f"sqlite:///{tmp_path / 'home' / 'consent' / 'ledger.db'}", KEY).close()
    assert stat.S_IMODE((tmp_path / "home" / "consent" / "ledger.db").stat().st_mode) == 0o600


def test_without_its_driver_the_url_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for scheme in ("postgresql", "postgresql+psycopg"):
        with pytest.raises(ConfigurationError, match=r"pip install creditfed\[postgresql\]"):
            ConsentLedger(f"{scheme}://user@127.0.0.1:1/ledger", KEY)


@pytest.mark.parametrize("bad", ["", "ledger.db", "sqlite://", "nonesuch://host/x", "sqlite:///"])
def test_a_url_that_is_none_is_refused(bad):
    with pytest.raises(ConfigurationError):
        ConsentLedger(bad, KEY)


def test_a_damaged_file_is_told_plainly(tmp_path: Path):
    (tmp_path / "ledger.db").write_bytes(b"not a database at all, but long enough to look like something" * 20)
    with pytest.raises(DataError, match="cannot be used"):
        ConsentLedger(f"sqlite:///{tmp_path / 'ledger.db'}", KEY)
