"""Runs that several tests look at are made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.scene import World, make_world, simulated


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A small world."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def logistic(world: World) -> Path:
    """The folder of a logistic run, with the pooled reference."""
    out = world.folder / "logistic"
    simulated(world.run_file("logistic"), out, "--pooled")
    return out


@pytest.fixture(scope="session")
def scorecard(world: World) -> Path:
    """The folder of a scorecard run, with the pooled reference."""
    out = world.folder / "scorecard"
    simulated(world.run_file("scorecard", "scorecard"), out, "--pooled")
    return out


@pytest.fixture(scope="session")
def binning(world: World) -> Path:
    """The folder of a binning run."""
    out = world.folder / "binning"
    simulated(world.run_file("binning", "scorecard", "binning"), out)
    return out
