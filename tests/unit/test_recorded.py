"""A run's results stay where they can be found when another run leaves its own."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from clients.home import Home
from clients.recorded import INDEX, Results, kept_results, put_away, read_results, results_of
from tests.mortal import Killed

HASHES = ("aa", "bb", "cc")


def leave(home: Home, run: str, manifest: str, names: tuple[str, ...] = ("share.json", "scores.parquet")) -> None:
    """What a finished run leaves, as the node writes it."""
    put_away(home, manifest)
    for name in names:
        home.write(name, f"{name} of {manifest}")
    home.write(INDEX, msgspec.json.encode(Results(run, manifest, "", "ab", dict.fromkeys(names, "00"))))


def test_no_run_loses_its_results_to_a_later_one(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for run, manifest in zip(("march", "april", "march"), HASHES, strict=True):  # a name may be drafted again
        leave(home, run, manifest)
    assert next(found.manifest for _, found in kept_results(home)) == "cc"
    for manifest in HASHES:
        found = results_of(home, manifest)
        assert found is not None
        assert {path.name: path.read_text() for path in found[0].iterdir() if path.is_file() and path.name != INDEX} == {
            name: f"{name} of {manifest}" for name in ("share.json", "scores.parquet")
        }
    assert (tmp_path / "results" / "earlier" / "march" / "share.json").read_text() == "share.json of aa"


def test_control_without_putting_away_the_first_runs_results_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.test_recorded.put_away", lambda _home, _manifest: None)
    home = Home(tmp_path)
    leave(home, "march", "aa")
    leave(home, "april", "bb")
    assert results_of(home, "aa") is None


def test_files_that_only_the_earlier_run_had_do_not_stay_beside_the_later_ones(tmp_path: Path) -> None:
    home = Home(tmp_path)
    leave(home, "march", "aa")
    leave(home, "april", "bb", ("share.json",))
    assert not (tmp_path / "results" / "scores.parquet").exists()


@pytest.mark.parametrize("moves", range(3))
def test_killed_while_it_puts_away_the_next_process_finishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int) -> None:
    home, left = Home(tmp_path), [moves]
    leave(home, "march", "aa")
    replace = Path.replace

    def dying(path: Path, target: Path) -> Path:
        if not left[0]:
            raise Killed
        left[0] -= 1
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        with pytest.raises(Killed):
            put_away(home, "bb")
    put_away(home, "bb")
    assert read_results(home) is None
    found = results_of(home, "aa")
    assert found is not None and {path.name for path in found[0].iterdir()} == {"share.json", "scores.parquet", INDEX}
