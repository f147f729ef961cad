"""Real loans over many banks: each model federated, pooled and at each bank alone: `python -m simulations.benchmarks.real_banks`.

Needs ../shared/data. AUC and KS are of held-out rows (30 % of each bank's firms); over all banks from all rows' scores, at a bank from its own
rows, with bootstrap intervals at 95 %.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import tomli_w

from simulations.simulate import simulate

DATA = Path(__file__).parents[3] / "shared" / "data"
CASES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("sba_horizontal", "logistic", {}),
    ("sba_horizontal", "scorecard", {"select": {"iv_min": 0.02, "p_max": 0.05}}),
    ("fate_default_credit_horizontal", "logistic", {}),
    ("fate_default_credit_horizontal", "scorecard", {"select": {"iv_min": 0.02, "p_max": 0.05}}),
)
MODELS = ("global", "per bank", "personal", "local")


def run_file(source: Path, model: str, tables: dict[str, Any], out: Path) -> Path:
    """A run file over the banks of a folder, with own slopes beside the other variants."""
    kind = "auto" if source.name.startswith("sba") else "any"
    parties = [
        {"name": path.stem.replace("_", "-"), "role": "bank", "source": str(path), "id": "id", "label": "label", "id_kind": kind}
        for path in sorted(source.glob("*.parquet"))
        if path.stem != "test"
    ]
    document = {"run": {"task": "train", "model": model, "seed": 7, "holdout": 0.3}, "model": {"personal_C": 0.1}, **tables}
    if source.name.startswith("sba"):
        document["sample"] = {"as_of": "as_of"}
    path = out / "run.toml"
    path.write_text(tomli_w.dumps(document | {"party": parties}))
    return path


def cell(figures: dict[str, Any] | None) -> str:
    """AUC with interval and KS of a test split."""
    test = (figures or {}).get("test") or {}
    if test.get("auc") is None:
        return "-"
    low, high = test["intervals"]["auc"]
    return f"{test['auc']:.3f} [{low:.3f}, {high:.3f}] {test['ks']:.3f}"


def show(source: str, model: str, result: dict[str, Any]) -> None:
    """One case as a table."""
    federated, pooled = result["metrics"]["test"], result["pooled"]["metrics"]["test"]
    print(f"\n{source}, {model}: {len(result['parties'])} banks, {result['cost']['seconds_total']:.1f} s, converged {result['converged']}")
    print(
        f"  over all test rows ({federated['n']:,}), the run's model ({result['banks']['variant']}): AUC {federated['auc']:.4f} "
        f"{federated['intervals']['auc']}, KS {federated['ks']:.4f} {federated['intervals']['ks']}"
    )
    print(f"  pooled (global): AUC {pooled['auc']:.4f}, KS {pooled['ks']:.4f}")
    print(f"  largest coefficient difference to it: {result['pooled']['max_difference']:.1e}")
    for name, splits in result["banks"]["overall"].items():
        test = splits["test"]
        print(
            f"  all banks by score cells, {name:<9} AUC {test['auc']['value']:.4f} {test['auc']['interval']}  KS {test['ks']['value']:.4f}"
        )
    print("  own test rows: AUC [95 %] KS" + "".join(f"{name:>30}" for name in MODELS))
    for bank, figures in result["banks"]["alone"].items():
        print(f"  {bank:<27}" + "".join(f"{cell(figures.get(name)):>30}" for name in MODELS))


def main() -> None:
    if not DATA.exists():
        sys.exit(f"the real loans are not here: {DATA}")
    for source, model, tables in CASES:
        with tempfile.TemporaryDirectory() as folder:
            path = run_file(DATA / source, model, dict(tables), Path(folder))
            show(source, model, simulate(path, Path(folder) / "out", pooled=True))


if __name__ == "__main__":
    main()
