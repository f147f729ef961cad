"""A million rows into a run of the deployed coordinator: the bank's from PostgreSQL, from Parquet, and with the tax bureau by files.

    python -m simulations.benchmarks.million [--rows N] [--partners N]

Three runs over the same tables, each with a coordinator and nodes in processes of their own over TLS; the model hash must be the same. Seconds
from the last approval to the run's end, and each process's peak of resident memory (VmHWM).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w

from server.store.states import RunState
from simulations import deployed
from simulations.benchmarks.sources import postgresql, stop

COLUMNS = 3
PARTS = 16
PATIENCE = 3600.0


def tables(rows: int, partners: int, seed: int = 5) -> dict[str, pd.DataFrame]:
    """A bank with every firm, and two partners with some of them; outcomes by a logistic law over all nine columns."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"F{number:09d}" for number in rng.permutation(10 * rows)[:rows]])
    values = {name: rng.standard_normal((rows, COLUMNS)) for name in ("bank", "platform", "tax")}
    score = sum(block @ np.array([0.5, -0.3, 0.2]) for block in values.values()) - 2.0
    made = {}
    for name, block in values.items():
        table = pd.DataFrame(block, columns=[f"{name}_{number}" for number in range(COLUMNS)])
        table.insert(0, "id", ids)
        if name == "bank":
            table["label"] = (rng.random(rows) < 1 / (1 + np.exp(-score))).astype(np.int64)
            made[name] = table
        else:
            made[name] = table.iloc[np.sort(rng.permutation(rows)[:partners])]
    return made


def write(made: dict[str, pd.DataFrame], folder: Path) -> None:
    """The bank and the tax bureau as one Parquet file each, the platform as a folder of parts."""
    for name in ("bank", "tax"):
        made[name].to_parquet(folder / f"{name}.parquet", index=False)
    (folder / "platform").mkdir()
    for number, part in enumerate(np.array_split(np.arange(len(made["platform"])), PARTS)):
        made["platform"].iloc[part].to_parquet(folder / "platform" / f"part-{number:02d}.parquet", index=False)


def nodes(folder: Path, database: dict[str, str] | None) -> dict[str, dict[str, Any]]:
    """node.toml of each institution. database: the bank's, None for its Parquet file."""
    common = {"id_kind": "any", "legal_basis": "contract", "workers": 1}
    bank: dict[str, Any] = {"source": database or str(folder / "bank.parquet")}
    return {
        "bank": {"name": "bank", "role": "bank", "label": "label", "dataset": "bank"} | bank | common,
        "platform": {"name": "platform", "role": "platform", "source": str(folder / "platform"), "dataset": "platform"} | common,
        "tax": {"name": "tax", "role": "tax", "source": str(folder / "tax.parquet"), "dataset": "tax"} | common,
    }


def peak(process: subprocess.Popen[bytes]) -> float:
    """Megabytes of resident memory that a process has held at most."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1e3


def measured(folder: Path, run_file: Path, how: str, database: dict[str, str] | None = None, by_files: tuple[str, ...] = ()) -> str:
    """One deployment and one run; prints what it took and returns the model hash."""
    made = deployed.found_deployment(folder / how, nodes(folder, database), by_files)
    with deployed.coordinator(made) as server, deployed.nodes(made, by_files) as started:
        deployed.submit(made, "million", run_file)
        with deployed.couriers(made, by_files) as carried:
            deployed.approve(made, "million", PATIENCE)
            begun = time.monotonic()
            run = deployed.finished(made, "million", PATIENCE)
            seconds = time.monotonic() - begun
            peaks = {"coordinator": peak(server)} | {name: peak(process) for name, process in (started | carried).items()}
    if run.state is not RunState.FINISHED:
        sys.exit(f"{how}: {run.state}: {run.failure.text if run.failure else ''}")
    told = ", ".join(f"{name} {size:,.0f}" for name, size in peaks.items())
    print(f"{how:12} {seconds:8.1f} s  {run.exchanges:4} exchanges  peak MB: {told}  model {str(run.model_hash)[:16]}", flush=True)
    return str(run.model_hash)


def main() -> None:
    """Three runs, one model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--partners", type=int, default=200_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="creditfed-million-") as root:
        folder = Path(root)
        drawn = tables(asked.rows, asked.partners)
        write(drawn, folder)
        run_file = folder / "run.toml"
        parties = [{"name": name, "role": name} | ({"label": True} if name == "bank" else {}) for name in drawn]
        run_file.write_text(tomli_w.dumps({"run": {"task": "train", "model": "logistic", "seed": 7}, "party": parties}))
        print(f"{asked.rows:,} rows at the bank, {asked.partners:,} at each partner, {COLUMNS} columns each", flush=True)
        hashes = {measured(folder, run_file, "parquet")}
        try:
            database = postgresql(drawn["bank"], folder / "server", "double precision")
            hashes.add(measured(folder, run_file, "postgresql", database))
        finally:
            stop(folder / "server")
        hashes.add(measured(folder, run_file, "files", by_files=("tax",)))
        print("one model" if len(hashes) == 1 else f"DIFFERENT MODELS: {hashes}")


if __name__ == "__main__":
    main()
