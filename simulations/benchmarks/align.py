"""Cost of aligning three parties: `python -m simulations.benchmarks.align [ROWS ...] [--workers W] [--visibility V]`.

All parties run in this one process, one after another, every message encoded and decoded, so the times are the three parties' work added.
Rows default to 10^4 and 10^5; half of each list is shared with the next party. CPU figures hold on a busy machine too, wall figures do not.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import numpy as np

from federation.align.chain import align_coordinator, align_member
from federation.align.curve import Progress, exponentiate, fresh_exponent, hash_to_curve
from federation.align.uscc import ALPHABET, LENGTH, normalise
from federation.kernel import suite
from federation.kernel.codec import decode, encode
from federation.kernel.loss import Loss
from federation.kernel.role import COORDINATOR, Context, Randomness, Received, Role, Run
from federation.kernel.secret import Secret

T = TypeVar("T")

PARTIES = ("bank", "platform", "tax")
TARGET = 30_000
"""Exponentiations a second and core."""
EXPONENTIATIONS = len(PARTIES) * (len(PARTIES) + 1)
"""For each row of a list, over all parties: mask, every other institution's key, and the quotient."""
SAMPLE = 20_000


class Shelf:
    """Nothing is stored, nothing is shown."""

    def effect(self, label: str, produce: Callable[[], bytes]) -> bytes:  # noqa: ARG002 - kept nowhere
        """Its bytes, not kept."""
        return produce()

    def spend(self, release: str, loss: Loss) -> None:
        """Booked nowhere."""

    def report(self, **figures: float | str) -> None:
        """Nothing."""


def run_of(me: str) -> Run:
    secret = Secret(suite.digest("benchmark", me))
    return Run(Context(me, PARTIES, bytes(32), "align", secret, {}, Secret(b""), 0, Shelf(), lambda: b"", secret, {}))


def play(roles: Mapping[str, Role[Any]]) -> tuple[dict[str, Any], int]:
    """Each role's result, and all bytes that passed."""
    waiting, outputs, passed = {}, {}, 0
    letters: dict[tuple[str, str], deque[bytes]] = {}
    ready: list[tuple[str, Received | None]] = [(name, None) for name in roles]
    while ready:
        for name, received in ready:
            try:
                waiting[name] = roles[name].send(received)[1]  # type: ignore[arg-type]  # a new generator takes None
            except StopIteration as end:
                outputs[name] = end.value
                del waiting[name]
                continue
            for recipient, message in waiting[name].send.items():
                letters.setdefault((name, recipient), deque()).append(encode(message))
                passed += len(letters[name, recipient][-1])
        ready = []
        for name, step in waiting.items():
            if all(letters.get((sender, name)) for sender in step.expect):
                bodies = {sender: letters[sender, name].popleft() for sender in step.expect}
                ready.append((name, Received({s: decode(bodies[s], kind, s, step.limit) for s, kind in step.expect.items()})))
    return outputs, passed


def codes(count: int) -> list[str]:
    """Distinct valid credit codes."""
    digits = np.arange(count)[:, None] // 31 ** np.arange(LENGTH - 2, -1, -1) % 31
    checks = -(digits @ np.array([pow(3, i, 31) for i in range(LENGTH - 1)])) % 31
    return ["".join(row) for row in np.array(list(ALPHABET))[np.column_stack([digits, checks])]]


def primitives(workers: int) -> None:
    """Points a second of hashing and exponentiation alone."""
    keys, quiet = [code.encode() for code in codes(SAMPLE)], Progress(lambda *_: None, 0)
    secret = fresh_exponent(Randomness(Secret(bytes(32))))
    for threads in sorted({1, workers}):
        hashing, points = timed(partial(hash_to_curve, keys, b"", workers=threads, progress=quiet))
        raising, _ = timed(partial(exponentiate, secret, points, "", workers=threads, progress=quiet))
        for name, (wall, cpu) in (("hash to the curve", hashing), ("exponentiation", raising)):
            print(f"{name:18} {threads} thread(s): {SAMPLE / wall:9,.0f} a second, {SAMPLE / cpu:9,.0f} a CPU-second")


def timed(work: Callable[[], T]) -> tuple[tuple[float, float], T]:
    """Wall and CPU seconds, and the result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return (time.perf_counter() - wall, time.process_time() - cpu), result


def alignment(rows: int, workers: int, visibility: Any) -> float:
    """Prints one line; returns CPU seconds a row."""
    pool = codes(2 * rows)
    ids = {name: pool[place * rows // 2 : place * rows // 2 + rows] for place, name in enumerate(PARTIES)}
    (normal, _), _ = timed(lambda: normalise(ids["tax"], "uscc"))
    roles: dict[str, Role[Any]] = {m: align_member(run_of(m), ids[m], visibility, ("bank",), workers, rows) for m in PARTIES}
    roles[COORDINATOR] = align_coordinator(run_of(COORDINATOR), visibility, ("bank",), rows)
    (wall, cpu), (out, passed) = timed(lambda: play(roles))
    count = EXPONENTIATIONS * rows
    print(
        f"{rows:>9,} rows x {len(PARTIES)}: wall {wall:7.2f} s, CPU {cpu:7.2f} s, a party {wall / len(PARTIES):6.2f} s wall, "
        f"{count / wall / min(workers, os.cpu_count() or 1):7,.0f} exponentiations a second and core ({count / cpu:7,.0f} a CPU-second), "
        f"all else included; {passed / 1e6:.1f} MB; universe {out[COORDINATOR].size:,}; normalising one list {normal:.2f} s"
    )
    return cpu / rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m simulations.benchmarks.align", description="Cost of aligning three parties.")
    parser.add_argument("rows", nargs="*", type=int, default=[10_000, 100_000])
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--visibility", choices=("hidden", "book", "intersection"), default="hidden")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; target {TARGET:,} exponentiations a second and core")
    primitives(options.workers)
    each = [alignment(rows, options.workers, options.visibility) for rows in options.rows]
    print("CPU time a row, relative to the first size: " + ", ".join(f"{cost / each[0]:.2f}" for cost in each))


if __name__ == "__main__":
    main()
