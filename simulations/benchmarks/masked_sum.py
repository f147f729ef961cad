"""Cost of one masked sum with drop-outs: CPU seconds a party, and Flower's SecAgg+ on the same vectors in the same process.

Both go over the in-process Grid's message format: ours encodes every message, Flower's is serialised by the Grid. Flower sums weighted
32-bit quantised floats under masks of a 32-bit seed; ours sums 64-bit integers exactly, signed, tagged and hidden from the coordinator.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
import warnings
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from federation.kernel import suite
from federation.kernel.codec import decode, encode
from federation.kernel.loss import Loss
from federation.kernel.role import COORDINATOR, Context, Received, Role, Run
from federation.kernel.secret import Secret
from federation.masked_sum.bonawitz import Circle, least_threshold, sum_coordinator, sum_member
from federation.masked_sum.fixed_point import FixedPoint

LIMIT = 1 << 34


class Shelf:
    """Nothing is kept: the benchmark does not crash."""

    def effect(self, _label: str, produce: Any) -> bytes:
        """Not kept."""
        made: bytes = produce()
        return made

    def spend(self, release: str, loss: Loss) -> None:
        """Booked nowhere."""

    def report(self, **_figures: float | str) -> None:
        """Not shown."""


def run_of(me: str, members: tuple[str, ...], session: int) -> Run:
    """A party's run, with keys from the names."""
    signing = {name: Secret(suite.digest("signing", name)) for name in (*members, COORDINATOR)}
    return Run(
        Context(
            me, members, session.to_bytes(32, "big"), "bench", Secret(suite.digest("secret", me, session)), {}, Secret(suite.digest("group")), 0,
            Shelf(), lambda: b"", signing[me], {name: suite.signing_public(key) for name, key in signing.items()},
        )
    )  # fmt: skip


@dataclass
class Clock:
    """CPU seconds by party."""

    spent: dict[str, float]

    def timed(self, name: str, work: Any) -> Any:
        """What the work returns, its CPU booked on the party."""
        begun = time.process_time()
        try:
            return work()
        finally:
            self.spent[name] += time.process_time() - begun


def play(roles: dict[str, Role[Any]], clock: Clock) -> dict[str, Any]:
    """Run the roles to their ends with every message encoded, sent and decoded once; CPU is booked where it is spent."""
    waiting: dict[str, Any] = {}
    letters: dict[tuple[str, str], list[bytes]] = {}
    out: dict[str, Any] = {}

    def advance(name: str, received: Received | None) -> None:
        try:
            _, step = roles[name].send(received)  # type: ignore[arg-type]
        except StopIteration as end:
            out[name] = end.value
            waiting.pop(name, None)
            return
        waiting[name] = step
        encoded: dict[int, bytes] = {}
        for recipient, message in step.send.items():
            body = encoded.setdefault(id(message), encode(message))
            letters.setdefault((name, recipient), []).append(body)

    def take(name: str) -> None:
        step, received = waiting[name], Received()
        for sender, kind in step.expect.items():
            received[sender] = decode(letters[(sender, name)].pop(0), kind, sender, LIMIT)
        advance(name, received)

    for name in roles:
        clock.timed(name, lambda name=name: advance(name, None))
    while len(out) < len(roles):
        for name in [n for n, step in waiting.items() if all(letters.get((p, n)) for p in step.expect)]:
            clock.timed(name, lambda name=name: take(name))
    return out


def ours(count: int, length: int) -> tuple[float, float, float]:
    """Seconds: wall of the whole round, CPU of a party, CPU of the coordinator."""
    members = tuple(f"bank{place:02d}" for place in range(count))
    circle, encoding = Circle(members, max(3, least_threshold(count))), FixedPoint(2.0**30, count, 0)
    random = np.random.default_rng(0)
    inputs = {name: random.integers(-(2**30), 2**30, length) for name in members}
    clock = Clock(dict.fromkeys((*members, COORDINATOR), 0.0))
    roles: dict[str, Role[Any]] = {name: sum_member(run_of(name, members, 1), inputs[name], encoding, circle) for name in members}
    roles[COORDINATOR] = sum_coordinator(run_of(COORDINATOR, members, 1), circle, length)
    begun = time.perf_counter()
    out = play(roles, clock)
    wall = time.perf_counter() - begun
    np.testing.assert_array_equal(out[members[0]][0], np.sum(list(inputs.values()), axis=0))
    return wall, sum(clock.spent[name] for name in members) / count, clock.spent[COORDINATOR]


def flowers(count: int, length: int) -> float:
    """Seconds of one round of SecAgg+ over the in-process Grid: the workflow's own stages and the client's own mod."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from flwr.app import Context as FlowerContext
        from flwr.app import RecordDict
        from flwr.client import NumPyClient
        from flwr.client.mod import secaggplus_mod
        from flwr.clientapp import ClientApp
        from flwr.common import FitIns, ndarrays_to_parameters
        from flwr.server.compat.legacy_context import LegacyContext
        from flwr.server.workflow import SecAggPlusWorkflow
        from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
        from flwr.server.workflow.secure_aggregation.secaggplus_workflow import WorkflowState

        from simulations.inline import InlineGrid

    for name in ("flwr", "flwr.simulation"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    vector = np.random.default_rng(0).normal(size=length).astype(np.float32)

    class Client(NumPyClient):
        def fit(self, _parameters: Any, _config: Any) -> Any:
            return [vector], 100, {}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        app = ClientApp(client_fn=lambda _context: Client().to_client(), mods=[secaggplus_mod])
        grid = InlineGrid(app, {11 + place: {"home": ""} for place in range(count)})
        start = ndarrays_to_parameters([np.zeros(length, np.float32)])
        proxies = [(SimpleNamespace(node_id=node), FitIns(start, {})) for node in grid.contexts]
        strategy = SimpleNamespace(configure_fit=lambda *_: proxies, aggregate_fit=lambda *_: (start, {}))
        context = LegacyContext(
            context=FlowerContext(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={}),
            config=None,
            strategy=strategy,  # type: ignore[arg-type]
            client_manager=SimpleNamespace(num_available=lambda: count),  # type: ignore[arg-type]
        )
        from flwr.app import ConfigRecord
        from flwr.compat.common.recorddict_compat import parameters_to_arrayrecord

        context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({Key.CURRENT_ROUND: 1})
        context.state.array_records[MAIN_PARAMS_RECORD] = parameters_to_arrayrecord(start, keep_input=True)
        workflow, state = SecAggPlusWorkflow(num_shares=count, reconstruction_threshold=max(2, count * 2 // 3)), WorkflowState()
        begun = time.perf_counter()
        for stage in (workflow.setup_stage, workflow.share_keys_stage, workflow.collect_masked_vectors_stage, workflow.unmask_stage):
            if not stage(grid, context, state):
                msg = "SecAgg+ stopped"
                raise RuntimeError(msg)
        return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m simulations.benchmarks.masked_sum", description=__doc__)
    parser.add_argument("--length", type=int, default=1_000_000)
    parser.add_argument("counts", nargs="*", type=int, default=[5, 50])
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; vectors of {options.length:,} words")
    for count in options.counts:
        wall, party, coordinator = ours(count, options.length)
        print(f"{count:>3} parties: CPU a party {party:.3f} s, coordinator {coordinator:.2f} s; a round in one process {wall:.2f} s")
    count = options.counts[0]
    theirs, (wall, _, _) = flowers(count, options.length), ours(count, options.length)
    print(f"Flower SecAgg+ with {count} parties: {theirs:.2f} s a round; ratio ours / Flower's {wall / theirs:.2f}")


if __name__ == "__main__":
    main()
