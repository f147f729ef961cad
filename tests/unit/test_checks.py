"""Checks across institutions give exact counts, to the institution that asks and to nobody else."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.align import union
from federation.align.sketch import cells_for, fill, inverse, peel
from federation.align.union import padded, union_coordinator
from federation.checks.fields import Fields
from federation.checks.program import Checker, Router, Standing
from federation.checks.settings import band_names, counted, findings, told
from federation.kernel.errors import AbortCode, ConfigurationError, DataError, LocalError, PeerError, PolicyRefusal
from federation.kernel.manifest import CheckSettings, Manifest
from federation.kernel.manifest_rules import check_manifest, read_manifest
from federation.kernel.role import Role, Run
from federation.masked_sum import mersenne
from federation.models.table import Table
from tests.check_scene import ASKS, BANDS, CheckCase, books, played, table_of

SEED = 20_261_130
APPLICANTS = (*(f"firm {number}" for number in range(20)), "nobody knows")


# ------------------------------------------------------------------------------------------------------------------ whole runs


@pytest.mark.parametrize("task", ["multi_lender", "shared_identity"])
@pytest.mark.parametrize("banks", [3, 7])
def test_counts_equal_those_of_all_books_side_by_side(task: str, banks: int) -> None:
    some = books(SEED, banks)
    if task == "shared_identity":
        some = {name: {key: int(amount) % 7 for key, amount in book.items()} for name, book in some.items()}
    case = CheckCase(APPLICANTS, some, task)
    post, answer = played(case)
    assert answer == case.truth()
    assert len(set(answer.values())) > 3
    assert answer["nobody knows"] == (0,) * len(answer["nobody knows"])
    assert all(party.state.sums is None for name, party in post.parties.items() if name != ASKS)


def test_one_applicant_is_asked_about_as_a_whole_book_is() -> None:
    one = CheckCase(("firm 3",), books(SEED))
    assert played(one)[1] == one.truth()


@pytest.mark.parametrize(
    ("check", "applicants", "error"),
    [({"max_asked": 5, "pad": 4}, 6, LocalError), ({"pad": 70_000}, 3, ConfigurationError), ({"bands": (5.0, 1.0)}, 3, ConfigurationError),
     ({"asks": "nobody"}, 3, ConfigurationError)],
    ids=["too many applicants", "padding out of range", "bands in no order", "nobody asks"],
)  # fmt: skip
def test_a_check_beyond_its_manifest_does_not_begin(check: dict[str, object], applicants: int, error: type[Exception]) -> None:
    case = CheckCase(APPLICANTS[:applicants], books(SEED), check=check)
    if error is ConfigurationError:
        if check.get("pad") == 70_000:
            with pytest.raises(PeerError, match="may not stand at"):
                read_manifest(case.manifest.canonical())
            return
        with pytest.raises(error):
            check_manifest(case.manifest)
        return
    post = case.make()
    parties = post.play()
    assert isinstance(parties[ASKS].failure, error)
    assert all(not party.finished for party in parties.values())
    assert not any(envelope.kind.startswith("masked_sum/") for envelope in post.passed)


class Lenient(Router):
    """A coordinator that lets lists of any length pass."""

    def _align(self, run: Run, state: Standing) -> Role[Standing]:
        size, lengths = yield from union_coordinator(run.within("align"), self.manifest.privacy.max_rows)
        return msgspec.structs.replace(state, phase="ask", universe=size, length=lengths[self.manifest.check.asks])


def test_a_longer_list_than_the_manifest_allows_is_refused_by_the_banks_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """An asking bank that pads beyond its cap, and a coordinator that lets it: no bank's table leaves."""
    case = CheckCase(APPLICANTS[:3], books(SEED), check={"pad": 4, "max_asked": 4}, router=Lenient)
    monkeypatch.setattr(union, "padded", lambda rows, pad, members: padded(rows, pad, members) * (5 if rows == 3 else 1))
    post = case.make()
    parties = post.play()
    refused = {name for name, party in parties.items() if isinstance(party.failure, PolicyRefusal)}
    assert refused
    assert refused <= set(case.books)
    assert not any(envelope.kind == "masked_sum/residues" and envelope.sender in case.books for envelope in post.passed)


