"""Nothing of a run whose time is over is left on disk, the log proves it, and a node killed in between finishes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from clients.retention import Retention
from federation.kernel.errors import ConfigurationError
from privacy.retention import DAYS, KINDS, Item, overdue, schedule
from tests.adversary.test_approval import NOW, House, opened

CANARY = b"canary of a run that is over"


class Killed(BaseException):
    """kill -9: nothing is tidied up."""


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A bank whose run has ended, with a canary in every file that the run left."""
    house = House(tmp_path / "bank", monkeypatch)
    made = opened(house)
    for name in ("share.json", "metrics.json", "curves.json", "bins.toml", "scores.parquet", "alignment.npz"):
        house.node.home.write(name, CANARY + name.encode())
    house.node.gate.ended(made, None, session="", model="ab")
    house.node.close()
    for path in (house.root / "journal").iterdir():
        path.write_bytes(path.read_bytes() + CANARY)
    house.restart()
    return house


def left(house: House) -> list[str]:
    return sorted(str(p.relative_to(house.root)) for p in house.root.rglob("*") if p.is_file() and CANARY in p.read_bytes())


def later(house: House, days: int) -> None:
    house.now = (dt.datetime.fromisoformat(NOW) + dt.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_nothing_goes_before_its_time_and_each_kind_goes_on_its_day(house: House) -> None:
    before = left(house)
    assert len(before) >= 8
    later(house, 13)
    assert house.node.gate.retention.apply() == () and left(house) == before
    later(house, 14)  # level 3: journals
    assert {due.item.kind for due in house.node.gate.retention.apply()} == {"journal"}
    assert not [name for name in left(house) if name.startswith("journal/")]
    later(house, 730)
    house.node.gate.retention.apply()
    assert [name for name in left(house) if "scores" in name or "alignment" in name] == []
    assert [name for name in left(house) if "share" in name]
    later(house, 3650)
    house.node.gate.retention.apply()
    assert left(house) == []
    assert house.node.gate.releases.history() == ()
    assert not (house.root / "approvals" / "test.json").exists()
    assert house.node.gate.retention.planned() == ()


def test_control_without_deletion_the_canaries_are_all_there(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    before = left(house)
    monkeypatch.setattr(Retention, "_finish", lambda _: None)
    later(house, 3650)
    house.node.gate.retention.apply()
    assert left(house) == before


def test_the_log_says_what_went_by_which_rule_and_that_it_was_done(house: House) -> None:
    later(house, 3650)
    due = house.node.gate.retention.apply()
    told = [entry for entry in house.node.gate.log.entries() if entry.kind == "retention"]
    assert [entry.facts["step"] for entry in told] == ["due", "done"] * len(due)
    assert {entry.facts["what"] for entry in told} == set(KINDS)
    assert all(first.facts["digest"] == second.facts["digest"] for first, second in zip(told[::2], told[1::2], strict=True))
    assert "days after the run's end" in str(told[0].facts["rule"])


@pytest.mark.parametrize("place", range(6))
def test_killed_at_any_place_it_is_finished_at_the_next_look(house: House, monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    later(house, 3650)
    calls = {"count": 0}

    def dying(name: str) -> None:
        real = getattr(Path, name)

        def act(path: Path, *arguments: object, **named: object) -> object:
            if calls["count"] == place:
                raise Killed
            calls["count"] += 1
            return real(path, *arguments, **named)

        monkeypatch.setattr(Path, name, act)

    dying("unlink")
    with pytest.raises(Killed):
        house.node.gate.retention.apply()
    monkeypatch.undo()
    monkeypatch.setattr("clients.gate.utc_now", lambda: house.now)
    house.restart()
    house.node.gate.retention.apply()
    assert left(house) == []
    assert not (house.root / "retention" / "under-way").exists()


def test_a_run_that_is_under_way_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path / "bank", monkeypatch)
    opened(house)
    later(house, 20)
    assert house.node.gate.retention.apply() == ()
    assert house.hello().envelopes


def test_the_higher_the_level_the_sooner_and_an_institutions_own_days_come_first() -> None:
    assert all(list(days) == sorted(days, reverse=True) for days in DAYS.values())
    items = [Item("scores", "r", level, dt.date(2026, 1, 1)) for level in (1, 5)]
    assert [due.item.level for due in schedule(items, {})] == [5, 1]
    assert [due.on for due in schedule(items, {"scores": 3})] == [dt.date(2026, 1, 4)] * 2
    assert len(overdue(schedule(items, {"scores": 3}), dt.date(2026, 1, 3))) == 0
    for wrong in ({"score": 3}, {"scores": -1}, {"scores": 10**6}):
        with pytest.raises(ConfigurationError):
            schedule(items, wrong)
