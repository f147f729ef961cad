"""Two definitions of bad over the same rows tell, by their difference, whose outcome turned: the gate refuses the second where few did."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
import tomli_w

import clients.gate
from federation.kernel.errors import AbortCode, ConfigurationError
from federation.kernel.manifest import Manifest, TargetSettings
from tests.house import House, refused

FIRMS, FEW, MANY = 60, 3, 12
"""Of the firms, three reach 95 days past due, twelve 130, and fifteen 200."""


def definition(days: int) -> TargetSettings:
    """Bad from so many days; nothing is indeterminate, so that every definition has the same rows."""
    return TargetSettings(days_past_due=days, indeterminate_from=days, performance_months=6)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    made = House(tmp_path / "bank", monkeypatch, at_once=True)
    rng = np.random.default_rng(5)
    firms = [f"firm{number}" for number in range(FIRMS)]
    pd.DataFrame({"id": firms, "as_of": "2025-02", "turnover": rng.random(FIRMS), "age": rng.random(FIRMS)}).to_csv(
        made.root / "bank.csv", index=False
    )
    worst = np.array([95] * FEW + [130] * MANY + [200] * 15 + [0] * (FIRMS - FEW - MANY - 15))
    months = pd.date_range("2025-01-31", periods=8, freq="ME").strftime("%Y-%m-%d")
    rows = [
        {"loan": f"loan-{firm}", "firm": firm, "date": month, "days_past_due": days if place == 4 else 0}
        for firm, days in zip(firms, worst.tolist(), strict=True)
        for place, month in enumerate(months)
    ]
    pd.DataFrame(rows).to_csv(made.root / "repayments.csv", index=False)
    section = tomllib.loads((made.root / "node.toml").read_text())
    del section["label"]
    (made.root / "node.toml").write_text(tomli_w.dumps(section | {"as_of": "as_of", "repayments": "repayments.csv"}))
    made.restart()
    return made


def drafted(house: House, run: str, target: TargetSettings | None) -> Manifest:
    made = house.drafted(run=run)
    return msgspec.structs.replace(made, sample=msgspec.structs.replace(made.sample, as_of=True, target=target))


def opened(house: House, run: str, days: int) -> None:
    house.open(drafted(house, run, definition(days)))


def test_a_definition_that_turns_a_few_outcomes_is_refused_and_one_that_turns_many_is_not(house: House) -> None:
    opened(house, "first", 90)
    assert refused(house, drafted(house, "second", definition(100))) is AbortCode.DISCLOSURE
    opened(house, "third", 140)  # fifteen firms' outcomes turn
    assert refused(house, drafted(house, "fourth", definition(100))) is AbortCode.DISCLOSURE


def test_the_same_definition_again_tells_nothing_new(house: House) -> None:
    opened(house, "first", 90)
    opened(house, "again", 90)
    opened(house, "other", 91)  # other days, and the same outcomes


def test_control_by_keys_alone_the_second_definition_passes_and_the_difference_is_three_firms(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients.gate, "named_rows", lambda table: (table.keys, table.firms))
    opened(house, "first", 90)
    one = house.node.table(drafted(house, "first", definition(90)))
    made = drafted(house, "second", definition(100))
    house.open(made)
    other = house.node.table(made)
    assert one.keys == other.keys and one.label is not None and other.label is not None
    assert int((one.label != other.label).sum()) == FEW


def test_a_bank_with_repayments_signs_nothing_without_a_definition(house: House) -> None:
    with pytest.raises(ConfigurationError, match="nothing says what an outcome is"):
        house.proposed(drafted(house, "none", None))


def test_policies_and_releases_speak_of_the_tables_by_name(house: House) -> None:
    opened(house, "first", 90)
    assert "repayments" in house.node.gate.releases.history()[0].columns
