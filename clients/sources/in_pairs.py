"""Sources of compared counterparties: rows of pair, firm and counterparty; the key is the counterparty within its pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from clients.sources.typed import Records
from federation.align import uscc
from federation.checks.common import WITHIN
from federation.kernel.errors import DataError

PAIR, FIRM = "pair", "firm"


def in_pairs(
    where: str, pairs: Sequence[str | None], firms: Sequence[str | None], others: Sequence[str | None],
    id_kind: Literal["auto", "uscc", "any", "name"],
) -> Records:  # fmt: skip
    """One row for each counterparty of each pair. Raises DataError for cells that are empty or no id, and for a pair with two firms."""
    texts = [text or "" for text in others]
    kind: uscc.Kind = id_kind if id_kind != "auto" else "uscc" if uscc.looks_like_uscc(texts) else "any"
    named = [(pair or "").strip() for pair in pairs]
    spelled = list(zip(named, uscc.in_any_kind([firm or "" for firm in firms]), uscc.spellings(texts, kind), strict=True))
    wrong = sum(not all(row) for row in spelled)
    if wrong:
        what = f"{wrong:,} of {len(spelled):,} rows lack a pair, a firm or a valid counterparty (rule: all three)"
        raise DataError(where, what, "Nothing was sent. Correct or leave out these rows at the source.")
    firm_of = {pair: firm for pair, firm, _ in spelled}
    if any(firm_of[pair] != firm for pair, firm, _ in spelled) or any(WITHIN in pair for pair in firm_of):
        what = f"a pair has rows of two firms, or a name with {WITHIN!r} (rule: one firm of this institution in each pair)"
        raise DataError(where, what, "Nothing was sent. Name pairs apart.")
    rows = dict.fromkeys(spelled)
    keys = tuple(f"{pair}{WITHIN}{other}" for pair, _, other in rows)
    return Records([firm for _, firm, _ in rows], kind, {}, None, None, None, (), keys=keys)
