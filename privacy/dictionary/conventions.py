"""Conventions of money and calendar, from codes/conventions.toml: what a unit, a day and a month are, wherever a feature is computed."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from federation.kernel.errors import ConfigurationError
from federation.kernel.known import known


class Currency(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """code: ISO 4217; units: how many decimal places a unit is from the fen, so that "yuan" = 2; most_fen: the largest plausible amount."""

    code: str
    minor_unit: str
    units: dict[str, Annotated[int, Meta(ge=0, le=12)]]
    most_fen: Annotated[int, Meta(gt=0)]
    rounding: str


class Calendar(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """time_zone: in which a day begins and ends; earliest: no record is older; windows: months that features look back on."""

    time_zone: str
    earliest_year: int
    month: str
    year: str
    as_of: str
    windows: tuple[int, ...]


class Conventions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Both."""

    currency: Currency
    calendar: Calendar


@cache
def conventions() -> Conventions:
    """As the file has them. Raises ConfigurationError."""
    text = files("privacy.dictionary").joinpath("codes/conventions.toml").read_bytes()
    try:
        return msgspec.toml.decode(text, type=known(Conventions))
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigurationError("conventions.toml", str(error), "Correct the file.") from None


MONEY_UNITS: Final = conventions().currency.units
"""Unit of money to its decimal places from the fen."""
