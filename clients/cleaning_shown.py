"""The raw door's accounts as tables for a screen: what was mended, set aside, blanked and dropped, by column and rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from clients.cleaned import Cleaned


def accounts(cleaned: Mapping[str, Cleaned]) -> Iterator[Table]:
    """One table for each kind of record."""
    for kind, account in cleaned.items():
        table = Table("outcome", "column", "rule", "count", "first rows", title=f"{kind}: {account.kept:,} of {account.rows:,} rows kept")
        for one in account.findings():
            rows = ", ".join(map(str, one.rows)) + (", ..." if one.times > len(one.rows) else "")
            table.add_row(one.outcome, one.column, one.rule, f"{one.times:,}", rows)
        if not account.findings():
            table.add_row("clean", "", "", "", "")
        yield table
