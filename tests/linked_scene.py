"""A bank whose rows speak of firms and of their owners, and consents of both: in a house whose gate is asked."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from clients.consent import audited
from privacy.store.consent_import import import_csv
from tests.house import NOW, House

HEADER = "id,subject,purpose,levels,recipients,from,until,evidence"
TERMS = "credit,4,platform;tax,2026-01-01,2026-12-31"


def owner(number: int) -> str:
    """Like a resident's number, and of nobody: no region is called 99."""
    return f"99010119900307{number:03d}X"


def linked_house(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> House:
    """Sixty firms, each with an owner of its own; `age` is the owner's, `turnover` the firm's."""
    said = {"legal_basis": "consent", "owner": "owner_id", "classes": {"age": "C2"}, "levels": {"age": 4}} | settings
    house = House(folder, monkeypatch, **said)
    source = folder / "bank.csv"
    table = pd.read_csv(source)
    table.assign(owner_id=[owner(i) for i in range(len(table))]).to_csv(source, index=False)
    house.restart()
    return house


def consenting(house: House, firms: Iterable[int], owners: Iterable[int], terms: str = TERMS) -> None:
    lines = [HEADER, *(f"firm{i},firm,{terms},form {i}" for i in firms), *(f"{owner(i)},owner,{terms},form {i}" for i in owners)]
    path = house.root.parent / "consents.csv"
    path.write_text("\n".join(lines))
    with closing(audited(house.node.home)) as ledger:
        import_csv(ledger, path, NOW)
    path.unlink()


def withdraw(house: House, *ids: str, **kind: Any) -> None:
    with closing(audited(house.node.home)) as ledger:
        ledger.withdraw(ids, house.now, **kind)


def firms_of(house: House, made: Any) -> set[int]:
    """The firms whose rows the run has, by number."""
    return {int(firm.removeprefix("firm")) for firm in house.node.table(made).firms}
