"""What a bank receives of its partners' bins is what partner_disclosure allows, whoever sends more."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import federation.models.shown as shown_at
from federation.kernel import inbox
from federation.kernel.errors import PeerError
from federation.kernel.manifest import BinningSettings
from federation.models.encoding import Woe
from federation.models.shown import Shown, ShownBin, ShownColumn, course, require_allowed
from tests.pooled_case import Firms, Played, PooledCase

PARTNERS = ("platform", "tax")
HOW_MUCH = ("direction", "edges", "full")


def played(how_much: str) -> Played:
    """A scorecard of a bank and two partners, whose bins have cut points with many digits."""
    return PooledCase(
        Firms(rows=320, columns=2, seed=4).draw(), model={"C": None, "missing": "bin"},
        privacy={"label_disclosure": True, "partner_disclosure": how_much}, others={"model": "scorecard", "binning": BinningSettings(max_bins=3)},
    ).play()  # fmt: skip


def received(how_much: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Played, bytes]:
    """A run, and the decoded bodies of all messages of which the bank is told something at the end."""
    bodies: list[bytes] = []
    real = inbox.decode  # type: ignore[attr-defined]  # where the driver looks it up

    def listening(body: bytes, kind: Any, sender: str, limit: int = 1 << 20) -> Any:
        if kind is Shown:
            bodies.append(body)
        return real(body, kind, sender, limit)

    monkeypatch.setattr(inbox, "decode", listening)
    done = played(how_much)
    assert done.finished, done.failures
    return done, b"".join(bodies)


def told(done: Played) -> dict[str, list[dict[str, Any]]]:
    """By partner the columns of its share, as the partner itself has them."""
    return {name: done.shares[name]["tables"] for name in PARTNERS}


@pytest.mark.parametrize("how_much", HOW_MUCH)
def test_nothing_of_a_partners_bins_reaches_the_bank_beyond_what_is_allowed(how_much: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done, bodies = received(how_much, monkeypatch)
    names = [row["label"] for tables in told(done).values() for table in tables for row in table["bins"] if "inf" not in row["label"]]
    found = sum(name.encode() in bodies for name in names if name not in ("missing", "absent"))
    counts = [row.rows for told in done.state("bank").shown.values() for column in told.columns for row in column.bins]
    print(f"{how_much}: {found} of {len(names)} names of bins, {sum(n is not None for n in counts)} counts")
    assert len(names) > 4
    assert (found > 0) is (how_much != "direction")
    assert any(n is not None for n in counts) is (how_much == "full")
    assert not any(str(point).encode() in bodies for share in PARTNERS for point in points(done, share))


def points(done: Played, name: str) -> list[float]:
    """Exact points and coefficients, which nobody is shown."""
    share = done.shares[name]
    return [exact for part in share["points"]["characteristics"] for exact in part["exact"]] + list(share["standardized"].values())


def test_control_with_full_disclosure_every_cut_point_and_count_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    done, bodies = received("full", monkeypatch)
    for name, tables in told(done).items():
        mine = {column.column: column for column in done.state("bank").shown[name].columns}
        kept = {part["column"] for part in done.shares[name]["encoding"]["columns"]}
        assert set(mine) == kept
        for table in tables:
            if table["column"] in kept:
                assert [row.label for row in mine[table["column"]].bins] == [row["label"] for row in table["bins"]]
                assert [row.woe for row in mine[table["column"]].bins] == [row["woe"] for row in table["bins"]]
    assert bodies


@pytest.mark.parametrize("allowed", ["direction", "edges"])
def test_a_partner_that_shows_more_ends_the_run(allowed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loose(monkeypatch)
    done = played(allowed)
    assert isinstance(done.failures["bank"], PeerError)
    assert done.state("bank").shown == {}


def test_control_a_bank_that_does_not_look_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    loose(monkeypatch)
    monkeypatch.setattr(shown_at, "require_allowed", lambda *_: None)
    done = played("direction")
    assert done.finished
    assert any(column.bins for told in done.state("bank").shown.values() for column in told.columns)


def loose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partners that show all they have, whatever was signed."""
    real = shown_at.shown

    def all_of_it(manifest: Any, encoded: Any, theta: Any) -> Shown:
        privacy = msgspec.structs.replace(manifest.privacy, partner_disclosure="full")
        return real(msgspec.structs.replace(manifest, privacy=privacy), encoded, theta)

    monkeypatch.setattr(shown_at, "shown", all_of_it)


def test_a_column_twice_and_figures_out_of_range_are_refused() -> None:
    privacy = {"partner_disclosure": "full"}
    manifest, mine = PooledCase(Firms(rows=20).draw(), privacy=privacy).manifest, "tax0"
    wrong = (
        (ShownColumn(mine, "rises"),) * 2, (ShownColumn(mine, "rises", (ShownBin("a", woe=float("nan")),)),),
        (ShownColumn(mine, "rises", (ShownBin("a"),) * 1_001),),
    )  # fmt: skip
    for columns in wrong:
        with pytest.raises(PeerError):
            require_allowed(manifest, "tax", Shown(columns))
    require_allowed(manifest, "tax", Shown((ShownColumn(mine, "rises"),)))


def test_risk_runs_as_the_points_do() -> None:
    done = played("direction")
    for name in PARTNERS:
        courses = {column.column: column.risk for column in done.state("bank").shown[name].columns}
        encoded, fit = done.state(name).encoded, done.fit(name)
        assert encoded is not None
        for part, theta in zip(encoded.encoding.columns, fit.theta, strict=True):
            assert isinstance(part, Woe)
            way = [theta * value for value in part.values[: part.bins.ordinary]]
            expected = "rises" if way == sorted(way) else "falls" if way == sorted(way, reverse=True) else "mixed"
            assert courses[part.column] == expected == course(part, fit.theta[[list(courses).index(part.column)]])


def test_of_columns_without_bins_the_direction_is_told() -> None:
    done = PooledCase(Firms(rows=320, columns=2, levels=True, seed=4).draw(), privacy={"partner_disclosure": "full"}).play()
    assert done.finished, done.failures
    columns = done.state("bank").shown["tax"].columns
    assert {column.risk for column in columns[:2]} <= {"rises", "falls"} and columns[2].risk == "no order"
    assert not any(column.bins for column in columns)
