"""An institution without a connected node: its batches travel as files, and everything comes to the same."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import clients.exchange
import server.file_post
from clients.exchange import Exchange
from federation.carriage.mailbox import Parcel
from privacy.audit.compare import account, compare, verify_together
from privacy.audit.lines import entries
from privacy.store.audit_folder import find
from privacy.store.durable import put
from server.app import Conduct
from simulations.founding import simulated as node_at
from tests.end_to_end.scene import World, creditfed, finish, logged, make_world, result, simulated, start
from tests.end_to_end.test_agency_consent import run_file as with_agency
from tests.exchange_scene import Office, names, outcomes
from tests.mortal import Killed

COLUMNS = {"bank": ["utilisation"], "platform": ["gmv_growth"], "tax": ["void_share"]}

CHANGES: dict[str, Any] = {f"party_{name}": {"include": include} for name, include in COLUMNS.items()}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("files"), 900)


def run_file(world: World) -> Path:
    """A logistic run over one column of each party: forty batches."""
    return world.run_file("files", **CHANGES)


@pytest.fixture(scope="module")
def inline(small: World) -> Path:
    """The folder of the same run with every node in one process."""
    simulated(run_file(small), small.folder / "inline", "--journal", "disk")
    return small.folder / "inline"


def model(inline: Path) -> str:
    return str(result(inline)["model_hash"])


def fine(conduct: Conduct, inline: Path) -> None:
    assert conduct.failure is None
    assert conduct.state.model_hash.hex() == model(inline)


# -- the same run -----------------------------------------------------------------------------------------------------------------------


def test_one_party_by_files_and_two_behind_a_grid_come_to_the_same(small: World, inline: Path, tmp_path: Path) -> None:
    """The institution's node is there between two trips of the courier and at no other time."""
    office = Office(tmp_path / "office", run_file(small))
    conduct = office.conduct()
    print(f"{conduct.cost.exchanges} exchanges, {office.waited} trips, {conduct.cost.bytes_sent}, {outcomes(office)}")
    fine(conduct, inline)
    assert outcomes(office) == {"answered": conduct.cost.messages["tax"]} and office.waited == conduct.cost.messages["tax"]
    assert names(office.out) == names(office.into) == {}, "nothing is left to carry"

    def told(lines: Any) -> Counter[str]:
        return Counter(entry.kind for entry in entries(lines))

    logs = office.home / "audit"
    there, here = Counter(entry.kind for entry in logged(inline, "tax")), told(find(logs).lines())
    assert here == there, "the audit log says the same as over the wire"
    logged_by = [find(home).log(name) for name, home in office.homes.items()]
    reports = verify_together(logged_by)
    told_of = [account(log, report, office.run) for log, report in zip(logged_by, reports, strict=True)]
    assert all(one.of("sent") for one in told_of)
    assert compare(told_of) == (), "a process for each trip makes messages again, and logs those that were sent"
    node = node_at(office.home)
    assert Exchange(node).standing() == {office.run: "finished"}
    journals = [due.item.files for due in node.gate.retention.planned() if due.item.kind == "journal"]
    node.close()
    assert any(f"exchange/{office.run}.answer" in files for files in journals), "it goes with the run's journal"


