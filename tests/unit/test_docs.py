"""README and docs say what is there: tests that exist, commands that parse, keys and defaults of the run file, links that lead somewhere."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import msgspec
import pytest
import typer

from clients import audit_commands, dictionary_commands, feature_commands, node_commands
from federation.kernel import manifest
from privacy.contracts import document, names
from server import run_file, run_tables
from server.glossary import GLOSSARY, TARGET_GLOSSARY
from simulations.command import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TABLES: dict[str, type[msgspec.Struct]] = {
    "[run]": run_tables.RunSettings,
    "[model]": run_tables.ModelTable,
    "[sample]": run_tables.SampleTable,
    "[target]": manifest.TargetSettings,
    "[select]": run_tables.SelectTable,
    "[binning]": manifest.BinningSettings,
    "[scorecard]": manifest.ScorecardSettings,
    "[align]": run_tables.AlignTable,
    "[check]": manifest.CheckSettings,
    "[privacy]": run_tables.PrivacyTable,
    "[[party]]": run_tables.Party,
    "[[agency]]": run_tables.Agency,
}
KEYS = (ROOT / "docs/run-file.md").read_text()


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def written_tests() -> set[str]:
    """Every test function, and every test file without its ending."""
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        found.add(path.stem)
        found |= {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}
    return found


def named_tests(text: str) -> set[str]:
    return set(re.findall(r"\btest_[a-z0-9_]+\b", text))


def commands(text: str) -> list[str]:
    """The lines of shell blocks, without comments, split at &&."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [part.strip() for block in blocks for line in block.splitlines() for part in line.split(" #")[0].split("&&") if part.strip()]


def complaint(command: str) -> str | None:
    """What is wrong with a command that a page shows."""
    program, *words = shlex.split(command)
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return None if words and set(words) <= set(targets) else "no such target"
    if program.endswith("python") and words[:1] == ["-m"]:
        return None if importlib.util.find_spec(words[1]) else "no such module"
    if program == "creditfed":
        return usage_error(words)
    if program in ("flwr", "flower-superlink", "flower-supernode"):  # tests/end_to_end/test_stock_supernode.py runs them
        return None if (Path(sys.executable).parent / program).exists() else "Flower has no such program"
    return None if program in ("git", "cd", ".") else "not a command that is checked here"


def usage_error(words: list[str]) -> str | None:
    command = typer.main.get_command(app)
    try:
        with click.Context(command) as context:
            while isinstance(command, click.Group):
                name, found, words = command.resolve_command(context, words)
                assert name is not None and found is not None
                command = found
            command.make_context("creditfed", words)
    except click.ClickException as error:
        return error.format_message()
    return None


def rows(heading: str) -> dict[str, str]:
    """Key to default of one section's table in run-file.md."""
    section = KEYS.split(f"\n## `{heading}`\n", 1)[1].split("\n## ", 1)[0]
    return dict(re.findall(r"^\| `([a-zA-Z_]+)` \| (.*?) \| ", section, re.MULTILINE))


def spelled(field: msgspec.structs.FieldInfo) -> str:
    """A default as the page writes it."""
    if field.required:
        return "required"
    if field.default is None:
        return "-"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return f"`{json.dumps(value)}`"


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    assert named_tests(page.read_text()) - written_tests() == set()


def test_control_a_test_that_nobody_wrote_is_noticed() -> None:
    assert named_tests("Guarded by `test_of_wishes`.") - written_tests() == {"test_of_wishes"}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_commands_parse(page: Path) -> None:
    assert {command: complaint(command) for command in commands(page.read_text()) if complaint(command)} == {}


def leaves(command: click.Command, name: str = "creditfed") -> Iterator[tuple[str, click.Command]]:
    """Every command of the program, by what one types."""
    if isinstance(command, click.Group):
        for word, found in command.commands.items():
            yield from leaves(found, f"{name} {word}")
    else:
        yield name, command


