"""What label noise costs: AUC of a scorecard across three parties: `python -m simulations.benchmarks.label_noise [SESSIONS]`.

20,000 drawn firms (seed 7), the run file that `creditfed world generate` writes, through `simulate`; figures are of held-out firms of the bank.
Noise turns labels over before the partners' counts per bin are taken; the fit on the weights of evidence has the true labels.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from federation.models.label_noise import chance
from simulations.simulate import simulate
from simulations.world import generate, write

FIRMS, SEED = 20_000, 7
EPSILONS = (None, 8.0, 4.0, 2.0, 1.0, 0.5)


def run_file(world: Path, epsilon: float | None) -> Path:
    """The world's scorecard with label noise."""
    document: dict[str, Any] = tomllib.loads((world / "scorecard.toml").read_text())
    if epsilon is not None:
        document.setdefault("privacy", {})["label_noise"] = epsilon
    path = world / "noisy.toml"
    path.write_text(tomli_w.dumps(document))
    return path


def information(result: dict[str, Any]) -> float:
    """Information value of all partners' columns together, as they hold it."""
    return sum(column["iv"] or 0.0 for party in result["parties"][1:] for column in party["columns"])


def main() -> None:
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print(f"{FIRMS:,} firms, scorecard across three parties, mean of {sessions} sessions (one without noise)")
    with tempfile.TemporaryDirectory() as folder:
        world = Path(folder)
        write(generate(firms=FIRMS, seed=SEED), world)
        for epsilon in EPSILONS:
            found = [simulate(run_file(world, epsilon), world / "out") for _ in range(sessions if epsilon else 1)]
            auc, ks = (statistics.mean(result["metrics"]["test"][figure] for result in found) for figure in ("auc", "ks"))
            turned = 0.0 if epsilon is None else chance(epsilon)
            iv = statistics.mean(information(result) for result in found)
            print(
                f"  epsilon {epsilon or 'none':>5}   labels turned {turned:6.2%}   AUC {auc:.4f}   KS {ks:.4f}   partners' IV {iv:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
