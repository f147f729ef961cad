"""Decisions of the default policies in one second, asked for the first time and asked again; and what an explanation takes."""

from __future__ import annotations

import argparse
import random
import time
from typing import get_args

from privacy.levels import Classification, Level, PersonRole
from privacy.policy.ask import Ask, ColumnAsk, Purpose, ReleaseAsk, ReleaseKind
from privacy.policy.decide import Policies
from privacy.policy.defaults import default_files, schema_text
from privacy.policy.explain import explain


def questions(count: int, seed: int) -> list[Ask]:
    """As many different questions about columns and releases."""
    draw = random.Random(seed)  # noqa: S311  # a benchmark
    found: list[Ask] = []
    for number in range(count):
        purpose, role = draw.choice(get_args(Purpose)), draw.choice(get_args(PersonRole))
        level = draw.choice(get_args(Level))
        approved: frozenset[PersonRole] = frozenset({"owner"}) if draw.random() < 0.5 else frozenset()
        if number % 2:
            kind = draw.choice(get_args(Classification))
            found.append(ColumnAsk(f"column_{number}", level, kind, "platform", purpose, role, approved))
        else:
            kind = draw.choice(get_args(ReleaseKind))
            found.append(ReleaseAsk(kind, "train", purpose, role, 10_000 + number, 10, level, approved_by=approved))
    return found


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=18)
    arguments = parser.parse_args()
    begin = time.perf_counter()
    policies = Policies.from_texts(schema_text(), default_files())
    print(f"{len(policies.rules)} rules parsed and validated in {1000 * (time.perf_counter() - begin):.0f} ms")
    asks = questions(arguments.questions, arguments.seed)
    figures = {}
    for name in ("first asked", "asked again"):
        begin, cpu = time.perf_counter(), time.process_time()
        for ask in asks:
            policies.decide(ask)
        wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
        figures[name] = len(asks) / cpu
        print(f"{name}: {len(asks) / wall:,.0f} decisions/s ({len(asks) / cpu:,.0f} for a second of processor time)")
    begin = time.process_time()
    policies.decide_all(asks)
    print(f"first asked, all at once: {len(asks) / (time.process_time() - begin):,.0f} for a second of processor time")
    refused = [ask for ask in asks if not policies.decide(ask).allowed][:50]
    begin = time.process_time()
    for ask in refused:
        explain(policies, ask)
    print(f"an explanation: {1000 * (time.process_time() - begin) / len(refused):.0f} ms of processor time, on average of {len(refused)}")


if __name__ == "__main__":
    main()
