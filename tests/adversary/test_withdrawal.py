"""What going on without a row tells of it: measured, for each party that compares before and after. The default, to end the run, tells nothing.

There is no defence but the default: the attacks succeed, the contracts say so, and what is asserted is where they do and where not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from federation.kernel.envelope import Envelope
from federation.kernel.manifest import PrivacySettings
from federation.kernel.role import COORDINATOR
from federation.models.horizontal.bank import bank_of
from federation.models.horizontal.program import Adder
from federation.models.horizontal.train import Train, Trained
from federation.models.training import FeatureParty, LabelParty, Local
from privacy.attacks import withdrawal as attack
from tests.bank_case import BankCase, five, opened
from tests.pooled_case import Firms, PooledCase
from tests.post import Post
from tests.withdrawing import Withdrawing, small

LATE = 30
"""A batch of the later iterations: the coefficients move by less than a hundredth."""


def states(scene: Withdrawing, monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, int], Any]:
    """Every institution's state after each iteration."""
    kept: dict[tuple[str, int], Any] = {}
    for kind in (LabelParty, FeatureParty):
        original = kind.after_fit

        def keeps(self: Any, state: Any, fit: Any, original: Any = original) -> Any:
            kept[self.me, state.iteration] = original(self, state, fit)
            return kept[self.me, state.iteration]

        monkeypatch.setattr(kind, "after_fit", keeps)
    played = scene.play()
    assert played.finished, played.failures
    return kept


def two_columns(**privacy: Any) -> PooledCase:
    case = small("logistic", **privacy)
    case.tables = Firms(rows=260, columns=3, strength=0.5, present=1.0, beyond=0, seed=32).draw()
    return case


def training_row(case: PooledCase) -> int:
    program = case.program("bank")
    assert isinstance(program, LabelParty)
    return int(np.flatnonzero(program.sample().train)[17])


def test_a_partner_finds_which_firm_withdrew_at_the_bank_and_whether_it_was_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    case = two_columns()
    row, found = training_row(case), {}
    last = Withdrawing(case, "bank", -1, ()).play().parties["bank"]._number - 5  # in the last iteration but one
    for number in (10, last):
        scene = Withdrawing(case, "bank", number, (row,))
        kept = states(scene, monkeypatch)
        first = next(i for i in range(1, 40) if kept["bank", i - 1].gone is None and kept["bank", i].gone is not None)
        program = case.program("platform")
        block = program.prepared(kept["platform", first]).block
        difference = kept["platform", first - 1].fit.sums - kept["platform", first].fit.sums
        guess, residual, rest = attack.row_of_difference(difference, block.x)
        found[number] = case.tables["platform"].keys[guess] == case.tables["bank"].keys[row], residual < 0, rest
        print(f"withdrawn before iteration {first}: {found[number]}")
    label = case.tables["bank"].label
    assert label is not None
    assert found[last][:2] == (True, bool(label[row]))
    assert found[last][2] < 0.05
    assert not found[10][0] or found[10][2] > 0.05  # control: while the fit still moves, the difference is of all rows


def test_the_bank_finds_which_of_its_firms_withdrew_at_a_partner(monkeypatch: pytest.MonkeyPatch) -> None:
    case = two_columns()
    row = training_row(case)
    kept = states(Withdrawing(case, "platform", LATE, (row,)), monkeypatch)
    first = next(i for i in range(1, 40) if kept["platform", i - 1].gone is None and kept["platform", i].gone is not None)
    guess, times = attack.jumped(kept["bank", first - 1].fit.score, kept["bank", first].fit.score)
    print(f"the firm that withdrew at the platform jumps {times:.0f} times farther than any other")
    assert case.tables["bank"].keys[guess] == case.tables["platform"].keys[row]
    assert times > 10


@pytest.mark.parametrize("policy", ["continue", "abort"])
def test_another_bank_reads_the_row_from_two_gradients_and_control_where_the_run_ends_there_is_no_second(policy: str) -> None:
    privacy = PrivacySettings(withdrawal=policy)  # type: ignore[arg-type]
    case = BankCase(five((90, 80, 60, 40, 30), categorical=False), {"privacy": privacy})
    heard, gone = opened(case.banks["bank0"]), [None]
    sample = case.banks["bank1"].plan(case.banks["bank1"].begin()).sample  # type: ignore[attr-defined]
    row = int(np.flatnonzero(sample.train)[5])

    def delivers(post: Post, name: str, number: int, batch: tuple[Envelope, ...]) -> bytes:
        if name == "bank1" and post.parties[name].stage == "sum 6":
            gone[0] = np.arange(80) == row
        return post.parties[name].deliver(number, batch)

    programs: dict[str, Any] = {name: (lambda bank=bank: bank) for name, bank in case.banks.items()}
    programs["bank1"] = lambda: bank_of(case.manifest, "bank1", Local(case.tables["bank1"]))
    post = Post(
        case.manifest,
        programs | {COORDINATOR: lambda: Adder(case.manifest)},
        delivers=delivers,
        more={"bank1": {"withdrawn": lambda: gone[0]}},
    )
    post.play()
    if policy == "abort":
        assert len(heard) == 7  # sums 0 to 6 and no other
        return
    before, after = heard[6].total, heard[7].total
    guess, bad = attack.row_of_gradient((before - after)[:3])
    plan, state = case.banks["bank0"].plan(post.parties["bank0"].state), case.state(post, "bank0")
    assert isinstance(plan, Train)
    assert isinstance(state, Trained)
    assert state.moments is not None
    table = case.tables["bank1"]
    true = state.moments.encoding.design(table.columns)[row]
    print(f"read {guess}, true {true}; bad: {bad}")
    assert table.label is not None
    assert bad == bool(table.label[row])
    np.testing.assert_allclose(guess, true, atol=0.05)
