"""A realistic scorecard run of three parties, as result.json and curves would hold it; nothing in it is about a real firm."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from federation.models.metrics import Sample, curves, measure

Floats = NDArray[np.float64]

_BINS: dict[str, dict[str, list[tuple[str, float, float]]]] = {
    # party -> column -> (label, share of rows, weight of evidence): higher is safer
    "bank-a": {
        "revolving_use": [("(-inf, 0.21)", 0.24, 0.71), ("[0.21, 0.48)", 0.27, 0.33), ("[0.48, 0.77)", 0.25, -0.18),
                          ("[0.77, inf)", 0.19, -0.83), ("missing", 0.05, -0.29)],
        "years_with_bank": [("(-inf, 1.5)", 0.22, -0.52), ("[1.5, 4)", 0.31, -0.09), ("[4, 9)", 0.28, 0.24), ("[9, inf)", 0.19, 0.47)],
        "industry": [("retail, catering", 0.38, -0.31), ("manufacturing", 0.29, 0.14), ("services, IT", 0.26, 0.37),
                     ("other", 0.07, -0.12)],
    },
    "platform-b": {
        "gmv_12m": [("(-inf, 84000)", 0.17, -0.61), ("[84000, 260000)", 0.19, -0.15), ("[260000, 910000)", 0.2, 0.22),
                    ("[910000, inf)", 0.16, 0.68), ("absent", 0.28, -0.07)],
        "refund_rate": [("(-inf, 0.02)", 0.31, 0.44), ("[0.02, 0.06)", 0.26, 0.02), ("[0.06, inf)", 0.15, -0.79), ("absent", 0.28, -0.07)],
        "stock_turnover": [("(-inf, 3.1)", 0.22, -0.26), ("[3.1, 6.4)", 0.27, 0.05), ("[6.4, inf)", 0.23, 0.24), ("absent", 0.28, -0.07)],
    },
    "tax-c": {
        "declared_revenue_growth": [("(-inf, -0.18)", 0.16, -0.92), ("[-0.18, 0.02)", 0.24, -0.2), ("[0.02, 0.25)", 0.24, 0.31),
                                    ("[0.25, inf)", 0.18, 0.58), ("absent", 0.18, 0.03)],
        "void_invoice_share": [("(-inf, 0.01)", 0.35, 0.36), ("[0.01, 0.05)", 0.29, -0.08), ("[0.05, inf)", 0.18, -0.74),
                               ("absent", 0.18, 0.03)],
        "top_buyer_share": [("(-inf, 0.3)", 0.4, 0.19), ("[0.3, 0.6)", 0.26, -0.05), ("[0.6, inf)", 0.16, -0.41), ("absent", 0.18, 0.03)],
    },
}  # fmt: skip
_COEFFICIENTS = {
    "bank-a": {"revolving_use": -0.83, "years_with_bank": -0.61, "industry": -0.74},
    "platform-b": {"gmv_12m": -0.92, "refund_rate": -0.88, "stock_turnover": -0.35},
    "tax-c": {"declared_revenue_growth": -1.04, "void_invoice_share": -0.79, "top_buyer_share": -0.52},
}
_ROLES = {"bank-a": ("bank", 8000, 8000), "platform-b": ("platform", 5800, 4821), "tax-c": ("tax", 6600, 5590)}
_TRAIN, _BASE = 5600, 0.182
_FACTOR = 20 / np.log(2)


def _bins(coefficients: dict[str, dict[str, float]]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    built: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for party, columns in _BINS.items():
        for column, rows in columns.items():
            shares = np.array([share for _, share, _ in rows])
            woe = np.array([value for _, _, value in rows])
            rate = expit(np.log(_BASE / (1 - _BASE)) - woe)
            bads = np.rint(_TRAIN * shares * rate)
            goods = np.rint(_TRAIN * shares) - bads
            woe = np.log(goods / goods.sum()) - np.log(bads / bads.sum())
            built.setdefault(party, {})[column] = [
                {
                    "label": label,
                    "share": float(share),
                    "goods": float(good),
                    "bads": float(bad),
                    "woe": float(value),
                    "points": float(np.rint(-_FACTOR * coefficients[party][column] * value)),
                }
                for (label, share, _), good, bad, value in zip(rows, goods, bads, woe, strict=True)
            ]
    return built


def _iv(bins: list[dict[str, Any]]) -> float:
    goods, bads = (np.array([row[name] for row in bins]) for name in ("goods", "bads"))
    return float(np.sum((goods / goods.sum() - bads / bads.sum()) * [row["woe"] for row in bins]))


def _split(seed: int, rows: int, noise: float) -> Sample:
    random = np.random.default_rng(seed)
    score = np.clip(np.round(random.normal(-1.75, 0.95, rows), 3), -4.5, 1.6)
    label = random.random(rows) < expit(score * (1 - noise) - 1.6 * noise)
    return Sample.of(label, score, expit(score))


@cache
def _splits() -> dict[str, Sample]:
    return {"train": _split(1, _TRAIN, 0.02), "test": _split(2, 2400, 0.08), "out_of_time": _split(3, 1400, 0.3)}


@cache
def _metrics() -> dict[str, Any]:
    random = np.random.default_rng(7)
    return {name: measure(sample, random).document() for name, sample in _splits().items()}


def sample_curves() -> dict[str, Any]:
    """The curves of all three splits, as plain data."""
    plain: dict[str, Any] = {name: msgspec.to_builtins(curves(sample)) for name, sample in _splits().items()}
    return plain


def sample_result() -> dict[str, Any]:
    """The result document, as plain data; each call gives a fresh copy that a test may break."""
    bins = _bins(_COEFFICIENTS)
    history = [{"iteration": k + 1, "loss": 0.4206 + 0.0535 * 0.34**k, "step": 1.9 * 0.27**k} for k in range(12)]
    pooled_coefficients = {
        party: {column: value + 2e-9 * (len(column) - 9) for column, value in columns.items()} for party, columns in _COEFFICIENTS.items()
    }
    document: dict[str, Any] = {
        "schema_version": 1,
        "run": {
            "id": "run-2f91c0", "name": "small-firms-2019", "task": "default within 12 months", "model": "scorecard",
            "purpose": "credit_assessment", "seed": 7, "holdout": 0.3, "backend": "inline", "version": "0.1.0",
        },
        "manifest_hash": "9c1f5b2a70e4d1c68fb0a3b7d25e9f1046ce8a3b5d7f90124c6e8a0b2d4f6071",
        "model_hash": "e07a4c19b2f85d3360c1a9d47be8f2051d6c3a9e8b7f40215c6d8e9fa0b1c2d3",
        "converged": True,
        "model": {
            "type": "scorecard", "intercept": -1.5027, "coefficients": _COEFFICIENTS, "bins": bins,
            "p_values": {party: dict.fromkeys(columns, 0.0004) for party, columns in _COEFFICIENTS.items()},
            "points": {"base_points": 600.0, "base_odds": 50.0, "pdo": 20.0, "offset": 530.5},
        },
        "metrics": _metrics(),
        "parties": [
            {
                "name": party, "role": role, "rows": rows, "matched": matched, "undated": party == "platform-b",
                "columns": [
                    {
                        "name": column, "kind": "categorical" if column == "industry" else "numeric", "iv": _iv(bins[party][column]),
                        "coefficient": _COEFFICIENTS[party][column],
                    }
                    for column in bins[party]
                ],
            }
            for party, (role, rows, matched) in _ROLES.items()
        ],
        "alignment": {"visibility": "hidden", "universe": 9204},
        "privacy": {
            "releases": 41, "leakage": ["align", "masked_sum", "partial_scores", "encrypted_linear"], "score_reveals": 13,
            "max_score_reveals": 40, "partner_columns": 6,
        },
        "cost": {
            "seconds_total": 38.4,
            "seconds": {"align": 3.1, "statistics": 2.2, "binning": 9.8, "fit": 20.6, "scores": 1.9, "report": 0.8},
            "bytes_sent": {"bank-a": 96_400_112, "platform-b": 41_220_940, "tax-c": 38_014_551, "coordinator": 62_118_030},
            "messages": {"bank-a": 214, "platform-b": 166, "tax-c": 166, "coordinator": 301},
            "iterations": 12,
            "history": history,
        },
        "sources": {
            "split": "test", "rows": 900, "firms": 880, "resamples": 1000, "seed": 7, "source_auc_min": 0.002, "dropped": ["water"],
            "final_auc_gain": 0.0001, "final_auc_interval": [-0.0008, 0.0009], "folder": "final",
            "found": [
                {"name": "court", "parties": ["tax-c"], "columns": ["tax-c / court_judgments_12m"], "coverage": 0.81,
                 "coverage_of": "rows whose firm the party knows", "auc_with": 0.78, "auc_without": 0.76, "auc_gain": 0.02,
                 "auc_interval": [0.01, 0.03], "ks_with": 0.41, "ks_without": 0.39, "ks_gain": 0.02, "ks_interval": [-0.01, 0.04], "cost": 0.8,
                 "cost_per_point": 400.0, "verdict": "adds 2.0 points of AUC, at least 1.0 at 95 %", "manifest_hash": "ab" * 32},
                {"name": "water", "parties": ["platform-b"], "columns": ["platform-b / water_12m"], "auc_gain": 0.0001,
                 "auc_interval": [-0.0008, 0.0009], "verdict": "adds nothing that this sample can show", "dropped": True},
            ],
        },
        "pooled": {
            "metrics": _metrics(), "intercept": -1.502700004, "coefficients": pooled_coefficients,
            "max_difference": 2.8e-8, "score_difference": 6.1e-8, "seconds": 0.21,
            "label_party_alone": {"test": {"auc": 0.668, "ks": 0.251}},
        },
        "notes": ["platform-b answered every period from one snapshot taken in 2019-12."],
    }  # fmt: skip
    copy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    return copy


def sample_target() -> dict[str, Any]:
    """How the bank of the sample made its outcomes, as result.json holds it."""
    return {
        "bank-a": {
            "definition": {
                "days_past_due": 90, "performance_months": 12, "rule": "ever", "indeterminate_from": 30, "restructured": "indeterminate",
                "written_off": "bad", "fraud": "exclude", "level": "firm", "good_standing": 89, "months_on_book": 0, "observe_from": "2018-01",
                "observe_to": None, "observe_every": 3,
            },
            "first_month": "2017-01", "last_month": "2020-06", "last_matured": "2019-07", "least_firms": 10,
            "waterfall": [
                {"name": "rows of the feature table", "kind": "all", "rows": 12000}, {"name": "not matured", "kind": "excluded", "rows": 2100},
                {"name": "fraud", "kind": "excluded", "rows": None}, {"name": "indeterminate", "kind": "excluded", "rows": 1450},
                {"name": "good", "kind": "outcome", "rows": 6600}, {"name": "bad", "kind": "outcome", "rows": 1400},
                {"name": "performance window reaches over the split", "kind": "left out", "rows": 310},
                {"name": "train", "kind": "sample", "rows": 5600},
            ],
            "roll_rates": {
                "from": ["current", "1-29"], "to": ["current", "1-29", "closed"],
                "monthly": {"counts": [[900, 60, 40], [50, None, None]], "totals": [1000, 90], "shares": [[0.9, 0.06, 0.04], [0.5556, None, None]]},
                "window": {"counts": [[700, 200, 100], [None, None, None]], "totals": [1000, None], "shares": [[0.7, 0.2, 0.1], [None, None, None]]},
            },
            "vintages": [
                {"quarter": "2018Q1", "loans": 410, "shares": [0.0, 0.0, 0.031, 0.064]}, {"quarter": "2018Q2", "loans": 377, "shares": [0.0, 0.029]},
            ],
            "vintages_left_out": 2,
        }
    }  # fmt: skip
