"""What members of a run over many banks can make of the totals that they open, and what they cannot; each attack with its control.

Several of these succeed where no protocol of sums can prevent it: then the contract (privacy/contracts/banks.toml) has the figures measured
here, and the control shows what the same attack gets where our protocol does stand in its way.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from clients.bank_results import bank_results
from federation.kernel.codec import decode
from federation.kernel.errors import ConfigurationError, LostParty, PeerAborted, PeerError
from federation.kernel.manifest import BankSettings, Manifest, PrivacySettings, SampleSettings
from federation.kernel.role import COORDINATOR
from federation.masked_sum import wide
from federation.masked_sum.bonawitz import MaskedInput
from federation.models.bins import Bins
from federation.models.horizontal.bank import bank_of
from federation.models.horizontal.common_bins import FindBins
from federation.models.horizontal.newton import FitSettings, Newton
from federation.models.horizontal.personal import Rows
from federation.models.horizontal.plan import Reals
from federation.models.horizontal.program import Bank, circle_of
from federation.models.sample import Sample
from federation.models.table import Column, Table
from federation.models.training import Local
from privacy.attacks import banks as attack
from privacy.attacks.banks import BeginsAgain, Heard, Lesson, compares_no_bins
from tests.bank_case import BankCase, Opened, bank_manifest, five, opened, settled

SEED = 20_251_125
TARGET = "bank4"


def fit_of(sizes: tuple[int, ...], width: int = 3, seed: int = SEED) -> dict[str, Newton]:
    """A ridge fit over banks of these sizes: every bank has its own centre, and both classes where it has two rows."""
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    slopes, out = rng.normal(size=width), {}
    for place, count in enumerate(sizes):
        x = rng.normal(size=(count, width))
        y = (rng.random(count) < expit(x @ slopes - 0.8)).astype(np.float64)
        y[:2] = np.array([0.0, 1.0])[: len(y)]
        names = tuple(f"x{number}" for number in range(width))
        out[f"bank{place}"] = Newton(Rows.of(x, y, np.ones(count)), names, np.ones(width), FitSettings(tolerance=1e-9))
    return out


def truth(plan: Newton) -> Reals:
    return plan.rows.x[:, 1:]


# -- inversion ----------------------------------------------------------------------------------------------------------------------


def test_the_only_row_of_a_bank_is_not_in_the_total_and_control_it_is_in_the_banks_own_part() -> None:
    banks = fit_of((200, 150, 100, 50, 1))
    totals, parts = Lesson(banks).play()
    (row,) = truth(banks[TARGET])
    label = int(banks[TARGET].rows.y[0])
    for total, part in zip(totals, parts, strict=True):
        assert np.linalg.norm(attack.only_row(total)[0] - row) > 0.5
        found, said = attack.only_row(part[TARGET])
        np.testing.assert_allclose(found, row, atol=1e-9)
        assert said == label


def test_rows_are_not_found_from_totals_and_control_those_of_eight_are_found_from_their_banks_part() -> None:
    """Five banks of eight rows each, 120 numbers unknown: no more of them is found from all totals of the fit than by drawing at random."""
    banks = fit_of((8, 8, 8, 8, 8))
    totals, parts = Lesson(banks).play()
    goods = {name: int((plan.rows.y == 0).sum()) for name, plan in banks.items()}
    rng = np.random.default_rng(SEED)
    mine, missed = attack.rows_that_explain([part[TARGET] for part in parts], goods[TARGET], 8 - goods[TARGET], rng)
    assert missed < 1e-9
    assert attack.away(mine, truth(banks[TARGET])).max() < 1e-6
    everyone = np.concatenate([truth(plan) for plan in banks.values()])
    few = [totals[0], totals[2], totals[-1]]  # the others add little: they are taken near the last
    found, missed = attack.rows_that_explain(few, sum(goods.values()), 40 - sum(goods.values()), rng, starts=1, tries=60)
    assert missed < 1e-3, "other rows explain the totals as well"
    away = float(np.median(attack.away(found, everyone)))
    chance = float(np.median([np.median(attack.away(rng.normal(size=(40, 3)), everyone)) for _ in range(50)]))
    print(f"median distance to a true row: {away:.2f} from totals of 40 rows, {chance:.2f} by chance, 0 from a bank's own part")
    assert away > 0.6 * chance


@pytest.mark.parametrize(("rows", "open_to"), [(4, True), (8, True), (16, False)])
def test_all_members_but_one_hold_the_last_ones_part_and_its_rows_if_they_are_few(rows: int, open_to: bool) -> None:
    """No defence: this follows from the total. What stands in the way is that a bank has more numbers than its sums tell."""
    banks = fit_of((120, 100, 90, 80, rows))
    totals, parts = Lesson(banks).play()
    left = []
    for total, part in zip(totals, parts, strict=True):
        others = [part[name] for name in banks if name != TARGET]
        gradient, hessian = (np.sum([getattr(other, field) for other in others], axis=0) for field in ("gradient", "hessian"))
        loss, weight = (sum(getattr(other, field) for other in others) for field in ("loss", "weight"))
        left.append(Heard(total.theta, total.gradient - gradient, total.hessian - hessian, total.loss - loss, total.weight - weight))
        assert attack.error(left[-1], part[TARGET]) < (1e-10, 1e-10)
    assert round(left[0].weight) == rows
    bads = int(banks[TARGET].rows.y.sum())
    found, _ = attack.rows_that_explain(left, rows - bads, bads, np.random.default_rng(SEED), starts=10 if open_to else 1, tries=40)
    away = attack.away(found, truth(banks[TARGET]))
    print(f"{rows} rows of 3 columns from {len(left)} sums: found to {np.median(away):.1e} in the median, {away.max():.1e} at worst")
    assert (away.max() < 1e-4) == open_to


def test_the_coordinator_makes_nothing_of_what_it_is_sent_and_control_without_masks_it_reads_the_row() -> None:
    """A real session; the target has one training row, and the coordinator reads its masked numbers as if they were plain."""
    tables = five((160, 120, 90, 60, 1), categorical=False)
    case = BankCase(tables, {"sample": SampleSettings(holdout=0.0)})
    heard = opened(case.banks[TARGET])
    post = case.play()
    assert all(party.finished and party.failure is None for party in post.parties.values())
    read = []
    for envelope in post.passed:
        if envelope.sender == TARGET and envelope.kind == MaskedInput.kind():
            words = decode(envelope.body, MaskedInput, TARGET, len(envelope.body)).vector
            read.append(wide.decode(words.read(TARGET, "<u8", words.shape).view(np.int64)))
    fits = [(o, r) for o, r in zip(heard, read, strict=True) if len(o.own) == 3 + 6 + 2]
    assert len(fits) > 4
    for plain, masked in fits:
        row = attack.only_row(Heard.of(np.zeros(3), plain.own))[0]
        assert np.linalg.norm(attack.only_row(Heard.of(np.zeros(3), masked))[0] - row) > 1e-3
        assert len(np.unique(np.abs(masked))) == len(masked)
        assert np.median(np.abs(masked)) > 1e6, "numbers as large as the range, whatever went in"
    design = case.state(post, TARGET).moments.encoding.design(tables[TARGET].columns)
    np.testing.assert_allclose(attack.only_row(Heard.of(np.zeros(3), fits[0][0].own))[0], design[0], atol=1e-6)


# -- differencing -------------------------------------------------------------------------------------------------------------------


def test_differencing_around_a_late_drop_out_as_the_contract_says() -> None:
    """No defence with drop_outs = "continue": the earlier a bank is lost the less is told, near the optimum nearly all. Figures as measured."""
    banks = fit_of((2000, 1500, 1000, 700, 400), width=5)
    whole = len(Lesson(banks).play()[0])
    plain, carried = [], []
    for number in range(1, whole):
        totals, parts = Lesson(banks).play((TARGET, number))
        part = parts[number - 1][TARGET]
        two = totals[number - 1], totals[number]
        plain.append(attack.error(attack.departed(*two, corrected=False), part))
        carried.append(attack.error(attack.departed(*two), part))
        print(
            f"lost before sum {number} of {whole}: gradient to {plain[-1][0]:.1e}, carried back {carried[-1][0]:.1e}, Hessian {plain[-1][1]:.1e}"
        )
    assert carried[0][0] > 0.5
    assert plain[0][0] > 0.5
    assert carried[-1][0] < 1e-6
    assert all(later[0] < earlier[0] for earlier, later in itertools.pairwise(carried))


def rebuilt(kind: type[Bank[Any]]) -> Any:
    """A weakened copy of each bank's program."""

    def make(manifest: Manifest, me: str, local: Local) -> Bank[Any]:
        bank = bank_of(manifest, me, local)
        return kind(manifest, me, bank.local, bank.task, bank.given)

    return make


