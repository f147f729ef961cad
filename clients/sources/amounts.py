"""Money, numbers and counts out of whatever a table has for them. Money is exact: decimal digits are moved, never multiplied as floats.

    text       1234.5   1,234.50   ¥1234.5   1234.50元   (1,234.50)   1234.50-   +1234.5   1.2345E+3   full-width digits and minus
    numbers    whole ones and decimals exactly; float64 to the nearest fen
Refused: other currencies, a percent sign on money, a comma that parts no thousands, infinities, more than the range of fen.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clients.sources.cells import Cell, Parsed, parsed
from privacy.dictionary.conventions import conventions

CURRENCY: Final = "currency sign"
PARENTHESES: Final = "parentheses for negative"
BEHIND: Final = "minus behind the number"
PLUS: Final = "plus sign"
THOUSANDS: Final = "thousands separators"
PERCENT: Final = "percent sign"
SCIENTIFIC: Final = "scientific notation"
DECIMALS: Final = "more than two decimals"
NEGATIVE_ZERO: Final = "negative zero"
INFINITE: Final = "infinite"
FOREIGN: Final = "another currency"
TOO_LARGE: Final = "beyond the range of fen"
NOT_A_NUMBER: Final = "not a number"
COMMA: Final = "comma that parts no thousands"
NEGATIVE: Final = "negative count"
NOT_WHOLE: Final = "not a whole number"

MOST: Final = conventions().currency.most_fen
_PARTED: Final = r"^-?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?$"
_DIGITS: Final = len(str(MOST)) - 1
_NUMBER: Final = re.compile(r"-?(?:\d+\.?\d*|\.\d+)")
_SCIENTIFIC: Final = re.compile(r"-?\d+(?:\.\d*)?e[+-]?\d{1,3}", re.IGNORECASE)
_THOUSANDS: Final = re.compile(r"-?\d{1,3}(?:[, ']\d{3})+(?:\.\d*)?")
_OWN: Final = re.compile(r"^([+-]?)(?:¥|cny|rmb|人民币)\s*|\s*(?:元|圆|yuan|cny|rmb)$", re.IGNORECASE)
_OTHER: Final = re.compile(r"[$€£₩₽]|\b(?:usd|eur|gbp|hkd|jpy|us)\b", re.IGNORECASE)
_INFINITE: Final = re.compile(r"[+-]?(?:inf|infinity|∞)", re.IGNORECASE)
_NOISE: Final = 0.01
"""Of a fen: how far float64 lies from whole fen by its own rounding, and not because more decimals were written."""

Kind = Literal["money", "number", "count"]
Use = Callable[[Decimal, list[str]], Cell]


def amounts(column: Any, kind: Kind, places: int = 2) -> Parsed | None:
    """An Arrow array as int64 fen (money), float64 (number; NaN for missing) or int64 (count). places: of a money column's unit from the fen.

    None for an array of a type that cannot be one.
    """
    found, array_type = None, column.type
    if pa.types.is_null(array_type):
        column, array_type = column.cast(pa.string()), pa.string()
    if pa.types.is_decimal(array_type) or pa.types.is_integer(array_type):
        column, array_type = column.cast(pa.string()), pa.string()
    if pa.types.is_floating(array_type):
        found = _of_floats(column.cast(pa.float64()), kind, places)
    elif _is_text(array_type):
        found = _of_text(column, kind, places)
    return found


def _is_text(array_type: Any) -> bool:
    inner = array_type.value_type if pa.types.is_dictionary(array_type) else array_type
    return bool(pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner))


def _of_text(column: Any, kind: Kind, places: int) -> Parsed:
    """Plain digits all at once, the rest cell by cell."""
    use = _USES[kind](places)
    empty: Any = np.nan if kind == "number" else 0
    dtype: Any = np.float64 if kind == "number" else np.int64
    if kind != "money" or pa.types.is_dictionary(column.type):
        return parsed(column, lambda text: number(text, use, percent=kind == "number"), empty, dtype)
    parted = pc.fill_null(pc.match_substring_regex(column, _PARTED), False)  # noqa: FBT003  # a value
    column = pc.if_else(parted, pc.replace_substring(column, ",", ""), column)
    plain = pc.fill_null(pc.match_substring_regex(column, _plain(places)), False).to_numpy(zero_copy_only=False)  # noqa: FBT003  # a value
    plain &= pc.fill_null(pc.invert(pc.match_substring_regex(column, r"^-0(?:\.0*)?$")), True).to_numpy(zero_copy_only=False)  # noqa: FBT003
    values, blank = np.zeros(len(column), np.int64), np.zeros(len(column), bool)
    values[plain] = _shifted(column.filter(pa.array(plain)), places)
    found, odd = Parsed(values, blank), np.flatnonzero(~plain)
    if len(odd):
        rest = parsed(column.take(pa.array(odd)), lambda text: number(text, use, percent=False), empty, dtype)
        values[odd], blank[odd] = rest.values, rest.blank
        for rules, wide in ((rest.mended, found.mended), (rest.failed, found.failed)):
            for rule, mask in rules.items():
                wide[rule] = np.zeros(len(column), bool)
                wide[rule][odd] = mask
    thousands = parted.to_numpy(zero_copy_only=False) & ~found.bad
    if thousands.any():
        found.mended[THOUSANDS] = found.mended.get(THOUSANDS, False) | thousands
    return found


def _plain(places: int) -> str:
    """Numbers that need no thought: as many digits before the point as stay below MOST, and after it no part of a fen."""
    return rf"^-?(?:0|[1-9][0-9]{{0,{_DIGITS - places - 1}}})" + (r"(?:\.[0-9]{1,2})?$" if places >= 2 else "$")


def _shifted(texts: Any, places: int) -> NDArray[np.int64]:
    """Plain numbers as whole fen: digits are moved, and there are too few of them for int64 to overflow."""
    shown = min(places, 2)
    parts = pc.extract_regex(texts, r"^(?P<sign>-?)(?P<whole>[0-9]+)\.?(?P<rest>[0-9]*)$")
    whole = pc.struct_field(parts, "whole").cast(pa.int64()).to_numpy(zero_copy_only=False)
    rest = (
        np.zeros(len(whole), np.int64)
        if not shown
        else pc.utf8_rpad(pc.struct_field(parts, "rest"), shown, "0").cast(pa.int64()).to_numpy(zero_copy_only=False)
    )
    sign = np.where(pc.equal(pc.struct_field(parts, "sign"), "-").to_numpy(zero_copy_only=False), -1, 1)
    return np.asarray(sign * (whole * 10**places + (rest * 10 ** (places - shown) if shown else 0)), np.int64)


def number(text: str, use: Use, *, percent: bool) -> Cell:
    """A number out of its text. use: what becomes of its exact value; percent: whether a percent sign is a hundredth, or refused."""
    if _INFINITE.fullmatch(text):
        return Cell(failed=INFINITE)
    if _OTHER.search(text):
        return Cell(failed=FOREIGN)
    rules: list[str] = []
    text = _signed(text, rules)
    hundredth = text.endswith("%")
    if hundredth:
        if not percent:
            return Cell(failed=PERCENT)
        text = text[:-1].strip()
        rules.append(PERCENT)
    if _THOUSANDS.fullmatch(text):
        text = re.sub("[, ']", "", text)
        rules.append(THOUSANDS)
    if _SCIENTIFIC.fullmatch(text):
        rules.append(SCIENTIFIC)
    elif not _NUMBER.fullmatch(text):
        return Cell(failed=COMMA if "," in text and _NUMBER.fullmatch(text.replace(",", "")) else NOT_A_NUMBER)
    value = Decimal(text)
    return use(value / 100 if hundredth else value, rules)


def _signed(text: str, rules: list[str]) -> str:
    """Without a currency, and with its sign in front where it has one."""
    text = _without_parentheses(text, rules)
    bare = _OWN.sub(r"\1", text)
    if bare != text:
        rules.append(CURRENCY)
    text = _without_parentheses(bare.strip(), rules)
    if text.endswith("-") and _NUMBER.fullmatch(text[:-1].replace(",", "")):
        text = "-" + text[:-1]
        rules.append(BEHIND)
    if text.startswith("+"):
        text = text[1:]
        rules.append(PLUS)
    return text


def _without_parentheses(text: str, rules: list[str]) -> str:
    if text.startswith("(") and text.endswith(")") and not text.startswith("(-"):
        rules.append(PARENTHESES)
        return "-" + text[1:-1].strip()
    return text


def _money(places: int) -> Use:
    def use(value: Decimal, rules: list[str]) -> Cell:
        if not value.is_zero() and value.adjusted() + places > 18:
            return Cell(failed=TOO_LARGE)
        exact = value.scaleb(places)
        whole = exact.to_integral_value(ROUND_HALF_UP)
        fen = int(whole)
        if abs(fen) > MOST:
            return Cell(failed=TOO_LARGE)
        if whole != exact:
            rules.append(DECIMALS)
        if value.is_zero() and value.is_signed():
            rules.append(NEGATIVE_ZERO)
        return Cell(fen, tuple(rules))

    return use


def _plain_number(_places: int) -> Use:
    def use(value: Decimal, rules: list[str]) -> Cell:
        if value.is_zero() and value.is_signed():
            rules.append(NEGATIVE_ZERO)
        return Cell(float(value) or 0.0, tuple(rules))

    return use


def _count(_places: int) -> Use:
    def use(value: Decimal, rules: list[str]) -> Cell:
        if value < 0:
            return Cell(failed=NEGATIVE)
        if not value.is_zero() and (value.adjusted() > 17 or value != value.to_integral_value()):
            return Cell(failed=TOO_LARGE if value.adjusted() > 17 else NOT_WHOLE)
        if value.is_zero() and value.is_signed():
            rules.append(NEGATIVE_ZERO)
        return Cell(int(value), tuple(rules))

    return use


_USES: Final[dict[str, Callable[[int], Use]]] = {"money": _money, "number": _plain_number, "count": _count}


def _of_floats(column: Any, kind: Kind, places: int) -> Parsed:
    """float64: NaN is missing."""
    raw = column.to_numpy(zero_copy_only=False).astype(np.float64)
    blank = np.isnan(raw)
    infinite = np.isinf(raw)
    failed, mended = {INFINITE: infinite}, {NEGATIVE_ZERO: (raw == 0) & np.signbit(raw)}
    raw = np.where(blank | infinite, 0.0, raw)
    values: NDArray[Any]
    if kind == "number":
        values = np.where(blank, np.nan, raw + 0.0)
    elif kind == "money":
        exact = raw * 10.0**places
        large = np.abs(exact) > MOST
        exact = np.where(large, 0.0, exact)
        values = (np.sign(exact) * np.floor(np.abs(exact) + 0.5)).astype(np.int64)
        mended[DECIMALS] = np.abs(exact - values) > np.maximum(_NOISE, np.abs(exact) * 2.0**-50)
        failed[TOO_LARGE] = large
    else:
        failed[NEGATIVE], failed[NOT_WHOLE], failed[TOO_LARGE] = raw < 0, raw != np.floor(raw), raw > 2.0**53
        values = np.where(failed[NEGATIVE] | failed[NOT_WHOLE] | failed[TOO_LARGE], 0, raw).astype(np.int64)
    return Parsed(values, blank, {k: m for k, m in mended.items() if m.any()}, {k: m for k, m in failed.items() if m.any()})
