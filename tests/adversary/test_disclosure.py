"""What must not leave in clear: a total that one firm makes up, and a count of few firms, in any kind of run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from clients.bank_results import bank_results
from clients.node_commands import app
from federation.kernel import suite
from federation.kernel.errors import AbortCode, ConfigurationError, PolicyRefusal
from federation.kernel.manifest import Manifest, PrivacySettings, SampleSettings
from federation.models.sample import draw_sample
from federation.models.table import Column, Table
from privacy.attacks import banks, dominance
from privacy.disclosure.dominance import Dominance
from privacy.disclosure.published import published
from privacy.disclosure.rules import DisclosureRules
from tests.adversary.test_banks import TASKS, awkward
from tests.bank_case import BankCase, bank_manifest, bank_table
from tests.house import OTHERS, House
from tests.post import identity, manifest

GIANT = 987_654_321.0
OFF = {"dominance_k": 0.0, "dominance_p": 0.0}
replace = msgspec.structs.replace


def house_of(folder: Path, patch: pytest.MonkeyPatch, turnover: dict[int, float] | None = None, **rules: Any) -> House:
    """A bank with 60 firms, the turnover of some as given, and these rules of its own."""
    house = House(folder, patch, **({"disclosure": rules} if rules else {}))
    table = pd.read_csv(house.root / "bank.csv")
    for row, value in (turnover or {}).items():
        table.loc[row, "turnover"] = value
    table.to_csv(house.root / "bank.csv", index=False)
    house.pin(**{name: {"role": "bank"} for name in OTHERS})
    return house


def over_banks(house: House, **changes: Any) -> Manifest:
    mine = house.drafted().parties[0]
    others = tuple(replace(mine, name=n, identity=suite.signing_public(identity(n)).hex()) for n in OTHERS)
    return house.drafted(parties=(mine, *others), **changes)


def asked(house: House, made: Manifest) -> PolicyRefusal | None:
    """People approve the run; the refusal of it, or None where it opens and its first message leaves."""
    house.vote(made.hash)
    try:
        house.open(made, house.signatures(made))
    except PolicyRefusal as refusal:
        return refusal
    assert house.hello().envelopes, "the run is under way"
    return None


def logged(house: House, kind: str) -> list[dict[str, Any]]:
    return [dict(entry.facts) for entry in house.node.gate.log.entries("test") if entry.kind == kind]


# -- totals -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["statistics", "logistic"])
def test_a_run_in_which_one_firm_makes_up_a_columns_total_is_refused_and_control_without_the_rule_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    house = house_of(tmp_path / "bank", monkeypatch, {7: GIANT})
    refusal = asked(house, over_banks(house, **TASKS[task]))
    assert refusal is not None and refusal.code is AbortCode.DISCLOSURE
    assert "'turnover'" in str(refusal) and "(n, k) dominance" in str(refusal) and "winsorise" in str(refusal)
    for where in (str(refusal), json.dumps(logged(house, "policy"))):
        assert "987" not in where and "firm7" not in where
    assert logged(house, "policy")[-1]["allowed"] is False and logged(house, "release") == [], "nothing was signed, nothing counted"
    without = house_of(tmp_path / "control", monkeypatch, {7: GIANT}, **OFF)
    assert asked(without, over_banks(without, **TASKS[task])) is None


def test_two_firms_that_make_up_a_total_are_refused_since_one_of_them_knows_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = house_of(tmp_path / "bank", monkeypatch, {7: GIANT, 8: GIANT})
    refusal = asked(house, over_banks(house, task="statistics"))
    assert refusal is not None and "p % dominance" in str(refusal)
    without = house_of(tmp_path / "control", monkeypatch, {7: GIANT, 8: GIANT}, dominance_p=0.0)
    assert asked(without, over_banks(without, task="statistics")) is None


def test_a_split_that_a_drafter_aims_at_one_giant_is_refused_and_control_where_all_rows_alone_are_asked_it_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of eight giants, none of whom dominates, the drafter's seed lets one train."""
    plain = bank_table(0, 200, categorical=False)
    sizes = np.where(np.arange(200) < 8, 1e6, 1.0)
    table = dataclasses.replace(plain, columns={"size": Column("size", "numeric", sizes)})
    made = bank_manifest({"bank0": table, "bank1": table, "bank2": table}, task="train", model="logistic")
    aimed = next(
        drafted
        for seed in range(10_000)
        for drafted in [msgspec.structs.replace(made, sample=msgspec.structs.replace(made.sample, holdout=0.8, split_seed=seed))]
        if draw_sample(table, drafted.sample).train[:8].sum() == 1
    )
    rules = DisclosureRules()
    with pytest.raises(PolicyRefusal, match="size"):
        rules.require_totals(aimed, "bank0", table, None)
    monkeypatch.setattr("privacy.disclosure.rules.draw_sample", lambda *_: SimpleNamespace(train=np.ones(200, bool)))
    rules.require_totals(aimed, "bank0", table, None)