def lost_late(make: Any, stage: str, **changes: Any) -> tuple[list[Opened], list[Opened], Any]:
    """What a member and the target open where the target is lost at this stage, and the parties."""
    case = BankCase(five(), changes, make=make)
    member, target = opened(case.banks["bank0"]), opened(case.banks[TARGET])
    return member, target, case.play({TARGET: stage}).parties


@pytest.mark.parametrize(
    "number", [pytest.param(number, marks=() if number in (1, 4, 7, 12) else pytest.mark.slow) for number in range(1, 13)]
)
def test_no_sum_is_taken_again_without_a_bank_that_was_lost(number: int) -> None:
    """At every place of a training, 4 of 12 in the quick tests: the others finish, and no total stands with the bank and again without it."""
    member, _, parties = lost_late(bank_of, f"sum {number}")
    assert all(parties[name].finished and parties[name].failure is None for name in parties if name != TARGET)
    assert {sum_.banks for sum_ in member} == {5, 4}
    assert attack.told_twice([(s.own, s.total, s.banks) for s in member]) == {}


@pytest.mark.parametrize("stage", ["sum 1", "sum 6"])
def test_control_a_run_that_begins_again_without_the_lost_tells_its_part_exactly(stage: str) -> None:
    member, target, parties = lost_late(rebuilt(BeginsAgain), stage)
    assert all(parties[name].finished for name in parties if name != TARGET)
    told = attack.told_twice([(s.own, s.total, s.banks) for s in member])
    assert told
    assert 0 in told
    for place, found in told.items():
        np.testing.assert_allclose(found, target[place].own, rtol=1e-12, atol=1e-9)
    print(f"lost at {stage}: {len(told)} of its {len(target)} parts are told exactly")


