"""A world's borrowers at several banks: each firm at one of them, uneven and unlike, and run files that are read as they stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from federation.kernel.errors import ConfigurationError
from server.run_file import load
from simulations.world import World, generate, write
from simulations.world_banks import RUNS, divide, write_banks

SEED = 7


@pytest.fixture(scope="module")
def world() -> World:
    print(f"seed {SEED}")
    return generate(firms=20_000, seed=SEED)


def test_every_firm_is_at_one_bank_and_no_cell_is_changed(world: World) -> None:
    tables = divide(world, 5)
    assert list(tables) == [f"bank-{number}" for number in range(1, 6)]
    together = pd.concat(tables.values()).set_index("id").loc[world.bank["id"]].reset_index()
    pd.testing.assert_frame_equal(together[list(world.bank)], world.bank)


def test_the_same_world_is_divided_in_the_same_way_and_another_number_otherwise(world: World) -> None:
    one, same, other = divide(world, 5), divide(world, 5), divide(world, 6)
    for name, table in one.items():
        pd.testing.assert_frame_equal(table, same[name])
        assert not table.equals(other[name])


def test_banks_are_uneven_and_differ_in_how_often_firms_default(world: World) -> None:
    tables = divide(world, 5)
    sizes = [len(table) for table in tables.values()]
    rates = [float(table["label"].mean()) for table in tables.values()]
    print(sizes, np.round(rates, 3))
    assert sizes[0] > 2 * sizes[-1] > 2 * 1000
    assert max(rates) - min(rates) > 0.03
    loans = [table["loan_amount"].median() for table in tables.values()]
    assert loans[0] > 1.2 * loans[-1], "the first likes large firms"


@pytest.mark.parametrize("banks", [3, 100])
def test_all_run_files_are_read_and_run_over_all_banks(world: World, banks: int, tmp_path: Path) -> None:
    write(world, tmp_path)
    write_banks(divide(world, banks), world.seed, tmp_path)
    for name in RUNS:
        path = tmp_path / f"banks_{name}.toml"
        found = load(path)
        assert len(found.parties) == banks
        assert path.read_text().count("[[party]]") == banks
        assert found.parties[0].exclude == (("officer_grade", "collateral") if banks > 64 else ())
        assert found.run.seed == SEED


@pytest.mark.parametrize(("banks", "says"), [(1, "3 to"), (2, "3 to"), (3000, "3 to"), (101, "20,200 firms or more")])
def test_a_number_of_banks_that_cannot_be_is_refused_with_what_would_serve(world: World, banks: int, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        divide(world, banks)
    assert says in str(caught.value)
