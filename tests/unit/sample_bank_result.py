"""Results of runs over many banks, as result.json would hold them: one trained, one of statistics. Nothing in them is about a real bank."""

from __future__ import annotations

from typing import Any

import msgspec

BANKS = {"bank-a": 900, "bank-b": 700, "bank-c": 500, "bank-d": None}  # the last one dropped out
_AUC = {  # bank -> global, per bank, local
    "bank-a": (0.70, 0.70, 0.74),
    "bank-b": (0.68, 0.69, 0.71),
    "bank-c": (0.72, 0.71, 0.66),
}
_MODELS = ("global", "per bank", "local")
_COLUMNS = ("sales", "staff", "industry")


def _split(auc: float, rows: int, half: float = 0.01) -> dict[str, Any]:
    ks = auc - 0.4
    intervals = {"auc": [auc - half, auc + half], "ks": [ks - half, ks + half], "gini": [2 * auc - 1 - half, 2 * auc - 1 + half]}
    return {"auc": auc, "ks": ks, "gini": 2 * auc - 1, "n": rows, "goods": rows - rows // 5, "bads": rows // 5, "intervals": intervals}


def _cells(auc: float) -> dict[str, Any]:
    return {
        "n": 640, "bads": 128, "psi": 0.012, "auc": {"value": auc, "interval": [auc - 0.02, auc + 0.02], "blur": 0.004},
        "ks": {"value": auc - 0.4, "interval": [auc - 0.42, auc - 0.38], "blur": 0.03},
    }  # fmt: skip


def _fit() -> dict[str, Any]:
    names = ("sales", "staff", "staff is missing", "industry=23", "industry=other")
    numbers = {name: 0.25 * (place + 1) for place, name in enumerate(names)}
    errors = dict.fromkeys(names, 0.125)
    return {
        "converged": True, "reason": "", "iterations": 7, "weight": 1500.0, "objective": 600.0, "standardized": numbers,
        "coefficients": {name: value / 1000 for name, value in numbers.items()}, "errors": {"intercept": 0.05, **errors},
        "raw_errors": {name: value / 1000 for name, value in errors.items()}, "z": {"intercept": -30.0} | dict.fromkeys(names, 2.0),
        "p": {"intercept": 0.0, "sales": 1e-9, "staff": 0.0455, "staff is missing": 0.61, "industry=23": 0.02, "industry=other": None},
        "inflation": {"sales": 1.11, "staff": 2.22, "industry": 3.33}, "intercept": -1.5, "constant": -1.7, "constant_error": 0.2,
    }  # fmt: skip


def _head(task: str) -> dict[str, Any]:
    columns = [{"name": name, "kind": "categorical" if name == "industry" else "numeric", "iv": 0.6} for name in _COLUMNS]
    without = [column | {"iv": None} for column in columns]
    return {
        "schema_version": 1,
        "run": {"id": "run-77aa01", "name": "eight-banks", "task": task, "model": "logistic", "seed": 7, "holdout": 0.3},
        "manifest_hash": "b6" * 32, "model_hash": "c6" * 32, "privacy": {"leakage": ["session", "bonawitz", "banks"]},
        "cost": {"seconds_total": 4.4, "seconds": {"levels": 0.1, "sum": 3.0}, "bytes_sent": {"bank-a": 1_300_000}, "messages": {"bank-a": 93}},
        "parties": [
            {"name": name, "role": "bank", "columns": columns if rows else without} | ({"rows": rows} if rows else {})
            for name, rows in BANKS.items()
        ],
        "notes": ["bank-d was lost on the way and has no result", "column 'flag' is the same for all training rows and was left out"],
    }  # fmt: skip


def bank_result() -> dict[str, Any]:
    """A training over four banks of which one dropped out; each call gives a fresh copy."""
    fit = _fit()
    alone = {
        bank: {
            model: {"train": _split(0.8, 630), "test": _split(value, 270), "out_of_time": _split(0.5, 0) | {"n": 0}}
            for model, value in zip(_MODELS, values, strict=True)
        }
        for bank, values in _AUC.items()
    }
    document = _head("train") | {
        "converged": True, "stop_reason": None,
        "model": {"type": "logistic", "intercept": -1.7, "coefficients": {"all banks": fit["coefficients"]}},
        "metrics": {"train": _split(0.71, 1500), "test": _split(0.70, 640)},
        "banks": {
            "variant": "global", "fits": {"global": fit, "per bank": fit | {"intercept": None, "constant": None}},
            "overall": {model: {"test": _cells(auc)} for model, auc in zip(_MODELS, (0.701, 0.712, 0.705), strict=True)},
            "alone": alone,
            "selection": [
                {
                    "column": "age", "rule": "p_max", "value": 0.65, "limit": 0.05, "beside": "",
                    "reason": "p-value 0.65, p_max = 0.05",
                },
            ],
        },
        "pooled": {
            "metrics": {"test": _split(0.70, 640)}, "intercept": -1.7, "coefficients": {"all banks": fit["coefficients"]},
            "max_difference": 4.7e-11,
        },
    }  # fmt: skip
    return _copy(document)


def statistics_result() -> dict[str, Any]:
    """Statistics over the same banks; each call gives a fresh copy."""
    quantiles = [{"probability": p, "value": 100 * p} for p in (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)]
    whole = {
        "kind": "numeric", "count": 2090, "missing": 10, "constant": False, "mean": 152755.7, "variance": 4.0, "deviation": 2.0, "low": 1.0,
        "high": 99.0, "quantiles": quantiles, "withheld": {}, "vif": 21.67,
    }  # fmt: skip
    reason = "fewer than 10 rows with or without a value"
    few = whole | {"name": "staff", "count": None, "missing": None, "withheld": {"count": reason, "missing": reason}}
    levels = [{"label": f"level {n}", "rows": 200 - n, "share": (200 - n) / 2100, "weight": 200.0 - n} for n in range(20)]
    return _copy(
        _head("statistics")
        | {
            "statistics": {
                "rows": 2100, "bads": 420, "weight": 2100.0, "weighted": False, "minimum_cohort": 10, "banks": [4, 4, 3], "sums": 3,
                "withheld": {},
                "columns": [
                    whole | {"name": "sales"}, few, whole | {"name": "debt"},
                    {"name": "industry", "kind": "categorical", "levels": levels, "withheld": {}},
                ],
                "correlation": {
                    "columns": ["sales", "staff", "debt"], "withheld": "",
                    "matrix": [[1.0, 0.97, -0.55], [0.97, 1.0, None], [-0.55, None, 1.0]],
                },
            }
        }
    )  # fmt: skip


def _copy(document: dict[str, Any]) -> dict[str, Any]:
    copy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    return copy