@pytest.mark.parametrize("stage", ["levels", "sum 1", "sum 12", *(pytest.param(s, marks=pytest.mark.slow) for s in ("sum 0", "sum 6"))])
def test_with_drop_outs_stop_nothing_is_opened_without_a_bank(stage: str) -> None:
    """The coordinator ends the run with a reason; no bank opens a total over fewer than all. Control: with "continue" they do.

    3 of 5 places in the quick tests.
    """
    member, _, parties = lost_late(bank_of, stage, banks=BankSettings(drop_outs="stop"))
    failure = parties[COORDINATOR].failure
    assert isinstance(failure, LostParty)
    assert TARGET in str(failure)
    assert 'drop_outs = "stop"' in str(failure)
    assert {sum_.banks for sum_ in member} <= {5}
    assert not any(parties[name].finished for name in parties)
    assert all(isinstance(parties[name].failure, PeerAborted) for name in ("bank0", "bank1", "bank2", "bank3"))
    goes_on, _, others = lost_late(bank_of, stage)
    assert others["bank0"].finished
    assert 4 in {sum_.banks for sum_ in goes_on}


def test_with_drop_outs_stop_banks_refuse_a_list_without_one_of_them() -> None:
    """Whatever a coordinator says: the threshold is the banks' own, from the manifest. Control: with "continue" the same list is taken."""
    for drop_outs in ("stop", "continue"):
        manifest = bank_manifest(five(), banks=BankSettings(drop_outs=drop_outs))
        names, circle = manifest.members, circle_of(manifest, manifest.members, bytes(32))
        if drop_outs == "stop":
            with pytest.raises(PeerError, match="list of 4 members"):
                circle.check(names[:4], names, names[0])
        else:
            circle.check(names[:4], names, names[0])


# -- probing ------------------------------------------------------------------------------------------------------------------------


def binning(values: Reals, seed: int) -> FindBins:
    rng = np.random.default_rng(seed)
    firms = tuple(map(str, range(len(values))))
    label = (rng.random(len(values)) < 0.3).astype(np.int8)
    table = Table(firms, firms, {"size": Column("size", "numeric", values)}, b"", None, label)
    everyone = np.ones(len(values), np.bool_)
    sample = Sample(everyone, ~everyone, ~everyone, 0)
    return FindBins(table, sample, np.ones(len(values)), {}, settled())


def finest(plans: list[FindBins], value: float) -> tuple[int, int]:
    """How many leading bits a value's finest cell has, and how many rows of other banks the first bank sees in it."""
    states, best = [plan.begin() for plan in plans], (0, 0)
    key = int(np.array([value]).view(np.uint64)[0]) | 1 << 63
    while states[0].bins is None:
        total = np.sum([plan.ask(state) for plan, state in zip(plans, states, strict=True)], axis=0)
        for first, bits, rows in attack.others_in_cells(plans[0], states[0], total, "size"):
            if first <= key < first + (1 << (64 - bits)):
                best = bits, rows
        states = [plan.take(state, total, len(plans)) for plan, state in zip(plans, states, strict=True)]
    return best


