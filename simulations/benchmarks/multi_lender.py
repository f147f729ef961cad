"""Ten thousand applicants and eight banks, against truth: `python -m simulations.benchmarks.multi_lender [--applicants 10000 --banks 8]`.

A whole run by the command's own code (manifest, signatures, sealed envelopes, gates, logs), all institutions on this machine, one of them
after the other. Loans are drawn so that some firms borrow nowhere, many at one bank and a few at all; every count and every band is compared
with the books laid side by side.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w

from federation.checks.settings import band_names
from federation.kernel.manifest import CheckSettings
from simulations.simulate import simulate

SEED = 20_261_130
BANDS = (100_000.0, 500_000.0, 1_000_000.0)
ASKS = "asking"


def books(firms: int, banks: int, book: int, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    """Each bank's open loans: rows of id and outstanding, firms with several loans among them, some of them repaid."""
    weight = rng.pareto(2.0, firms) + 0.1  # some firms borrow at many banks
    out = {}
    for place in range(banks):
        has = rng.choice(firms, book, replace=False, p=weight / weight.sum())
        rows = np.concatenate([has, rng.choice(has, book // 10)])
        amount = np.round(rng.lognormal(12.5, 1.2, len(rows)), 2)
        amount[rng.random(len(rows)) < 0.05] = 0.0
        out[f"bank-{place + 1}"] = pd.DataFrame({"id": [f"firm {firm}" for firm in rows], "outstanding": amount})
    return out


def truth(applicants: pd.Series[Any], loans: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Counts of banks in all and by band, by pandas alone, in the applicants' order."""
    names, edges = band_names(CheckSettings(bands=BANDS)), [0.0, *BANDS, np.inf]
    out = pd.DataFrame(0, index=pd.Index(applicants, name="id"), columns=["lenders", *names])
    for table in loans.values():
        owed = (table.assign(cents=(table["outstanding"] * 100).round()).groupby("id")["cents"].sum() / 100).reindex(out.index).fillna(0.0)
        out["lenders"] += (owed > 0).astype(int)
        for name, low, high in zip(names, edges, edges[1:], strict=False):
            out[name] += ((owed > 0) & (owed >= low) & (owed < high)).astype(int)
    return out


def measure(applicants: int, banks: int, book: int, folder: Path) -> dict[str, Any]:
    """One run, and how it compares."""
    rng = np.random.default_rng(SEED)
    firms = 3 * book
    loans = books(firms, banks, book, rng)
    asked = pd.Series([f"firm {firm}" for firm in rng.choice(firms + applicants, applicants, replace=False)], name="id")
    asked.to_frame().to_parquet(folder / f"{ASKS}.parquet", index=False)
    for name, table in loans.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    document = {
        "run": {"task": "multi_lender"}, "check": {"asks": ASKS, "bands": list(BANDS), "max_asked": max(applicants, 1)},
        "party": [{"name": name, "role": "bank", "source": f"{name}.parquet"} for name in (ASKS, *loans)],
    }  # fmt: skip
    (folder / "run.toml").write_text(tomli_w.dumps(document))
    started = time.monotonic()
    result = simulate(folder / "run.toml", folder / "out")
    seconds = time.monotonic() - started
    found = pd.read_parquet(folder / "out" / "checks" / f"{ASKS}.parquet").set_index("id")
    exact = truth(asked, loans).loc[found.index]
    wrong = int((found[exact.columns].to_numpy() != exact.to_numpy()).any(axis=1).sum())
    sent = result["cost"]["bytes_sent"]
    return {
        "applicants": len(found), "banks": banks, "book": book, "universe": result["alignment"]["universe"], "wrong": wrong,
        "with a lender": int((found["lenders"] > 0).sum()), "at most": int(found["lenders"].max()), "seconds": round(seconds, 1),
        "seconds by phase": {phase: round(value, 1) for phase, value in result["cost"]["seconds"].items()},
        "MB a bank sends": round(max(value for name, value in sent.items() if name != "coordinator") / 1e6, 1),
        "MB in all": round(sum(sent.values()) / 1e6, 1),
    }  # fmt: skip


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m simulations.benchmarks.multi_lender", description="Who else lends, against truth.")
    parser.add_argument("--applicants", type=int, default=10_000)
    parser.add_argument("--banks", type=int, default=8)
    parser.add_argument("--book", type=int, default=20_000)
    given = parser.parse_args()
    print(f"seed {SEED}")
    with tempfile.TemporaryDirectory() as folder:
        for name, figure in measure(given.applicants, given.banks, given.book, Path(folder)).items():
            print(f"{name}: {figure}")


if __name__ == "__main__":
    main()
