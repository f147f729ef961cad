"""An institution without a connected node: its batches travel as files, and everything comes to the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.end_to_end.scene import World, make_world, result, simulated
from tests.exchange_scene import Office, outcomes


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("files"), 900)


def run_file(world: World) -> Path:
    return world.run_file("files", sample={"out_of_time_from": None}) if False else world.run_file("files")


@pytest.fixture(scope="module")
def inline(small: World) -> str:
    """The model hash of the same run with every node in one process."""
    simulated(run_file(small), small.folder / "inline")
    return str(result(small.folder / "inline")["model_hash"])


def test_one_party_by_files_and_two_behind_a_grid_the_result_is_the_same(small: World, inline: str, tmp_path: Path) -> None:
    office = Office(tmp_path / "office", run_file(small))
    conduct = office.conduct()
    print(conduct.cost, outcomes(office))
    assert conduct.failure is None
    assert conduct.state.model_hash.hex() == inline