@pytest.mark.parametrize("capped", [{}, {7: 5.0}], ids=["even", "winsorised"])
def test_a_column_that_nobody_dominates_is_let_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capped: dict[int, float]) -> None:
    house = house_of(tmp_path / "bank", monkeypatch, capped)
    assert asked(house, over_banks(house, task="statistics")) is None


def test_bins_and_a_run_with_noise_are_not_held_to_dominance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, changes in enumerate(({"task": "binning"}, {"task": "statistics", "privacy": PrivacySettings(epsilon=1.0, delta=1e-6)})):
        house = house_of(tmp_path / f"bank{number}", monkeypatch, {7: GIANT})
        rules, table = house.node.config.disclosure, house.node.table(over_banks(house, **changes))
        rules.require_totals(over_banks(house, **changes), "bank", table, None)
        with pytest.raises(PolicyRefusal):
            rules.require_totals(over_banks(house, task="statistics"), "bank", table, None)  # control


def column_of(values: np.ndarray[Any, np.dtype[np.float64]], firms: tuple[str, ...] = (), weight: Any = None) -> Table:
    keys = tuple(f"{n}" for n in range(len(values)))
    return Table(keys, firms or keys, {"x": Column("x", "numeric", values)}, b"", weight=weight)


def refused(made: Manifest, table: Table, me: str = "bank", **rules: Any) -> bool:
    try:
        DisclosureRules(**rules).require_totals(made, me, table, "w")
    except PolicyRefusal:
        return True
    return False


def banks_of(**changes: Any) -> Manifest:
    made = manifest("bank", *OTHERS, task="statistics", **changes)
    return replace(made, parties=tuple(replace(party, label=True) for party in made.parties))


def test_the_rule_is_of_firms_of_any_size_of_value_of_weights_and_of_squares_where_that_is_set() -> None:
    even, months = np.ones(40) + np.arange(40) / 40, tuple("giant" if n < 20 else f"f{n}" for n in range(40))
    assert not refused(banks_of(), column_of(even))
    assert refused(banks_of(), column_of(np.where(np.arange(40) < 20, 50.0, even), months)), "a firm's months are one contribution"
    assert not refused(banks_of(), column_of(np.where(np.arange(40) < 20, 50.0, even))), "control: as many firms"
    assert refused(banks_of(), column_of(np.append(even, 1e308))) and refused(banks_of(), column_of(np.append(even, -1e5)))
    weights = np.append(np.ones(39), 1e4)
    assert refused(banks_of(sample=SampleSettings(weighted=True)), column_of(even, weight=weights))
    assert not refused(banks_of(), column_of(even, weight=weights)), "weights that are not used"
    tail = np.append(even, 30.0)
    assert refused(banks_of(), column_of(tail), dominance_of_squares=True) and not refused(banks_of(), column_of(tail))
    special = replace(banks_of(), binning=replace(banks_of().binning, special=(1e6,)))
    assert not refused(special, column_of(np.append(even, 1e6))), "a declared code is no amount"
    assert not refused(banks_of(), column_of(np.append(np.zeros(40), 1.0))), "a flag has counts and no amounts"
    assert refused(banks_of(), column_of(np.append(np.zeros(40), 7.0))), "the only amount is no flag"
    assert refused(manifest("bank", *OTHERS), column_of(np.append(np.zeros(40), 1.0)), "tax"), "its gradient is that firm's outcome"


