"""Attacks on the fit: what a label party can make of revealed scores, and what a partner can make of its own gradients.

Each function works on what the attacker really received; the tests run it against our transcript and against a weakened copy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Reals = NDArray[np.float64]


def spanned_share(revealed: Reals, columns: Reals) -> float:
    """How much of the partners' columns the label party holds: the share of their variance within the span of what it saw.

    revealed: (n, k) summed score vectors; columns: (n, d) the partners' columns at the same rows, which the attacker does not have.
    1 means that it holds all of them up to a linear map; k generic vectors of d columns span about k / d.
    """
    centred = columns - columns.mean(axis=0)
    seen = revealed - revealed.mean(axis=0)
    left, size, _ = np.linalg.svd(seen / np.maximum(np.linalg.norm(seen, axis=0), 1e-300), full_matrices=False)
    basis = left[:, size > 1e-9 * size[0]]
    return float(np.linalg.norm(basis.T @ centred) ** 2 / np.linalg.norm(centred) ** 2)


def label_guess(columns: Reals, gradients: Reals) -> Reals:
    """A partner's best linear guess at residuals from X'r of each iteration: the least-norm r that explains them all, (n,).

    columns: (n, d) its own; gradients: (iterations, d) without ridge. With d columns at most d numbers of n residuals are determined.
    """
    guess = np.linalg.lstsq(columns.T, gradients[0], rcond=None)[0]
    return np.asarray(-guess, np.float64)


def auc(guess: Reals, label: NDArray[np.int8]) -> float:
    """How well a guess ranks labels: 0.5 is chance, 1 is every label."""
    bads = int(label.sum())
    goods = len(label) - bads
    return float((rankdata(guess)[label == 1].sum() - bads * (bads + 1) / 2) / (bads * goods))
