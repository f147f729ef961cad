"""What may be asked of an economy: the table [economy] of a scenario, or the options of `creditfed world generate --economy`."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from federation.kernel.errors import ConfigurationError
from privacy.store.strict_toml import nearest, require_known, table
from simulations.economy.calibration import DEFAULT_RATE, INDUSTRIES

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Whole = Annotated[int, Meta(ge=0)]
FEWEST_FIRMS, MOST_FIRMS = 200, 5_000_000


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Shock(_Table, frozen=True):
    """A shock to one industry. size: added to its log odds of a cash shortfall, and a third of it taken from its log sales."""

    industry: str
    month: Whole
    months: Annotated[int, Meta(ge=1)] = 6
    size: float = 1.0


class Rings(_Table, frozen=True):
    """Fraud, with labels in truth/. circular: rings of firms that invoice each other in a circle; multi_lending: groups that borrow at many
    banks within a month; identity: owners, or addresses, behind many firms; smallest, largest: members; camouflage: of each circular ring in
    turn, 0 (equal amounts, straight round) to 1 (amounts vary, by way of honest firms, spread over the month); from, months: when.
    """

    circular: Whole = 0
    multi_lending: Whole = 0
    identity: Whole = 0
    smallest: Annotated[int, Meta(ge=3)] = 3
    largest: Annotated[int, Meta(ge=3, le=20)] = 7
    camouflage: tuple[Share, ...] = (0.0, 0.5, 1.0)
    from_month: Whole = msgspec.field(default=3, name="from")
    months: Annotated[int, Meta(ge=1)] = 12


class Coverage(_Table, frozen=True):
    """Of the firms, which share an institution knows. bank: has an account at one of the banks; second: has another at another bank;
    platform: sells on each platform; tax: is registered at the bureau of its region.
    """

    bank: Share = 0.92
    second: Share = 0.25
    platform: Share = 0.3
    tax: Share = 0.98


class Economy(_Table, frozen=True):
    """firms: that live at some time of the months; start: first month; history: months of lending before it, of which only loans, repayments
    and visits are written; macro: the cycle by month (0 is normal, -1 a recession), its last value held, drawn where empty; default_rate: of
    new loans within twelve months, at macro 0; acceptance: share of applications that a bank's own rule takes; invoices, orders: scale of
    their numbers, to make files smaller or larger; gaps: share of merchants of whom a platform's extract lacks a month; other_sources: also
    court, registry, bureau, blacklist and payments; entry, withdrawal: institution -> first month with records, first month without.
    """

    firms: Annotated[int, Meta(ge=FEWEST_FIRMS, le=MOST_FIRMS)] = 20_000
    months: Annotated[int, Meta(ge=1, le=120)] = 24
    start: Annotated[str, Meta(pattern=r"^(19|20)\d\d-(0[1-9]|1[0-2])$")] = "2023-01"
    history: Annotated[int, Meta(ge=0, le=60)] = 18
    banks: Annotated[int, Meta(ge=1, le=2000)] = 5
    platforms: Annotated[int, Meta(ge=0, le=50)] = 3
    taxes: Annotated[int, Meta(ge=0, le=64)] = 4
    seed: Whole = 7
    macro: tuple[float, ...] = ()
    default_rate: Annotated[float, Meta(gt=0.0, lt=0.5)] = DEFAULT_RATE
    acceptance: Annotated[float, Meta(gt=0.0, lt=1.0)] = 0.5
    invoices: Annotated[float, Meta(gt=0.0, le=100.0)] = 3.0
    orders: Annotated[float, Meta(gt=0.0, le=200.0)] = 4.0
    gaps: Share = 0.01
    other_sources: bool = True
    shock: tuple[Shock, ...] = ()
    rings: Rings = Rings()
    coverage: Coverage = Coverage()
    entry: dict[str, Whole] = {}  # msgspec copies it
    withdrawal: dict[str, Whole] = {}

    def institutions(self) -> list[str]:
        """Names of all institutions: bank-1, ..., platform-1, ..., tax-1, ..."""
        of_role = (("bank", self.banks), ("platform", self.platforms), ("tax", self.taxes))
        return [f"{role}-{number + 1}" for role, count in of_role for number in range(count)]

    def writes(self, institution: str, month: int) -> bool:
        """Whether an institution has records of a month."""
        return self.entry.get(institution, 0) <= month < self.withdrawal.get(institution, self.months)


def economy(where: str, raw: Any) -> Economy:
    """A table [economy]. Raises ConfigurationError for unknown keys (with the nearest), wrong types, and what cannot be."""
    if isinstance(raw, dict):
        for key, kind in (("rings", Rings), ("coverage", Coverage)):
            if key in raw:
                table(f"{where} {key}", raw[key], kind)
        for number, one in enumerate(raw.get("shock", ()) if isinstance(raw.get("shock"), list) else ()):
            table(f"{where} shock {number + 1}", one, Shock)
    found = table(where, raw, Economy)
    require_possible(where, found)
    return found


def require_possible(where: str, found: Economy) -> None:
    """Raises ConfigurationError for an institution or industry that is not there, and for rings that need more firms than there are."""
    for name in (*found.entry, *found.withdrawal):
        if name not in found.institutions():
            raise ConfigurationError(where, f"institution {name!r} is not known", nearest(name, found.institutions()))
    require_known(where, [shock.industry for shock in found.shock], INDUSTRIES, "industry")
    rings = found.rings
    if rings.smallest > rings.largest:
        raise ConfigurationError(where, "the smallest ring is larger than the largest", "Correct [economy.rings].")
    if (rings.circular + rings.multi_lending + rings.identity) * rings.largest > found.firms // 4:
        raise ConfigurationError(where, "the rings would have more than a quarter of all firms", "Ask for fewer rings or more firms.")
    if rings.circular and not rings.camouflage:
        raise ConfigurationError(where, "camouflage is empty", "Give one strength from 0 to 1, or several that rings take in turn.")
