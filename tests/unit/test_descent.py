"""The two-loop recursion over inner products gives the direction of the textbook's recursion over whole vectors."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from federation.models.descent import HISTORY, Products, products, weights

Reals = NDArray[np.float64]


def textbook(steps: Reals, changes: Reals, gradient: Reals, inverse: Reals) -> Reals:
    """Nocedal and Wright 2006, algorithm 7.4, with H0 = gamma P and gamma = s.y / y.P y of the newest pair: -H g."""
    q, kept = gradient.copy(), []
    for s, y in zip(steps[::-1], changes[::-1], strict=True):
        a = (s @ q) / (s @ y)
        q = q - a * y
        kept.append(a)
    gamma = (steps[-1] @ changes[-1]) / (changes[-1] @ inverse @ changes[-1]) if len(steps) else 1.0
    r = gamma * inverse @ q
    for s, y, a in zip(steps, changes, kept[::-1], strict=True):
        r = r + s * (a - (y @ r) / (s @ y))
    return np.asarray(-r)


def problem(seed: int, pairs: int, widths: tuple[int, ...]) -> tuple[list[slice], Reals, Reals, Reals, Reals]:
    """Blocks, steps, changes of a convex quadratic's gradient, a gradient, and a block diagonal P."""
    rng, d = np.random.default_rng(seed), sum(widths)
    root = rng.standard_normal((d, d))
    hessian = root @ root.T / d + 0.1 * np.eye(d)
    ends = np.cumsum([0, *widths])
    blocks = [slice(int(a), int(b)) for a, b in pairwise(ends)]
    inverse = np.zeros((d, d))
    for block in blocks:
        inverse[block, block] = np.linalg.inv(hessian[block, block])
    steps = rng.standard_normal((pairs, d))
    return blocks, steps, steps @ hessian, rng.standard_normal(d), inverse


@given(st.integers(0, 2**32 - 1), st.integers(0, HISTORY), st.lists(st.integers(1, 5), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_blocks_together_give_the_textbooks_direction(seed: int, pairs: int, widths: list[int]) -> None:
    blocks, steps, changes, gradient, inverse = problem(seed, pairs, tuple(widths))
    parts = [products(steps[:, b], changes[:, b], gradient[b], inverse[b, b]) for b in blocks]
    summed = Products.unflat(np.sum([part.flat() for part in parts], axis=0), pairs)  # what the masked sum does
    found = weights(summed)
    direction = np.concatenate([found.direction(steps[:, b], changes[:, b], gradient[b], inverse[b, b]) for b in blocks])
    wanted = textbook(steps, changes, gradient, inverse)
    assert np.abs(direction - wanted).max() <= 1e-6 * max(1.0, np.abs(wanted).max())


def test_without_history_it_is_the_preconditioned_gradient() -> None:
    _, steps, changes, gradient, inverse = problem(1, 0, (4,))
    found = weights(products(steps, changes, gradient, inverse))
    assert np.allclose(found.direction(steps, changes, gradient, inverse), -inverse @ gradient)


def test_a_common_factor_of_a_pair_changes_nothing() -> None:
    _, steps, changes, gradient, inverse = problem(2, 5, (6,))
    factors = np.array([1e-6, 1.0, 1e3, 0.1, 7.0])[:, None]
    plain = weights(products(steps, changes, gradient, inverse)).direction(steps, changes, gradient, inverse)
    s, y = factors * steps, factors * changes
    assert np.allclose(weights(products(s, y, gradient, inverse)).direction(s, y, gradient, inverse), plain)


def test_a_pair_without_positive_curvature_is_left_out() -> None:
    _, steps, changes, gradient, inverse = problem(3, 4, (6,))
    spoiled = changes.copy()
    spoiled[2] = -changes[2]
    kept = [0, 1, 3]
    found = weights(products(steps, spoiled, gradient, inverse)).direction(steps, spoiled, gradient, inverse)
    assert np.allclose(found, textbook(steps[kept], changes[kept], gradient, inverse))
    assert found @ gradient < 0  # still a direction of descent


@pytest.mark.parametrize("pairs", [0, 1, HISTORY])
def test_products_as_a_vector_and_back(pairs: int) -> None:
    _, steps, changes, gradient, inverse = problem(4, pairs, (3,))
    flat = products(steps, changes, gradient, inverse).flat()
    assert flat.shape == (Products.length(pairs),)
    assert np.array_equal(Products.unflat(flat, pairs).flat(), flat)
