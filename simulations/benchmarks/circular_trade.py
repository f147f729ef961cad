"""Circular trade in one bureau: `python -m simulations.benchmarks.circular_trade [--firms 100000] [--relations 5]`.

Prints time, peak memory, what was left out or cut, and precision and recall at three strengths of camouflage. The market is made here.

Honest: firms of log-normal size that sell to some dozens of others, to large ones more often (so that circles of trade abound); one relation in
eight goes both ways, and half of the buyers are elsewhere. Rings: nine rounds in the quarter, in which a sum goes round the members.
Camouflage c in [0, 1]: legs differ by a log deviation of 0.01 + 0.35 c; are cut in two with probability 0.5 c; go by way of an honest firm with
probability 0.4 c; take 1 to 2 + 8 c days; and the sum that goes round falls from 1.0 to 0.4 of the members' honest sales.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clients.roles.tax.circular_trade import Checked, check

START = np.datetime64("2024-01-01")
DAYS = 91
AS_OF = np.datetime64("2024-04")


@dataclass(frozen=True)
class Bureau:
    """invoices, taxpayers: canonical; rings: lists of firms' numbers; ids: of firms."""

    invoices: pd.DataFrame
    taxpayers: pd.DataFrame
    rings: list[list[int]]
    ids: list[str]

    @property
    def ringed(self) -> set[str]:
        """Ids of all firms in rings."""
        return {self.ids[firm] for ring in self.rings for firm in ring}


def code(firm: int) -> str:
    """The bureau's own code of a buyer."""
    return f"C{firm:07d}"


def invoices_of(rows: pd.DataFrame, ids: list[str]) -> pd.DataFrame:
    """Canonical, from seller, buyer (-1: elsewhere), day (from START) and amount in fen."""
    count = len(rows)
    buyer = rows["buyer"].to_numpy()
    return pd.DataFrame(
        {
            "firm": np.array(ids, object)[rows["seller"].to_numpy()],
            "code": np.full(count, "1400", object),
            "number": np.array([f"{number:08d}" for number in range(count)], object),
            "date": (START + rows["day"].to_numpy().astype("timedelta64[D]")).astype("datetime64[s]"),
            "counterparty": np.array([code(firm) if firm >= 0 else f"X{place % 50_000}" for place, firm in enumerate(buyer)], object),
            "amount": rows["amount"].to_numpy(np.int64),
            "tax": (rows["amount"] * 0.03).round().to_numpy(np.int64),
            "status": rows["status"].to_numpy(object) if "status" in rows else np.full(count, "valid", object),
        }
    )


def taxpayers_of(ids: list[str], since: str = "2020-01-01") -> pd.DataFrame:
    """The register, canonical."""
    day = np.full(len(ids), np.datetime64(since, "s"))
    return pd.DataFrame({"code": [code(firm) for firm in range(len(ids))], "firm": np.array(ids, object), "since": day})


def honest(rng: np.random.Generator, firms: int, relations: int, days: int = DAYS) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """Sales, and each firm's yearly size in fen."""
    size = rng.lognormal(np.log(3e8), 1.2, firms)
    weight = size**0.7
    seller, buyer = (rng.choice(firms, firms * relations, p=weight / weight.sum()) for _ in range(2))
    back = rng.random(len(seller)) < 1 / 8
    seller, buyer = np.concatenate([seller, buyer[back]]), np.concatenate([buyer, seller[back]])
    keep = seller != buyer
    seller, buyer = seller[keep], np.where(rng.random(int(keep.sum())) < 0.5, -1, buyer[keep])
    number = 1 + rng.poisson(3 * days / DAYS, len(seller))
    share = rng.dirichlet(np.ones(8), len(seller))[:, 0]  # how much of the seller's sales a relation is
    each = size[seller] * days / 365 / relations * 8 * share / number
    row = np.repeat(np.arange(len(seller)), number)
    amount = each[row] * rng.lognormal(0, 0.4, len(row))
    table = pd.DataFrame({"seller": seller[row], "buyer": buyer[row], "day": rng.integers(0, days, len(row)), "amount": amount})
    return table.assign(amount=np.maximum(table["amount"].round(), 1_00).astype(np.int64)), size


