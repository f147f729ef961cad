"""What the decision needs of the ledger, read in few statements: a million grants as columns, or those of a few subjects."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from privacy.consent.decide import Ask, Grants, Mask, permitted
from privacy.consent.grant import FOREVER, Terms, Withdrawal
from privacy.consent.subject import NOBODY
from privacy.consent.withdrawals import Window
from privacy.store.consent_tables import changes, grants, terms, withdrawals

FEW: Final = 20_000
"""Subjects up to which their grants are looked up; above, all grants are read."""
_CHUNK: Final = 5_000
_PIECE: Final = 50_000


def read_revision(connection: sa.Connection) -> int:
    """The number of changes so far."""
    return int(connection.scalar(sa.select(sa.func.coalesce(sa.func.max(changes.c.revision), 0))) or 0)


def read_terms(connection: sa.Connection) -> dict[int, Terms]:
    """Every form of consent, by number."""
    chosen = sa.select(terms.c.number, terms.c.purpose, terms.c.columns, terms.c.level, terms.c.recipients)
    return {
        number: Terms(purpose, frozenset(json.loads(columns)), level, frozenset(json.loads(recipients)))
        for number, purpose, columns, level, recipients in connection.execute(chosen)
    }


def decide(connection: sa.Connection, subjects: Sequence[bytes], ask: Ask, now: int) -> Mask:
    """Which subjects, by hash, may be used, (n,) in their order and with their repeats."""
    places: dict[bytes, int] = {}
    index = np.fromiter((places.setdefault(subject, len(places)) for subject in subjects), np.int64, len(subjects))
    needs = ask.needs(read_terms(connection))
    found = read_grants(connection, places, frozenset[int]().union(*needs))
    return permitted(len(places), found, needs, now)[index]


def consenting(connection: sa.Connection, ask: Ask, now: int) -> list[bytes]:
    """Every subject that may be used, by hash, ascending."""
    numbers = frozenset[int]().union(*ask.needs(read_terms(connection)))
    chosen = sa.select(grants.c.subject).where(grants.c.terms.in_(sorted(numbers))).distinct()
    subjects = sorted(bytes(subject) for subject in connection.scalars(chosen))
    return [subject for subject, allowed in zip(subjects, decide(connection, subjects, ask, now), strict=True) if allowed]


def read_grants(connection: sa.Connection, places: dict[bytes, int] | None, numbers: Iterable[int]) -> Grants:
    """The grants under some terms of the subjects in `places`, by hash; without it, of all, and position counts nobody (-1)."""
    wanted = sorted(numbers)
    few = None if places is None or len(places) > FEW else [subject for subject in places if subject != NOBODY]
    chosen = sa.select(grants.c.number, grants.c.subject, grants.c.terms, grants.c.start, grants.c.until).where(grants.c.terms.in_(wanted))
    pieces = [_piece(rows, places) for rows in _partitions(connection, chosen, few)]
    table = np.concatenate([np.empty((5, 0), np.int64), *pieces], axis=1)
    row, position, form, start, until = (table[line] for line in range(5))
    ended = withdrawn_at(connection, few)
    withdrawn = np.full(len(row), FOREVER, np.int64)
    if ended:
        withdrawn = np.fromiter((ended.get(number, FOREVER) for number in row.tolist()), np.int64, len(row))
    return Grants(position, form, start, until, withdrawn)


def withdrawn_at(connection: sa.Connection, subjects: Sequence[bytes] | None) -> dict[int, int]:
    """Number of each withdrawn grant -> the moment. subjects: only theirs, None for all."""
    columns = (
        grants.c.number, grants.c.subject, grants.c.evidence, grants.c.start, grants.c.revision,
        withdrawals.c.subject, withdrawals.c.evidence, withdrawals.c.at, withdrawals.c.revision,
    )  # fmt: skip
    found: dict[int, int] = {}
    for same in (grants.c.subject == withdrawals.c.subject, grants.c.evidence == withdrawals.c.evidence):
        joined = sa.select(*columns).select_from(grants.join(withdrawals, same))
        for rows in _partitions(connection, joined, subjects):
            for number, subject, evidence, start, revision, ended, under, at, recorded in rows:
                end = Withdrawal(ended, under, at, recorded)
                if end.ends(subject, evidence, start, revision):
                    found[number] = min(end.at, found.get(number, FOREVER))
    return found


def touched(connection: sa.Connection, window: Window) -> tuple[set[bytes], set[bytes]]:
    """Subjects with a withdrawal that is new in the window, and with a grant that has run out in it. Most of them are not of the run."""
    old, (first, last) = window.since, window.ran_out
    new = sa.or_(withdrawals.c.revision > old.revision, sa.and_(withdrawals.c.at > old.at, withdrawals.c.at <= window.until.at))
    left = {
        bytes(subject) for subject in connection.scalars(sa.select(withdrawals.c.subject).where(new, withdrawals.c.subject.is_not(None)))
    }
    by_evidence = sa.select(grants.c.subject).select_from(grants.join(withdrawals, grants.c.evidence == withdrawals.c.evidence)).where(new)
    left |= {bytes(subject) for subject in connection.scalars(by_evidence)}
    over = sa.select(grants.c.subject).where(grants.c.until >= first, grants.c.until < last)
    return left, {bytes(subject) for subject in connection.scalars(over)}


def _partitions(connection: sa.Connection, chosen: sa.Select[Any], subjects: Sequence[bytes] | None) -> Iterator[Sequence[Any]]:
    """The rows in pieces: of all subjects in one statement, of some in several."""
    if subjects is None:
        yield from connection.execute(chosen.execution_options(yield_per=_PIECE)).partitions()
        return
    for start in range(0, len(subjects), _CHUNK):
        yield connection.execute(chosen.where(grants.c.subject.in_(subjects[start : start + _CHUNK]))).all()


def _piece(rows: Sequence[Any], places: dict[bytes, int] | None) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(5, k): number, position, terms, start, until; rows of nobody in `places` are left out."""
    if not rows:
        return np.empty((5, 0), np.int64)
    number, subject, form, start, until = zip(*rows, strict=True)
    position = [-1] * len(rows) if places is None else [places.get(who, -1) for who in subject]
    piece = np.array([number, position, form, start, until], np.int64)
    return piece if places is None else piece[:, piece[1] >= 0]
