"""Nothing of a run whose time is over is left on disk, the log proves it, and a node killed in between finishes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from clients.recorded import Results, put_away
from clients.retention import Retention
from clients.retention_commands import retention_app
from federation.kernel import suite
from federation.kernel.errors import ConfigurationError, DataError
from privacy.audit.verify import verify
from privacy.retention import DAYS, KINDS, Item, overdue, schedule
from privacy.store.audit_folder import find
from privacy.store.releases import ReleaseFile
from server.drafts import Drafts
from tests.house import NOW, House
from tests.mortal import Killed
from tests.post import manifest

CANARY = b"canary of a run that is over"


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A bank whose run has ended, with a canary in every file that the run left."""
    house = House(tmp_path / "bank", monkeypatch)
    made = house.opened()
    for name in ("share.json", "metrics.json", "curves.json", "bins.toml", "scores.parquet", "alignment.npz"):
        house.node.home.write(name, CANARY + name.encode())
    house.node.gate.ended(made, None, session="", model="ab")
    house.node.close()
    for path in (house.root / "journal").iterdir():
        path.write_bytes(path.read_bytes() + CANARY)
    for name in ("results/scores.parquet", "journal/test.consented", "approvals/test.json"):
        (house.root / f"{name}.partial").write_bytes(CANARY)  # what a node leaves that was killed while it wrote
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


def test_another_day_than_today_deletes_nothing_until_it_is_said_again(house: House) -> None:
    before = left(house)
    words = ["apply", "--home", str(house.root), "--now", "2099-01-01"]
    shown = CliRunner().invoke(retention_app, words).output
    assert "would be deleted: journal" in shown and "Nothing was deleted" in shown and left(house) == before
    assert "deleted: journal" in CliRunner().invoke(retention_app, [*words, "--yes"]).output and left(house) == []


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
    assert {entry.facts["what"] for entry in told} == set(KINDS) - {"audit"}
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
    house.opened()
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


