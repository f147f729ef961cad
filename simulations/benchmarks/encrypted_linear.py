"""Encrypted sums, phase by phase and as a whole call: `python -m simulations.benchmarks.encrypted_linear [--rows N] [--columns K]`.

Every figure is the best of a few repetitions on one core; the totals are compared with whole-number arithmetic.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from federation.encrypted_linear.keys import CommonHalves, OwnerKey
from federation.encrypted_linear.packing import Columns, blocks, centred
from federation.encrypted_linear.parameters import DATA_PRIMES, DEGREE, KEY_PRIMES
from federation.encrypted_linear.products import Transforms, encryptor_for
from federation.encrypted_linear.protocol import hold, own
from federation.encrypted_linear.residues import expand
from federation.encrypted_linear.sanitise import Covers, cut, fresh_zero, switch_down
from federation.encrypted_linear.seal_bytes import scheme
from federation.kernel import suite
from federation.kernel.codec import encode
from federation.kernel.loss import Loss
from federation.kernel.role import Context, Randomness, Received, Run
from federation.kernel.secret import Secret

VECTOR_BITS, COLUMN_BITS = 20, 19


class Shelf:
    """Nothing is kept."""

    def effect(self, label: str, produce: Callable[[], bytes]) -> bytes:
        """Not kept: nothing is replayed."""
        del label
        return produce()

    def spend(self, release: str, loss: Loss) -> None:
        """Booked nowhere."""

    def report(self, **figures: float | str) -> None:
        """Say nothing."""
        del figures


def timed(label: str, work: Callable[[], Any], repeat: int = 3) -> Any:
    """Run it a few times, print the best, return the last result."""
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        out = work()
        best = min(best, time.perf_counter() - start)
    print(f"  {label:<58}{best * 1e3:8.1f} ms")
    return out


def phases(vector: np.ndarray[Any, Any], columns: Columns) -> None:
    """One owner, one holder, one key, step by step."""
    engine, count, label = scheme(), blocks(columns.rows), Secret(bytes(32))
    answers = columns.answers
    common = timed("expand the common halves", lambda: CommonHalves(expand(label, 1, KEY_PRIMES)[0], expand(label, count, DATA_PRIMES)))
    key = timed("make a key", lambda: OwnerKey(Secret(engine.fresh_secret())))
    p0 = timed("its public half", lambda: key.public_half(common.p1))
    c0 = timed(f"encrypt {count} blocks", lambda: key.encrypt(vector, common.c1))
    transforms = timed(f"columns to transformed form, once ({answers} x {count})", lambda: Transforms(columns).limbs, 1)
    covers = timed("draw blinding and flood", lambda: Covers.draw(Randomness(label), answers))
    encryptor = encryptor_for(p0, common.p1)
    zeros = timed(f"{answers} fresh encryptions of zero", lambda: [fresh_zero(encryptor) for _ in range(answers)])
    ciphertexts = timed("take in the ciphertexts", lambda: [engine.ciphertext(np.stack(pair)) for pair in zip(c0, common.c1, strict=True)])

    def multiply() -> None:
        for zero, limb in zip(zeros, transforms, strict=True):
            for ciphertext, block in zip(ciphertexts, limb.blocks, strict=True):
                engine.evaluator.add_inplace(zero, engine.evaluator.multiply_plain(ciphertext, block))

    timed(f"{answers} x {count} products", multiply, 1)
    pairs = zip(covers.blinding.tolist(), covers.flood, strict=True)
    parts = timed(
        "switch down, cut, blind and flood", lambda: [cut(switch_down(zero), *pair) for zero, pair in zip(zeros, pairs, strict=True)], 1
    )
    c1, values = np.stack([part[0] for part in parts]), np.array([part[1] for part in parts], np.uint64)
    opened = timed("open", lambda: key.open(c1, values))
    exact = (columns.integers.T @ vector).tolist()
    sizes = 8 * DEGREE * (4 + 3 * count) / 1e6, 16 * (DEGREE + 1) * answers / 1e6
    print(f"  exact: {columns.combine(centred(opened - covers.blinding).tolist()) == exact}; up {sizes[0]:.1f} MB, down {sizes[1]:.1f} MB")


def whole_call(vector: np.ndarray[Any, Any], holders: dict[str, Transforms], session: int) -> dict[str, list[int]]:
    """The protocol's roles, in one process and thread, messages encoded and not sent."""
    members = ("owner", *holders)
    runs = {
        name: Run(
            Context(
                name,
                members,
                session.to_bytes(32, "big"),
                "bench",
                Secret(suite.digest(name)),
                {},
                Secret(b""),
                0,
                Shelf(),
                bytes,
                Secret(b""),
                {},
            )
        )
        for name in members
    }
    owner = own(runs["owner"], {name: transforms.columns.answers for name, transforms in holders.items()}, vector, VECTOR_BITS)
    roles = {name: hold(runs[name], "owner", transforms) for name, transforms in holders.items()}
    _, step = next(owner)
    answers, out = Received(), {}
    for name, role in roles.items():
        next(role)
        encode(step.send[name])
        answers[name] = role.send(Received({"owner": step.send[name]}))[1].send["owner"]
        encode(answers[name])
    _, step = owner.send(answers)
    for name, role in roles.items():
        try:
            role.send(Received({"owner": step.send[name]}))
        except StopIteration as end:
            out[name] = end.value
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the encrypted sums.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--columns", type=int, default=20)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    matrix = rng.integers(-(1 << COLUMN_BITS), 1 << COLUMN_BITS, (options.rows, options.columns))
    vector = rng.integers(-(1 << VECTOR_BITS), 1 << VECTOR_BITS, options.rows)
    print(f"{options.rows:,} rows x {options.columns} columns, {COLUMN_BITS} and {VECTOR_BITS} bits, one core")
    columns = timed("check the bounds of the columns", lambda: Columns.whole(matrix, VECTOR_BITS))
    phases(vector, columns)
    half = options.columns // 2
    parts = {"first": matrix[:, :half], "second": matrix[:, half:]}
    holders = {name: Transforms(Columns.whole(part, VECTOR_BITS)) for name, part in parts.items()}
    print("two holders, half of the columns each")
    sessions = iter(range(100))
    timed("a run's first call", lambda: whole_call(vector, holders, next(sessions)), 1)
    out = timed("every further call", lambda: whole_call(vector, holders, next(sessions)), 5)
    print(f"  exact: {out['first'] + out['second'] == (matrix.T @ vector).tolist()}")


if __name__ == "__main__":
    main()
