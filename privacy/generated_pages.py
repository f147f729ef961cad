"""Folders of pages that are written from data and never edited: to write one, to find what is stale in it, and its command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_SUFFIXES = (".md", ".json")


def stale(folder: Path, expected: Mapping[str, str]) -> list[str]:
    """File names under the folder that differ from what is expected, are missing or are left over. expected: text by file name."""
    found = {path.name: path.read_text("utf-8") for path in folder.glob("*") if path.suffix in _SUFFIXES}
    return sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))


def write(folder: Path, expected: Mapping[str, str]) -> None:
    """Write every page, and remove what nothing stands behind."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*"):
        if path.suffix in _SUFFIXES and path.name not in expected:
            path.unlink()
    for name, text in expected.items():
        (folder / name).write_text(text, "utf-8")


def command(module: str, what: str, folder: Path, expected: Mapping[str, str], arguments: Sequence[str] | None) -> int:
    """`python -m MODULE [--check] [--to FOLDER]`: write the pages, or say which are stale. Exit code 1 when any is."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=what)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is stale")
    parser.add_argument("--to", type=Path, default=folder, help=f"folder of the pages (default {folder})")
    options = parser.parse_args(arguments)
    if not options.check:
        write(options.to, expected)
        return 0
    wrong = stale(options.to, expected)
    if wrong:
        sys.stderr.write(f"{options.to}: {', '.join(wrong)} not up to date. Run python -m {module}.\n")
    return 1 if wrong else 0


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; a cell is one line, with the character that would end it escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in line) + " |" for line in lines)


def bullets(lines: Sequence[str]) -> str:
    """A list in Markdown."""
    return "\n".join(f"- {' '.join(line.split())}" for line in lines) or "- none"
