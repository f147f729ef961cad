"""One cell's text in its one spelling, and a column's cells by their distinct texts.

Full-width digits and letters become plain ones (Unicode NFKC), invisible characters and null bytes go, and so do blanks around, of any width.
A parser is a function of one cleaned text; a column is parsed once for each distinct text, so that a million invoices of a thousand days are
a thousand calls.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

FULL_WIDTH: Final = "full-width characters"
BLANKS: Final = "blanks around"
INVISIBLE: Final = "invisible characters or null bytes"
MISSING_WORD: Final = "a word for missing"
MISSING: Final = "missing"
MISSING_WORDS: Final = frozenset(
    {
        "-",
        "--",
        "---",
        "na",
        "n/a",
        "#n/a",
        "nan",
        "null",
        "none",
        "nil",
        "nat",
        "<na>",
        "#value!",
        "#ref!",
        "#div/0!",
        "无",
        "空",
        "/",
        "\\n",
    }
)
_INVISIBLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\xad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_DASHES: Final = str.maketrans(dict.fromkeys("−–—‐‑‒―﹣", "-"))

Bools = NDArray[np.bool_]


class Cell(NamedTuple):
    """What a text is. value: None for missing; mended: rules that were applied; failed: the rule that it breaks, "" for none."""

    value: Any = None
    mended: tuple[str, ...] = ()
    failed: str = ""


Parser = Callable[[str], Cell]


@dataclass
class Parsed:
    """A column's values, (n,), whatever stands where a cell is blank or failed. Each rule has the rows to which it was applied."""

    values: NDArray[Any]
    blank: Bools
    mended: dict[str, Bools] = field(default_factory=dict)
    failed: dict[str, Bools] = field(default_factory=dict)

    @property
    def bad(self) -> Bools:
        """Which cells failed."""
        found = np.zeros(len(self.blank), bool)
        for rows in self.failed.values():
            found |= rows
        return found


def spelled(text: str) -> tuple[str, list[str]]:
    """A text without what nobody sees, and the rules that were applied. Dashes of all lengths are a minus."""
    if text.isascii() and text.isprintable() and text == text.strip():
        return text, []
    rules = []
    visible = _INVISIBLE.sub("", text)
    if visible != text:
        rules.append(INVISIBLE)
    trimmed = visible.strip()
    if trimmed != visible:
        rules.append(BLANKS)
    plain = unicodedata.normalize("NFKC", trimmed).translate(_DASHES).strip()
    if plain != trimmed:
        rules.append(FULL_WIDTH)
    return plain, rules


def cell(text: str, parse: Parser) -> Cell:
    """A raw text through its spelling, the words for missing, and a parser. A parser that knows a word for missing has it first."""
    plain, rules = spelled(text)
    if not plain:
        return Cell()
    found = parse(plain)
    if found.failed and plain.casefold() in MISSING_WORDS:
        return Cell(None, (*rules, MISSING_WORD))
    return Cell(found.value, (*rules, *found.mended), found.failed)


def distinct(column: Any) -> tuple[list[str | None], NDArray[np.int64]]:
    """The distinct texts of an Arrow array of text, and each row's place among them."""
    encoded = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column, null_encoding="encode")
    texts: list[str | None] = encoded.dictionary.to_pylist()
    indices = pc.fill_null(encoded.indices, len(texts)).to_numpy(zero_copy_only=False).astype(np.int64)
    return [*texts, None], indices


def parsed(column: Any, parse: Parser, empty: Any, dtype: Any) -> Parsed:
    """A column of text through a parser. empty: stands for a missing value; dtype: of the values."""
    texts, places = distinct(column)
    return spread([Cell() if text is None else cell(text, parse) for text in texts], places, empty, dtype)


def spread(cells: Sequence[Cell], places: NDArray[np.int64], empty: Any, dtype: Any) -> Parsed:
    """Cells of distinct texts as a column."""
    values = np.empty(len(cells), dtype)
    values[:] = [empty if one.value is None else one.value for one in cells]
    blank = np.array([one.value is None and not one.failed for one in cells], bool)
    mended: dict[str, list[int]] = {}
    failed: dict[str, list[int]] = {}
    for number, one in enumerate(cells):
        if one.failed:
            failed.setdefault(one.failed, []).append(number)
        else:
            for rule in one.mended:
                mended.setdefault(rule, []).append(number)

    def rows(numbers: list[int]) -> Bools:
        chosen = np.zeros(len(cells), bool)
        chosen[numbers] = True
        return chosen[places]

    def of(rules: dict[str, list[int]]) -> dict[str, Bools]:
        return {rule: mask for rule, numbers in rules.items() if (mask := rows(numbers)).any()}

    return Parsed(values[places], blank[places], of(mended), of(failed))
