"""What nobody sees, in OUT/truth: by it every claim about a model or a check can be judged.

firms       one row a firm: industry, region, size, founding, closing, owner, address, where it banks, ring and its kind
traits      one row a firm and month of its life: traits, state, sales, index, and the
                probability of a cash shortfall in the month of a firm that is not in arrears
loans       one row a loan, shadows of refused applications too (granted = False): bank, default month and its main cause
applicants  one row an application: the bank's score and decision, the probability, and the outcome within twelve months (missing while unknown)
rings       one row a ring and member, with kind, camouflage and months;  ring_invoices: the invoices that rings made
macro       one row a month;  coverage: one row a firm and institution that knows it
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.special import expit

from simulations.economy.coverage import Coverage
from simulations.economy.credit import CAUSES, NEVER, Loans
from simulations.economy.firms import CODES, REGION_CODES, Firms
from simulations.economy.invoices import Invoices
from simulations.economy.rings import KINDS, Fraud
from simulations.economy.settings import Economy
from simulations.economy.tables import Register, numbered
from simulations.economy.traits import STATES, WAITING, Traits

_TRAITS: Final = pa.schema([
    ("id", pa.string()), ("month", pa.int16()), ("state", pa.string()), *[(name, pa.float32()) for name in (
        "health", "liquidity", "honesty", "sales", "index", "shortfall",
    )],
])  # fmt: skip
_STATES: Final = pa.array(STATES)


class Truth:
    """Writes OUT/truth as months go by."""

    def __init__(self, out: Path, register: Register, firms: Firms, asked: Economy) -> None:
        self._out, self._register, self._firms, self._asked = out / "truth", register, firms, asked
        self._out.mkdir(parents=True, exist_ok=True)
        self._traits = pq.ParquetWriter(self._out / "traits.parquet", _TRAITS, store_schema=False, write_statistics=False)
        self._rings: list[pd.DataFrame] = []

    def month(self, number: int, traits: Traits, index: NDArray[np.float64], intercept: float) -> None:
        """Traits of a month."""
        there = np.flatnonzero((traits.state != WAITING) & ((traits.closed < 0) | (traits.closed == number)))
        named = {name: getattr(traits, name)[there] for name in ("health", "liquidity", "honesty")}
        state = pa.DictionaryArray.from_arrays(pa.array(traits.state[there]), _STATES).cast(pa.string())
        numbers = [*named.values(), traits.sales[there], index[there], expit(intercept + index[there])]
        columns = [
            self._register.texts(there),
            pa.array(np.full(len(there), number, np.int16)),
            state,
            *[pa.array(one.astype(np.float32)) for one in numbers],
        ]
        self._traits.write_table(pa.Table.from_arrays(columns, schema=_TRAITS))

    def ring_invoices(self, invoices: Invoices, ring: NDArray[np.int32], rows: dict[str, NDArray[Any]]) -> None:
        """Invoices that rings made. rows: the same as records."""
        ids = {name: self._register.strings(getattr(invoices, name)) for name in ("seller", "buyer")}
        names = {name: numbered("", rows[name]).to_pandas() for name in ("code", "number")}
        days = invoices.day.astype("datetime64[D]").astype("datetime64[s]")
        self._rings.append(pd.DataFrame({"ring": ring, **names, **ids, "date": days, "amount": invoices.amount / 100}))

    def close(self, traits: Traits, coverage: Coverage, fraud: Fraud, macro: NDArray[np.float64], loans: Loans) -> None:
        """All that is known at the end."""
        self._traits.close()
        self._write("firms", self._of_firms(traits, coverage, fraud))
        self._write("loans", self._of_loans(loans))
        self._write("applicants", self._of_applicants(loans))
        self._write(
            "rings", pd.concat([self._of_ring(fraud, number) for number in range(len(fraud.rings))] or [self._of_ring(fraud, None)])
        )
        self._write("macro", pd.DataFrame({"month": np.arange(len(macro)), "macro": macro}))
        self._write("coverage", pd.DataFrame(_covered(coverage, self._register), columns=["id", "institution"]))
        if self._rings:
            self._write("ring_invoices", pd.concat(self._rings, ignore_index=True))

    def _write(self, name: str, frame: pd.DataFrame) -> None:
        frame.to_parquet(self._out / f"{name}.parquet", index=False)

    def _of_firms(self, traits: Traits, coverage: Coverage, fraud: Fraud) -> pd.DataFrame:
        firms, every = self._firms, np.arange(len(self._firms))
        return pd.DataFrame({
            "id": self._register.strings(every), "industry": np.array(CODES)[firms.industry], "region": np.array(REGION_CODES)[firms.region],
            "size": firms.size, "founded": firms.founded, "closed": _where(traits.closed >= 0, traits.closed),
            "owner": numbered("N", firms.owner).to_pandas(), "address": firms.address, "wants_credit": firms.need, "asks_no_bank": firms.shy,
            "main_bank": coverage.main + 1, "second_bank": coverage.second + 1, "bureau": coverage.bureau + 1,
            "ring": fraud.ring, "ring_kind": np.array(KINDS)[fraud.kind],
        })  # fmt: skip

    def _of_loans(self, loans: Loans) -> pd.DataFrame:
        never = loans.default == NEVER
        cause = pd.Series(np.array([*CAUSES, ""])[np.where(never, len(CAUSES), np.maximum(loans.cause, 0))])
        number = np.array(
            [f"B{bank + 1}-L{loan:010d}" for bank, loan in zip(loans.bank.tolist(), loans.number.tolist(), strict=True)], object
        )
        return pd.DataFrame({
            "loan": pd.Series(number).where(loans.granted), "id": self._register.strings(loans.firm), "bank": loans.bank + 1,
            "granted": loans.granted, "month": loans.month, "amount": loans.amount / 100, "probability": loans.probability,
            "default": _where(~never, loans.default), "cause": cause.where(~never),
            "closed": _where(loans.closed != NEVER, loans.closed),
        })  # fmt: skip

    def _of_applicants(self, loans: Loans) -> pd.DataFrame:
        within = (loans.default != NEVER) & (loans.default - loans.month <= 12)
        known = within | (loans.month + 12 < self._asked.months)
        return pd.DataFrame({
            "id": self._register.strings(loans.firm), "bank": loans.bank + 1, "month": loans.month,
            "date": loans.opened.astype("datetime64[D]").astype("datetime64[s]"), "score": loans.score, "granted": loans.granted,
            "probability": loans.probability, "bad": pd.Series(within).astype("boolean").where(known),
        })  # fmt: skip

    def _of_ring(self, fraud: Fraud, number: int | None) -> pd.DataFrame:
        ring = None if number is None else fraud.rings[number]
        members = np.empty(0, np.int32) if ring is None else ring.members
        count = len(members)
        facts = (-1, 0, 0.0, 0, 0) if ring is None or number is None else (number, ring.kind, ring.camouflage, ring.start, ring.months)
        columns = ("ring", "kind", "camouflage", "from", "months")
        frame = pd.DataFrame(
            {"id": self._register.strings(members), **{name: np.full(count, fact) for name, fact in zip(columns, facts, strict=True)}}
        )
        frame["kind"] = np.array(KINDS)[frame["kind"].to_numpy(np.int64)]
        return frame


def _where(known: NDArray[np.bool_], values: NDArray[Any]) -> pd.Series[Any]:
    """Whole numbers, missing where they are not known."""
    return pd.Series(values).astype("Int16").where(known)


def _covered(coverage: Coverage, register: Register) -> Iterable[tuple[str, str]]:
    places = [
        (f"bank-{bank + 1}", (coverage.main == bank) | (coverage.second == bank)) for bank in range(int(max(coverage.main.max(), 0)) + 1)
    ]
    places += [(f"platform-{number + 1}", coverage.platform[:, number]) for number in range(coverage.platform.shape[1])]
    places += [(f"tax-{bureau + 1}", coverage.bureau == bureau) for bureau in range(int(coverage.bureau.max()) + 1)]
    for name, members in places:
        yield from ((one, name) for one in register.strings(np.flatnonzero(members)).tolist())
