"""What the end-to-end tests share: a small world, run files made from a dictionary, and the command, in this process or in one of its own."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import tomli_w

from privacy.audit.entry import Entry
from privacy.audit.lines import entries
from privacy.store.audit_folder import find
from simulations.world import generate

ROOT = Path(__file__).parents[2]
FIRMS, SEED = 1_800, 20_240_601
COLUMNS = {
    "bank": ["utilisation", "overdraft_days", "officer_grade"],
    "platform": ["gmv_growth", "refund_rate", "shop_tier"],
    "tax": ["void_share", "late_declarations_12m", "credit_rating"],
}
"""Numbers and categories of each party, few enough that a fit takes a second or two."""


@dataclass(frozen=True)
class Answer:
    """What the command said. code: its exit code; out, err: its two streams."""

    code: int
    out: str
    err: str


def creditfed(*arguments: object) -> Answer:
    """The console script's own entry point, in this process."""
    from simulations.command import main

    out, err, code = io.StringIO(), io.StringIO(), 0
    words = ["creditfed", *map(str, arguments)]
    with mock.patch.object(sys, "argv", words), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    return Answer(code, out.getvalue(), err.getvalue())


def start(*arguments: object, prefix: tuple[str, ...] = (), **environment: str) -> subprocess.Popen[str]:
    """The command in a process of its own. prefix: what starts it, such as taskset."""
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", "simulations.command", *map(str, arguments)], cwd=ROOT, text=True,
        env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> Answer:
    """Wait for it."""
    out, err = process.communicate(timeout=300)
    return Answer(process.returncode, out, err)


@dataclass(frozen=True)
class World:
    """A folder with a parquet file for each institution, and the same tables in memory."""

    folder: Path
    tables: Mapping[str, pd.DataFrame]

    def run_file(
        self, name: str, kind: str = "logistic", task: str = "train", parties: tuple[str, ...] = tuple(COLUMNS), **changes: Any
    ) -> Path:
        """A run file in the world's folder. kind: of model; changes: tables to add or whose keys to change; `party_NAME` for one party's section."""
        sections: list[dict[str, Any]] = [{"name": p, "role": p, "source": f"{p}.parquet", "include": COLUMNS[p]} for p in parties]
        if sections and sections[0]["name"] == "bank":
            sections[0]["label"] = "label"
        document: dict[str, Any] = {
            "run": {"task": task, "model": kind, "purpose": "decide", "seed": 7, "holdout": 0.3},
            "sample": {"as_of": "as_of", "out_of_time_from": "2024-07-01"},
        }
        if kind == "scorecard" or task == "binning":
            document["binning"] = {"max_bins": 3}
        for key, value in copy.deepcopy(changes).items():
            if key.startswith("party_"):
                next(section for section in sections if section["name"] == key.removeprefix("party_")).update(value)
            else:
                document.setdefault(key, {}).update(value)
        path = self.folder / f"{name}.toml"
        path.write_text(tomli_w.dumps(document | {"party": sections}))
        return path


def make_world(folder: Path, firms: int = FIRMS) -> World:
    """The tables of a small world."""
    print(f"world of {firms} firms, seed {SEED}")
    world = generate(firms=firms, seed=SEED)
    tables = {"bank": world.bank, "platform": world.platform, "tax": world.tax}
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    return World(folder, tables)


def simulated(run_file: Path, out: Path, *options: str) -> dict[str, Any]:
    """Run the command to a good end; its result.json."""
    answer = creditfed("simulate", run_file, "--out", out, *options)
    assert answer.code == 0, answer.err
    return result(out)


def result(out: Path) -> dict[str, Any]:
    """DIR/result.json."""
    document: dict[str, Any] = json.loads((out / "result.json").read_text())
    return document


def killed_after(exchanges: int, run_file: Path, out: Path) -> bool:
    """Start the run and kill -9 it after so many exchanges of its own; False where it came to its end before."""
    process = start("simulate", run_file, "--out", out, "--journal", "disk")
    seen: set[int] = set()
    while process.poll() is None and len(seen) < exchanges:
        for path in (out / "coordinator" / "journal").glob("*.outbox"):
            try:
                seen.add(path.stat().st_mtime_ns)
            except FileNotFoundError:
                continue
        time.sleep(0.005)
    alive = process.poll() is None
    process.kill()
    finish(process)
    return alive


def logged(out: Path, party: str) -> list[Entry]:
    """The entries of a party's audit log."""
    return list(entries(find(out / "audit" / party).lines()))


def sessions(out: Path) -> set[str]:
    """The sessions in which the parties say that they finished."""
    ended = [entry for folder in (out / "audit").glob("*") for entry in logged(out, folder.name) if entry.kind == "end"]
    return {str(entry.facts["session"]) for entry in ended}