def test_a_bank_with_a_longer_book_than_the_manifest_allows_sends_nothing_of_it() -> None:
    some = books(SEED)
    most = max(sum(amount > 0 for amount in book.values()) for book in some.values())
    assert played(CheckCase(APPLICANTS, some, check={"max_listed": most}))[1] == CheckCase(APPLICANTS, some).truth()
    parties = (post := CheckCase(APPLICANTS, some, check={"max_listed": most - 1}).make()).play()
    assert any(isinstance(party.failure, LocalError) and "max_listed" in str(party.failure) for party in parties.values())
    assert not any(party.finished for party in parties.values())
    assert not any(envelope.kind.startswith("masked_sum/") for envelope in post.passed)


@pytest.mark.parametrize("capped", [True, False], ids=["as built", "control"])
def test_a_bank_that_lists_more_than_the_manifest_allows_is_refused_by_the_others_and_control_without_the_cap_it_is_not(
    capped: bool,
) -> None:
    """Of each made-up key it could see whether another bank has it; the coordinator lets it."""
    some = {name: dict.fromkeys(tuple(book)[:8], 1.0) for name, book in books(SEED).items()}
    some["bank-c"] = {f"made up {number}": 1.0 for number in range(20)}

    def program(said: Manifest, me: str, table: Table) -> Checker:
        lax = msgspec.structs.replace(said, check=msgspec.structs.replace(said.check, max_listed=20))
        return Checker(lax if me == "bank-c" else said, me, table)

    case = CheckCase(APPLICANTS[:3], some, check={"pad": 4, "max_listed": 8 if capped else 20}, program=program, router=Lenient)
    parties = (post := case.make()).play()
    refused = {name for name, party in parties.items() if isinstance(party.failure, PolicyRefusal)}
    assert bool(refused) is capped and "bank-c" not in refused
    assert any(envelope.kind == "masked_sum/residues" and envelope.sender != "bank-c" for envelope in post.passed) is not capped
    assert all(party.finished for party in parties.values()) is not capped


@pytest.mark.parametrize("banks", [1, 2])
def test_with_fewer_than_three_others_there_is_no_check(banks: int) -> None:
    with pytest.raises(ConfigurationError, match="of two, a count tells which"):
        check_manifest(CheckCase(APPLICANTS, books(SEED, banks)).manifest)


@pytest.mark.parametrize("hearing", [1, 2], ids=["before the union", "before the counts"])
def test_a_withdrawn_loan_counts_no_more(hearing: int) -> None:
    case = CheckCase(APPLICANTS, books(SEED), privacy={"withdrawal": "continue"})
    gone, calls = np.array([key == "firm 1" for key in case.tables["bank-b"].keys]), [0]
    assert gone.any()

    def withdrawn() -> np.ndarray[tuple[int], np.dtype[np.bool_]] | None:
        calls[0] += 1
        return gone if calls[0] >= hearing else None

    case.post = {"more": {"bank-b": {"withdrawn": withdrawn}}}
    without = CheckCase(
        APPLICANTS, {name: {k: v for k, v in book.items() if (name, k) != ("bank-b", "firm 1")} for name, book in case.books.items()}
    )
    assert played(case)[1] == without.truth() != case.truth()


def test_by_default_a_withdrawn_consent_ends_the_check() -> None:
    case = CheckCase(APPLICANTS, books(SEED))
    gone = np.array([key == "firm 1" for key in case.tables["bank-b"].keys])
    case.post = {"more": {"bank-b": {"withdrawn": lambda: gone}}}
    parties = case.make().play()
    failure = parties["bank-b"].failure
    assert failure is not None
    assert failure.code is AbortCode.CONSENT
    assert parties[ASKS].state.sums is None


# ----------------------------------------------------------------------------------------------------------------- the table


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sets(st.integers(1, mersenne.P - 1), max_size=40), min_size=1, max_size=6), st.binary(max_size=8))
def test_the_sum_of_tables_comes_apart_into_the_union(lists: list[set[int]], seed: bytes) -> None:
    rng = np.random.default_rng(SEED)
    cells = cells_for(sum(map(len, lists)))
    total = np.zeros(3 * cells, np.uint64)
    for own in lists:
        keys = np.array(sorted(own), np.uint64)
        weights = mersenne.uniform(rng.integers(1, 2**61, len(keys), dtype=np.uint64))
        total = mersenne.add(total, fill(keys, weights, cells, seed))
    found = peel(total, seed)
    assert found is None or found.tolist() == sorted(set().union(*lists))


