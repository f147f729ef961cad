"""Runs over banks whose sums would be too long are refused by name before anything is sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest import BinningSettings, ColumnDeclaration, Manifest
from federation.models.horizontal import program
from federation.models.horizontal.bank import bank_of
from federation.models.horizontal.size import LONGEST, longest_sum, require_room
from federation.models.table import Column
from federation.models.training import Local
from tests.bank_case import BankCase, bank_manifest, five

TASKS: dict[str, dict[str, Any]] = {
    "statistics": {"task": "statistics"},
    "binning": {"task": "binning"},
    "logistic": {"task": "train", "model": "logistic"},
    "scorecard": {"task": "train", "model": "scorecard"},
}


def wide(task: str, count: int) -> Manifest:
    """A manifest with so many numeric columns."""
    columns = tuple(ColumnDeclaration(name=f"x{place}", kind="numeric") for place in range(count))
    manifest = bank_manifest(five((20, 20, 20)), **TASKS[task])
    return msgspec.structs.replace(manifest, parties=tuple(msgspec.structs.replace(party, columns=columns) for party in manifest.parties))


@pytest.mark.parametrize(("task", "most"), [("statistics", 1772), ("binning", 1023), ("logistic", 2894), ("scorecard", 1023)])
def test_one_column_too_many_is_refused_with_what_where_and_how_many_would_do(task: str, most: int) -> None:
    require_room(wide(task, most))  # control
    with pytest.raises(ConfigurationError, match="numeric columns") as refused:
        require_room(wide(task, most + 1))
    assert f"at most {most:,} numeric columns" in refused.value.action
    assert f"{LONGEST:,}" in refused.value.what
    assert task in refused.value.where or "train" in refused.value.where


def test_special_values_count_beside_the_cells() -> None:
    special = msgspec.structs.replace(wide("binning", 1023), binning=BinningSettings(special=(-1.0, -9.0, -99.0, -999.0)))
    assert longest_sum(special, 1023)[1] - longest_sum(wide("binning", 1023), 1023)[1] == 4 * 1023
    with pytest.raises(ConfigurationError, match="numeric columns"):
        require_room(special)


def test_levels_that_no_bank_would_read_are_refused_by_name_before_they_are_sent() -> None:
    many = {"branch": tuple(f"{place:06d}" + "x" * 60 for place in range(20_000)), "region": ("north", "south")}
    with pytest.raises(ConfigurationError, match="levels of categorical columns") as refused:
        program._require_short(program.Levels(many, bytes(32)), "bank-a")
    assert "'branch' has 20,000 of them" in refused.value.what and "exclude" in refused.value.action
    program._require_short(program.Levels({"region": ("north", "south")}, bytes(32)), "bank-a")  # control


def test_a_bank_with_too_many_columns_does_not_begin() -> None:
    with pytest.raises(ConfigurationError, match="correlations"):
        bank_of(wide("statistics", 1999), "bank0", Local(five()["bank0"]))


@pytest.mark.parametrize("task", TASKS)
def test_the_estimate_is_no_less_than_the_longest_sum_of_the_columns(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a run with five numbers, from what banks are asked for."""
    asked: list[int] = []
    room = program._require_room
    monkeypatch.setattr(
        program, "_require_room", lambda vector, me, step: (asked.append(0 if vector is None else len(vector)), room(vector, me, step))
    )
    tables = {}
    for name, table in five((200, 100, 100), categorical=False).items():
        rng = np.random.default_rng(len(name))
        more = {f"x{place}": Column(f"x{place}", "numeric", rng.normal(size=table.rows)) for place in range(3)}
        tables[name] = replace(table, columns=dict(table.columns) | more)
    post = BankCase(tables, TASKS[task]).play()
    assert all(party.finished for party in post.parties.values())
    cells = 2000 * 4  # score cells do not grow with the columns
    assert max(asked) <= max(longest_sum(wide(task, 5), 5)[1], cells)


def test_a_sum_that_grew_too_long_in_the_run_is_refused_before_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """As levels make it: every bank ends with the reason, and nothing of that sum has left any of them."""
    monkeypatch.setattr(program, "LONGEST", 15)
    post = BankCase(five(), TASKS["logistic"]).play()
    failures = [party.failure for party in post.parties.values()]
    named = [failure for failure in failures if isinstance(failure, ConfigurationError)]
    assert named
    assert "16 numbers" in named[0].what
    assert "design" in named[0].where
    assert "exclude" in named[0].action
    sums = {envelope.step.split(":")[0] for envelope in post.passed if envelope.kind.startswith("bonawitz")}
    assert sums == {"sum 0"}, "the second sum is the one that would be too long"
