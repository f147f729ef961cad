"""docs/promises.md: every promise of the design has its rows, and every row tests that exist, and a control. The README's table is drawn from it."""

from __future__ import annotations

import ast
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE, DESIGN, README = (ROOT / "docs/promises.md").read_text(), (ROOT / "docs/design.md").read_text(), (ROOT / "README.md").read_text()
LATER = {"boosted trees split for split"}
"""Clauses of what is not there yet: they may lack guard and control."""
TEST = r"`(?:tests/[^`]+::)?(test_[a-z0-9_]+)`"


@dataclass(frozen=True)
class Row:
    """A clause of a promise, with pytest ids."""

    promise: int
    clause: str
    guards: tuple[str, ...]
    controls: tuple[str, ...]


def rows(page: str) -> list[Row]:
    found, promise = [], 0
    for line in page.splitlines():
        if heading := re.match(r"## (\d)\. ", line):
            promise = int(heading[1])
        elif promise and line.startswith("| ") and not line.startswith(("| Clause", "| ---")):
            clause, guards, controls, *_ = (cell.strip() for cell in line.strip("|").split("|"))
            ids = [tuple(re.findall(r"`(tests/[^`]+)`", cell)) for cell in (guards, controls)]
            found.append(Row(promise, clause, *ids))
    return found


@cache
def written(path: str) -> frozenset[str]:
    """A file's tests; one that is slow whatever its parameters does not count, since `make test` does not run it."""
    tree = ast.parse((ROOT / path).read_text()).body if (ROOT / path).is_file() else []
    slow = "pytest.mark.slow"
    return frozenset(node.name for node in tree if isinstance(node, ast.FunctionDef) and slow not in map(ast.unparse, node.decorator_list))


def lacking(row: Row) -> list[str]:
    wrong = [
        f"no such test: {name}" for name in (*row.guards, *row.controls) if name.partition("::")[2] not in written(name.partition("::")[0])
    ]
    wrong += ["no guard"] * (not row.guards) + ["no control"] * (not row.controls)
    return wrong + [f"a control whose name does not say so: {name}" for name in row.controls if "control" not in name]


@pytest.mark.parametrize("row", rows(PAGE), ids=lambda row: row.clause)
def test_every_clause_has_a_guard_and_a_control_that_exist(row: Row) -> None:
    assert row.clause in LATER or lacking(row) == []


def test_every_promise_of_the_design_has_its_rows_and_no_wording_changes_unseen() -> None:
    section = DESIGN.split("\n## 2. ", 1)[1].split("\n## 3. ", 1)[0]
    numbered = re.findall(r"^(\d)\. \*\*", section, re.MULTILINE)
    assert {row.promise for row in rows(PAGE)} == {int(number) for number in numbered}
    digest = hashlib.sha256(section.encode()).hexdigest()[:12]
    assert digest in PAGE, f"section 2 of the design says something else now: look at the rows, then write {digest} into docs/promises.md"


def test_the_readmes_table_has_every_promise_and_only_tests_of_the_page() -> None:
    table = README.split("| Promise |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    assert [line[2] for line in table] == list("1234567")
    for line in table:
        own = [row for row in rows(PAGE) if row.promise == int(line[2])]
        _, _, guard, control, *_ = line.split("|")
        for cell, known in ((guard, [row.guards for row in own]), (control, [row.controls for row in own])):
            named = set(re.findall(TEST, cell))
            assert named and named <= {name.partition("::")[2] for some in known for name in some}, line[:60]


@pytest.mark.parametrize(
    "change",
    [("test_it_equals", "test_it_is_nearly"), ("| `tests/unit/test_contracts.py::test_control", "| `tests/unit/test_contracts.py::test_")],
)
def test_control_a_row_that_names_no_test_is_found(change: tuple[str, str]) -> None:
    assert sum(len(lacking(row)) for row in rows(PAGE.replace(*change))) > sum(len(lacking(row)) for row in rows(PAGE))
