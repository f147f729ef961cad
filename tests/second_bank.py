"""The bank's features of one firm, computed a second time in plain Python from what the dictionary says."""

from __future__ import annotations

import pandas as pd

from tests.second_sums import (
    NAN,
    before,
    by_month,
    course,
    first_day,
    history_of,
    level,
    level_slope,
    longest_zero,
    mean_level,
    month_of,
    over,
    spread,
    tilt,
    unevenness,
    window,
)

PLAIN = {
    "owner_age": "owner_age", "owner_experience": "owner_experience", "owner_education": "owner_education", "owner_married": "owner_married",
    "owner_property": "owner_property", "visit_employees": "employees", "visit_premises": "premises", "visit_premises_order": "premises_order",
    "visit_books": "books_kept", "visit_neighbours": "neighbours", "visit_recommends": "recommends",
}  # fmt: skip


def features(records: dict[str, pd.DataFrame], firm: str, month: int) -> dict[str, object]:
    flows, balances, repayments, visits = (
        before(records[kind], firm, "date", month) for kind in ("flows", "balances", "repayments", "visits")
    )
    loans = before(records["loans"], firm, "opened", month)
    firsts = [days.min() for days in (flows["date"], balances["date"], repayments["date"], loans["opened"]) if len(days)]
    found: dict[str, object] = {"relation_months": month - month_of(min(firsts)) if firsts else NAN}
    found |= _flows(flows, month) | _payments(flows, month) | _counterparties(flows, month) | _balances(balances, month)
    return found | _granted(loans, month) | _open(loans, repayments, month) | _arrears(repayments, month) | _visit(visits, month)


def _business(flows: pd.DataFrame) -> pd.DataFrame:
    return flows[~flows["kind"].isin(["loan", "repayment", "transfer"])]


def _flows(flows: pd.DataFrame, month: int) -> dict[str, float]:
    history, business = history_of(flows["date"], month), _business(flows)
    ins, outs = business[business["amount"] > 0], business[business["amount"] < 0]
    inflow, outflow = by_month(ins["date"], ins["amount"]), by_month(outs["date"], -outs["amount"])
    found = course("inflow", inflow, month, history)
    found["inflow_longest_gap_12m"] = longest_zero(window(inflow, month, 12)) if history >= 12 else NAN
    found["inflow_days_since_last"] = (first_day(month) - ins["date"].max()).days if len(ins) else NAN
    found["flow_history_months"] = history
    for width in (3, 6, 12):
        coming, going = window(inflow, month, width), window(outflow, month, width)
        inside = flows[flows["date"] >= first_day(month - width)]
        lent = inside[(inside["kind"] == "loan") & (inside["amount"] > 0)]["amount"].sum()
        repaid = -inside[(inside["kind"] == "repayment") & (inside["amount"] < 0)]["amount"].sum()
        whole = {
            f"inflow_{width}m": sum(coming) / 100,
            f"outflow_{width}m": sum(going) / 100,
            f"net_flow_{width}m": (sum(coming) - sum(going)) / 100,
            f"net_flow_share_{width}m": over(sum(coming) - sum(going), sum(coming)),
            f"net_flow_negative_months_{width}m": sum(a < b for a, b in zip(coming, going, strict=True)),
            f"inflow_active_months_{width}m": sum(value > 0 for value in coming),
            f"loan_inflow_{width}m": lent / 100,
            f"debt_service_share_{width}m": over(repaid, sum(coming)),
        }
        found |= {key: value if history >= width else NAN for key, value in whole.items()}
    return found


def _payments(flows: pd.DataFrame, month: int) -> dict[str, float]:
    history, found = history_of(flows["date"], month), {}
    for name in ("salary", "utility", "tax", "rent"):
        rows = flows[(flows["kind"] == name) & (flows["amount"] < 0)]
        paid = by_month(rows["date"], -rows["amount"])
        for width in (3, 6, 12):
            values = window(paid, month, width)
            found[f"{name}_paid_{width}m"] = sum(values) / 100 if history >= width else NAN
            found[f"{name}_paid_months_{width}m"] = sum(value > 0 for value in values) if history >= width else NAN
        year = window(paid, month, 12)
        found[f"{name}_paid_cv_12m"] = unevenness(year) if history >= 12 else NAN
        found[f"{name}_paid_trend_12m"] = tilt(year) if history >= 12 else NAN
        usual = sum(value > 0 for value in year[4:10]) >= 4 and history >= 8
        found[f"{name}_paid_stopped"] = float(not any(year[10:])) if usual else NAN
    return found


def _counterparties(flows: pd.DataFrame, month: int) -> dict[str, float]:
    history, business, found = history_of(flows["date"], month), _business(flows), {}
    paying = business[business["amount"] > 0]
    bought = flows[(flows["kind"] == "purchase") & (flows["amount"] < 0)].assign(amount=lambda rows: -rows["amount"])
    for width in (3, 6, 12):
        for who, rows in (("payer", paying), ("payee", bought)):
            found |= spread(who, rows, "counterparty", month, width, history)
            del found[f"{who}_repeat_share_{width}m"]
    return found


