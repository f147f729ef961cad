"""Attacks on models over many banks by members, who keep and combine the totals that they open.

    inversion     rows that explain the sums of a fit: gradient, Hessian and loss at each place where a sum was taken
    differencing  one bank's contribution, from the last sum with it and the first without it
    probing       rows made for the purpose, so that a cell of the number line is cut around one value and shows who else has it
    small cells   counts of few rows in what is released

and the weakened banks that they break: one that begins again without whoever was lost, and one that does not compare hand-given bins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import expit

from federation.kernel.role import Role, Run
from federation.models.horizontal.common_bins import CommonBins, FindBins
from federation.models.horizontal.newton import Newton, NewtonFit
from federation.models.horizontal.number_line import FIRST_BITS, MORE_BITS
from federation.models.horizontal.program import Bank, Standing
from federation.models.line_search import log_loss

Reals = NDArray[np.float64]

COUNTS = ("rows", "n", "count", "missing", "bads")
"""Keys of released documents under which rows are counted."""


@dataclass(frozen=True)
class Heard:
    """A sum of a fit, as whoever holds it sees it. theta: (p,) where it was taken; gradient: (p,); hessian: (p, p); loss; weight."""

    theta: Reals
    gradient: Reals
    hessian: Reals
    loss: float
    weight: float

    @classmethod
    def of(cls, theta: Reals, vector: Reals) -> Heard:
        """From the vector of a sum."""
        p = len(theta)
        hessian = np.zeros((p, p))
        hessian[np.triu_indices(p)] = vector[p:-2]
        return cls(theta, vector[:p], hessian + np.triu(hessian, 1).T, float(vector[-2]), float(vector[-1]))


# -- inversion ----------------------------------------------------------------------------------------------------------------------


def only_row(heard: Heard) -> tuple[Reals, int]:
    """The row, (p - 1,), and the label of a contribution of one row: the gradient is (p - y) (1, x)."""
    return heard.gradient[1:] / heard.gradient[0], int(heard.gradient[0] < 0)


def rows_that_explain(
    sums: Sequence[Heard], goods: int, bads: int, rng: np.random.Generator, starts: int = 10, tries: int = 200, enough: float = 1e-9
) -> tuple[Reals, float]:
    """Rows (goods + bads, p - 1) of unit weight, goods first, whose gradients, Hessians and losses are those heard, and how badly they
    miss them (root mean square, in units of the sums' own sizes). From standard normal starts, the best of them; tries: steps from each.
    """
    count, width = goods + bads, len(sums[0].theta) - 1
    y = np.concatenate([np.zeros(goods), np.ones(bads)])
    upper = np.triu_indices(width + 1)
    sizes = [(1e-12 + np.abs(s.gradient).max(), 1e-12 + np.abs(s.hessian).max(), 1e-12 + abs(s.loss)) for s in sums]

    def misses(flat: Reals) -> Reals:
        x = np.column_stack([np.ones(count), flat.reshape(count, width)])
        out = []
        for heard, (g, h, loss) in zip(sums, sizes, strict=True):
            z = x @ heard.theta
            p = expit(z)
            hessian = x.T @ (x * (p * (1 - p))[:, None])
            out += [(x.T @ (p - y) - heard.gradient) / g, (hessian - heard.hessian)[upper] / h]
            out.append(np.array([(log_loss(z, y, np.ones(count)) - heard.loss) / loss]))
        return np.concatenate(out)

    best: tuple[Reals, float] | None = None
    for _ in range(starts):
        found = least_squares(misses, rng.normal(size=count * width), xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=tries)
        missed = float(np.sqrt(np.mean(found.fun**2)))
        if best is None or missed < best[1]:
            best = found.x.reshape(count, width), missed
        if best[1] < enough:
            break
    assert best is not None, "it began somewhere"
    return best


def away(found: Reals, truth: Reals) -> Reals:
    """How far from each true row the nearest row found is, (n,), in the design's standardised units."""
    apart = np.linalg.norm(truth[:, None, :] - found[None, :, :], axis=2)
    return np.asarray(apart.min(axis=1))


# -- differencing -------------------------------------------------------------------------------------------------------------------


def departed(before: Heard, after: Heard, *, corrected: bool = True) -> Heard:
    """About what a bank put into `before` that is missing from `after`. corrected: the others' gradient is carried back to where `before` was
    taken along their own Hessian, which `after` holds.
    """
    moved = after.theta - before.theta
    others = after.gradient - after.hessian @ moved if corrected else after.gradient
    back = after.loss - float(after.gradient @ moved) + 0.5 * float(moved @ after.hessian @ moved) if corrected else after.loss
    return Heard(
        before.theta, before.gradient - others, before.hessian - after.hessian, before.loss - back, before.weight - after.weight
    )  # fmt: skip


def error(found: Heard, truth: Heard) -> tuple[float, float]:
    """Relative errors of gradient and Hessian."""
    gradient = float(np.linalg.norm(found.gradient - truth.gradient) / np.linalg.norm(truth.gradient))
    return gradient, float(np.linalg.norm(found.hessian - truth.hessian) / np.linalg.norm(truth.hessian))


def told_twice(sums: Sequence[tuple[Reals, Reals, int]]) -> dict[int, Reals]:
    """What banks that have left had put in, exactly, by number of the sum, wherever one was taken with them and again without: a member sees
    from its own part that it was the same sum. sums: (own part, total, banks) as a member has them.
    """
    out = {}
    for place, (own, total, banks) in enumerate(sums):
        for again, fewer, left in sums[place + 1 :]:
            if left < banks and len(again) == len(own) and np.array_equal(again, own):
                out[place] = total - fewer
    return out


@dataclass
class Lesson:
    """A fit of several banks step by step, as `plan.add_up`, and what was opened. banks: plans by name."""

    banks: dict[str, Newton]

    def play(self, lost: tuple[str, int] | None = None) -> tuple[list[Heard], list[dict[str, Heard]]]:
        """Every total, and every bank's own part of it. lost: a bank, and the number of the first sum without it."""
        states: dict[str, NewtonFit] = {name: plan.begin() for name, plan in self.banks.items()}
        totals, parts = list[Heard](), list[dict[str, Heard]]()
        while not next(iter(states.values())).done:
            if lost is not None and len(totals) == lost[1]:
                states.pop(lost[0], None)
            vectors = {name: vector for name, state in states.items() if (vector := self.banks[name].ask(state)) is not None}
            theta, total = next(iter(states.values())).theta, np.sum(list(vectors.values()), axis=0)
            totals.append(Heard.of(theta, total))
            parts.append({name: Heard.of(theta, vector) for name, vector in vectors.items()})
            states = {name: self.banks[name].take(state, total, len(states)) for name, state in states.items()}
        return totals, parts


class BeginsAgain(Bank[Any]):
    """A bank that, where one was lost, takes all sums again among those who are left: every total then stands with it and without it."""

    def _stage(self, run: Run, state: Standing) -> Role[Standing]:
        after = yield from super()._stage(run, state)
        return msgspec.structs.replace(after, plan=b"") if len(after.members) < len(state.members) else after


def compares_no_bins(bank: Bank[Any]) -> Bank[Any]:
    """The bank, saying of whatever bins it was given that they are the same as everybody's."""
    bank.given = b""
    return bank


# -- probing ------------------------------------------------------------------------------------------------------------------------


def decoys(value: float, count: int) -> Reals:
    """Made-up values around a positive one that have the cell with it cut to the last bit: some just beside it, two to each length of
    common beginning.
    """
    bits = np.array([value]).view(np.uint64)
    lengths = range(FIRST_BITS, 64, MORE_BITS)
    apart = [bits ^ np.uint64(1 << (63 - length - step)) for length in lengths for step in (0, 2) if length + step < 64]
    beside = np.repeat(bits ^ np.uint64(1), max(0, count - len(apart)))
    return np.concatenate([*apart, beside]).view(np.float64)


def others_in_cells(plan: FindBins, state: CommonBins, total: Reals, column: str) -> Iterator[tuple[int, int, int]]:
    """Of every part of the column's cells that this sum divides: first key, how many bits are fixed, and rows of all other banks in it."""
    own = plan.ask(state)
    assert own is not None, "cells are being cut"
    others = total - own
    place = sum(plan._extras(part) for part in plan.searched.values()) if not state.sums else 0  # noqa: SLF001  # a bank knows its own plan
    for name, cells in state.open.items():
        for cell in cells:
            width, size = 1 << (64 - cell.bits - cell.more), 1 << cell.more
            if name == column:
                for part, rows in enumerate(others[place : place + size].tolist()):
                    yield cell.first + part * width, cell.bits + cell.more, round(rows)
                yield cell.shortest, 64, round(others[place + size])
            place += size + 1


# -- small cells --------------------------------------------------------------------------------------------------------------------


def small_cells(document: Any, minimum: int, path: str = "") -> Iterator[tuple[str, int]]:
    """Every count of some rows, and fewer than the cohort, in a released document, but for a bank's own part of it.

    Bads of a bin are not among them: a bin has a cohort of rows, and how many of them are bad is what weights of evidence are made of.
    """
    if isinstance(document, dict):
        for key, value in document.items():
            if key in COUNTS and isinstance(value, int | float) and 0 < value < minimum and not (key == "bads" and "/tables/" in path):
                yield f"{path}/{key}", int(value)
            if key not in ("own", "own_rows"):
                yield from small_cells(value, minimum, f"{path}/{key}")
    elif isinstance(document, list):
        for place, value in enumerate(document):
            yield from small_cells(value, minimum, f"{path}/{place}")
