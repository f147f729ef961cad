"""What courts, registries, bureaus, blacklists and payment services hold of the firms: `other_sources` by blocks, one folder each.

Records follow a firm's traits of the month in which they arise. A firm has none before its founding and none after the month of its closing;
what says that a source knows it (a registration, a search) is dated on its founding then.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from simulations.economy.firms import Firms
from simulations.economy.mapping import write_mapping
from simulations.economy.other_sources import BLANK, COVERAGE, other_sources
from simulations.economy.randomness import BLOCK, Streams, blocks
from simulations.economy.settings import Economy
from simulations.economy.tables import Register
from simulations.economy.traits import Traits

_SCHEMA: Final = pa.schema([
    ("subject", pa.string()), ("date", pa.date32()), ("kind", pa.string()), ("number", pa.string()), ("amount", pa.float64()),
    ("status", pa.string()),
])  # fmt: skip


class Sources:
    """Keeps the traits of the months, 12 bytes a firm and month, and writes at the end."""

    def __init__(self, streams: Streams, firms: Firms, asked: Economy) -> None:
        self._streams, self._firms, self._asked = streams, firms, asked
        self._traits = np.zeros((3, len(firms), asked.months), np.float32)

    def month(self, number: int, traits: Traits) -> None:
        """The traits of a month."""
        for place, values in enumerate((traits.honesty, traits.liquidity, traits.health)):
            self._traits[place, :, number] = values

    def write(self, out: Path, register: Register, traits: Traits, end: int) -> dict[str, dict[str, int]]:
        """Write OUT/court, OUT/registry, ...; rows by source. end: the day of the extract."""
        months = np.datetime64(self._asked.start, "M") + np.arange(self._asked.months)
        writers: dict[str, Any] = {}
        counts = dict.fromkeys(COVERAGE, 0)
        for name in COVERAGE:
            write_mapping(out / name, name, end)
            writers[name] = pq.ParquetWriter(out / name / "records.parquet", _SCHEMA, store_schema=False, write_statistics=False)
        for number, part in blocks(len(self._firms), BLOCK // 4):
            ids = register.strings(np.arange(part.start, part.stop))
            honesty, liquidity, health = (values[part].astype(np.float64) for values in self._traits)
            found = other_sources(self._streams.of("other_sources", number), ids, honesty, liquidity, health, months)
            for name, frame in found.items():
                kept = self._of_lives(name, frame, ids, part, traits.closed[part], months[0])
                counts[name] += len(kept)
                writers[name].write_table(_table(kept))
        for writer in writers.values():
            writer.close()
        return {name: {"records": count} for name, count in counts.items()}

    def _of_lives(
        self, name: str, frame: pd.DataFrame, ids: NDArray[np.str_], part: slice, closed: NDArray[np.int16], first: np.datetime64
    ) -> pd.DataFrame:
        order = np.argsort(ids)
        place = order[np.searchsorted(ids[order], frame["subject"].to_numpy(np.str_))]
        founded = self._firms.founded[part].astype(np.int64)[place]
        begin = (first + founded).astype("datetime64[D]")
        day = frame["date"].to_numpy("datetime64[D]")
        tells = (frame["kind"] == BLANK.get(name, "")).to_numpy()
        gone = closed.astype(np.int64)[place]
        after = (gone >= 0) & (day >= (first + gone + 1).astype("datetime64[D]"))
        dated = frame.assign(date=np.where(tells & (founded > 0), np.maximum(day, begin), day).astype("datetime64[s]"))
        return dated[(tells | (day >= begin)) & ~after]


def _table(frame: pd.DataFrame) -> Any:
    columns = {name: pa.array(frame[name], pa.string(), from_pandas=True) for name in ("subject", "kind", "number", "status")}
    columns["date"] = pa.array(frame["date"].to_numpy("datetime64[D]"), pa.date32())
    columns["amount"] = pa.array(frame["amount"].astype("Float64") / 100, pa.float64(), from_pandas=True)
    return pa.Table.from_arrays([columns[name] for name in _SCHEMA.names], schema=_SCHEMA)
