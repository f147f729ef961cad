"""Leakage contracts as Markdown, one page each: `python -m privacy.contracts.document [--check] [--to FOLDER]`.

The pages under docs/protocols/ are generated and never edited; `--check` fails when one is stale, missing or left over.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from privacy.contracts import Contract, load_all
from privacy.generated_pages import bullets, command, table

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
        table(("Who", "Learns", "When", "Limit"), learns),
        "## What is assumed",
        bullets(contract.assumptions),
        "## Messages",
        table(("Kind", "From", "To", "Content"), messages) if messages else "None of its own.",
        "## How the claims are tested",
        "Each attack must fail against the protocol, and must succeed against a copy that lacks the defence (the control).",
        table(("Attack", "File", "Must fail", "Control"), attacks) if attacks else "No attack is named yet.",
        "## Sources",
        bullets(contract.sources),
    ]
    return "\n\n".join(parts) + "\n"


def index(contracts: Sequence[Contract]) -> str:
    """The overview page."""
    rows = [(f"[{contract.protocol}]({contract.protocol}.md)", contract.title, contract.purpose) for contract in contracts]
    text = "Every protocol has a leakage contract: who learns what, under which collusion, with which caps."
    return "\n\n".join([HEADER.format(name="*"), "# Leakage contracts", text, table(("Protocol", "Title", "Computes"), rows)]) + "\n"


def pages() -> dict[str, str]:
    """Every page by file name."""
    contracts = load_all()
    return {"README.md": index(contracts)} | {f"{contract.protocol}.md": page(contract) for contract in contracts}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or with --check say which are stale. Exit code 1 when any is."""
    return command("privacy.contracts.document", "Leakage contracts as Markdown.", FOLDER, pages(), arguments)


if __name__ == "__main__":
    sys.exit(main())