def test_a_bank_of_few_firms_for_its_columns_stays_out_of_a_fit_where_it_says_so_and_control_by_default_it_takes_part() -> None:
    fit, few = replace(banks_of(), task="train"), column_of(np.ones(40) + np.arange(40) / 40)
    assert refused(fit, few, rows_per_column=41.0) and not refused(fit, few, rows_per_column=40.0) and not refused(fit, few)
    assert not refused(banks_of(), few, rows_per_column=41.0), "statistics have no parameters"


def test_parts_that_pass_make_a_total_that_passes() -> None:
    """Why each bank may judge its own part alone. Control: a part that does not pass makes totals that do not."""
    rng, rule, admitted = np.random.default_rng(5), Dominance(2, 60.0, 15.0), 0
    for _ in range(2_000):
        parts = [rng.lognormal(0, rng.uniform(0.2, 1.5), rng.integers(5, 12)) * 10 ** rng.uniform(-2, 2) for _ in range(3)]
        if all(rule.broken(part) is None for part in parts):
            admitted += 1
            assert rule.broken(np.concatenate(parts)) is None
    assert admitted > 100
    giant = np.append(np.ones(5), 1e6)
    assert rule.broken(np.concatenate([giant, np.ones(9)])) is not None


def draws(tail: float, number: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(number)
    return rng.lognormal(0.0, tail, 60), (rng.random(60) < 0.3).astype(float)


def test_what_a_total_tells_of_its_largest_firm_is_bounded_and_control_of_dominated_ones_value_and_outcome_are_read() -> None:
    rule, made = DisclosureRules(), manifest("bank", *OTHERS)
    found: dict[bool, list[tuple[float, bool]]] = {True: [], False: []}
    for number in range(600):
        values, outcomes = draws(4.0 if number % 2 else 1.0, number)
        largest = int(values.argmax())
        off = abs(dominance.largest_by_the_second(float(values.sum()), values) / values[largest] - 1)
        read = dominance.outcome_of_the_largest(values, float(values @ (outcomes - 0.3))) == outcomes[largest]
        found[refused(made, column_of(values), "platform")].append((off, read))
    admitted, dominated = (np.array(found[side]) for side in (False, True))
    print(f"admitted {len(admitted)}: nearest {admitted[:, 0].min():.2f}, outcomes {admitted[:, 1].mean():.2f}; "
          f"dominated {len(dominated)}: median {np.median(dominated[:, 0]):.2f}, outcomes {dominated[:, 1].mean():.2f}")  # fmt: skip
    assert admitted[:, 0].min() >= rule.dominance_p / 100
    assert dominated[:, 1].mean() > 0.95
    assert admitted[:, 1].mean() < 0.85
    assert not refused(made, column_of(np.append(np.ones(40), 1e6)), "bank"), "who has the label adds up its own columns by itself"


# -- cells --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "over"), [(task, over) for task in TASKS for over in ("banks", "parties")[: 2 - (task == "statistics")]])
def test_a_run_that_may_show_smaller_cells_than_the_institutions_is_refused_before_data_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, over: str
) -> None:
    refusals = []
    for name, least in (("bank", 20), ("control", 10)):
        house = house_of(tmp_path / name, monkeypatch, minimum_cell=least)
        if over == "parties":
            house.pin()
        made = (over_banks if over == "banks" else House.drafted)(house, **TASKS[task])
        refusals.append(asked(house, made))
        assert (logged(house, "vault") == []) is (name == "bank")
    assert refusals[0] is not None and refusals[0].code is AbortCode.COHORT and "minimum_cell of 20" in str(refusals[0])
    assert refusals[1] is None


@pytest.mark.parametrize("task", TASKS)
def test_no_pack_has_a_count_of_few_firms_and_control_with_a_minimum_cell_of_one_it_has(task: str) -> None:
    """Of a run that stated a minimum cohort of one, so that its results are full of small cells."""
    changes = TASKS[task] | {"privacy": PrivacySettings(minimum_cohort=1), "sample": SampleSettings(holdout=0.02)}
    case = BankCase(awkward(), changes)
    post = case.play()
    name, bank = next(iter(case.banks.items()))
    assert post.parties[name].finished, post.parties[name].failure
    share = json.loads(bank_results(post.parties[name], bank)["share.json"])
    own, before = {"figures": share.get("own", {}).get("figures")}, json.dumps(share)  # a bank's own figures are in its pack, too
    for document in (share, own):
        found = list(banks.small_cells({"pack": published(document, DisclosureRules())}, 10))
        assert found == []
    assert '"curves"' not in json.dumps(published(share, DisclosureRules())) and json.dumps(share) == before
    assert list(banks.small_cells(published(share, DisclosureRules(minimum_cell=1)), 10)), "control"