def round_of(
    rng: np.random.Generator, ring: list[int], total: float, day: float, camouflage: float, firms: int
) -> list[tuple[int, int, int, int]]:
    """One round of a ring."""
    out = []
    for seller, buyer in zip(ring, [*ring[1:], ring[0]], strict=True):
        amount = total * np.exp((0.01 + 0.35 * camouflage) * rng.standard_normal())
        way = [seller, int(rng.integers(firms)), buyer] if rng.random() < 0.4 * camouflage else [seller, buyer]
        parts = (0.55, 0.45) if rng.random() < 0.5 * camouflage else (1.0,)
        for one, other in pairwise(way):
            out += [(one, other, int(min(day, DAYS - 1)), round(amount * part)) for part in parts if one != other]
            day += 1 + rng.uniform(0, 1 + 8 * camouflage)
    return out


def bureau(
    seed: int,
    camouflage: float = 0.0,
    lengths: tuple[int, ...] = (3, 4, 5, 6) * 3,
    firms: int = 2_000,
    relations: int = 15,
    rounds: int = 9,
) -> Bureau:
    """A quarter of a bureau, with a ring of each length."""
    rng = np.random.default_rng(seed)
    table, size = honest(rng, firms, relations)
    middling = rng.permutation(np.flatnonzero((size > np.quantile(size, 0.2)) & (size < np.quantile(size, 0.8))))
    rings, rows = [], []
    sales = table.groupby("seller")["amount"].sum()
    for length in lengths:
        ring, middling = [int(firm) for firm in middling[:length]], middling[length:]
        rings.append(ring)
        volume = float(np.median([sales.get(firm, 0) for firm in ring])) * (1 - 0.6 * camouflage)
        for day in rng.uniform(0, DAYS - 20, rounds):
            rows += round_of(rng, ring, volume / rounds * rng.lognormal(0, 0.2), day, camouflage, firms)
    planted = pd.DataFrame(rows, columns=["seller", "buyer", "day", "amount"]).astype(np.int64)
    whole = pd.concat([table, planted], ignore_index=True).sample(frac=1, random_state=seed, ignore_index=True)
    ids = [f"firm-{firm:06d}" for firm in range(firms)]
    return Bureau(invoices_of(whole, ids), taxpayers_of(ids), rings, ids)


def quality(found: Checked, truth: Bureau) -> tuple[float, float, int]:
    """Precision, recall and number of the firms flagged."""
    flagged = set(found.flags["id"])
    hits = len(flagged & truth.ringed)
    return hits / max(len(flagged), 1), hits / len(truth.ringed), len(flagged)


def batches(table: pd.DataFrame, rows: int = 65_536) -> Iterator[pd.DataFrame]:
    """As the raw door gives them."""
    for start in range(0, len(table), rows):
        yield table.iloc[start : start + rows].reset_index(drop=True)


def measured(truth: Bureau) -> tuple[Checked, float]:
    """The check, and its seconds."""
    started = time.perf_counter()
    found = check({"sales_invoices": batches(truth.invoices), "taxpayers": batches(truth.taxpayers)}, [AS_OF])
    return found, time.perf_counter() - started


def memory(field: Literal["VmRSS", "VmHWM"]) -> float:
    """MB of this process: now (VmRSS), or at most since `forget_peak` (VmHWM). Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def forget_peak() -> None:
    """Begin anew with the most memory that this process has had (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m simulations.benchmarks.circular_trade", description="Circular trade in one bureau.")
    parser.add_argument("--firms", type=int, default=100_000)
    parser.add_argument("--relations", type=int, default=5, help="that a firm begins with; one in eight goes both ways")
    parser.add_argument("--camouflage", type=float, nargs="+", default=[0.0, 0.5, 1.0])
    parser.add_argument("--seed", type=int, default=20_261)
    options = parser.parse_args()
    for strength in options.camouflage:
        truth = bureau(options.seed, strength, (3, 4, 5, 6) * 25, options.firms, options.relations)
        forget_peak()
        before = memory("VmRSS")
        found, seconds = measured(truth)
        precision, recall, flagged = quality(found, truth)
        print(
            f"camouflage {strength}: {len(truth.invoices):,} invoices of {options.firms:,} firms, {len(truth.ringed):,} of them in "
            f"{len(truth.rings)} rings: {flagged:,} flagged, precision {precision:.2f}, recall {recall:.2f}; {seconds:.1f} s, peak "
            f"{memory('VmHWM'):,.0f} MB, of which {before:,.0f} MB were there before: Python, libraries and the market itself"
        )
        print(f"  {found.accounts[0]}")


if __name__ == "__main__":
    main()
