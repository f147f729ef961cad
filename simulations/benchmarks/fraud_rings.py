"""Fraud rings of the economy against the check for circular trade: `python -m simulations.benchmarks.fraud_rings [--firms 20000] [--seeds 5]`.

Draws an economy with circular rings at each strength of camouflage, and one without rings, reads the tax bureaus' folders through the raw door,
and counts flags against truth/: precision and recall over firms, how many rings have half of their members flagged, and how many honest firms
are flagged where there is no ring at all. Mean over the seeds, and its 95 % interval (Student's t).

True is a firm of a ring that invoiced in the window, whichever bureau it is at. A firm by way of which a ring sent a sum is no member, and to
flag it is an error.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t

from clients.own_tables import load
from clients.roles.tax.circular_trade import Account, check
from clients.vault import open_records
from simulations.economy.generate import generate
from simulations.economy.settings import Economy, Rings

MONTHS = 12
AS_OF = np.datetime64("2024-01")
WINDOW = 3
STRENGTHS = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Judged:
    """Counts as of a month. firms: with sales; members: of rings that traded; rings_found: with half of their members flagged, or more."""

    firms: int
    members: int
    flagged: int
    hits: int
    rings: int
    rings_found: int
    accounts: tuple[Account, ...]

    @property
    def precision(self) -> float:
        """Of the firms flagged, the share in rings; NaN where none is flagged."""
        return self.hits / self.flagged if self.flagged else float("nan")

    @property
    def recall(self) -> float:
        """Of the firms in rings, the share flagged; NaN where there is none."""
        return self.hits / self.members if self.members else float("nan")

    @property
    def false_positives(self) -> float:
        """Of the firms with sales that are in no ring, the share flagged."""
        return (self.flagged - self.hits) / (self.firms - self.members)


def drawn(out: Path, firms: int, rings: int, camouflage: float, seed: int, bureaus: int = 1) -> Path:
    """A year of an economy whose rings all work in its last quarter. Shops, courts and all banks but one are left out."""
    asked = Rings(circular=rings, camouflage=(camouflage,))
    generate(
        Economy(firms=firms, months=MONTHS, history=0, banks=1, platforms=0, taxes=bureaus, other_sources=False, seed=seed, rings=asked),
        out,
    )
    return out


def judged(out: Path, as_of: np.datetime64 = AS_OF) -> Judged:
    """The check at each bureau of an economy, against the truth beside it."""
    flagged: set[str] = set()
    accounts: list[Account] = []
    day = (as_of.astype("datetime64[D]")).item()
    for mapping in sorted(out.glob("tax-*/mapping.toml")):
        tables = load(mapping)
        found = check({kind: open_records(tables, kind, day).batches() for kind in ("sales_invoices", "taxpayers")}, [as_of])
        flagged |= set(found.flags["id"])
        accounts += found.accounts
    rings = _working(out, as_of)
    members = set(rings["id"])
    share = rings["id"].isin(flagged).groupby(rings["ring"]).mean()
    firms = sum(account.firms for account in accounts)
    return Judged(firms, len(members), len(flagged), len(flagged & members), len(share), int((share >= 0.5).sum()), tuple(accounts))


def _working(out: Path, as_of: np.datetime64) -> pd.DataFrame:
    """Ring and id of the members that invoiced for their ring in the window."""
    members = pd.read_parquet(out / "truth" / "rings.parquet")[["ring", "id"]]
    file = out / "truth" / "ring_invoices.parquet"
    if members.empty or not file.exists():
        return members.head(0)
    made = pd.read_parquet(file)
    made = made[(made["date"] >= (as_of - WINDOW).astype("datetime64[s]")) & (made["date"] < as_of.astype("datetime64[s]"))]
    traded = pd.concat([made[["ring", side]].set_axis(["ring", "id"], axis=1) for side in ("seller", "buyer")]).drop_duplicates()
    return pd.DataFrame(members.merge(traded, on=["ring", "id"]))


def interval(values: Sequence[float]) -> str:
    """Mean of shares and its 95 % interval, which ends at 0 and 1."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.3f}"
    half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return f"{mean:.3f} ({max(mean - half, 0):.3f} to {min(mean + half, 1):.3f})"


def _line(name: str, found: Sequence[Judged], seconds: float) -> str:
    firms, members, flagged = (sum(getattr(one, what) for one in found) for what in ("firms", "members", "flagged"))
    rings, rings_found = sum(one.rings for one in found), sum(one.rings_found for one in found)
    wrong = flagged - sum(one.hits for one in found)
    said = f"{name}: {firms:,} firms with sales, {members:,} in {rings:,} rings; {flagged:,} flagged, {wrong:,} of them honest"
    if members:
        precision, recall = interval([one.precision for one in found if one.flagged]), interval([one.recall for one in found])
        said += f"; precision {precision}, recall {recall}, rings found {rings_found:,}"
    return f"{said}; {seconds:.0f} s of processor"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m simulations.benchmarks.fraud_rings", description="Rings of the economy, found or not.")
    parser.add_argument("--firms", type=int, default=20_000)
    parser.add_argument("--rings", type=int, default=60)
    parser.add_argument("--bureaus", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--camouflage", type=float, nargs="*", default=list(STRENGTHS))
    options = parser.parse_args()
    print(
        f"{options.firms:,} firms, {options.bureaus} bureaus, {options.rings} rings, seeds 1 to {options.seeds}, as of {AS_OF}", flush=True
    )
    for rings, camouflage in (*((options.rings, strength) for strength in options.camouflage), (0, 0.0)):
        found, started = [], time.process_time()
        for seed in range(1, options.seeds + 1):
            with tempfile.TemporaryDirectory() as folder:
                found.append(judged(drawn(Path(folder), options.firms, rings, camouflage, seed, options.bureaus)))
        print(_line(f"camouflage {camouflage}" if rings else "no rings", found, time.process_time() - started), flush=True)
        print(f"  the last: {found[-1].accounts[0]}", flush=True)


if __name__ == "__main__":
    main()