def test_tables_come_apart_at_every_size() -> None:
    rng, failed = np.random.default_rng(SEED), 0
    for number in range(30):
        keys = np.unique(mersenne.uniform(rng.integers(0, 2**64, 64 + 80 * number, dtype=np.uint64)))
        weights = mersenne.uniform(rng.integers(1, 2**61, len(keys), dtype=np.uint64))
        found = peel(fill(keys, weights, cells_for(len(keys)), bytes([number])), bytes([number]))
        failed += found is None
        assert found is None or np.array_equal(found, keys)
    print(f"{failed} of 30 tables did not come apart")
    assert failed == 0


def test_a_crafted_table_ends() -> None:
    rng = np.random.default_rng(SEED)
    cells = cells_for(100)
    assert peel(mersenne.uniform(rng.integers(0, 2**64, 3 * cells, dtype=np.uint64)), b"") is None
    assert peel(np.ones(3 * cells, np.uint64), b"") is None  # every cell looks as if it held the key 1


def test_an_inverse_is_one() -> None:
    values = np.array([1, 2, 3, mersenne.P - 1, 12_345_678_901_234_567], np.uint64)
    assert inverse(values).tolist() == [pow(int(value), -1, mersenne.P) for value in values]


@pytest.mark.parametrize(("rows", "pad", "length"), [(0, 8, 96), (1, 8, 104), (8, 8, 104), (9, 8, 112), (5, 1, 101), (928, 1_024, 1_024)])
def test_lists_are_filled_up_and_hold_probes_shared_with_each_other(rows: int, pad: int, length: int) -> None:
    assert padded(rows, pad, 4) == length


# ---------------------------------------------------------------------------------------------------------------- the counts


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_fields_add_up_side_by_side(data: st.DataObject) -> None:
    members = data.draw(st.integers(1, 33))
    caps = tuple(data.draw(st.lists(st.integers(1, 1_000), min_size=1, max_size=5)))
    try:
        fields = Fields(caps, members)
    except ConfigurationError:
        assert sum((members * cap).bit_length() for cap in caps) > 52
        return
    parts = [np.array([[data.draw(st.integers(0, cap)) for cap in caps] for _ in range(3)], np.int64) for _ in range(members)]
    total = sum(fields.pack(part, "here") for part in parts)
    assert (fields.unpack(np.asarray(total)) == sum(parts)).all()
    assert int(np.asarray(total).max()) < 2**53


def test_a_number_beyond_its_cap_is_refused_without_saying_it() -> None:
    with pytest.raises(DataError, match="1 of 2 rows") as caught:
        Fields((1, 5), 3).pack(np.array([[0, 5], [0, 777]]), "bank-b")
    assert "777" not in str(caught.value)


def test_bands_hold_their_lower_edge_and_no_loan_is_in_none() -> None:
    case = CheckCase(("x",), {name: {"x": 1.0} for name in ("bank-b", "bank-c", "bank-d")})
    amounts = {"a": 0.0, "b": 0.01, "c": 99_999.99, "d": 100_000.0, "e": 499_999.99, "f": 500_000.0, "g": float("nan")}
    rows = counted(case.manifest, "bank-b", table_of(amounts)).tolist()
    assert rows == [[0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert band_names(CheckSettings(bands=BANDS)) == ("below 100000", "100000 to 500000", "500000 and more")
    assert all(float(low) < float(high) for low, high in pairwise(case.manifest.check.bands))
    with pytest.raises(DataError, match="1 of 1 values are negative"):
        counted(case.manifest, "bank-b", table_of({"a": -5.0}))


def test_firms_are_whole_numbers() -> None:
    case = CheckCase(("x",), {name: {"x": 1.0} for name in ("bank-b", "bank-c", "bank-d")}, "shared_identity")
    assert counted(case.manifest, "bank-b", table_of({"a": 0.0, "b": 3.0, "c": float("nan")})).tolist() == [[0, 0], [1, 3], [0, 0]]
    with pytest.raises(DataError, match=r"2 of 3 values are no whole numbers") as caught:  # cut off, they would count as fewer firms
        counted(case.manifest, "bank-b", table_of({"a": 0.5, "b": 3.0, "c": 2.75}))
    assert "2.75" not in str(caught.value)


def test_a_finding_says_how_many_and_never_who() -> None:
    case = CheckCase(("x",), books(SEED, 5))
    columns = told(case.manifest, np.array([[0, 0, 0], [1, 0, 0], [2, 0, 1]]))
    assert columns.tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [3, 2, 0, 1]]
    found = findings(case.manifest, columns)
    assert [finding.flag for finding in found] == [False, False, True]
    assert found[2].reason == ("3 of the 5 other banks lend to it (2 below 100000, 1 500000 and more): at or above the limit of 3")
    assert not any(name in finding.reason for finding in found for name in case.books)
