"""`creditfed check circular` and `features build --with circular`, on a small economy with rings: found, and nothing of others in what leaves."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from clients.roles.tax.circular_trade import FEATURES
from federation.kernel.errors import ConfigurationError
from simulations.benchmarks.fraud_rings import AS_OF, STRENGTHS, drawn, judged
from simulations.command import app

RUN = CliRunner()
SEED = 3
FIRMS, RINGS = 1_500, 8


@pytest.fixture(scope="module")
def ringed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    print(f"seed {SEED}")
    return drawn(tmp_path_factory.mktemp("ringed"), FIRMS, RINGS, 0.0, SEED)


def test_rings_of_an_economy_are_found_and_without_rings_hardly_anybody_is_flagged(ringed: Path, tmp_path: Path) -> None:
    found, control = judged(ringed), judged(drawn(tmp_path, FIRMS, 0, 0.0, SEED))
    print(f"precision {found.precision:.2f}, recall {found.recall:.2f} of {found.members} firms in {found.rings} rings")
    assert found.rings >= 6 and found.members >= 20
    assert found.precision >= 0.9
    assert found.recall >= 0.7
    assert control.members == 0
    assert control.flagged <= 0.002 * control.firms
    assert all(account.looked.whole for account in (*found.accounts, *control.accounts))


@pytest.mark.slow
@pytest.mark.parametrize("camouflage", STRENGTHS)
def test_rings_of_an_economy_are_found_at_every_strength_of_camouflage(camouflage: float, tmp_path: Path) -> None:
    found = judged(drawn(tmp_path, 10_000, 30, camouflage, SEED))
    print(
        f"camouflage {camouflage}: precision {found.precision:.2f}, recall {found.recall:.2f} of {found.members} firms in {found.rings} rings"
    )
    assert found.precision >= 0.9
    assert found.recall >= {0.0: 0.75, 0.5: 0.75, 1.0: 0.65}[camouflage]


@pytest.mark.slow
def test_a_ring_over_two_bureaus_is_seen_by_neither(tmp_path: Path) -> None:
    """What one bureau cannot see, said with a number: most rings have members at several of four bureaus."""
    found = judged(drawn(tmp_path, 10_000, 30, 0.0, SEED, bureaus=4))
    print(f"four bureaus: recall {found.recall:.2f}")
    assert found.recall < 0.4
    assert found.false_positives < 0.002


# -- the register -------------------------------------------------------------------------------------------------------------------------


def test_the_register_of_a_bureau_names_its_own_firms_and_nobody_elses(tmp_path: Path) -> None:
    out = drawn(tmp_path, 600, 2, 0.0, SEED, bureaus=2)
    firms = pd.read_parquet(out / "truth" / "firms.parquet")
    for bureau in (1, 2):
        register = pd.read_parquet(out / f"tax-{bureau}" / "taxpayers.parquet")
        assert set(register["firm"]) == set(firms.loc[firms["bureau"] == bureau, "id"])
        assert (register["code"] == register["firm"]).all() and register["code"].is_unique
        sales = pd.read_parquet(out / f"tax-{bureau}" / "sales_invoices.parquet")
        assert 0 < sales["counterparty"].isin(register["code"]).sum() < len(sales)
        first = sales.assign(date=pd.to_datetime(sales["date"])).groupby("firm")["date"].min()
        since = pd.to_datetime(register.set_index("firm")["since"])
        assert (since.loc[first.index] <= first).all(), "nobody invoices before it is registered"
    bought = pd.read_parquet(out / "tax-1" / "sales_invoices.parquet")["counterparty"]
    other = pd.read_parquet(out / "tax-2" / "taxpayers.parquet")["code"]
    assert bought.isin(other).any(), "a firm of the other bureau buys here, and is an outsider"


# -- the commands -------------------------------------------------------------------------------------------------------------------------


def test_the_check_writes_flags_for_the_officer_and_features_without_a_name(ringed: Path, tmp_path: Path) -> None:
    out = tmp_path / "checked"
    ran = RUN.invoke(app, ["check", "circular", str(ringed / "tax-1" / "mapping.toml"), "--as-of", "2023-12..2024-01", "--out", str(out)])
    assert ran.exit_code == 0, ran.output
    flags, table = pd.read_parquet(out / "flags.parquet"), pd.read_parquet(out / "features.parquet")
    assert flags.columns.tolist() == ["id", "as_of", "score", "reason", "circle", "passed_by"]
    assert flags["score"].between(0.1, 1).all() and len(flags) > 10
    assert stat.S_IMODE((out / "flags.parquet").stat().st_mode) == 0o600
    assert table.columns.tolist() == ["id", "as_of", *FEATURES]
    assert set(table["as_of"]) == {pd.Timestamp("2023-12-01"), pd.Timestamp("2024-01-01")}
    for said in ("2023-12", "2024-01", "small", "slight", "cut", "flagged", f"{len(flags):,} flags"):
        assert said in ran.output
    ids = set(pd.read_parquet(ringed / "truth" / "firms.parquet")["id"])
    assert not any(one in ran.output for one in ids)
    others = " ".join(flags["reason"])
    assert not any(one in others for one in set(flags["id"]))
    assert all(one in circle.split(" > ") for one, circle in zip(flags["id"], flags["circle"], strict=True) if circle)


def test_a_feature_table_with_circular_has_the_same_features_beside_the_others(ringed: Path, tmp_path: Path) -> None:
    mapping, plain, more, out = (
        ringed / "tax-1" / "mapping.toml",
        tmp_path / "plain.parquet",
        tmp_path / "more.parquet",
        tmp_path / "checked",
    )
    for arguments in (
        ["features", "build", str(mapping), "--as-of", "2024-01", "--out", str(plain)],
        ["features", "build", str(mapping), "--as-of", "2024-01", "--out", str(more), "--with", "circular"],
        ["check", "circular", str(mapping), "--as-of", "2024-01", "--out", str(out)],
    ):
        ran = RUN.invoke(app, arguments)
        assert ran.exit_code == 0, ran.output
    one, both, circular = (pd.read_parquet(path) for path in (plain, more, out / "features.parquet"))
    pd.testing.assert_frame_equal(both[one.columns], one)
    expected = one[["id", "as_of"]].merge(circular, on=["id", "as_of"], how="left")
    pd.testing.assert_frame_equal(both[["id", "as_of", *FEATURES]], expected)
    assert both["circular_score_3m"].notna().mean() > 0.5 and (both["circular_score_3m"] > 0.1).any()


def test_what_has_no_invoices_is_refused_before_anything_is_read(ringed: Path, tmp_path: Path) -> None:
    for arguments in (
        ["check", "circular", str(ringed / "bank-1" / "mapping.toml"), "--as-of", "2024-01", "--out", str(tmp_path / "no")],
        [
            "features",
            "build",
            str(ringed / "bank-1" / "mapping.toml"),
            "--as-of",
            "2024-01",
            "--out",
            str(tmp_path / "no"),
            "--with",
            "circular",
        ],
        [
            "features",
            "build",
            str(ringed / "tax-1" / "mapping.toml"),
            "--as-of",
            "2024-01",
            "--out",
            str(tmp_path / "no"),
            "--with",
            "circuler",
        ],
    ):
        ran = RUN.invoke(app, arguments)
        assert isinstance(ran.exception, ConfigurationError)
    assert "circular" in str(ran.exception)
    assert not (tmp_path / "no").exists()


def test_the_month_of_the_benchmark_is_the_one_after_its_economy() -> None:
    assert np.datetime64("2023-01") + 12 == AS_OF