@pytest.mark.slow
def test_a_courier_that_hoards_and_carries_everything_again_and_again_changes_nothing(small: World, inline: Path, tmp_path: Path) -> None:
    """All that was ever put out is in both folders at each trip, in the order of its names, with halves of files among it."""
    hoards: tuple[dict[str, bytes], dict[str, bytes]] = ({}, {})

    def hoarding(office: Office) -> None:
        for hoard, source, target in ((hoards[0], office.out, office.node_in), (hoards[1], office.node_out, office.into)):
            if source == office.node_out:
                office.answer()
            hoard.update(names(source))
            for name, raw in hoard.items():
                (target / name).write_bytes(raw)
                (target / f"half-{name}").write_bytes(raw[: len(raw) // 2])

    office = Office(tmp_path / "office", run_file(small), courier=hoarding)
    conduct = office.conduct()
    fine(conduct, inline)
    print(office.rounds[-1].ignored, outcomes(office))
    assert outcomes(office)["answered"] == conduct.cost.messages["tax"] == len(hoards[1])
    assert office.rounds[-1].ignored["of a step gone by"] == conduct.cost.messages["tax"] - 2, "all but the last, and the one before it"


@pytest.mark.slow
def test_an_agency_by_files_which_holds_consents_comes_to_the_same(tmp_path: Path) -> None:
    """Its statements, their acknowledgements and the word that the run is over travel as files, too."""
    file = with_agency(tmp_path / "files")
    office = Office(tmp_path / "office", file, by_files="agency-a")
    conduct = office.conduct()
    simulated(file, tmp_path / "inline")
    fine(conduct, tmp_path / "inline")
    asked = {done.operation for round_ in office.rounds for done in round_.done}
    assert asked == {"describe", "propose", "open", "consents", "heard", "deliver", "close"}
    assert outcomes(office) == {"answered": office.waited}


# -- kills ------------------------------------------------------------------------------------------------------------------------------


class Axe:
    """Dies at one step of those that touch a folder, and at no other; then everything stands still until it is lifted.

    A write has three: before it, with half of it in the way that `put` leaves it, and after it. Removing has two.
    """

    def __init__(self) -> None:
        self.left, self.steps, self.dead = -1, 0, False

    def swing(self, at: int) -> None:
        self.left, self.steps, self.dead = at, 0, False

    def step(self, half: Callable[[], object] = lambda: None) -> None:
        self.steps += 1
        if self.left == 0:
            self.dead = True
            half()
        if self.dead:
            raise Killed
        self.left -= 1

    def put(self, path: Path, content: bytes, mode: int = 0o600) -> Path:
        partial = path.with_suffix(path.suffix + ".partial")
        self.step()
        self.step(lambda: partial.write_bytes(content[: len(content) // 2]) if path.parent.exists() else None)
        put(path, content, mode)
        self.step()
        return path

    def unlink(self, path: Path, missing_ok: bool = False) -> None:
        self.step()
        _UNLINK(path, missing_ok=missing_ok)
        self.step()


_UNLINK = Path.unlink


def seen(folder: Path, before: dict[str, bytes]) -> int:
    """Note a folder's sealed files; how many of them had other bytes under the same name."""
    now = {name: raw for name, raw in names(folder).items() if name.endswith(".sealed")}
    changed = sum(before.get(name, raw) != raw for name, raw in now.items())
    before.update(now)
    return changed


def test_an_exchange_killed_at_every_step_goes_on_to_the_same_bytes_and_the_same_result(
    small: World, inline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    axe, kills, changed, given = Axe(), Counter[tuple[str, int]](), [0], dict[str, bytes]()
    monkeypatch.setattr(clients.exchange, "put", axe.put)
    monkeypatch.setattr(clients.exchange, "_discard", lambda path: axe.unlink(path, missing_ok=True))

    places = [(write, part) for write, parts in (("kept", 3), ("given", 3), ("tidied", 2)) for part in range(parts)]

    def deadly(office: Office) -> None:
        """At every third question a process dies at each place: what went before it was done by those that died before."""
        office.fetch()
        for place in places if office.waited % 3 == 0 else ():
            axe.swing(place[1])
            try:
                office.answer()
            except Killed:
                kills[place] += 1
            changed[0] += seen(office.node_out, given)
        axe.swing(-1)
        office.answer()
        changed[0] += seen(office.node_out, given)
        office.bring()

    office = Office(tmp_path / "office", run_file(small), courier=deadly)
    conduct = office.conduct()
    print(f"killed {kills.total()} times, by step: {dict(kills)}; {changed[0]} of {len(given)} answers changed")
    fine(conduct, inline)
    assert changed == [0] and len(given) == conduct.cost.messages["tax"]
    assert set(kills) == set(places) and min(kills.values()) >= 12


def test_control_an_answer_that_is_kept_after_it_was_given_out_changes_when_killed_in_between(
    small: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weakened copy gives first and keeps then; a kill in between, and one question has two answers."""
    office = Office(tmp_path / "office", run_file(small))
    given: dict[str, bytes] = {}
    late: list[tuple[Path, bytes]] = []

    def later(path: Path, content: bytes, mode: int = 0o600) -> Path:
        if path.suffix == ".answer":
            late.append((path, content))
            return path
        put(path, content, mode)
        raise Killed

    office.post().send({"tax": Parcel("describe", office.run, b"")})
    office.fetch()
    monkeypatch.setattr(clients.exchange, "put", later)
    changed = 0
    for _ in range(2):
        with pytest.raises(Killed):
            office.answer()
        changed += seen(office.node_out, given)
    assert changed == 1


@pytest.mark.slow
def test_a_coordinator_killed_at_every_step_goes_on_to_the_same_result(
    small: World, inline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it writes and tidies its folders, and while it waits, before and after the courier has come; each process dies once."""
    axe, deaths, conduct = Axe(), Counter[str](), None
    monkeypatch.setattr(server.file_post, "put", axe.put)

    def inside(path: Path) -> bool:
        return path.parent in (office.out, office.into)

    def waits(office: Office) -> None:
        axe.step()
        office.move()
        axe.step()

    office = Office(tmp_path / "office", run_file(small), courier=waits)
    monkeypatch.setattr(
        Path, "unlink", lambda path, missing_ok=False: axe.unlink(path, missing_ok) if inside(path) else _UNLINK(path, missing_ok)
    )
    for at in (*range(14), 30, 61, 97):
        axe.swing(at)
        try:
            conduct = office.conduct()
        except Killed:
            deaths[str(at)] += 1
        else:
            break
    if conduct is None:
        axe.swing(1 << 30)
        conduct = office.conduct()
    print(f"killed {deaths.total()} times at steps {', '.join(deaths)}; {outcomes(office)}")
    fine(conduct, inline)
    assert deaths.total() == 17 and names(office.out) == {}
    assert len(names(office.into)) <= 17, "what answers a question that a killed process had asked is left, and ignored"


def test_after_a_restart_an_answer_that_is_under_way_still_counts(small: World, tmp_path: Path) -> None:
    """Also where the courier took the question away: it is put out again as it was."""
    office = Office(tmp_path / "office", run_file(small))
    parcel = Parcel("describe", office.run, b"")
    office.post().send({"tax": parcel})
    first = names(office.out)
    office.trip()
    shutil.rmtree(office.out)
    office.out.mkdir()
    again = office.post()
    again.send({"tax": parcel})
    assert names(office.out) == first and set(again.collect()) == {"tax"}


@pytest.mark.slow
def test_the_command_killed_again_and_again_over_a_folder_that_both_use(small: World, inline: Path, tmp_path: Path) -> None:
    """`creditfed node exchange --watch` in a process of its own, whose people must vote, and which is killed -9 every few trips."""
    file = small.run_file("files-people", **(CHANGES | {"party_tax": {"include": COLUMNS["tax"], "approval": "people"}}))
    office = Office(tmp_path / "office", file)
    words = ("node", "exchange", "--in", office.out, "--out", office.into, "--home", office.home, "--watch", "0.05")
    processes = [start(*words)]
    kills, voted = [0], list[str]()

    def wait(_: Office) -> None:
        time.sleep(0.05)
        exited = processes[-1].poll() is not None
        if exited or (office.waited % 23 == 0 and kills[0] < 6):
            processes[-1].kill()
            finish(processes[-1])
            kills[0] += not exited
            processes.append(start(*words))

    def waiting(who: tuple[str, ...]) -> None:
        assert who == ("tax",)
        for owner in ("owner-1", "owner-2"):
            answer = creditfed("node", "approve", office.run, "--yes", "--as", owner, "--home", office.home)
            assert answer.code == 0, answer.err
        voted.append(answer.out)

    office.courier = wait
    try:
        conduct = office.conduct(waiting=waiting)
    finally:
        processes[-1].kill()
        finish(processes[-1])
    print(f"killed {kills[0]} times, {len(voted)} votes")
    fine(conduct, inline)
    assert kills[0] == 6 and len(voted) == 1
