"""`creditfed node init --source` takes a file, a folder or a database, and `creditfed node source` shows what a run would open."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from clients.node_commands import app
from clients.party_config import PartyConfig
from federation.kernel.errors import ConfigurationError, CreditfedError, DataError
from tests.source_scene import KINDS, source
from tests.vault_scene import frame, saved


def creditfed(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def founded(where: Any, home: Path, *more: str) -> Result:
    given = [where] if isinstance(where, str) else [where["url"], "--table", where["table"]]
    return creditfed("init", "--name", "bank-a", "--role", "bank", "--label", "label", "--home", home, "--source", *given, *more)


@pytest.mark.parametrize("kind", KINDS)
def test_a_node_is_founded_with_any_source_and_shows_it(tmp_path: Path, kind: str) -> None:
    data, home = frame(), tmp_path / "node"
    data.loc[3, "gmv"] = np.nan
    where = source(kind, data, tmp_path)
    told = founded(where, home)
    assert told.exit_code == 0, told.output
    written = tomllib.loads((home / "node.toml").read_text())
    assert written["source"] == where
    assert written["dataset"] == ("data" if isinstance(where, str) else "firms")
    assert f"data set {written['dataset']!r}" in told.output
    assert PartyConfig.from_dict(written, home).budget_dataset == written["dataset"]
    shown = creditfed("source", "--home", home)
    assert shown.exit_code == 0, shown.output
    for finding in (
        "gmv",
        "numeric",
        "tier",
        "categorical",
        "rows  60 of 60 firms",
        "all 60 are good (Unified Social Credit Codes",
        "'weight' was left out",
    ):
        assert finding in shown.output
    assert not [text for text in (*data.id, str(data.gmv[0])) if text in shown.output]


def test_a_source_that_is_wrong_is_told_in_counts(tmp_path: Path) -> None:
    data = frame()
    data.loc[[2, 5], "id"] = data.id[0][:-1] + "?"
    home = tmp_path / "node"
    assert founded(str(saved(tmp_path, data)), home).exit_code == 0
    told = creditfed("source", "--home", home)
    assert isinstance(told.exception, DataError)
    assert "2 of 60 identifiers are not valid" in str(told.exception) and "rows 3, 6" in str(told.exception)
    assert not [text for text in data.id if text in told.output + str(told.exception)]


@pytest.mark.parametrize(
    ("words", "finding"),
    [
        (("--source", "nothing.csv"), "there is no file or folder"),
        (("--source", "sqlite:///x.db"), "either table or query"),
        (("--source", "sqlite:///x.db", "--table", "a", "--query", "b"), "either table or query"),
        (("--source", "README.md", "--table", "a"), "are of a database"),
    ],
)
def test_a_source_that_is_none_founds_nothing(tmp_path: Path, words: tuple[str, ...], finding: str) -> None:
    home = tmp_path / "node"
    told = creditfed("init", "--name", "tax-a", "--role", "tax", "--home", home, *words)
    assert isinstance(told.exception, ConfigurationError) and finding in str(told.exception)
    assert not home.exists()


def test_an_agency_has_no_source_to_show(tmp_path: Path) -> None:
    assert creditfed("init", "--name", "agency-a", "--role", "agency", "--home", tmp_path / "node").exit_code == 0
    assert isinstance(creditfed("source", "--home", tmp_path / "node").exception, CreditfedError)
