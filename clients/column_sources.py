"""Where an institution has each of its columns from: what a run can do without as a whole, and what `creditfed sources` weighs.

In this order: the institution's own word (`sources` in its section), the dictionary's for a feature of that name, and else the institution
itself, written as "".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from federation.kernel.errors import DataError
from privacy.dictionary.entries import features


def column_sources(party: str, columns: Iterable[str], stated: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """The source of each column. stated: source to names or patterns. Raises DataError where these name no column, or one column twice."""
    names, dictionary = list(columns), features()
    found: dict[str, str] = {}
    for source, patterns in stated.items():
        for pattern in patterns:
            matched = [name for name in names if fnmatchcase(name, pattern)]
            if not matched:
                what = f"sources: {source!r} names {pattern!r}, and no column is called so"
                raise DataError(party, what, "Nothing was sent. Correct [[party]] sources.")
            for name in matched:
                if found.setdefault(name, source) != source:
                    what = f"sources: column {name!r} is of {found[name]!r} and of {source!r}"
                    raise DataError(party, what, "Nothing was sent. Give each column one source.")
    known = {name: dictionary[name].source for name in names if name in dictionary and name not in found}
    return {name: source for name, source in (known | found).items() if source != party}
