"""The ledger permits what was consented to and nothing else, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import datetime as dt

import pytest

from federation.kernel.errors import AbortCode, ConfigurationError, DataError
from privacy.consent.decide import Ask
from privacy.store.consent_ledger import ConsentLedger
from tests.consent_scene import (
    BOTH,
    KEY,
    START,
    UNTIL,
    WITHIN,
    allowed,
    everything,
    give,
    new_database,
)

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
