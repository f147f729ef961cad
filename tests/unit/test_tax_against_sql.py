"""Tax features against the same worked out by DuckDB in SQL, which shares nothing with the adapter but the words of the dictionary.

Always on drawn records; on the real invoices of five firms (never part of the repository) where they are there, else skipped.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from clients.roles.tax.features import build
from simulations.benchmarks.tax_adapter import FILES, through_the_door
from tests.tax_records import drawn, in_batches, months

DATA = Path(__file__).parents[3] / "shared" / "data"

SQL = """
with every as (
    select side, firm, date, counterparty, amount, tax, status = 'void' as void
    from (select distinct side, firm, code, number, date, counterparty, amount, tax, status from invoices)
), known as (select * from every where date < $month),
valid as (select * from known where not void),
began as (select firm, min(date_trunc('month', date)) as first from valid group by firm),
history as (select firm, date_diff('month', first, $month) as history from began),
calendar as (select unnest(range($month - interval 24 month, $month, interval 1 month)) as month),
filled as (
    select firm, side, month, coalesce(net, 0) as net, coalesce(number, 0) as number
    from (select firm, side, month from history cross join (select 'sales' as side union all select 'purchases') cross join calendar) as grid
        left join (select firm, side, date_trunc('month', date) as month, sum(amount)::double as net, count(*) as number from valid group by all)
        using (firm, side, month)
), year as (
    select firm,
        sum(net) filter (side = 'sales') / 100 as sales_12m,
        sum(net) filter (side = 'purchases') / 100 as purchases_12m,
        count(*) filter (side = 'sales' and number > 0) as sales_active_months_12m,
        stddev_pop(net) filter (side = 'sales') as sd_sales, avg(net) filter (side = 'sales') as mean_sales
    from filled where month >= $month - interval 12 month group by firm
), before as (
    select firm, sum(net) filter (side = 'sales') / 100 as sales_before, sum(net) filter (side = 'purchases') / 100 as purchases_before
    from filled where month < $month - interval 12 month group by firm
), dormancy as (
    select firm, count(*) filter (number = 0 and month >= $month - interval 12 month) as dormant_months_12m
    from (select firm, month, sum(number) as number from filled group by all) group by firm
), slopes as (
    select a.firm, median((b.net - a.net) / date_diff('month', a.month, b.month)) as slope
    from filled as a join filled as b on a.firm = b.firm and a.side = b.side and a.month < b.month
    where a.side = 'sales' and a.month >= $month - interval 12 month group by a.firm
), together as (
    select s.firm, corr(s.net, p.net) as input_output_correlation_12m
    from filled as s join filled as p using (firm, month)
    where s.side = 'sales' and p.side = 'purchases' and month >= $month - interval 12 month group by s.firm
), seasons as (
    select now.firm, corr(now.net, earlier.net) as sales_seasonality_24m
    from filled as now join filled as earlier
        on now.firm = earlier.firm and now.side = earlier.side and now.month = earlier.month + interval 12 month
    where now.side = 'sales' and now.month >= $month - interval 12 month group by now.firm
), quality as (
    select firm,
        count(*) filter (void and side = 'sales') / nullif(count(*) filter (side = 'sales'), 0) as sales_void_share_12m,
        coalesce(sum(abs(amount)) filter (void and side = 'purchases'), 0)
            / nullif(sum(abs(amount)) filter (side = 'purchases'), 0) as purchases_void_amount_share_12m,
        count(*) filter (not void and amount < 0 and side = 'sales')
            / nullif(count(*) filter (not void and side = 'sales'), 0) as sales_red_share_12m,
        avg(amount / 100) filter (not void and amount >= 0 and side = 'sales') as sales_invoice_size_12m,
        coalesce(sum(tax) filter (not void and side = 'sales'), 0) as output_tax,
        coalesce(sum(tax) filter (not void and side = 'purchases'), 0) as input_tax
    from known where date >= $month - interval 12 month group by firm
), partner as (
    select firm, side, counterparty, sum(amount) filter (date >= $month - interval 12 month)::double as net,
        min(date) >= $month - interval 12 month as new
    from valid group by all having sum(amount) filter (date >= $month - interval 12 month) > 0
), shares as (
    select *, net / sum(net) over (partition by firm, side) as share, row_number() over (partition by firm, side order by net desc) as place
    from partner
), spread as (
    select firm,
        count(*) filter (side = 'sales') as customers_12m, count(*) filter (side = 'purchases') as suppliers_12m,
        count(*) filter (side = 'sales' and new) as customers_new_12m,
        sum(share * share) filter (side = 'sales') as customer_hhi_12m, sum(share * share) filter (side = 'purchases') as supplier_hhi_12m,
        max(share) filter (side = 'sales') as customer_top_share_12m,
        sum(share) filter (side = 'purchases' and place <= 3) as supplier_top3_share_12m
    from shares group by firm
), latest as (
    select firm, date_diff('month', max(date) filter (side = 'sales'), $month - interval 1 month) as sales_months_since_last
    from valid group by firm
)
select firm, history as invoice_history_months, sales_months_since_last,
    case when history >= 12 then sales_12m end as sales_12m,
    case when history >= 12 then purchases_12m end as purchases_12m,
    case when history >= 12 then sales_active_months_12m end as sales_active_months_12m,
    case when history >= 12 then dormant_months_12m end as dormant_months_12m,
    case when history >= 12 and mean_sales > 0 then sd_sales / mean_sales end as sales_cv_12m,
    case when history >= 12 and mean_sales > 0 then slope / mean_sales end as sales_trend_12m,
    case when history >= 24 and sales_before > 0 then sales_12m / sales_before - 1 end as sales_growth_12m,
    case when history >= 24 and purchases_before > 0 then purchases_12m / purchases_before - 1 end as purchases_growth_12m,
    case when history >= 24 then sales_seasonality_24m end as sales_seasonality_24m,
    case when history >= 12 then input_output_correlation_12m end as input_output_correlation_12m,
    case when history >= 12 then sales_void_share_12m end as sales_void_share_12m,
    case when history >= 12 then purchases_void_amount_share_12m end as purchases_void_amount_share_12m,
    case when history >= 12 then sales_red_share_12m end as sales_red_share_12m,
    case when history >= 12 then sales_invoice_size_12m end as sales_invoice_size_12m,
    case when history >= 12 and sales_12m > 0 then (sales_12m - purchases_12m) / sales_12m end as margin_12m,
    case when history >= 12 and sales_12m > 0 then (output_tax - input_tax) / 100 / sales_12m end as vat_burden_12m,
    case when history >= 12 and greatest(sales_12m, purchases_12m) > 0
        then greatest(least(sales_12m, purchases_12m), 0) / greatest(sales_12m, purchases_12m) end as input_output_match_12m,
    case when history >= 12 then coalesce(customers_12m, 0) end as customers_12m,
    case when history >= 12 then coalesce(suppliers_12m, 0) end as suppliers_12m,
    case when history >= 24 then coalesce(customers_new_12m, 0) end as customers_new_12m,
    case when history >= 12 then customer_hhi_12m end as customer_hhi_12m,
    case when history >= 12 then supplier_hhi_12m end as supplier_hhi_12m,
    case when history >= 12 then customer_top_share_12m end as customer_top_share_12m,
    case when history >= 12 then supplier_top3_share_12m end as supplier_top3_share_12m
