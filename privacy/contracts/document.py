"""Leakage contracts as Markdown, one page each: `python -m privacy.contracts.document [--check] [--to FOLDER]`.

The pages under docs/protocols/ are generated and never edited; `--check` fails when one is stale, missing or left over.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from privacy.contracts import Contract, load_all

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = Path("docs/protocols")
HEADER = "<!-- Generated from privacy/contracts/{name}.toml by python -m privacy.contracts.document. Edit that file. -->"


def page(contract: Contract) -> str:
    """One contract as Markdown."""
    learns = [(row.who, row.what, row.when, row.limit) for row in contract.learns]
    messages = [(f"`{row.kind}`", row.sender, row.recipient, row.content) for row in contract.messages]
    attacks = [(row.name, f"`{row.module}`", f"`{row.test}`", f"`{row.control}`") for row in contract.attacks]
    parts = [
        HEADER.format(name=contract.protocol),
        f"# {contract.title}",
        contract.purpose.strip(),
        "## Who learns what",
        _table(("Who", "Learns", "When", "Limit"), learns),
        "## What is assumed",
        _bullets(contract.assumptions),
        "## Messages",
        _table(("Kind", "From", "To", "Content"), messages) if messages else "None of its own.",
        "## How the claims are tested",
        "Each attack must fail against the protocol, and must succeed against a copy that lacks the defence (the control).",
        _table(("Attack", "File", "Must fail", "Control"), attacks) if attacks else "No attack is named yet.",
        "## Sources",
        _bullets(contract.sources),
    ]
    return "\n\n".join(parts) + "\n"


def index(contracts: Sequence[Contract]) -> str:
    """The overview page."""
    rows = [(f"[{contract.protocol}]({contract.protocol}.md)", contract.title, contract.purpose) for contract in contracts]
    text = "Every protocol has a leakage contract: who learns what, under which collusion, with which caps."
    return "\n\n".join([HEADER.format(name="*"), "# Leakage contracts", text, _table(("Protocol", "Title", "Computes"), rows)]) + "\n"


def pages() -> dict[str, str]:
    """Every page by file name."""
    contracts = load_all()
    return {"README.md": index(contracts)} | {f"{contract.protocol}.md": page(contract) for contract in contracts}


def stale(folder: Path) -> list[str]:
    """File names under the folder that differ from what the contracts say, are missing or are left over."""
    expected = pages()
    found = {path.name: path.read_text("utf-8") for path in folder.glob("*.md")}
    return sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))


def write(folder: Path) -> None:
    """Write every page and remove what no contract stands behind."""
    folder.mkdir(parents=True, exist_ok=True)
    expected = pages()
    for path in folder.glob("*.md"):
        if path.name not in expected:
            path.unlink()
    for name, text in expected.items():
        (folder / name).write_text(text, "utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages, or with --check say which are stale. Exit code 1 when any is."""
    parser = argparse.ArgumentParser(prog="python -m privacy.contracts.document", description="Leakage contracts as Markdown.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is stale")
    parser.add_argument("--to", type=Path, default=FOLDER, help=f"folder of the pages (default {FOLDER})")
    options = parser.parse_args(arguments)
    if not options.check:
        write(options.to)
        return 0
    wrong = stale(options.to)
    if wrong:
        sys.stderr.write(f"{options.to}: {', '.join(wrong)} not up to date. Run python -m privacy.contracts.document.\n")
    return 1 if wrong else 0


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """One line, with the characters that would end a cell escaped."""
    return " ".join(text.split()).replace("|", "\\|")


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {' '.join(line.split())}" for line in lines) or "- none"


if __name__ == "__main__":
    sys.exit(main())
