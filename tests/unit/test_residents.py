"""How many nodes a process keeps, and which of them leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clients import residents
from clients.residents import Residents


class Guest:
    """In place of a node."""

    def __init__(self, root: Path) -> None:
        self.root, self.closed = root, False

    def close(self) -> None:
        self.closed = True


def house(most: int | None, megabytes: float | None = None) -> Residents:
    kept: Any = Residents(Guest)  # type: ignore[arg-type]
    kept.most, kept.megabytes = most, megabytes
    found: Residents = kept
    return found


def test_without_a_bound_all_stay() -> None:
    kept = house(None)
    first = [kept.node(Path(str(i))) for i in range(50)]
    assert [kept.node(Path(str(i))) for i in range(50)] == first and len(kept) == 50


def test_never_more_than_the_bound_and_those_who_left_are_closed() -> None:
    kept = house(3)
    guests = [kept.node(Path(str(i))) for i in range(10)]
    assert len(kept) == 3
    assert [guest.closed for guest in guests].count(False) == 3  # type: ignore[attr-defined]
    assert not guests[-1].closed  # type: ignore[attr-defined]


def test_in_turns_most_of_those_kept_are_met_again() -> None:
    """Ten clients, room for four: who was used longest ago is due next, so it must not be the one to leave."""
    kept = house(4)
    for _ in range(5):
        for i in range(10):
            kept.node(Path(str(i)))
    assert kept.made == 10 + 4 * 7


def test_above_the_memory_one_leaves_at_each_message_and_never_the_one_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = house(None, megabytes=1e6)
    guests = [kept.node(Path(str(i))) for i in range(5)]
    monkeypatch.setattr(residents, "resident_megabytes", lambda: 2e6)
    assert kept.node(Path("4")) is guests[4] and len(kept) == 4
    assert kept.node(Path("0")) is guests[0] and len(kept) == 3
    for _ in range(9):
        kept.node(Path("0"))
    assert len(kept) == 1 and not guests[0].closed  # type: ignore[attr-defined]


def test_a_process_knows_its_memory() -> None:
    before = residents.resident_megabytes()
    block = bytearray(b"x" * 50_000_000)
    assert before == 0 or residents.resident_megabytes() > before + 30
    assert len(block) == 50_000_000
