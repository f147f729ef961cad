"""Identifiers in one spelling: Unified Social Credit Codes (GB 32100-2015) or any declared id.

A code has 18 characters of an alphabet of 31 (digits and capitals without I, O, S, V, Z). The last is a check character:
    C18 = (31 - sum_{i=1..17} C_i 3^(i-1) mod 31) mod 31          (GB 32100-2015, 4.5; ISO/IEC 7064, MOD 31-3)
which finds every single wrong character and every exchange of two neighbours. The separate check of the organisation code inside
(characters 9 to 17, GB 11714) is left alone: registers hold valid codes that do not satisfy it.

Two parties match only what they spell alike, so both normalise here: Unicode NFKC (full-width forms), case, spaces, invisible marks.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import DataError

Kind: TypeAlias = Literal["uscc", "any", "name"]
"""What the manifest declares an identifier to be: a code, any text, or the name or address of somebody."""

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
LENGTH = 18
_SHOWN = 5
"""How many row numbers an error names."""
_INVALID = 255
_BLOCK = 1 << 15
"""Ids at a time: the products of a million characters by weights would be 140 MB."""
_WEIGHTS = np.array([pow(3, i, 31) for i in range(LENGTH)], np.int64)
_VALUES = np.full(256, _INVALID, np.uint8)
_VALUES[np.frombuffer(ALPHABET.encode(), np.uint8)] = np.arange(31)


def check_character(first17: str) -> str:
    """The check character of a code's first 17 characters (normalised). Raises DataError for anything else than 17 of the alphabet."""
    if len(first17) != LENGTH - 1 or any(character not in ALPHABET for character in first17):
        raise DataError("check_character", "did not get 17 characters of the alphabet of GB 32100", "Normalise the code first.")
    total = sum(ALPHABET.index(character) * int(weight) for character, weight in zip(first17, _WEIGHTS, strict=False))
    return ALPHABET[-total % 31]


def looks_like_uscc(ids: Sequence[str]) -> bool:
    """Whether nine in ten of some ids are valid codes: a hint for whoever declares the kind, which is never guessed.

    One id in 31 of the right length and alphabet passes by chance.
    """
    return len(ids) > 0 and bool(_passes([_spelled(text, "uscc") for text in ids]).mean() >= 0.9)


def normalise(ids: Sequence[str], kind: Kind, where: str = "identifiers") -> list[str]:
    """The ids in their one spelling, in the order given.

    uscc: capitals, no spaces anywhere, and a check character that holds; any: case folded, runs of spaces made one, not empty; name: letters
    and digits alone, case folded.
    where: the party and column, for the error. Raises DataError for ids that are not valid or occur twice: counts and the first row
    numbers (from 1), never an id.
    """
    spelled = spellings(ids, kind)
    if not all(spelled):
        good = np.array([bool(text) for text in spelled], bool)
        rule = "text that is not empty and has no control characters"
        if kind == "uscc":
            rule = "GB 32100-2015: 18 characters, no I, O, S, V or Z, check character"
        raise DataError(
            where,
            f"{(~good).sum():,} of {len(spelled):,} identifiers are not valid (rule: {rule}); rows {_first(np.flatnonzero(~good))}",
            "Nothing was sent. Correct or leave out these rows at the source, or declare another kind of identifier.",
        )
    refuse_duplicates(spelled, where)
    return spelled


def spellings(ids: Sequence[str], kind: Kind) -> list[str]:
    """The ids in their one spelling, in the order given and with repeats; "" for what is no id of this kind."""
    spelled = [_spelled(text, kind) for text in ids]
    if kind == "uscc" and not (good := _passes(spelled)).all():
        return [text if valid else "" for text, valid in zip(spelled, good.tolist(), strict=True)]
    return spelled


def in_any_kind(ids: Sequence[str]) -> list[str]:
    """The ids in a spelling that does not depend on what they are declared to be: a valid code as "uscc" spells it, others as "any" does.

    In the order given, with repeats; "" for what is no id. Normalised ids of either kind come out the same as the raw ones.
    """
    codes = [_spelled(text, "uscc") for text in ids]
    return [code if good else _spelled(text, "any") for text, code, good in zip(ids, codes, _passes(codes).tolist(), strict=True)]


def refuse_duplicates(keys: Sequence[str] | Sequence[bytes], where: str, rows: Sequence[int] | None = None) -> None:
    """Raises DataError, with counts and the first row numbers, where a key occurs more than once. rows: of the keys in their file, from 0."""
    if len(set(keys)) == len(keys):
        return
    first = dict(zip(reversed(keys), range(len(keys) - 1, -1, -1), strict=True))  # the last to be written is the first row
    again = [place if rows is None else int(rows[place]) for place, key in enumerate(keys) if first[key] != place]
    raise DataError(
        where,
        f"{len(again):,} of {len(keys):,} rows repeat the identifier of an earlier row (rule: one row for each); rows {_first(again)}",
        "Nothing was sent. Aggregate these rows, or align on identifier and period.",
    )


def _spelled(text: object, kind: Kind) -> str:
    """One id in its spelling; empty when it is not text or holds a control character."""
    if not isinstance(text, str):
        return ""
    if kind == "uscc" and text.isascii() and text.isalnum() and text == text.upper():
        return text  # spelled so already, as nearly all are: the same object, not a second one
    if kind == "name":
        return _letters(text)
    if not text.isascii():
        visible = "".join(character for character in text if unicodedata.category(character) != "Cf")  # zero-width and direction marks
        text = unicodedata.normalize("NFKC", visible)
        if kind == "any":  # folding may take text out of NFKC (Unicode 3.13, D146)
            text = unicodedata.normalize("NFKC", text.casefold())
    words = text.split()
    if kind == "uscc":
        return "".join(words).upper()
    spelled = " ".join(words)
    spelled = spelled.lower() if spelled.isascii() else spelled
    return spelled if spelled.isprintable() else ""


def _letters(text: str) -> str:
    """The letters and digits of a name or address, in one width and case: no space, hyphen, bracket, comma or dot parts two spellings."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(character for character in folded if character.isalnum())


def _passes(spelled: Sequence[str]) -> NDArray[np.bool_]:
    """Which texts are codes whose check character holds, (n,)."""
    return np.concatenate([_pass(spelled[i : i + _BLOCK]) for i in range(0, len(spelled), _BLOCK)] or [np.empty(0, bool)])


def _pass(spelled: Sequence[str]) -> NDArray[np.bool_]:
    shaped = [text if len(text) == LENGTH and text.isascii() else "?" * LENGTH for text in spelled]
    values = _VALUES[np.frombuffer("".join(shaped).encode("ascii"), np.uint8).reshape(len(shaped), LENGTH)]
    inside = (values != _INVALID).all(axis=1)
    # the check character enters with weight 1: all 18 together are then divisible by 31
    totals = values[:, :-1] @ _WEIGHTS[:-1] + values[:, -1]
    return np.asarray(inside & (totals % 31 == 0), bool)


def _first(rows: Sequence[int] | NDArray[np.int64]) -> str:
    """The first few of 0-based rows, counted from 1."""
    shown = ", ".join(f"{int(row) + 1}" for row in rows[:_SHOWN])
    return shown + (", ..." if len(rows) > _SHOWN else "")
