"""Each release with noise is in the ledger before it leaves, the run ends before it would exceed what it stated, and what it did not spend is free."""

from __future__ import annotations

import math
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from federation.kernel.batch import Abort
from federation.kernel.envelope import Envelope
from federation.kernel.errors import AbortCode
from federation.kernel.loss import Stated, tally
from federation.kernel.manifest import PrivacySettings
from federation.kernel.participant import Participant
from federation.models.horizontal.noise import Noise
from federation.models.horizontal.private_losses import reserved, sums
from federation.models.label_noise import TURNED, turned
from federation.noise import accounting
from privacy.budget import account
from privacy.budget.ledger import Spend
from privacy.budget.limits import Cost, Limits
from privacy.store.budget_file import BudgetFile
from tests.bank_case import BankCase, five
from tests.post import Post
from tests.rooms import Room

EPSILON, DELTA, ME = 2.0, 1e-6, "bank0"
INPUT = "bonawitz/input"
TASKS = [("statistics", "logistic"), ("binning", "scorecard"), ("train", "scorecard")]


def case(task: str = "statistics", model: str = "logistic", epsilon: float = EPSILON) -> BankCase:
    rows = (4_000,) * 5 if task == "train" else (400,) * 5
    privacy = PrivacySettings(epsilon=epsilon, delta=DELTA)
    return BankCase(five(rows, categorical=False), {"task": task, "model": model, "privacy": privacy})


class Kept:
    """A bank's ledger, what was in it when each noisy sum left the bank, and the sums that left."""

    def __init__(self, path: Path, stated: Stated) -> None:
        self.file = BudgetFile(path / "ledger.db")
        self.file.set_limits("loans", "decide", Limits(10.0, 1e-5), "officer")
        self.file.reserve("run", "loans", "decide", Cost((stated,)))
        self.left: dict[str, int] = {}

    def spends(self, release: str, loss: Any) -> None:
        self.file.spend("run", release, Cost((loss,)))

    @property
    def booked(self) -> list[Spend]:
        return [entry.record for entry in self.file.history() if isinstance(entry.record, Spend)]

    def passes(self, envelope: Envelope) -> Envelope:
        if envelope.sender == ME and envelope.kind == INPUT:
            self.left[envelope.step.split(":")[0]] = len(self.booked)
        return envelope

    @property
    def counted(self) -> float:
        return account.epsilon(self.file.current().counted("loans", "decide").losses, DELTA)


def played(path: Path, of: BankCase, stated: Stated | None = None, **hostile: Any) -> tuple[Kept, Post]:
    kept = Kept(path, stated or reserved(of.manifest)[0])
    post = of.post(tamper=kept.passes, more={ME: {"spent": kept.spends}}, **hostile)
    post.play()
    return kept, post


@pytest.mark.parametrize(("task", "model"), TASKS)
def test_every_sum_is_booked_before_it_leaves_and_together_they_cost_what_was_stated_and_no_more(
    task: str, model: str, tmp_path: Path
) -> None:
    of = case(task, model)
    kept, post = played(tmp_path, of)
    with closing(kept.file):
        assert post.parties[ME].finished and post.parties[ME].failure is None
        assert kept.left == {f"sum {number}": number + 1 for number in range(len(sums(of.manifest)))}
        assert [record.release for record in kept.booked] == [name for name, _ in sums(of.manifest)]
        losses = tally(loss for record in kept.booked for loss in record.cost.losses)
        least = math.fsum(count * (loss.l2 / loss.sigma) ** 2 / (2 * loss.parties) for loss, count in losses.items())  # type: ignore[union-attr]
        assert accounting.epsilon_of(least, DELTA) <= account.by_renyi(losses, DELTA) * (1 + 1e-9)  # never less than the sums compose to
        assert 0.98 * EPSILON < account.by_renyi(losses, DELTA) <= EPSILON
        kept.file.settle("run")
        assert 0.8 * EPSILON < kept.counted <= EPSILON