def test_what_was_begun_is_finished_when_the_node_starts(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    later(house, 3650)
    monkeypatch.setattr(Retention, "_finish", lambda _: None)
    house.node.gate.retention.apply()
    monkeypatch.undo()
    monkeypatch.setattr("clients.gate.utc_now", lambda: house.now)
    before = left(house)
    house.restart()
    assert len(left(house)) < len(before)
    assert [e.facts["step"] for e in house.node.gate.log.entries() if e.kind == "retention"][-1] == "done"


def test_no_hash_of_a_forgotten_runs_rows_is_left_in_the_file_and_control_plain_deletion_leaves_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for secure in (True, False):
        house = House(tmp_path / f"bank {secure}", monkeypatch)
        made = house.opened()
        house.node.gate.ended(made, None, session="", model="ab")
        if not secure:
            real = ReleaseFile._connect

            def careless(file: ReleaseFile, real: Any = real) -> Any:
                db = real(file)
                db.execute("PRAGMA secure_delete = OFF")
                return db

            monkeypatch.setattr(ReleaseFile, "_connect", careless)
        pieces = [value.tobytes() for value in house.node.gate.releases.hashes([f"firm{i}" for i in range(60)]).astype("<u8")]
        path = house.root / "releases" / "releases.sqlite"
        assert sum(piece in path.read_bytes() for piece in pieces) == 60
        later(house, 3650)
        house.node.gate.retention.apply()
        raw = b"".join(each.read_bytes() for each in (house.root / "releases").iterdir())
        found[secure] = sum(piece in raw for piece in pieces)
    print(f"hashes of 60 rows left: {found[True]}; without secure deletion {found[False]}")
    assert found[True] == 0 < found[False]


def long_log(house: House, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A log of many small segments; the first entries of each."""
    log = house.node.gate.log
    monkeypatch.setattr(log, "_limit", 2_000)
    for _ in range(60):
        log.append("configuration", "", change="nothing")
    log.head()
    return find(house.root).segments()


class _DiesOnce:
    """In the place of a method: dies at the first call, when the work is done and nobody was told, and works from then on."""

    def __init__(self, real: Any) -> None:
        self.real, self.count = real, 0

    def __get__(self, it: Retention, _: type) -> Any:
        def act(names: tuple[str, ...]) -> None:
            self.real(it, names)
            self.count += 1
            if self.count == 1:
                raise Killed

        return act


def test_old_segments_of_the_log_go_and_what_is_left_verifies(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    segments = long_log(house, monkeypatch)
    assert len(segments) > 3
    later(house, 3649)
    house.node.gate.retention.apply()
    assert find(house.root).segments()[0] == 0
    later(house, 3650)
    monkeypatch.setattr(Retention, "_cut_log", _DiesOnce(Retention._cut_log))
    with pytest.raises(Killed):
        house.node.gate.retention.apply()
    house.restart()
    house.node.gate.retention.apply()
    report = verify(find(house.root).log("bank"), {suite.signing_public(house.node.identity)})
    assert report.sound and report.start >= segments[-2], report.findings
    assert not [first for first in segments[:-2] if (house.root / "audit" / f"{first:012d}.jsonl").exists()]


def test_control_a_segment_that_is_merely_unlinked_breaks_the_log(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    long_log(house, monkeypatch)
    monkeypatch.setattr(Retention, "_cut_log", lambda *_: None)
    later(house, 3650)
    house.node.gate.retention.apply()
    assert not verify(find(house.root).log("bank"), {suite.signing_public(house.node.identity)}).sound


def test_segments_go_in_their_order() -> None:
    since = dt.date(2026, 1, 1)
    items = [Item("audit", f"entries {n} to {n + 8}", 1, since, (f"audit/{n:012d}.jsonl",)) for n in (105, 0, 24, 1_000)]
    assert [due.item.files[0][6:18] for due in schedule(items, {})] == [f"{n:012d}" for n in (0, 24, 105, 1_000)]


def test_a_proposal_stays_while_anything_else_of_its_run_does() -> None:
    since = dt.date(2026, 1, 1)
    names: tuple[tuple[Any, str, str], ...] = (("proposal", "r", "aa"), ("scores", "r", "aa"), ("proposal", "q", "bb"))
    items = [Item(kind, run, 3, since, (run,), digest) for kind, run, digest in names]
    dues = schedule(items, {"proposal": 1, "scores": 50})
    assert [(due.item.kind, due.item.run, due.on.isoformat()) for due in dues] == [
        ("proposal", "q", "2026-01-02"), ("scores", "r", "2026-02-20"), ("proposal", "r", "2026-02-20"),
    ]  # fmt: skip


def test_results_of_an_earlier_run_go_on_its_day_though_a_later_one_failed(house: House) -> None:
    made = next(house.node.gate.retention._manifests())
    house.node.home.write("run.json", msgspec.json.encode(Results(made.run, made.hash.hex(), "", "ab", {})))
    later(house, 20)
    failed = house.drafted(run="other")
    house.vote(failed.hash)
    house.open(failed)
    house.node.gate.ended(failed, DataError("bank", "failed", "-"))
    later(house, 730)
    house.node.gate.retention.apply()
    assert not (house.root / "results" / "scores.parquet").exists() and (house.root / "results" / "share.json").exists()


def test_results_that_a_later_run_has_put_away_go_on_their_own_day(house: House) -> None:
    made = next(house.node.gate.retention._manifests())
    files = dict.fromkeys(("share.json", "scores.parquet", "alignment.npz"), "00")
    house.node.home.write("run.json", msgspec.json.encode(Results(made.run, made.hash.hex(), "", "ab", files)))
    put_away(house.node.home, "00" * 32)
    folder = house.root / "results" / "earlier" / made.run
    later(house, 730)
    house.node.gate.retention.apply()
    assert not (folder / "scores.parquet").exists() and (folder / "share.json").exists()
    later(house, 3650)
    house.node.gate.retention.apply()
    assert not folder.exists()


def test_the_coordinator_forgets_drafts_and_sessions_of_runs_that_have_expired(tmp_path: Path) -> None:
    told: list[str] = []
    drafts = Drafts(tmp_path / "drafts", told.append)
    for folder in ("drafts", "journal"):
        (tmp_path / folder).mkdir()
    for run, expires in (("old", "2026-01-01T00:00:00Z"), ("new", "2027-01-01T00:00:00Z")):
        made = msgspec.structs.replace(manifest("bank", "tax", "platform"), run=run, expires=expires)
        kept = msgspec.json.encode({"made_from": b"", "manifest": made.canonical()})
        (tmp_path / "drafts" / f"{run}.json").write_bytes(kept)
        for suffix in (".db", ".db-wal", ".outbox"):
            (tmp_path / "journal" / f"{run}{suffix}").write_bytes(CANARY)
    drafts._forget_expired(dt.datetime(2026, 6, 1, tzinfo=dt.UTC))
    assert told == ["old"]
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["new.db", "new.db-wal", "new.json", "new.outbox"]


def test_the_command_takes_a_day_and_the_log_says_that_it_was_given(house: House) -> None:
    shown = CliRunner().invoke(retention_app, ["show", "--home", str(house.root)])
    assert shown.exit_code == 0 and "journal" in shown.output
    wrong = CliRunner().invoke(retention_app, ["apply", "--home", str(house.root), "--now", "soon"])
    assert isinstance(wrong.exception, ConfigurationError)
    done = CliRunner().invoke(retention_app, ["apply", "--home", str(house.root), "--now", "2026-06-01", "--yes"])
    assert "deleted: journal of test" in done.output
    due = [e for e in house.node.gate.log.entries() if e.kind == "retention" and e.facts["step"] == "due"]
    assert {e.facts["day_given"] for e in due} == {"2026-06-01"}
