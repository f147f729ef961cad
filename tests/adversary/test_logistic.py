"""What the label party can rebuild from scores, and a partner from gradients; each with the control that succeeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import expit

import federation.models.logistic as fits
from federation.kernel.errors import PolicyRefusal
from federation.kernel.role import Role
from federation.models.prepare import Prepared
from privacy.attacks.logistic import auc, label_guess, spanned_share
from tests.pooled_case import Firms, Played, PooledCase


class Watched:
    """A run whose label party keeps every score change and whose partner keeps every gradient, as each would see it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, firms: Firms, **privacy: Any) -> None:
        self.changes: list[Any] = []
        self.gradients: list[Any] = []
        seen, told = fits.partners_scores, fits.held_sums

        def partners(*arguments: Any, **more: Any) -> Role[Any]:
            scores, extra = yield from seen(*arguments, **more)
            self.changes.append(scores)
            return scores, extra

        def sums(run: Any, *arguments: Any) -> Role[Any]:
            total = yield from told(run, *arguments)
            if run.me == "platform":
                self.gradients.append(total)
            return total

        monkeypatch.setattr(fits, "partners_scores", partners)
        monkeypatch.setattr(fits, "held_sums", sums)
        self.played: Played = PooledCase(firms.draw(), privacy=privacy).play()

    def prepared(self, name: str) -> Prepared:
        program: Any = self.played.case.program(name)
        return program.prepared(self.played.state(name))

    def partner_columns(self) -> Any:
        """The partners' true columns at the bank's rows."""
        bank = self.prepared("bank").block.positions
        out = []
        for name in self.played.case.tables:
            if name != "bank":
                block = self.prepared(name).block
                whole = np.repeat(block.absent[None, :], block.universe, axis=0)
                whole[block.positions] = block.x
                out.append(whole[bank])
        return np.hstack(out)


def test_fewer_score_vectors_than_columns_do_not_span_the_partners_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch, Firms(columns=6), max_score_reveals=6)
    assert watched.played.finished and watched.played.reason
    held = spanned_share(np.column_stack(watched.changes), watched.partner_columns())
    print(f"seed 1: {len(watched.changes)} score vectors of 12 columns span {held:.2f} of them")
    assert len(watched.changes) < 12 and held < 0.9


def test_control_as_many_score_vectors_as_columns_hold_them_up_to_a_linear_map(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch, Firms(columns=2))
    held = spanned_share(np.column_stack(watched.changes), watched.partner_columns())
    print(f"seed 1: {len(watched.changes)} score vectors of 4 columns span {held:.6f} of them")
    assert len(watched.changes) >= 4 and held > 0.999


def test_a_partner_cannot_rank_labels_by_what_it_received(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch, Firms(strength=0.0))
    block = watched.prepared("platform").block
    bank = watched.played.case.tables["bank"]
    own, theirs = (
        watched.played.case.tables["platform"].keys,
        dict(zip(bank.keys, bank.label if bank.label is not None else (), strict=True)),
    )
    known = np.array([key in theirs for key in own])
    label = np.array([theirs[key] for key in own if key in theirs], np.int8)
    guess = label_guess(block.x, np.array(watched.gradients))[known]
    print(f"seed 1: AUC of a partner's guess {auc(guess, label):.3f} over {len(label)} firms")
    assert abs(auc(guess, label) - 0.5) < 0.08


def test_control_plain_residuals_give_every_label() -> None:
    bank = Firms(strength=0.0).draw()["bank"]
    assert bank.label is not None
    residuals = expit(np.full(bank.rows, -1.0)) - bank.label
    assert auc(-residuals, bank.label) == 1.0


def test_a_feature_party_counts_score_vectors_for_itself() -> None:
    limits = fits.Limits(1e-7, 50, 3)
    fits.require_reveals("platform", 3, limits)
    with pytest.raises(PolicyRefusal, match="max_score_reveals"):
        fits.require_reveals("platform", 4, limits)
