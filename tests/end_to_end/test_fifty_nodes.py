"""Many banks in processes of their own over the deployed coordinator: the model of one process, and a server that idles when they do."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulations.benchmarks.fifty_nodes import in_one_process, measured, world


@pytest.mark.slow
@pytest.mark.parametrize(("banks", "task"), [(12, "statistics"), (50, "logistic")])
def test_many_nodes_give_the_model_of_one_process_and_ask_for_little_while_idle(banks: int, task: str, tmp_path: Path) -> None:
    world(tmp_path / "world", banks, 7)
    run_file = tmp_path / "world" / f"banks_{task}.toml"
    found = measured(tmp_path / "deployed", run_file)
    assert found.model_hash == in_one_process(run_file, tmp_path / "inline")
    assert found.idle_cpu < 0.2, "questions are held, and nobody polls"
    assert found.messages / found.exchanges > banks / 2 and found.node_after[1] < 300
