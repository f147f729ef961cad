"""Checks across institutions give exact counts, to the institution that asks and to nobody else."""

from __future__ import annotations

import pytest

from tests.check_scene import CheckCase, books, played

SEED = 20_261_130
APPLICANTS = (*(f"firm {number}" for number in range(20)), "nobody knows")


@pytest.mark.parametrize("task", ["multi_lender", "shared_identity"])
@pytest.mark.parametrize("banks", [3, 7])
def test_counts_equal_those_of_all_books_side_by_side(task: str, banks: int) -> None:
    some = books(SEED, banks)
    if task == "shared_identity":
        some = {name: {key: int(amount) % 7 for key, amount in book.items()} for name, book in some.items()}
    case = CheckCase(APPLICANTS, some, task)
    _, answer = played(case)
    assert answer == case.truth()
    assert len(set(answer.values())) > 3
    assert answer["nobody knows"] == (0,) * len(answer["nobody knows"])