def test_control_a_participant_that_books_nothing_sends_its_sums_all_the_same_and_the_check_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Participant, "spend", lambda *_: None)
    kept, post = played(tmp_path, case())
    with closing(kept.file):
        assert post.parties[ME].finished and set(kept.left.values()) == {0} and len(kept.left) == 4


@pytest.mark.parametrize("part", [0.5, 0.85])
def test_the_run_ends_before_it_would_exceed_what_it_reserved_and_control_with_the_whole_it_finishes(tmp_path: Path, part: float) -> None:
    of = case()
    kept, post = played(tmp_path, of, Stated(part * EPSILON, DELTA))
    with closing(kept.file):
        failure = post.parties[ME].failure
        assert failure is not None and failure.code is AbortCode.BUDGET and "more than is left of what the run reserved" in str(failure)
        assert 0 < len(kept.left) < 4 and len(kept.left) == len(kept.booked)  # the refused sum has not left
        aborts = [envelope for envelope in post.passed if envelope.sender == ME and envelope.kind == Abort.kind()]
        assert len(aborts) == 5 and not any(str(part) in str(envelope.header()) for envelope in aborts)
        assert account.epsilon(kept.file.current().spent("loans", "decide").losses, DELTA) <= part * EPSILON
    (tmp_path / "whole").mkdir()
    whole, post = played(tmp_path / "whole", of)
    with closing(whole.file):
        assert post.parties[ME].finished and len(whole.left) == 4


def test_a_run_that_stops_early_gives_back_what_it_did_not_spend_and_nothing_that_left(tmp_path: Path) -> None:
    of = case()
    kept = Kept(tmp_path, reserved(of.manifest)[0])

    def cut(envelope: Envelope) -> Envelope | None:
        return None if envelope.step.startswith("sum 2") else kept.passes(envelope)

    post = of.post(tamper=cut, more={ME: {"spent": kept.spends}})
    post.play()
    with closing(kept.file):
        assert not post.parties[ME].finished and list(kept.left) == ["sum 0", "sum 1"]
        assert kept.counted == EPSILON  # open, all that it reserved counts
        kept.file.settle("run")
        two = account.epsilon([loss for record in kept.booked for loss in record.cost.losses], DELTA)
        assert kept.counted == two and 0.5 * EPSILON < two < 0.9 * EPSILON
        with pytest.raises(Exception, match="may release nothing more"):
            kept.spends("moments", Noise.of(of.manifest).counts(0.45, 4).loss(4, 3))  # type: ignore[union-attr]


def test_a_bank_that_is_killed_at_every_batch_books_each_sum_once(tmp_path: Path) -> None:
    kept, post = played(tmp_path, case(), killed=lambda name, number: name == ME and number > 0)
    with closing(kept.file):
        assert post.parties[ME].finished and len(kept.booked) == 4


def test_turned_labels_are_booked_before_they_are_drawn_and_without_noise_nothing_is() -> None:
    room, bad = Room(("bank", "tax")), np.array([True, False] * 50)
    assert (turned(room.run("bank"), bad, None) == bad).all() and room.shelves["bank"].spent == []
    turned(room.run("bank"), bad, 1.0)
    assert room.shelves["bank"].spent == [(TURNED, Stated(1.0))]

    def full(*_: Any) -> None:
        raise LedgerFullError

    room = Room(("bank", "tax"))
    run = room.run("bank")
    room.shelves["bank"].spend = full  # type: ignore[method-assign]
    with pytest.raises(LedgerFullError):
        turned(run, bad, 1.0)
    assert not room.shelves["bank"].effects


class LedgerFullError(Exception):
    """Raised in the ledger's place."""


def test_a_limit_at_a_smaller_delta_says_so(tmp_path: Path) -> None:
    with closing(BudgetFile(tmp_path / "ledger.db")) as file:
        file.set_limits("loans", "decide", Limits(10.0, 1e-9), "officer")
        ask = partial(file.reserve, "run", "loans", "decide")
        with pytest.raises(Exception, match="delta 1e-06 asked for, and epsilon is limited at delta 1e-09"):
            ask(Cost((Stated(1.0, 1e-6),)))
        ask(Cost((Stated(1.0, 1e-9),)))
