"""What a scenario's file may say of features and runs: strict, with the nearest names; and the cap on counts keeps what it should."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest import TargetSettings
from simulations.economy.settings import Economy
from simulations.scenarios import names, scenario
from simulations.scenarios.outcomes import known_before, labels
from simulations.scenarios.runs import parties_of, read_plan

ECONOMY = Economy(firms=300, banks=2, platforms=1, taxes=1)
RUN = {"file": "first", "says": "x", "parties": ["bank-1", "tax-*"]}
GOOD: dict[str, Any] = {"features": {"as_of": ["2023-07..2023-09", "2024-01"]}, "columns": {"tax": ["margin_6m"]}, "run": [RUN]}

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "key of a run": ({"run": [RUN | {"fille": "x"}]}, "'file'"),
    "party": ({"run": [RUN | {"parties": ["bnk-1"]}]}, "bank-1"),
    "no party": ({"run": [RUN | {"parties": ["platform-2"]}]}, "nobody"),
    "feature": ({"columns": {"tax": ["margn_6m"]}}, "margin_6m"),
    "role": ({"columns": {"taxx": ["margin_6m"]}}, "tax"),
    "table": ({"settings": {"targt": {}}}, "target"),
    "key of a table": ({"run": [RUN | {"settings": {"target": {"days_past_deu": 90}}}]}, "days_past_due"),
    "key of features": ({"features": {"as_off": ["2023-07"]}}, "as_of"),
    "no months": ({"features": {}}, "as_of is missing"),
    "month": ({"features": {"as_of": ["2023-7"]}}, "as_of"),
    "name": ({"run": [RUN | {"file": "../x"}]}, "is no name"),
    "twice": ({"run": [RUN, RUN]}, "two runs"),
    "outcomes": ({"run": [RUN | {"outcomes": "lable"}]}, "label"),
}


def test_a_plan_is_read() -> None:
    plan = read_plan("x", GOOD, ECONOMY)
    assert [str(month) for month in plan.features.months()] == ["2023-07", "2023-08", "2023-09", "2024-01"]
    assert parties_of(plan.runs[0], ECONOMY) == ["bank-1", "tax-1"]
    assert plan.columns_of(plan.runs[0], "tax-1") == ("margin_6m",) and plan.columns_of(plan.runs[0], "bank-1") == ()


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_refused_with_the_nearest_name(case: str) -> None:
    changes, words = WRONG[case]
    with pytest.raises(ConfigurationError, match=words):
        read_plan("x", GOOD | changes, ECONOMY)


def test_all_eight_scenarios_are_there_and_each_has_a_run() -> None:
    wanted = {
        "one-bank", "market", "thin-file", "recession", "fraud-ring", "new-platform", "tax-withdraws", "village-banks",
    }  # fmt: skip
    assert wanted <= set(names())
    assert all(scenario(name).plan.runs for name in wanted)
    assert scenario("village-banks").economy.banks == 1_000


def test_outcomes_are_judged_on_what_was_known() -> None:
    days = [0, 0, 0, 31, 61, 92, 0]
    months = pd.date_range("2023-01-31", periods=7, freq="ME").astype("datetime64[s]")
    paid = pd.DataFrame({"loan": "L", "firm": "F", "date": months, "days_past_due": days, "status": "current"})
    loans = pd.DataFrame({"loan": ["L"], "opened": [np.datetime64("2022-12-05", "s")]})
    rows = pd.DataFrame({"id": ["F", "F"], "as_of": np.array(["2023-03-01", "2023-04-01"], "datetime64[s]")})
    target = TargetSettings(performance_months=3)
    assert labels(paid, loans, rows, target)["label"].tolist() == [1]  # March to May: 61 days, neither; April to June: bad
    early = known_before(paid, "2023-06")
    assert early["date"].max() < pd.Timestamp("2023-06-01")
    assert labels(early, loans, rows, target)["label"].tolist() == []  # April to June is not over
    assert labels(paid.iloc[:0], loans, rows, target)["label"].tolist() == []
