"""What noise costs: AUC of a scorecard over eight banks of real loans at several epsilons: `python -m simulations.benchmarks.private_banks`.

Needs ../shared/data (sba_horizontal, 40,024 loans). Every figure is of a run through `simulate`, with masks, on held-out rows (30 % of the
firms); each epsilon is run in several sessions, whose noise differs. delta = 1e-6. Bins of the two coded columns are given by hand: one for each
two-digit sector and each state, codes that are public.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import tomli_w

from federation.models.bins import Bins
from federation.models.bins_document import to_toml_dict
from simulations.simulate import simulate

DATA = Path(__file__).parents[3] / "shared" / "data" / "sba_horizontal"
EPSILONS = (None, 8.0, 4.0, 2.0, 1.0, 0.5)
DELTA = 1e-6
CODES = {
    "naics_sector": "11 21 22 23 31-33 42 44-45 48-49 51 52 53 54 55 56 61 62 71 72 81 92",
    "state": "AK AL AR AZ CA CO CT DC DE FL GA HI IA ID IL IN KS KY LA MA MD ME MI MN MO MS MT NC ND NE NH NJ NM NV NY OH OK OR PA RI SC SD TN "
    "TX UT VA VT WA WI WV WY",
}
"""Public lists: two-digit sectors of NAICS, and the states."""


def coded_bins() -> dict[str, Bins]:
    """A bin for each code, and one for all others."""
    return {
        name: Bins(column=name, kind="categorical", groups=(*((code,) for code in codes.split()), ()), other=len(codes.split()))
        for name, codes in CODES.items()
    }


def run_file(folder: Path, epsilon: float | None, *, coded: bool) -> Path:
    """A run file over the eight banks."""
    (folder / "bins.toml").write_text(tomli_w.dumps(to_toml_dict(coded_bins())))
    own: dict[str, Any] = {"bins": str(folder / "bins.toml")} if coded else {"exclude": ["naics_sector", "state"]}
    parties = [
        {"name": path.stem.replace("_", "-"), "role": "bank", "source": str(path), "id": "id", "label": "label", **own}
        for path in sorted(DATA.glob("*.parquet"))
    ]
    noise = {} if epsilon is None else {"privacy": {"epsilon": epsilon, "delta": DELTA}}
    document = {"run": {"task": "train", "model": "scorecard", "seed": 7, "holdout": 0.3}, "sample": {"as_of": "as_of"}, **noise}
    path = folder / "run.toml"
    path.write_text(tomli_w.dumps(document | {"party": parties}))
    return path


def measured(epsilon: float | None, *, coded: bool) -> tuple[float, float, float]:
    """AUC and KS of one run on held-out rows, and the AUC that the banks see through noise."""
    with tempfile.TemporaryDirectory() as folder:
        result = simulate(run_file(Path(folder), epsilon, coded=coded), Path(folder) / "out")
    test = result["metrics"]["test"]
    return test["auc"], test["ks"], result["banks"]["overall"]["global"]["test"]["auc"]["value"]


def main() -> None:
    if not DATA.exists():
        sys.exit(f"the real loans are not here: {DATA}")
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for coded in (False, True):
        print(
            f"\n{'15 columns, two of them codes' if coded else '13 numeric columns'}: AUC and KS on held-out rows, mean of {runs} sessions"
        )
        for epsilon in EPSILONS:
            found = [measured(epsilon, coded=coded) for _ in range(1 if epsilon is None else runs)]
            auc, ks, seen = (statistics.mean(column) for column in zip(*found, strict=True))
            low, high = min(f[0] for f in found), max(f[0] for f in found)
            span = f"{auc:.4f} [{low:.4f}, {high:.4f}]"
            print(f"  epsilon {epsilon or 'none':>5}   AUC {span}   KS {ks:.4f}   AUC through noise {seen:.4f}", flush=True)


if __name__ == "__main__":
    main()