BINS = [
    {"label": "low", "share": 0.50, "goods": 48.0, "bads": 2.0, "woe": 1.0},
    {"label": "high", "share": 0.47, "goods": 40.0, "bads": 7.0, "woe": -1.0},
    {"label": "absent", "share": 0.03, "goods": None, "bads": None, "woe": 0.0},
]


def test_a_withheld_bin_cannot_be_had_from_the_shares_of_the_others_and_control_before_it_can() -> None:
    def firms(bins: list[dict[str, Any]]) -> float:
        """Of the absent bin: the whole by the first bin's share, less what is shown."""
        return (bins[0]["goods"] + bins[0]["bads"]) / bins[0]["share"] - sum(row["goods"] + row["bads"] for row in bins[:2])

    shown = published({"bins": BINS}, DisclosureRules())["bins"]
    assert [row["share"] for row in shown] == [pytest.approx(50 / 97), pytest.approx(47 / 97), None]
    assert firms(shown) == pytest.approx(0) and firms(BINS) == pytest.approx(3)
    assert [row["woe"] for row in shown] == [1.0, -1.0, 0.0] and shown[0]["bads"] == 2.0, "what weights of evidence are made of stays"


def test_few_of_a_class_take_the_other_along_and_the_whole_stays() -> None:
    rules = DisclosureRules()
    assert published({"n": 60, "goods": 57, "bads": 3, "auc": 0.7}, rules) == {"n": 60, "goods": None, "bads": None, "auc": 0.7}
    assert published({"n": 6, "goods": 6, "bads": 0}, rules) == {"n": None, "goods": None, "bads": None}
    assert published({"n": 60, "goods": 40, "bads": 20}, rules) == {"n": 60, "goods": 40, "bads": 20}, "control"


def test_counts_are_rounded_where_that_is_set_and_a_model_never() -> None:
    told = published({"n": 63, "goods": 41, "bads": 22, "auc": 0.712345, "coefficients": {"x": 1.23456}}, DisclosureRules(rounding=5))
    assert told == {"n": 65, "goods": 40, "bads": 20, "auc": 0.712345, "coefficients": {"x": 1.23456}}
    bins = published({"bins": BINS}, DisclosureRules(rounding=5))["bins"]
    assert [(row["goods"], row["bads"], row["woe"]) for row in bins[:2]] == [(50, 0, 1.0), (40, 5, -1.0)]


# -- what people are told -------------------------------------------------------------------------------------------------------------


def test_whoever_approves_is_shown_what_rules_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = house_of(tmp_path / "bank", monkeypatch, minimum_cell=10, rounding=5, dominance_p=0.0)
    made = over_banks(house, task="statistics")
    with pytest.raises(PolicyRefusal):
        house.proposed(made)
    text = CliRunner().invoke(app, ["show", "test", "--home", str(house.root)]).output
    for words in ("no count of 1 to 9 firms", "the largest firm at most 75 %", "multiples of 5"):
        assert words in text, words
    assert "to within" not in text
    default, off = DisclosureRules().lines(), DisclosureRules(minimum_cell=1, **OFF).lines()
    assert "10 %" in default[1] and default[-1] == "rounding: none" and off[:2] == ("minimum cell: none", "dominance: not asked")


def test_a_new_node_has_the_defaults_in_its_file_as_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path / "bank", monkeypatch)
    text = (house.root / "node.toml").read_text()
    start = text.index("# [disclosure]")
    (house.root / "node.toml").write_text(text[:start] + text[start:].replace("\n# ", "\n").removeprefix("# "))
    house.restart()
    assert house.node.config.disclosure == DisclosureRules(), "what the comments say are the defaults"


@pytest.mark.parametrize("wrong", [{"minimum_cell": 0}, {"dominance_k": 101.0}, {"rounding": 0}, {"dominance_q": 1}], ids=str)
def test_rules_that_are_none_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"node\.toml"):
        house_of(tmp_path / "bank", monkeypatch, **wrong)
