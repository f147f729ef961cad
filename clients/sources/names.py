"""Ids, texts, words of a list and flags, each in one spelling.

A firm's id is spelled as alignment spells it (`federation.align.uscc`); a code that breaks its check character fails, and is never echoed.
Other ids: a valid Unified Social Credit Code as such, anything else case folded, so that a firm and a counterparty compare within one source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clients.sources.cells import MISSING_WORD, MISSING_WORDS, Cell, Parsed, cell, distinct, parsed, spelled, spread
from federation.align import uscc

CHECK: Final = "not a valid Unified Social Credit Code"
LOWER: Final = "lower case"
SCIENTIFIC_ID: Final = "id in scientific notation"
UNKNOWN_WORD: Final = "unknown spelling"
NUMBER_AS_FLOAT: Final = "number written with a decimal point"
INNER_BLANKS: Final = "blanks within"

_SCIENTIFIC: Final = re.compile(r"\d(?:\.\d+e\+?|e\+)\d{1,3}", re.IGNORECASE)
_WHOLE_AS_FLOAT: Final = re.compile(r"-?\d+\.0+")
_FLAGS: Final = (
    dict.fromkeys(("yes", "y", "true", "t", "1", "是", "有", "对", "√", "x", "1.0"), True)
    | dict.fromkeys(("no", "n", "false", "f", "0", "否", "无", "没有", "×", "0.0"), False)
)  # fmt: skip


def as_text(column: Any) -> Any | None:
    """An Arrow array of text or whole numbers as text; None for any other type."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column
    if pa.types.is_integer(kind) or pa.types.is_null(kind) or pa.types.is_decimal(kind):
        return column.cast(pa.string())
    if pa.types.is_floating(kind):  # pandas has whole numbers beside missing ones as floats
        values = column.cast(pa.float64())
        whole = bool(pc.all(pc.equal(values, pc.floor(values)), min_count=0).as_py())
        return (values.cast(pa.int64(), safe=False) if whole else values).cast(pa.string())
    return None


def ids(column: Any, kind: Literal["uscc", "any"]) -> Parsed | None:
    """Ids as text, None for missing."""
    texts = as_text(column)
    if texts is None:
        return None
    raw, places = distinct(texts)
    cells = [Cell() if text is None else cell(text, _id) for text in raw]
    present = [number for number, one in enumerate(cells) if one.value is not None]
    words = [cells[number].value for number in present]
    normal = uscc.spellings(words, "uscc") if kind == "uscc" else uscc.in_any_kind(words)
    for number, word, found in zip(present, words, normal, strict=True):
        cells[number] = _normal(cells[number], word, found, kind)
    return spread(cells, places, None, object)


def _id(text: str) -> Cell:
    if text.casefold() in MISSING_WORDS:
        return Cell(None, (MISSING_WORD,))
    if _SCIENTIFIC.fullmatch(text):
        return Cell(failed=SCIENTIFIC_ID)
    return Cell(text)


def _normal(before: Cell, word: str, found: str, kind: str) -> Cell:
    if not found:
        return Cell(failed=CHECK)
    rules = list(before.mended)
    if kind == "uscc" and found != word:
        if word.upper() != word:
            rules.append(LOWER)
        if " " in word:
            rules.append(INNER_BLANKS)
    return Cell(found, tuple(rules))


def texts(column: Any) -> Parsed | None:
    """Free text and numbers of documents, None for missing. What is printable ASCII already is taken as it stands."""
    plain = as_text(column)
    if plain is None:
        return None
    if pa.types.is_dictionary(plain.type):
        plain = plain.cast(pa.string())
    clean = pc.fill_null(pc.match_substring_regex(plain, r"^[A-Za-z0-9_#]*[0-9_#]$"), False)  # noqa: FBT003  # a value
    mask = clean.to_numpy(zero_copy_only=False)
    if mask.all():
        return Parsed(plain.to_numpy(zero_copy_only=False), np.zeros(len(plain), bool))
    odd = np.flatnonzero(~mask)
    rest = parsed(plain.take(pa.array(odd)), _text, None, object)
    values, blank = plain.to_numpy(zero_copy_only=False).astype(object), np.zeros(len(plain), bool)
    values[odd], blank[odd] = rest.values, rest.blank
    found = Parsed(values, blank)
    for rules, wide in ((rest.mended, found.mended), (rest.failed, found.failed)):
        for rule, rows in rules.items():
            wide[rule] = np.zeros(len(plain), bool)
            wide[rule][odd] = rows
    return found


def _text(text: str) -> Cell:
    if text.casefold() in MISSING_WORDS:
        return Cell(None, (MISSING_WORD,))
    if _SCIENTIFIC.fullmatch(text):
        return Cell(failed=SCIENTIFIC_ID)
    if _WHOLE_AS_FLOAT.fullmatch(text):
        return Cell(text.partition(".")[0], (NUMBER_AS_FLOAT,))
    return Cell(text)


def codes(column: Any, values: tuple[str, ...], own: Mapping[str, tuple[str, ...]]) -> Parsed | None:
    """Words of a list, in the dictionary's spelling. own: its word to the institution's spellings."""
    texts_of = as_text(column)
    if texts_of is None:
        return None
    known = dict(zip(map(str.casefold, values), values, strict=True)) | _spellings(own)
    return parsed(texts_of, lambda text: _word(text, known), None, object)


def flags(column: Any, own: Mapping[str, tuple[str, ...]]) -> Parsed | None:
    """Yes and no as True and False, None for missing."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.string())
    texts_of = as_text(column)
    if texts_of is None:
        return None
    known = _FLAGS | {spelling: word == "yes" for spelling, word in _spellings(own).items()}
    return parsed(texts_of, lambda text: _word(text, known), None, object)


def _spellings(own: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """The institution's spellings, cleaned as cells are and without case, to the dictionary's words."""
    return {spelled(spelling)[0].casefold(): word for word, spellings in own.items() for spelling in spellings}


def _word(text: str, known: Mapping[str, str] | Mapping[str, bool]) -> Cell:
    word = known.get(text.casefold())
    if word is None:
        return Cell(failed=UNKNOWN_WORD)
    return Cell(word)