from history join year using (firm) join before using (firm) join dormancy using (firm) join slopes using (firm) join together using (firm)
    left join seasons using (firm) left join quality using (firm) left join spread using (firm) left join latest using (firm)
order by firm
"""


def by_sql(sales: pd.DataFrame, purchases: pd.DataFrame, month: str) -> pd.DataFrame:
    """Features of all firms as of a month, indexed by firm. Tables are canonical; the same row over again counts once."""
    invoices = pd.concat([sales.assign(side="sales"), purchases.assign(side="purchases")], ignore_index=True)
    with duckdb.connect() as database:
        database.register("invoices", invoices)
        return database.execute(SQL, {"month": pd.Timestamp(month)}).df().set_index("firm")


def differences(mine: pd.DataFrame, theirs: pd.DataFrame) -> list[str]:
    """The features that are not equal to 1e-9, over the firms of `theirs`."""
    rows = mine.set_index("id").loc[theirs.index]
    return [
        name
        for name in theirs.columns
        if not np.allclose(rows[name].to_numpy(float), theirs[name].to_numpy(float), rtol=1e-9, atol=1e-9, equal_nan=True)
    ]


@pytest.mark.parametrize("month", ["2022-03", "2023-01", "2024-01"])
def test_drawn_records(month: str) -> None:
    records = drawn(20, firms=15)
    mine = build({kind: rows for kind, rows in in_batches(records).items() if kind != "declarations"}, months(month))
    theirs = by_sql(records["sales_invoices"], records["purchase_invoices"], month)
    assert len(theirs.columns) >= 20 and theirs.notna().any().sum() >= 20 and len(theirs) > 10
    assert differences(mine, theirs) == []


def test_control_another_number_in_one_invoice_shows() -> None:
    records = drawn(20, firms=15)
    theirs = by_sql(records["sales_invoices"], records["purchase_invoices"], "2024-01")
    sales = records["sales_invoices"]
    valid = sales[(sales["firm"] == "F02") & (sales["status"] == "valid") & (sales["date"] >= "2023-06-01")].index[0]
    sales.loc[valid, "amount"] += 1
    mine = build({kind: [rows] for kind, rows in records.items()}, months("2024-01"))
    assert "sales_12m" in differences(mine, theirs)


def read_plainly(path: Path) -> pd.DataFrame:
    """Canonical columns of real invoices, by pandas alone."""
    table = pd.read_parquet(path).rename(columns={"id": "firm", "invoice_no": "number"})
    return table.assign(**{name: (table[name] * 100).round().astype(np.int64) for name in ("amount", "tax")})


def test_five_real_firms_through_the_door(tmp_path: Path) -> None:
    folder = DATA / "cumcm2020c_123"
    if not folder.is_dir():
        pytest.skip(f"real invoices are not here: {folder}")
    ids = pd.read_parquet(folder / "bank.parquet")["id"]
    firms = [ids[place] for place in (3, 31, 60, 90, 120)]
    for name in FILES.values():
        pd.read_parquet(folder / name, filters=[("id", "in", firms)]).to_parquet(tmp_path / name, index=False)
    sales, purchases = (read_plainly(tmp_path / FILES[kind]) for kind in ("sales_invoices", "purchase_invoices"))
    asked = ("2018-07", "2019-06", "2020-03")
    mine = through_the_door(tmp_path, months(*asked)).table
    for month in asked:
        theirs = by_sql(sales, purchases, month)
        assert len(theirs) == 5 and theirs.notna().any().sum() >= 20
        assert differences(mine[mine["as_of"] == pd.Timestamp(month)], theirs) == []
