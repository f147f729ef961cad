"""What a person may ask of the ledger, and what it counts."""

from __future__ import annotations

import datetime as dt

import pytest

from federation.kernel.errors import DataError
from privacy.consent.days import moment
from privacy.consent.decide import Ask
from privacy.consent.rights import erase_text, explain_text
from tests.consent_scene import (
    WITHIN,
    allowed,
    give,
)


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
