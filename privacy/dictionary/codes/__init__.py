"""Codes of industries (GB/T 4754-2017) and regions (GB/T 2260), from the files beside this module.

section_of("C13")   section_of("1310")   section_of("C")    the section of a code of any length, with its letter or without
province_of("110105")                                       the province of an administrative code
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

import msgspec

from federation.kernel.errors import ConfigurationError
from federation.kernel.known import known

INDUSTRY_STANDARD: Final = "GB/T 4754-2017"
REGION_STANDARD: Final = "GB/T 2260"


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A section of industries. divisions: two digits to their name."""

    name: str
    english: str
    divisions: dict[str, str]


class Province(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A province, autonomous region, municipality or special administrative region."""

    name: str
    english: str


@cache
def sections() -> dict[str, Section]:
    """Every section by its letter. Raises ConfigurationError."""
    try:
        return msgspec.toml.decode(_text("industry.toml"), type=known(dict[str, Section]))
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigurationError("industry.toml", str(error), "Correct the file.") from None


@cache
def provinces() -> dict[str, Province]:
    """Every province by its two digits. Raises ConfigurationError."""
    try:
        return msgspec.toml.decode(_text("region.toml"), type=known(dict[str, Province]))
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigurationError("region.toml", str(error), "Correct the file.") from None


@cache
def _letters() -> dict[str, str]:
    return {division: letter for letter, section in sections().items() for division in section.divisions}


def section_of(code: str) -> str | None:
    """The letter of a code's section; None for what is no code, or whose letter and digits differ."""
    letter, digits = (code[:1].upper(), code[1:]) if code[:1].isalpha() else ("", code)
    if not digits:
        return letter if letter in sections() else None
    found = _letters().get(digits[:2]) if digits.isascii() and digits.isdigit() and 2 <= len(digits) <= 4 else None
    return found if letter in ("", found) else None


def division_of(code: str) -> str | None:
    """The two digits of a code's division; None where it has none."""
    digits = code[1:] if code[:1].isalpha() else code
    return digits[:2] if section_of(code) and digits else None


def province_of(code: str) -> str | None:
    """The two digits of an administrative code's province; None for what is none."""
    return code[:2] if code.isascii() and code.isdigit() and len(code) in (2, 4, 6, 9, 12) and code[:2] in provinces() else None


def _text(name: str) -> bytes:
    return files("privacy.dictionary.codes").joinpath(name).read_bytes()