@pytest.mark.parametrize("known", [True, False])
def test_made_up_rows_show_whether_another_bank_has_a_firm_of_just_this_value(known: bool) -> None:
    """No defence: a malicious bank finds a firm by a value that it knows to the last bit. Control: a bank without such rows sees a coarse cell."""
    rng = np.random.default_rng(SEED)
    size = 123.456789
    others = [rng.lognormal(4.0, 1.0, count) for count in (900, 700, 500)]
    others[1][0] = size if known else others[1][0]
    honest = rng.lognormal(4.0, 1.0, 400)
    plans = [binning(values, place) for place, values in enumerate(others)]
    bits, rows = finest([binning(attack.decoys(size, 400), 9), *plans], size)
    coarse, several = finest([binning(honest, 9), *plans], size)
    print(f"with made-up rows {bits} bits of the value and {rows} rows of others there; without {coarse} bits and {several} rows")
    assert bits == 64
    assert rows == int(known)
    assert coarse <= 24


# -- small cells --------------------------------------------------------------------------------------------------------------------


def awkward() -> dict[str, Table]:
    """Banks with a level, a flag and missing cells of few rows, and few rows to test on."""
    tables = five((260, 200, 150, 90, 40))
    out = {}
    for place, (name, table) in enumerate(tables.items()):
        region, debt, flag = (table.columns["region"].values.copy(), table.columns["debt"].values.copy(), np.zeros(table.rows))
        region[:1], debt[1 : 2 + place % 2], flag[:1] = "island", np.nan, 1.0
        columns = dict(table.columns) | {
            "region": Column("region", "categorical", region), "debt": Column("debt", "numeric", debt), "flag": Column("flag", "numeric", flag),
        }  # fmt: skip
        out[name] = replace(table, columns=columns)
    return out


TASKS: dict[str, dict[str, Any]] = {
    "statistics": {"task": "statistics"},
    "binning": {"task": "binning"},
    "logistic": {"task": "train", "model": "logistic"},
    "scorecard": {"task": "train", "model": "scorecard"},
}


def released(task: str, minimum: int) -> list[tuple[str, int]]:
    """Small cells of share.json at every bank, with this minimum cohort."""
    changes = TASKS[task] | {"privacy": PrivacySettings(minimum_cohort=minimum), "sample": SampleSettings(holdout=0.02)}
    case = BankCase(awkward(), changes)
    post, found = case.play(), []
    for name, bank in case.banks.items():
        party = post.parties[name]
        assert party.finished, party.failure
        found += list(attack.small_cells(json.loads(bank_results(party, bank)["share.json"]), 10))
    return found


@pytest.mark.parametrize("task", TASKS)
def test_no_share_shows_a_count_of_few_rows_and_control_with_a_minimum_cohort_of_one_it_does(task: str) -> None:
    assert released(task, 10) == []
    small = released(task, 1)
    print(f"{task}: {len(small)} small cells with minimum_cohort = 1, such as {small[:2]}")
    assert small


# -- bins by hand -------------------------------------------------------------------------------------------------------------------


def given(edges: dict[str, float]) -> dict[str, dict[str, Bins]]:
    return {name: {"size": Bins(column="size", kind="numeric", edges=(edge, 20.0))} for name, edge in edges.items()}


def edited(make: Any, other: float) -> tuple[BankCase, Any]:
    names = tuple(five())
    case = BankCase(five(), {"model": "scorecard"}, given(dict.fromkeys(names, 5.0) | {"bank2": other}), make)
    return case, case.play()


def test_differing_bins_given_by_hand_end_the_run_before_a_sum() -> None:
    _, post = edited(bank_of, 6.0)
    failures = {name: party.failure for name, party in post.parties.items()}
    assert any(isinstance(failure, ConfigurationError) and "other bins by hand" in str(failure) for failure in failures.values())
    assert all(isinstance(failure, ConfigurationError | PeerAborted) for failure in failures.values())
    assert not any(party.finished for party in post.parties.values())
    assert not any(envelope.kind.startswith("bonawitz") for envelope in post.passed)
    assert all(party.finished for party in edited(bank_of, 5.0)[1].parties.values()), "control: the same bins are taken"


def test_control_without_the_digest_banks_agree_on_one_hash_and_on_two_models() -> None:
    case, post = edited(lambda manifest, me, local: compares_no_bins(bank_of(manifest, me, local)), 6.0)
    assert all(party.finished for party in post.parties.values())
    assert len({party.state.model_hash for party in post.parties.values()}) == 1
    edges = {
        name: {part.bins.edges for part in case.state(post, name).bins.encoding.columns if part.column == "size"} for name in case.banks
    }
    assert edges["bank0"] != edges["bank2"]
