"""What the ledger remembers of uses: which run took whose record, what came of it, and who asked for deletion."""

from __future__ import annotations

import json
from collections.abc import Sequence

import sqlalchemy as sa

from privacy.consent.decide import Ask
from privacy.consent.grant import FOREVER, Grant
from privacy.consent.rights import EraseRequest, Explanation, Use
from privacy.consent.subject import Pseudonyms
from privacy.store.consent_reading import read_terms, withdrawn_at
from privacy.store.consent_tables import erase_requests, erasures, grants, models, runs, uses

PIECE = 20_000


def insert_use(connection: sa.Connection, run: str, ask: Ask, began: int, until: int) -> int:
    """A run's number; the same run that goes on keeps its own."""
    asked = {"purpose": ask.purpose, "columns": json.dumps([name for name, _ in ask.columns]), "recipients": json.dumps(ask.recipients)}
    facts = {"run": run, **asked, "until": until}
    same = sa.select(runs.c.number).where(*(runs.c[name] == value for name, value in facts.items()))
    known = connection.scalar(same)
    if known is None:
        connection.execute(runs.insert(), {**facts, "began": began})
        known = connection.scalar(same)
    assert known is not None, "it was inserted in this transaction"
    return int(known)


def insert_subjects(connection: sa.Connection, number: int, subjects: Sequence[bytes]) -> None:
    """The subjects of a run; those that are there already stay."""
    known = {bytes(subject) for subject in connection.scalars(sa.select(uses.c.subject).where(uses.c.run == number))}
    new = [{"subject": subject, "run": number} for subject in dict.fromkeys(subjects) if subject not in known]
    for start in range(0, len(new), PIECE):
        connection.execute(uses.insert(), new[start : start + PIECE])


def read_uses(connection: sa.Connection, subject: bytes) -> tuple[Use, ...]:
    """The runs that used a subject, oldest first."""
    chosen = (
        sa.select(runs).select_from(runs.join(uses, uses.c.run == runs.c.number)).where(uses.c.subject == subject).order_by(runs.c.number)
    )
    found = []
    for row in connection.execute(chosen):
        made = connection.scalars(sa.select(models.c.model).where(models.c.run == row.run).order_by(models.c.at, models.c.model))
        columns, recipients = tuple(json.loads(row.columns)), tuple(json.loads(row.recipients))
        found.append(Use(row.run, row.purpose, columns, recipients, tuple(made), row.began, row.until))
    return tuple(found)


def read_requests(connection: sa.Connection, subject: bytes | None) -> tuple[EraseRequest, ...]:
    """Requests for deletion, oldest first: a subject's, or all of them."""
    joined = erase_requests.outerjoin(erasures, erasures.c.request == erase_requests.c.number)
    chosen = sa.select(erase_requests.c.number, erase_requests.c.at, erase_requests.c.due, erasures.c.at).select_from(joined)
    if subject is not None:
        chosen = chosen.where(erase_requests.c.subject == subject)
    return tuple(EraseRequest(*row) for row in connection.execute(chosen.order_by(erase_requests.c.number)))


def read_explanation(connection: sa.Connection, names: Pseudonyms, subject: bytes) -> Explanation:
    """All that the ledger knows of a subject."""
    forms, ended = read_terms(connection), withdrawn_at(connection, [subject])
    chosen = sa.select(grants).where(grants.c.subject == subject).order_by(grants.c.start, grants.c.number)
    rows = connection.execute(chosen).all()
    known = tuple(
        Grant(subject, forms[row.terms], row.start, row.until, row.evidence, row.revision, ended.get(row.number, FOREVER)) for row in rows
    )
    evidence = tuple(names.unseal(subject, row.sealed) for row in rows)
    return Explanation(known, evidence, read_uses(connection, subject), read_requests(connection, subject))
