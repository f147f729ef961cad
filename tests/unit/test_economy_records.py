"""Raw records of an economy: canonical columns, both sides of every invoice, balances that change by their bookings, one seed one world."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import networkx as nx
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from federation.align.uscc import normalise
from federation.kernel.errors import ConfigurationError
from privacy.dictionary.entries import record_kinds
from simulations.command import app
from simulations.economy import tables
from simulations.economy.generate import generate
from simulations.economy.other_sources import other_sources
from simulations.economy.settings import Coverage, Economy, Rings, Shock, economy
from simulations.scenarios import names, parsed, scenario

SEED = 5
LIVELY = Economy(
    firms=1_500, months=14, history=8, banks=3, platforms=2, taxes=3, seed=SEED,
    rings=Rings(circular=6, multi_lending=3, identity=3, smallest=4, camouflage=(0.0, 0.5, 1.0)), entry={"platform-2": 5}, withdrawal={"tax-3": 8},
)  # fmt: skip
TINY = Economy(firms=300, months=4, history=3, banks=3, platforms=1, taxes=2, seed=SEED)


@pytest.fixture(scope="module")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("lively")
    generate(LIVELY, out)
    return out


def of_all(out: Path, kind: str) -> pd.DataFrame:
    frames = [pd.read_parquet(path).assign(at=path.parent.name) for path in sorted(out.glob(f"*-*/{kind}.parquet"))]
    return pd.concat(frames, ignore_index=True)


def truth(out: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(out / "truth" / f"{name}.parquet")


def fen(money: pd.Series[float]) -> pd.Series[int]:
    whole = (money * 100).round().astype(np.int64)
    assert ((whole / 100) == money).all()
    return whole


def digests(out: Path) -> dict[str, str]:
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.rglob("*")) if path.is_file()}


# -- form ---------------------------------------------------------------------------------------------------------------------------------


def test_every_institution_has_its_kinds_of_record_with_exactly_the_canonical_columns(lively: Path) -> None:
    for name in LIVELY.institutions():
        role = name.rpartition("-")[0]
        kinds = {kind.name: kind for kind in record_kinds().values() if kind.role == role}
        assert {path.stem for path in (lively / name).glob("*.parquet")} == set(kinds)
        for kind in kinds.values():
            found = pq.read_schema(lively / name / f"{kind.name}.parquet")
            lacks = {"loans": "fraud", "orders": "settled"}.get(kind.name)  # a column that a table may lack, and the economy's does
            assert found.names == [column.name for column in kind.columns if column.name != lacks]


def test_keys_are_distinct_codes_are_of_their_values_and_ids_are_valid(lively: Path) -> None:
    for kind in (kind for kind in record_kinds().values() if kind.role in {"bank", "platform", "tax"}):
        rows = of_all(lively, kind.name)
        assert not rows.duplicated(["at", *kind.key]).any()
        for column in kind.columns:
            if column.values:
                assert set(rows[column.name].dropna()) <= set(column.values)
        if "firm" in rows:
            ids = rows["firm"].unique().tolist()
            assert normalise(ids, "uscc") == ids
    every = truth(lively, "firms")["id"].tolist()
    assert normalise(every, "uscc") == every


def test_there_are_blanks_where_they_may_be_and_nowhere_else(lively: Path) -> None:
    orders, declared, visits = (of_all(lively, kind) for kind in ("orders", "declarations", "visits"))
    assert 0.01 < orders["quantity"].isna().mean() < 0.06
    assert 0.01 < declared["purchases"].isna().mean() < 0.06
    assert 0.04 < visits["stock_seen"].isna().mean() < 0.12
    for kind in record_kinds().values():
        if kind.role in {"bank", "platform", "tax"}:
            required = [column.name for column in kind.columns if column.required and column.name not in {"delivered", "filed"}]
            assert not of_all(lively, kind.name)[required].isna().any().any()


def test_nothing_is_dated_after_the_extract_and_an_institution_has_records_of_its_own_months_alone(lively: Path) -> None:
    end = pd.Timestamp("2024-03-01")
    for kind in (kind for kind in record_kinds().values() if kind.role in {"bank", "platform", "tax"}):
        dates = pd.to_datetime(of_all(lively, kind.name)[kind.date].dropna())
        assert dates.max() < end
    assert pd.to_datetime(pd.read_parquet(lively / "platform-2" / "orders.parquet")["date"]).min() >= pd.Timestamp("2023-06-01")
    assert pd.to_datetime(pd.read_parquet(lively / "tax-3" / "sales_invoices.parquet")["date"]).max() < pd.Timestamp("2023-09-01")
    assert pd.to_datetime(pd.read_parquet(lively / "tax-1" / "sales_invoices.parquet")["date"]).max() >= pd.Timestamp("2024-02-25")


# -- what must agree ----------------------------------------------------------------------------------------------------------------------


def test_every_invoice_between_two_firms_of_bureaus_stands_on_both_sides_alike(lively: Path) -> None:
    columns = ["code", "number", "date", "amount", "tax", "status"]
    sales = of_all(lively, "sales_invoices").rename(columns={"firm": "seller", "counterparty": "buyer"})
    bought = of_all(lively, "purchase_invoices").rename(columns={"firm": "buyer", "counterparty": "seller"})
    bureau = truth(lively, "firms").set_index("id")["bureau"]
    always = set(bureau.index[bureau.isin([1, 2])])  # the third bureau withdraws
    both = [frame[frame["seller"].isin(always) & frame["buyer"].isin(always)] for frame in (sales, bought)]
    one, other = (frame[["seller", "buyer", *columns]].sort_values(["code", "number"]).reset_index(drop=True) for frame in both)
    assert len(one) > 3_000
    pd.testing.assert_frame_equal(one, other)
    assert not one.duplicated(["code", "number"]).any()


def test_a_balance_changes_by_exactly_the_bookings_of_the_month(lively: Path) -> None:
    flows, balances = of_all(lively, "flows"), of_all(lively, "balances")
    for frame in (flows, balances):
        day = pd.to_datetime(frame["date"])
        frame["month"] = 12 * day.dt.year + day.dt.month
    booked = flows.assign(fen=fen(flows["amount"])).groupby(["at", "firm", "month"])["fen"].sum()
    balances = balances.assign(fen=fen(balances["balance"])).sort_values(["at", "firm", "month"])
    change = balances.groupby(["at", "firm"])["fen"].diff()
    follows = balances.groupby(["at", "firm"])["month"].diff() == 1
    expected = balances.set_index(["at", "firm", "month"]).index.map(booked).fillna(0).astype(np.int64)
    assert follows.sum() > 10_000
    assert (change[follows].astype(np.int64) == expected[follows.to_numpy()]).all()


def test_a_loan_at_a_bank_without_an_account_leaves_nothing_there(lively: Path) -> None:
    flows = of_all(lively, "flows")
    accounts = of_all(lively, "balances")[["at", "firm"]].drop_duplicates()
    outside = flows.merge(accounts, on=["at", "firm"], how="left", indicator=True)
    outside = outside[outside["_merge"] == "left_only"]
    assert set(outside["kind"]) == {"loan", "repayment", "transfer"}
    assert outside.assign(fen=fen(outside["amount"])).groupby(["at", "firm"])["fen"].sum().eq(0).all()


def test_receipts_follow_the_invoices_that_they_pay(lively: Path) -> None:
    flows, sales = of_all(lively, "flows"), of_all(lively, "sales_invoices")
    valid = sales[sales["status"] == "valid"]
    first = valid.assign(total=((valid["amount"] + valid["tax"]) * 100).round()).groupby(["firm", "counterparty", "total"])["date"].min()
    paid = flows[(flows["kind"] == "sale") & flows["counterparty"].notna()]
    key = pd.MultiIndex.from_arrays([paid["firm"], paid["counterparty"], (paid["amount"] * 100).round()])
    known_ = pd.to_datetime(pd.Series(key.map(first)))
    registered = paid["firm"].isin(set(truth(lively, "firms").query("bureau in (1, 2)")["id"])).to_numpy()
    assert known_[registered].notna().all()
    assert (pd.to_datetime(paid["date"]).to_numpy()[known_.notna()] >= known_.dropna().to_numpy()).all()


def test_repayments_are_of_loans_and_the_last_row_says_how_it_ended(lively: Path) -> None:
    loans, rows = of_all(lively, "loans"), of_all(lively, "repayments").sort_values(["loan", "date"])
    assert set(rows["loan"]) <= set(loans["loan"])
    assert (rows.merge(loans, on=["loan", "firm", "at"], suffixes=("", "_opened")).eval("date > opened")).all()
    ended = rows[rows["status"].isin(["closed", "written_off"])]
    assert not ended["loan"].duplicated().any()
    assert rows.groupby("loan").tail(1)["loan"].isin(ended["loan"]).sum() == len(ended)
    assert (ended.loc[ended["status"] == "closed", "balance"] == 0).all()
    balance = rows.groupby("loan")["balance"].diff().dropna()
    assert (balance <= 0).all()


def test_the_truth_holds_every_loan_of_the_banks_and_each_default_is_in_the_repayments(lively: Path) -> None:
    loans, known_ = of_all(lively, "loans"), truth(lively, "loans")
    assert set(loans["loan"]) == set(known_.loc[known_["granted"], "loan"])
    worst = of_all(lively, "repayments").groupby("loan")["days_past_due"].max()
    defaulted = set(known_.loc[known_["granted"] & known_["default"].notna(), "loan"])
    assert defaulted == set(worst.index[worst >= 90])
    assert known_.loc[known_["default"].notna(), "cause"].notna().all()
    shadows = known_[~known_["granted"]]
    assert shadows["loan"].isna().all()
    assert shadows["default"].notna().any()


# -- fraud --------------------------------------------------------------------------------------------------------------------------------


def test_rings_are_labelled_and_their_invoices_stand_in_the_bureaus(lively: Path) -> None:
    rings, made = truth(lively, "rings"), truth(lively, "ring_invoices")
    assert set(rings["kind"]) == {"circular", "multi_lending", "identity"}
    assert set(made["ring"]) == set(rings.loc[rings["kind"] == "circular", "ring"])
    written = of_all(lively, "sales_invoices").set_index(["code", "number"])
    bureau = truth(lively, "firms").set_index("id")["bureau"]
    here = made[made["seller"].map(bureau).isin([1, 2])]
    found = written.loc[pd.MultiIndex.from_frame(here[["code", "number"]])]
    assert len(found) == len(here) > 50
    assert (found["firm"].to_numpy() == here["seller"].to_numpy()).all()
    assert np.allclose(found["amount"].to_numpy(), here["amount"].to_numpy())


def test_without_camouflage_a_ring_is_a_circle_of_its_members_and_with_it_honest_firms_stand_between(lively: Path) -> None:
    rings, made = truth(lively, "rings"), truth(lively, "ring_invoices")
    outsiders: dict[float, list[int]] = {0.0: [], 0.5: [], 1.0: []}
    for ring, members in rings[rings["kind"] == "circular"].groupby("ring"):
        edges = made.loc[made["ring"] == ring, ["seller", "buyer"]].itertuples(index=False)
        graph = nx.DiGraph(list(edges))
        if not len(graph):
            continue
        assert nx.is_strongly_connected(graph)
        outsiders[float(members["camouflage"].iloc[0])].append(len(set(graph) - set(members["id"])))
    assert max(outsiders[0.0]) == 0
    assert max(outsiders[1.0]) > 0


def test_multi_lending_rings_borrow_at_several_banks_and_identities_share_an_owner_or_an_address(lively: Path) -> None:
    rings, firms, asked = truth(lively, "rings"), truth(lively, "firms").set_index("id"), truth(lively, "applicants")
    loans = truth(lively, "loans").query("granted")
    lenders = loans.groupby("id")["bank"].nunique()
    several = rings.loc[rings["kind"] == "multi_lending", "id"]
    assert asked[asked["id"].isin(several)].groupby("id")["bank"].nunique().max() == 3
    assert lenders.reindex(several).fillna(0).mean() > 1.5 * lenders.mean()
    for _, members in rings[rings["kind"] == "identity"].groupby("ring"):
        behind = firms.loc[members["id"]]
        assert 1 in {len(set(behind["owner"])), len(set(behind["address"]))}


# -- randomness ---------------------------------------------------------------------------------------------------------------------------


def test_the_same_seed_writes_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    for name, seed in (("one", SEED), ("same", SEED), ("other", SEED + 1)):
        generate(Economy(firms=300, months=4, history=3, banks=3, platforms=1, taxes=2, seed=seed), tmp_path / name)
    one, same, other = (digests(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same
    assert {name for name in one if name.endswith(".parquet") and one[name] == other[name]} == {"truth/rings.parquet"}  # there is none


def test_more_platforms_or_orders_change_nothing_at_banks_and_bureaus(tmp_path: Path) -> None:
    generate(TINY, tmp_path / "one")
    generate(Economy(firms=300, months=4, history=3, banks=3, platforms=2, taxes=2, seed=SEED, orders=9.0, gaps=0.5), tmp_path / "more")
    one, more = digests(tmp_path / "one"), digests(tmp_path / "more")
    same = {name for name in one if one[name] == more.get(name)}
    assert {name for name in one if name.startswith(("bank-", "tax-"))} <= same
    assert "platform-1/orders.parquet" not in same


def test_what_is_written_does_not_depend_on_how_much_is_held_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate(TINY, tmp_path / "one")
    monkeypatch.setattr(tables, "GROUP_ROWS", 100)
    generate(TINY, tmp_path / "small")
    for path in (tmp_path / "one").rglob("*.parquet"):
        other = tmp_path / "small" / path.relative_to(tmp_path / "one")
        assert pq.read_table(path).equals(pq.read_table(other))


# -- what may be asked --------------------------------------------------------------------------------------------------------------------


def test_unknown_keys_institutions_and_industries_are_refused_with_the_nearest_name() -> None:
    for raw, near in (
        ({"frims": 300}, "firms"), ({"rings": {"circula": 2}}, "circular"), ({"coverage": {"platfrom": 0.1}}, "platform"),
        ({"entry": {"platfrm-1": 3}}, "platform-1"), ({"shock": [{"industry": "C", "month": 1, "siz": 1.0}]}, "size"),
    ):  # fmt: skip
        with pytest.raises(ConfigurationError, match=near):
            economy("file", raw)
    with pytest.raises(ConfigurationError, match="industry"):
        economy("file", {"shock": [{"industry": "Z", "month": 1}]})
    with pytest.raises(ConfigurationError, match="quarter"):
        economy("file", {"firms": 300, "rings": {"circular": 50}})
    with pytest.raises(ConfigurationError, match="one-bank"):
        scenario("one-bnk")
    with pytest.raises(ConfigurationError, match="title"):
        parsed("mine", "mine.toml", {"economy": {}})
    with pytest.raises(ConfigurationError, match="economy"):
        parsed("mine", "mine.toml", {"title": "x", "econmy": {}})


def test_every_scenario_that_comes_with_the_program_can_be_read_and_has_a_page() -> None:
    assert {"one-bank", "market"} <= set(names())
    folder = Path(__file__).parents[2] / "docs" / "scenarios"
    for name in names():
        assert scenario(name).title
        assert (folder / f"{name}.md").read_text().startswith("# ")


def test_a_whole_file_of_settings_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'title = "mine"\n[economy]\nfirms = 400\nmacro = [0, -1.5]\nentry = { "bank-2" = 3 }\n[economy.rings]\ncircular = 2\nfrom = 1\n'
        '[economy.coverage]\nplatform = 0.5\n[[economy.shock]]\nindustry = "H"\nmonth = 2\n'
    )
    found = scenario(str(tmp_path / "mine.toml")).economy
    assert found.macro == (0.0, -1.5)
    assert found.entry == {"bank-2": 3}
    assert (found.rings.circular, found.rings.from_month) == (2, 1)
    assert found.coverage == Coverage(platform=0.5)
    assert found.shock == (Shock(industry="H", month=2),)


# -- other sources ------------------------------------------------------------------------------------------------------------------------


def test_other_sources_have_no_record_of_a_firm_before_its_founding_or_after_its_closing(lively: Path) -> None:
    firms = truth(lively, "firms").set_index("id")
    first = np.datetime64(LIVELY.start, "M")
    for name in ("court", "registry", "bureau", "blacklist", "payments"):
        rows = pd.read_parquet(lively / name / "records.parquet")
        assert set(rows["subject"]) <= set(firms.index)
        assert not rows.duplicated(["subject", "date", "kind", "number"]).any()
        life = firms.loc[rows["subject"]]
        month = (pd.to_datetime(rows["date"]).to_numpy("datetime64[M]") - first).astype(int)
        young = (life["founded"] > 0).to_numpy()
        assert young.any()
        assert (month[young] >= life["founded"].to_numpy()[young]).all()
        assert (month <= life["closed"].fillna(10_000).to_numpy(int)).all()
        assert month.max() < LIVELY.months


def test_other_sources_follow_traits_of_the_month_and_leave_all_else_as_it_is(tmp_path: Path) -> None:
    ids, months = np.array([f"firm-{number:05d}" for number in range(3_000)]), np.arange(np.datetime64("2023-01"), np.datetime64("2025-01"))
    calm = np.zeros((len(ids), len(months)))
    falling = np.repeat([[1.0] * 12 + [-2.0] * 12], len(ids), axis=0)
    late = other_sources(np.random.default_rng(1), ids, calm, falling, calm, months)["payments"]
    second = late["date"] >= pd.Timestamp("2024-01-01")
    assert (late[second]["status"] != "paid").mean() > 2 * (late[~second]["status"] != "paid").mean()
    generate(TINY, tmp_path / "one")
    generate(msgspec.structs.replace(TINY, other_sources=False), tmp_path / "none")
    one, none = digests(tmp_path / "one"), digests(tmp_path / "none")
    assert none.items() < one.items()
    assert {name.partition("/")[0] for name in set(one) - set(none)} == {"court", "registry", "bureau", "blacklist", "payments"}


# -- the edges ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        Economy(firms=200, months=1, history=0, taxes=0, platforms=0, banks=1),
        Economy(firms=300, months=2, history=1, taxes=12, platforms=1, banks=2, start="1999-12"),
        Economy(firms=300, months=2, history=0, banks=40, platforms=0, shock=(Shock(industry="F", month=0),)),
    ],
    ids=["one month of one bank", "more bureaus than regions", "many banks"],
)
def test_the_smallest_and_the_oddest_economies_are_drawn_too(asked: Economy, tmp_path: Path) -> None:
    written = generate(asked, tmp_path)
    assert set(asked.institutions()) <= set(written.rows)
    for name in asked.institutions():
        assert all(pq.read_metadata(tmp_path / name / f"{kind}.parquet").num_rows == rows for kind, rows in written.rows[name].items())


def test_the_command_draws_an_economy_and_refuses_options_that_are_of_an_economy_alone(tmp_path: Path) -> None:
    runner = CliRunner()
    words = ["world", "generate", "--firms", "300", "--months", "2", "--banks", "2", "--platforms", "1", "--taxes", "1", "--seed", "3"]
    drawn = runner.invoke(app, [*words, "--economy", "--out", str(tmp_path / "one")])
    assert drawn.exit_code == 0, drawn.output
    assert "Estimate" in drawn.stderr
    assert {path.name for path in (tmp_path / "one").iterdir()} >= {"bank-1", "bank-2", "platform-1", "tax-1", "truth"}
    named = runner.invoke(
        app, ["world", "generate", "--scenario", "market", "--firms", "400", "--months", "1", "--out", str(tmp_path / "two")]
    )
    assert isinstance(named.exception, ConfigurationError)  # the scenario's rings do not fit into so few firms
    assert isinstance(runner.invoke(app, [*words, "--out", str(tmp_path / "three")]).exception, ConfigurationError)
    assert not (tmp_path / "two").exists()
    assert not (tmp_path / "three").exists()


@pytest.mark.slow
def test_fifty_thousand_firms_take_little_memory_and_time() -> None:
    words = [sys.executable, "-m", "simulations.benchmarks.economy", "50000", "12", "6"]
    said = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True).stdout
    print(said)
    found = re.search(r"([\d.]+) s of processor, peak ([\d.]+) GB", said)
    assert found is not None
    assert float(found[1]) < 45  # 100,000 firms and 24 months in three minutes would be 45
    assert float(found[2]) < 0.8
