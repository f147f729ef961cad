"""One table in every kind of source: CSV, Parquet, a folder of parts, SQLite and a real PostgreSQL."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from tests.consent_scene import _run as run
from tests.consent_scene import postgres

KINDS = ("csv", "parquet", "folder", "sqlite", "postgresql")
DATABASES = ("sqlite", "postgresql")
_schemas = itertools.count()


def server() -> str:
    """The URL of a PostgreSQL. Skips where none can start."""
    return postgres()[0]


def schema(*statements: str) -> str:
    """A new schema of the PostgreSQL, after these statements, in which {s} is its name; returns the name."""
    name = f"source{next(_schemas)}"
    run(server(), f"CREATE SCHEMA {name}", *(statement.replace("{s}", name) for statement in statements))
    return name


def source(kind: str, data: pd.DataFrame, folder: Path) -> Any:
    """What node.toml says of the table, which is put there."""
    path = folder / f"data.{kind}"
    if kind == "csv":
        data.to_csv(path, index=False)
    elif kind == "parquet":
        data.to_parquet(path, index=False)
    elif kind == "folder":
        for number, rows in enumerate(np.array_split(np.arange(len(data)), 3)):
            at = path / ("deep" if number else "")
            at.mkdir(parents=True, exist_ok=True)
            data.iloc[rows].to_parquet(at / f"{number}.parquet", index=False)
    elif kind == "sqlite":
        write(f"sqlite:///{path}", data, None)
        return {"url": f"sqlite:///{path}", "table": "firms"}
    else:
        name = schema()
        write(server(), data, name)
        return {"url": server(), "table": f"{name}.firms"}
    return str(path)


def write(url: str, data: pd.DataFrame, within: str | None) -> None:
    engine = sa.create_engine(url)
    data.to_sql("firms", engine, schema=within, index=False, if_exists="replace")
    engine.dispose()
