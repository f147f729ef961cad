"""How far a firm leans on few counterparties: the Herfindahl-Hirschman index, the sum of squared shares (1 for a single one, 1/n for n equal
ones), and the shares of the largest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clients.roles.series import Floats, Ints


@dataclass(frozen=True)
class Concentration:
    """(firms,) each. whole: the sum of all; top, top3: of the largest, and of the three largest; squares: the index, missing without any."""

    whole: Ints
    top: Ints
    top3: Ints
    squares: Floats


def concentration(firm: Ints, amount: Ints, firms: int) -> Concentration:
    """Of pairs of a firm and a counterparty, (k,) each; those whose amount is not above zero are left out.

    Shares are added from the largest down, so that the numbering of counterparties does not matter to the last bit.
    """
    order = np.lexsort((-amount, firm))
    order = order[amount[order] > 0]
    firm, amount = firm[order], amount[order]
    begins = np.flatnonzero(np.diff(firm, prepend=-1))
    rank = np.arange(len(firm)) - np.repeat(begins, np.diff(np.append(begins, len(firm))))
    whole, top, top3 = (np.zeros(firms, np.int64) for _ in range(3))
    if len(firm):
        whole[firm[begins]] = np.add.reduceat(amount, begins)
        top3[firm[begins]] = np.add.reduceat(np.where(rank < 3, amount, 0), begins)
    top[firm[begins]] = amount[begins]
    squares = np.bincount(firm, (amount / np.where(whole > 0, whole, 1)[firm]) ** 2, firms)
    return Concentration(whole, top, top3, np.where(whole > 0, squares, np.nan))
