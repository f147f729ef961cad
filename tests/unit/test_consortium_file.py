"""A consortium's file is checked once however many nodes of one process have it, and what is wrong is told of the node's own file."""

from __future__ import annotations

from pathlib import Path

import pytest

from clients import consortium
from federation.kernel import suite
from federation.kernel.errors import ConfigurationError
from federation.kernel.secret import Secret


def key(name: str) -> str:
    return suite.signing_public(Secret(suite.digest("test", name))).hex()


def test_the_same_file_in_many_homes_is_read_once_and_another_anew(tmp_path: Path) -> None:
    members = [consortium.Member(name=f"bank-{number}", key=key(f"bank-{number}"), role="bank") for number in range(40)]
    homes = [tmp_path / f"home-{number}" for number in range(30)]
    consortium._read.cache_clear()
    for home in homes:
        home.mkdir()
        consortium.write(home, key("coordinator"), members)
    assert all(consortium.read(home).members == tuple(members) for home in homes)
    assert consortium._read.cache_info().misses == 1
    consortium.write(homes[0], key("another"), members)
    assert consortium.read(homes[0]).coordinator == key("another") and consortium.read(homes[1]).coordinator == key("coordinator")
    assert consortium._read.cache_info().misses == 2


def test_what_is_wrong_is_told_of_the_nodes_own_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / consortium.FILE).write_text("coordinator = 3")
        with pytest.raises(ConfigurationError) as refused:
            consortium.read(tmp_path / name)
        assert refused.value.where == str(tmp_path / name / consortium.FILE)
