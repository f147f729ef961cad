"""Limits and the ledger's rules: what is refused, what the refusal says, and what stays counted."""

from __future__ import annotations

import pytest

from federation.kernel.errors import AbortCode, ConfigurationError, LocalError, PolicyRefusal
from federation.kernel.loss import DiscreteGaussian, Stated
from privacy.budget.account import epsilon
from privacy.budget.ledger import Ledger
from privacy.budget.limits import ANY, Cost, Counts, Limits, members, tightest

NOISE = DiscreteGaussian(50.0, 1.0, 10)
RUN = Cost((Stated(1.0, 1e-6),), Counts(releases=3, rows=100))


def ledger(**limits: Limits) -> Ledger:
    made = Ledger()
    for purpose, each in (limits or {"decide": Limits(2.0, 1e-5, releases=5, rows=1000)}).items():
        made.apply(made.set_limits("loans", purpose, each, "officer"))
    return made


def done(book: Ledger, record) -> None:
    if record is not None:
        assert book.follows(record)
        book.apply(record)


def refused(call, *words: str) -> None:
    with pytest.raises(PolicyRefusal) as caught:
        call()
    assert caught.value.code == AbortCode.BUDGET and caught.value.action
    for word in words:
        assert word in str(caught.value)


def test_without_limits_nothing_may_be_spent():
    refused(lambda: Ledger().reserve("r", "loans", "decide", RUN), "none is set", "budget set")
    refused(lambda: ledger(decide=Limits(releases=10, rows=1000)).reserve("r", "loans", "decide", RUN), "no epsilon is set")
    refused(lambda: ledger().reserve("r", "other loans", "decide", RUN), "none is set")
    refused(lambda: ledger().reserve("r", "loans", "collect", RUN), "none is set")


def test_a_refusal_says_what_was_asked_and_what_is_left():
    book = ledger()
    done(book, book.reserve("a", "loans", "decide", RUN))
    refused(
        lambda: book.reserve("b", "loans", "decide", Cost((Stated(1.5, 1e-6),), Counts(releases=4))),
        "epsilon 1.5 asked for, 1 left of 2 at delta 1e-05",
        "4 releases asked for, 2 left of 5",
    )


def test_what_fits_exactly_is_allowed_and_nothing_beyond():
    book = ledger(decide=Limits(2.0, 2e-6, releases=6))
    for run in "ab":
        done(book, book.reserve(run, "loans", "decide", Cost((Stated(1.0, 1e-6),), Counts(releases=3))))
    assert book.left("loans", "decide") == Limits(0.0, 2e-6, releases=0)
    refused(lambda: book.reserve("c", "loans", "decide", Cost((Stated(1e-6),))))
    refused(lambda: book.reserve("c", "loans", "decide", Cost(counts=Counts(releases=1))))
    assert book.reserve("c", "loans", "decide", Cost(counts=Counts(rows=10**9))) is not None  # rows are not limited


def test_limits_of_a_wider_purpose_hold_for_what_its_members_spend_together():
    book = ledger(decide=Limits(2.0, 1e-5), credit=Limits(2.5, 1e-5), any=Limits(3.0, 1e-5))
    assert members("credit") == ("acquire", "decide", "monitor", "collect") and "research" in members(ANY)
    one = Cost((Stated(1.0),))
    done(book, book.reserve("a", "loans", "decide", one))
    done(book, book.reserve("b", "loans", "collect", one))
    refused(lambda: book.reserve("c", "loans", "monitor", one), "for credit")
    done(book, book.reserve("c", "loans", "research", one))
    refused(lambda: book.reserve("d", "loans", "decide", Cost((Stated(0.01),))), "for any")
    assert book.left("loans", "acquire") == Limits(0.0, 1e-5)


def test_a_reservation_counts_at_once_and_what_was_not_spent_is_free_after_the_end():
    book = ledger()
    done(book, book.reserve("a", "loans", "decide", RUN))
    assert book.left("loans", "decide").epsilon == 1.0
    done(book, book.spend("a", "round 1", Cost((NOISE,), Counts(releases=1))))
    assert book.left("loans", "decide").epsilon == 1.0
    done(book, book.settle("a"))
    left = book.left("loans", "decide")
    assert left.epsilon == 2.0 - epsilon([NOISE], 1e-5) and left.releases == 4 and left.rows == 1000
    assert book.counted("loans", "decide") == book.spent("loans", "decide") == Cost((NOISE,), Counts(releases=1))