def _balances(balances: pd.DataFrame, month: int) -> dict[str, float]:
    history, found = history_of(balances["date"], month), {}
    lines = balances[balances["limit"].notna() & balances["used"].notna()]
    lines = lines[lines["limit"] > 0]
    for width in (3, 6, 12):
        inside, drawn = (rows[rows["date"] >= first_day(month - width)] for rows in (balances, lines))
        levels, said = level(balances, "balance", month, width), inside[inside["overdraft_days"].notna()]
        use = _use(lines, month, width)
        enough = 2 * sum(value is not None for value in levels) >= width
        spoken = 2 * said["date"].dt.to_period("M").nunique() >= width
        whole = {
            f"balance_{width}m": mean_level(levels) / 100,
            f"balance_min_{width}m": inside["balance"].min() / 100 if enough else NAN,
            f"balance_negative_months_{width}m": inside[inside["balance"] < 0]["date"].dt.to_period("M").nunique() if enough else NAN,
            f"overdraft_days_{width}m": said["overdraft_days"].sum() if spoken else NAN,
            f"utilisation_{width}m": mean_level(use),
            f"utilisation_max_{width}m": max(drawn["used"] / drawn["limit"]) if mean_level(use) == mean_level(use) else NAN,
        }
        if width > 3:
            size = mean_level([None if value is None else abs(value) for value in levels])
            whole[f"balance_trend_{width}m"] = over(level_slope(levels), size)
            whole[f"utilisation_trend_{width}m"] = level_slope(use)
        found |= {key: value if history >= width else NAN for key, value in whole.items()}
    return found


def _use(lines: pd.DataFrame, month: int, width: int) -> list:
    used, limit = by_month(lines["date"], lines["used"]), by_month(lines["date"], lines["limit"])
    return [float(used[m] / limit[m]) if m in limit else None for m in range(month - width, month)]


def _granted(loans: pd.DataFrame, month: int) -> dict[str, float]:
    found = {"loan_months_since_last": month - month_of(loans["opened"].max()) if len(loans) else NAN}
    for width in (12, 24):
        inside = loans[loans["opened"] >= first_day(month - width)]
        found |= {f"loans_granted_{width}m": len(inside), f"loan_amount_granted_{width}m": inside["amount"].sum() / 100}
    return found


def _open(loans: pd.DataFrame, repayments: pd.DataFrame, month: int) -> dict[str, float]:
    states = [rows.sort_values("date").iloc[-1] for _, rows in repayments.groupby("loan")]
    held = [
        (row["balance"], row["days_past_due"]) for row in states if row["balance"] > 0 and row["status"] not in ("closed", "written_off")
    ]
    fresh = loans[(loans["opened"] >= first_day(month - 2)) & ~loans["loan"].isin(repayments["loan"])]
    held += [(amount, 0) for amount in fresh["amount"]]
    whole = sum(balance for balance, _ in held)
    found = {"loans_open": len(held), "loan_outstanding": whole / 100, "past_due_days_now": max((late for _, late in held), default=NAN)}
    edges = {"current": (0, 0), "1_30": (1, 30), "31_60": (31, 60), "61_90": (61, 90), "over_90": (91, 10**9)}
    for name, (low, high) in edges.items():
        found[f"ageing_{name}_share"] = over(sum(balance for balance, late in held if low <= late <= high), whole)
    return found


def _arrears(repayments: pd.DataFrame, month: int) -> dict[str, float]:
    found = {"repayment_history_months": history_of(repayments["date"], month)}
    for width in (3, 6, 12):
        inside = repayments[repayments["date"] >= first_day(month - width)]
        worst = [rows["days_past_due"].max() for _, rows in inside.groupby(inside["date"].map(month_of))]
        both = inside[inside["due"].notna() & inside["paid"].notna()]
        found |= {
            f"past_due_worst_{width}m": max(worst, default=NAN),
            f"past_due_30_months_{width}m": sum(late >= 30 for late in worst) if worst else NAN,
            f"past_due_months_{width}m": sum(late > 0 for late in worst) if worst else NAN,
            f"paid_to_due_{width}m": over(both["paid"].sum(), both["due"].sum()),
        }
    recent = repayments[repayments["date"] >= first_day(month - 24)]
    late, stated = recent[recent["days_past_due"] > 0], recent[recent["status"].notna()]
    for name in ("restructured", "written_off"):
        found[f"loan_{name}_24m"] = float((stated["status"] == name).any()) if len(stated) else NAN
    found["past_due_months_since_last_24m"] = month - 1 - month_of(late["date"].max()) if len(late) else NAN
    return found


def _visit(visits: pd.DataFrame, month: int) -> dict[str, object]:
    recent = visits[visits["date"] >= first_day(month - 24)].sort_values("date")
    if not len(recent):
        return dict.fromkeys([*PLAIN, "visit_stock", "visit_days_since_last"], NAN)
    form = recent.iloc[-1]
    found: dict[str, object] = {name: form[column] for name, column in PLAIN.items()}
    return found | {"visit_stock": form["stock_seen"] / 100, "visit_days_since_last": (first_day(month) - form["date"]).days}
