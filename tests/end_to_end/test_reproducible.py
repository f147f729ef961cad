"""The same manifest and the same data give the same model: on one core and two, in any order of rows, and through kill -9.

What is compared is `model_hash`, over every party's share rounded to ten digits.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.end_to_end.scene import World, creditfed, finish, killed_after, result, sessions, simulated, start

KILLS = (1, 2, 5, 11, 18, 28)
FEWER = (2, 11, 50)
"""FEWER is for the quick tests. The run is killed when this many exchanges have been put into its outbox since it (re)started."""


@pytest.mark.parametrize("cores", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_one_core_and_two_give_the_same_model(cores: int, world: World, logistic: Path) -> None:
    """1 of 2 in the quick tests: the run that it is compared with has all cores."""
    out, threads = world.folder / f"cores-{cores}", str(cores)
    prefix = ("taskset", "-c", "0" if cores == 1 else "0,1")
    settings = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    answer = finish(start("simulate", world.run_file("logistic"), "--out", out, prefix=prefix, **settings))
    assert answer.code == 0, answer.err
    assert result(out)["model_hash"] == result(logistic)["model_hash"]


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_shuffled_rows_give_the_same_model(seed: int, tmp_path: Path, world: World, logistic: Path) -> None:
    """1 of 2 orders in the quick tests."""
    print(f"shuffled with seed {seed}")
    random = np.random.default_rng(seed)
    shuffled = World(tmp_path, {name: table.iloc[random.permutation(len(table))] for name, table in world.tables.items()})
    for name, table in shuffled.tables.items():
        assert list(table.id) != list(world.tables[name].id)
        table.to_parquet(tmp_path / f"{name}.parquet", index=False)
    document = simulated(shuffled.run_file("logistic"), tmp_path / "out")
    assert document["model_hash"] == result(logistic)["model_hash"]
    assert document["model"]["coefficients"] == result(logistic)["model"]["coefficients"]
    assert document["metrics"] == result(logistic)["metrics"]


def test_control_one_changed_value_gives_another_model(tmp_path: Path, world: World, logistic: Path) -> None:
    changed = World(tmp_path, {name: table.copy() for name, table in world.tables.items()})
    changed.tables["tax"].loc[changed.tables["tax"].id.isin(world.tables["bank"].id).idxmax(), "void_share"] = 0.9
    for name, table in changed.tables.items():
        table.to_parquet(tmp_path / f"{name}.parquet", index=False)
    assert simulated(changed.run_file("logistic"), tmp_path / "out")["model_hash"] != result(logistic)["model_hash"]


# -- kill -9 --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kills", [FEWER, pytest.param(KILLS, marks=pytest.mark.slow)], ids=str)
def test_a_run_killed_again_and_again_goes_on_to_the_same_model(
    kills: tuple[int, ...], tmp_path: Path, world: World, logistic: Path
) -> None:
    """Killed three times (six in the slow test), at exchanges in the opening, the alignment, the encoding and the fit; one session from first to last."""
    run_file, out = world.run_file("logistic"), tmp_path / "out"
    journals = out / "parties" / "bank" / "journal"
    for exchanges in kills:
        assert killed_after(exchanges, run_file, out), "it was over before it could be killed"
        print(f"killed after {exchanges} exchanges")
        assert not (out / "result.json").exists() and list(journals.glob("*.db"))
    document = simulated(run_file, out, "--journal", "disk")
    assert document["model_hash"] == result(logistic)["model_hash"]
    assert document["metrics"] == result(logistic)["metrics"]
    assert document["cost"]["messages"]["bank"] >= result(logistic)["cost"]["messages"]["bank"], "what was sent before a kill is counted"
    assert len(sessions(out)) == 1
    whole = json.loads((logistic / "coordinator" / "conduct.json").read_text())["exchanges"]
    assert sum(kills) - len(kills) > whole / 2, "the last kill was in the midst of the fit"
    assert not list(out.rglob("journal/*.db")) and not list(out.rglob("*.outbox")), "the session's secrets are forgotten at its end"


@pytest.mark.slow
def test_data_changed_between_kill_and_resume_are_noticed(tmp_path: Path, world: World) -> None:
    for name, table in world.tables.items():
        table.to_parquet(tmp_path / f"{name}.parquet", index=False)
    mine = World(tmp_path, world.tables)
    run_file, out = mine.run_file("logistic"), tmp_path / "out"
    assert killed_after(9, run_file, out)
    table: pd.DataFrame = world.tables["tax"].copy()
    table.loc[table.index[0], "void_share"] = 0.9
    table.to_parquet(tmp_path / "tax.parquet", index=False)
    answer = creditfed("simulate", run_file, "--out", out, "--journal", "disk")
    assert answer.code == 5 and "not those that this run began with" in answer.err and "Traceback" not in answer.err
    assert not (out / "result.json").exists()
    assert simulated(run_file, out, "--journal", "disk")["converged"], "and the next run is a new one"


@pytest.mark.slow
def test_control_a_run_that_is_over_is_not_gone_on_with(tmp_path: Path, world: World, logistic: Path) -> None:
    """The same command again opens another session, and comes to the same model."""
    run_file, out, before = world.run_file("logistic"), tmp_path / "out", set()
    for _ in range(2):
        document = simulated(run_file, out, "--journal", "disk")
        assert document["model_hash"] == result(logistic)["model_hash"]
        before |= sessions(out)
    assert len(before) == 2