@pytest.mark.parametrize("end", ["settle", "give back"])
def test_a_closed_run_can_release_nothing_more(end):
    book = ledger()
    done(book, book.reserve("a", "loans", "decide", RUN))
    done(book, book.spend("a", "round 1", Cost((NOISE,))))
    done(book, book.settle("a") if end == "settle" else book.give_back("a", "the machine burnt"))
    refused(lambda: book.spend("a", "round 2", Cost((NOISE,))), "settled or given back")
    assert book.spend("a", "round 1", Cost((NOISE,))) is None  # was recorded: it may be sent again
    assert book.settle("a") is None and book.give_back("a", "again") is None


def test_a_run_spends_no_more_than_it_reserved():
    book = ledger()
    done(book, book.reserve("a", "loans", "decide", RUN))
    wide = DiscreteGaussian(3.0, 1.0, 10)
    assert epsilon([wide], 1e-6) > 1.0
    refused(lambda: book.spend("a", "r", Cost((wide,))), "more than is left")
    refused(lambda: book.spend("a", "r", Cost(counts=Counts(rows=101))))
    rounds = 0
    while True:
        try:
            done(book, book.spend("a", f"round {rounds}", Cost((NOISE,))))
        except PolicyRefusal:
            break
        rounds += 1
    assert epsilon([NOISE] * rounds, 1e-6) <= 1.0 < epsilon([NOISE] * (rounds + 1), 1e-6)


def test_losses_reserved_one_by_one_are_spent_one_by_one():
    book = ledger()
    two = Cost((DiscreteGaussian(50.0, 1.0, 10, count=2), Stated(0.1)))
    done(book, book.reserve("a", "loans", "decide", two))
    done(book, book.spend("a", "1", Cost((NOISE,))))
    done(book, book.spend("a", "2", Cost((NOISE,))))
    refused(lambda: book.spend("a", "3", Cost((NOISE,))))
    done(book, book.spend("a", "3", Cost((Stated(0.1),))))
    refused(lambda: book.spend("a", "4", Cost((Stated(1e-9),))))


def test_asked_twice_it_counts_once_and_another_cost_under_the_same_name_is_refused():
    book = ledger()
    done(book, book.reserve("a", "loans", "decide", RUN))
    assert book.reserve("a", "loans", "decide", RUN) is None
    with pytest.raises(LocalError, match="something else"):
        book.reserve("a", "loans", "decide", Cost())
    done(book, book.spend("a", "r", Cost((NOISE,))))
    assert book.spend("a", "r", Cost((NOISE,))) is None
    with pytest.raises(LocalError, match="another cost"):
        book.spend("a", "r", Cost((NOISE, NOISE)))
    assert book.spent("loans", "decide") == Cost((NOISE,))


def test_a_run_that_reserved_nothing_spends_nothing():
    book = ledger()
    for call in (lambda: book.spend("x", "r", Cost()), lambda: book.settle("x"), lambda: book.give_back("x", "dead")):
        with pytest.raises(LocalError, match="reserved nothing"):
            call()


def test_limits_below_what_is_used_leave_nothing_and_never_less():
    book = ledger()
    done(book, book.reserve("a", "loans", "decide", RUN))
    done(book, book.set_limits("loans", "decide", Limits(0.5, 1e-6, releases=1, rows=10), "officer"))
    assert book.left("loans", "decide") == Limits(0.0, 1e-6, releases=0, columns=None, rows=0)
    refused(lambda: book.reserve("b", "loans", "decide", Cost(counts=Counts(rows=1))))


def test_the_tightest_of_several_limits():
    a, b = Limits(2.0, 1e-6, releases=4), Limits(1.0, 1e-5, rows=3)
    assert tightest([a, b]) == Limits(1.0, 1e-5, releases=4, rows=3)
    assert tightest([Limits(rows=1)]) == Limits(rows=1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Limits(-1.0, 1e-6),
        lambda: Limits(1.0, 0.5),
        lambda: Limits(float("inf"), 1e-6),
        lambda: Limits(rows=-1),
        lambda: Counts(rows=-1),
        lambda: Ledger().set_limits("loans", "no purpose", Limits(), "officer"),
        lambda: Ledger().set_limits("loans", "decide", Limits(), ""),
        lambda: ledger().reserve("a", "loans", "credit", RUN),
        lambda: ledger().give_back("a", " "),
    ],
)
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(ConfigurationError):
        make()
