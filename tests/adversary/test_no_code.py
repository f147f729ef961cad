"""Nothing that arrives at a node can become code: no module that answers messages has the means to run what it is sent.

Manifests, envelopes and run files are data for typed decoders (msgspec, TOML). What could make code of bytes is looked for in the syntax of every
module of clients, federation, privacy and server, so that whoever adds it has to come by this test.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for package in ("clients", "federation", "privacy", "server") for path in (ROOT / package).rglob("*.py"))
CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "breakpoint",
    "system",
    "popen",
    "get_fab",
    "import_module",
    "exec_module",
    "run_path",
    "run_module",
}
IMPORTS = {
    "pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "marshal",
    "shelve",
    "subprocess",
    "importlib",
    "runpy",
    "code",
    "codeop",
    "imp",
    "joblib",
    "ctypes",
}
HARMLESS = {("re", "compile")}
"""Attributes of these names that only share a name: a pattern is no code."""
FILES_ALONE = ("importlib.resources", "importlib.metadata")
"""Reads the files and the version of what is installed; loads no module."""


def makes_code(source: str) -> Iterator[str]:
    """Every place where a module's source could make code of data."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (f"{node.lineno}: import {name.name}" for name in node.names if name.name.partition(".")[0] in IMPORTS)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in IMPORTS:
            names = (f"{node.module}.{name.name}" for name in node.names)
            yield from (f"{node.lineno}: from {name}" for name in names if not name.startswith(FILES_ALONE))
        elif isinstance(node, ast.Call):
            called = node.func
            name = called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
            owner = called.value.id if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) else ""
            if name in CALLS and (owner, name) not in HARMLESS:
                yield f"{node.lineno}: {name}(...)"
            yield from (f"{node.lineno}: {key.arg}=" for key in node.keywords if key.arg in ("allow_pickle", "shell"))


def test_no_module_of_a_node_or_the_coordinator_makes_code_of_data() -> None:
    assert len(MODULES) > 200
    assert {str(path.relative_to(ROOT)): list(makes_code(path.read_text())) for path in MODULES if [*makes_code(path.read_text())]} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from pickle import loads", "import importlib.util", "eval(message)", "exec(body, {})", "builtins.exec(body)",
        "compile(text, 'x', 'exec')", "numpy.load(file, allow_pickle=True)", "subprocess.run(order, shell=True)", "os.system(order)",
        "connection.get_fab(run)", "import_module(manifest.task)", "__import__(name)",
    ],
)  # fmt: skip
def test_control_each_way_to_make_code_is_found(line: str) -> None:
    assert list(makes_code(f"def answer(message, body, text, file, order, run, name):\n    {line}\n"))