def test_every_command_shows_an_example_of_itself_that_parses() -> None:
    apps = {"creditfed": app, "creditfed node": node_commands.app, "creditfed audit": audit_commands.app}
    apps |= {"creditfed dictionary": dictionary_commands.app, "creditfed features": feature_commands.app}
    every = [leaf for name, one in apps.items() for leaf in leaves(typer.main.get_command(one), name)]
    assert len(every) >= 25
    for name, command in every:
        example = (command.epilog or "").removeprefix("Example: ")
        assert example.startswith(f"{name} ") and complaint(example) is None, name


@pytest.mark.parametrize(
    "command",
    ["creditfed simulate run.toml", "creditfed simulat", "creditfed simulate a --out b --poold", "make coffee", "python -m nothing"],
)
def test_control_a_command_that_does_not_exist_is_noticed(command: str) -> None:
    assert complaint(command)


def test_the_readme_shows_clone_and_demo() -> None:
    assert {"make demo"} < set(commands((ROOT / "README.md").read_text()))


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("heading", TABLES)
def test_every_key_of_the_run_file_is_documented_with_its_default(heading: str) -> None:
    fields = {field.encode_name: field for field in msgspec.structs.fields(TABLES[heading])}
    documented = rows(heading)
    assert set(documented) == set(fields)
    said = {key: default for key, default in documented.items() if default != "depends"}
    assert said == {key: spelled(fields[key]) for key in said}
    assert set(documented) - set(said) == ({"C", "missing"} if heading == "[model]" else set())


def test_keys_that_come_later_are_named() -> None:
    later = run_file.LATER_TASKS + run_file.LATER_MODELS + run_file.LATER_SAMPLE + run_file.LATER_BINNING
    assert [key for key in later if f"{key}`" not in KEYS.split("## Not in this version", 1)[1]] == []


def test_all_tables_of_the_run_file_are_on_the_page() -> None:
    assert {heading.strip("[]") for heading in TABLES} == set(run_file.TABLES)


@pytest.mark.parametrize("number", range(KEYS.count("```toml")))
def test_the_examples_load(number: int, tmp_path: Path) -> None:
    example = re.findall(r"```toml\n(.*?)```", KEYS, re.DOTALL)[number]
    for source in re.findall(r'(?:source|repayments|loans) = "(.*?)"', example):
        (tmp_path / source).touch()
    (tmp_path / "run.toml").write_text(example)
    assert run_file.load(tmp_path / "run.toml").parties


def test_the_glossary_has_the_words_of_the_report() -> None:
    page = (ROOT / "docs/glossary.md").read_text()
    assert [word for word, meaning in (*GLOSSARY, *TARGET_GLOSSARY) if f"- **{word}**: {meaning}\n" not in page] == []


def test_pages_of_protocols_are_current() -> None:
    assert document.main(["--check", "--to", str(ROOT / document.FOLDER)]) == 0
    assert {page.stem for page in (ROOT / "docs/protocols").glob("*.md")} == {"README", *names()}


def decisions() -> Iterator[Path]:
    return (ROOT / "docs/adr").glob("0*.md")


def test_decisions_have_their_parts_and_are_listed() -> None:
    listed = (ROOT / "docs/adr/README.md").read_text()
    for page in decisions():
        text = page.read_text()
        assert all(f"**{part}.**" in text for part in ("Context", "Decision", "Rejected", "Consequences")), page.name
        assert f"({page.name})" in listed


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_no_page_speaks_of_files_that_are_not_here(page: Path) -> None:
    """Every page that is named is in the project, and no path leads out of it or to one machine (an example's own mount point aside)."""
    text = page.read_text()
    named = {name for name in re.findall(r"[\w./-]+\.md\b", text) if "NNNN" not in name}
    assert [name for name in sorted(named) if not any(known.name == Path(name).name for known in PAGES)] == []
    assert [path for path in re.findall(r"(?<![\w./:<>])(?:/[a-z]+/|(?:\.\./)+shared)[\w./-]*", text) if path != "/shared/run"] == []
