"""The consent ledger of one institution: who consented to what, who withdrew, and what was computed with whom.

SQLite in one file, or PostgreSQL. Nothing is overwritten; each change has a revision. `on_change` is called with counts alone, inside the
transaction, so that there is no change that the audit log lacks; after a crash in between, the log may tell of one that did not happen.

Times are ISO 8601 with a zone, as node clocks give them; days are calendar days in China Standard Time (`privacy.consent.days`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from federation.kernel import suite
from federation.kernel.errors import DataError
from federation.kernel.secret import Secret
from privacy.consent.days import date_of, day_of, moment, to_day
from privacy.consent.decide import Ask, Mask
from privacy.consent.grant import Terms
from privacy.consent.rights import Deletion, EraseRequest, Explanation, deletions, due_day
from privacy.consent.row import Row
from privacy.consent.subject import NOBODY, Pseudonyms, SubjectKind
from privacy.consent.withdrawals import Gone, Mark, Window
from privacy.store import consent_reading as reading
from privacy.store import consent_uses as used
from privacy.store.consent_database import Database
from privacy.store.consent_tables import changes, erase_requests, erasures, grants, models, terms, withdrawals

BATCH = 10_000
"""Rows of an import that are written together."""


class OnChange(Protocol):
    """Told of each change before it is committed: its kind, and counts. Raises to take the change back."""

    def __call__(self, kind: str, /, **facts: str | int) -> None:
        """kind: import, withdrawal, use, model, erase request, erased."""


@dataclass(frozen=True)
class Imported:
    """rows: read; added: new grants; known: recorded already; withdrawn: of the added, how many are ended by a withdrawal."""

    rows: int
    added: int
    known: int
    withdrawn: int


@dataclass(frozen=True)
class Standing:
    """Grants for one purpose: in force today, not begun, run out, withdrawn."""

    purpose: str
    in_force: int
    not_begun: int
    run_out: int
    withdrawn: int


class ConsentLedger:
    """url: of SQLAlchemy, such as sqlite:////home/consent/ledger.db; key: the institution's consent key, 32 bytes.

    Raises ConfigurationError for a URL that cannot be used, another schema or another key, DataError where the database fails.
    """

    def __init__(self, url: str, key: Secret, on_change: OnChange | None = None) -> None:
        self._names = Pseudonyms(key)
        self._db = Database(url, self._names.fingerprint)
        self._on_change: OnChange = on_change or _untold

    def close(self) -> None:
        """Let go of the database."""
        self._db.close()

    # -- what is consented, and withdrawn -----------------------------------------------------------------------------------------

    def grant(self, subject_id: str, terms: Terms, start: dt.date, until: dt.date, evidence: str, now: str) -> Imported:
        """Record one consent. Raises ConfigurationError for terms that are none, DataError for no id or days in the wrong order."""
        terms.require()
        if until < start or not evidence:
            raise DataError("consent", "its last day is before its first, or it has no evidence", "Correct it.")
        return self.import_rows([Row(subject_id, terms, to_day(start), to_day(until), evidence)], now)

    def import_rows(self, rows: Iterable[Row], now: str, progress: Callable[[int], None] | None = None) -> Imported:
        """Record many, all or none: whatever `rows` or `progress` raises takes everything back. A grant that is there already is not repeated.

        Raises DataError where an id is none, with the row's number.
        """
        at, count = moment(now), 0
        rest = iter(rows)
        with self._db.changing() as connection:
            revision = self._revise(connection, at, "import")
            numbers = {form: number for number, form in reading.read_terms(connection).items()}
            while batch := list(islice(rest, BATCH)):
                self._insert(connection, batch, count, numbers, revision)
                count += len(batch)
                if progress is not None:
                    progress(count)
            new = list(connection.scalars(sa.select(grants.c.number).where(grants.c.revision == revision)))
            ended = reading.withdrawn_at(connection, None)
            done = Imported(count, len(new), count - len(new), sum(number in ended for number in new))
            self._on_change("import", revision=revision, rows=count, added=done.added, withdrawn=done.withdrawn)
        return done

    def withdraw(self, ids: Sequence[str], when: str, kind: SubjectKind | None = None) -> int:
        """Withdraw every consent of these subjects, for good; returns how many of them have one here. Of the others it is recorded too: a
        consent that is imported later and began before does not count. kind: None for whoever is so named, a firm or an owner.
        Raises DataError where an id is none: then nothing is withdrawn.
        """
        kinds: tuple[SubjectKind, ...] = ("firm", "owner") if kind is None else (kind,)
        subjects = list(zip(*(self._known(ids, each) for each in kinds), strict=True))
        with self._db.changing() as connection:
            rows = [{"subject": subject, "evidence": None} for either in subjects for subject in either]
            self._withdraw(connection, rows, moment(when), len(subjects))
            return sum(connection.scalar(sa.select(sa.exists().where(grants.c.subject.in_(either)))) is True for either in subjects)

    def withdraw_evidence(self, references: Sequence[str], when: str) -> int:
        """Withdraw every consent under these references to evidence, for good; returns how many references have one now."""
        marks = list(dict.fromkeys(self._names.mark(reference) for reference in references))
        with self._db.changing() as connection:
            self._withdraw(connection, [{"subject": None, "evidence": mark} for mark in marks], moment(when), len(marks))
            return sum(connection.scalar(sa.select(sa.exists().where(grants.c.evidence == mark))) is True for mark in marks)

    # -- what may be used ---------------------------------------------------------------------------------------------------------

    def permitted(
        self,
        ids: Sequence[str],
        purpose: str,
        columns: Sequence[tuple[str, int]],
        recipients: Sequence[str],
        now: str,
        kind: SubjectKind = "firm",
    ) -> Mask:
        """Which ids have valid consent, (n,) in their order: for the purpose, every column (name, level) and every recipient, now. kind: whom
        they name. What is no id has none. Raises ConfigurationError for a purpose that is not declared.
        """
        subjects, at = self._names.of(ids, kind), moment(now)
        with self._db.reading() as connection:
            return reading.decide(connection, subjects, Ask(purpose, tuple(columns), tuple(recipients)), at)

    def mark(self, now: str) -> Mark:
        """Where a run begins to look for withdrawals: taken before `permitted` is asked, so that nothing falls in between."""
        with self._db.reading() as connection:
            return Mark(reading.read_revision(connection), moment(now))

    def consenting(self, ask: Ask, now: str) -> list[bytes]:
        """The keyed hash of every subject that has valid consent to what a run asks, ascending."""
        with self._db.reading() as connection:
            return reading.consenting(connection, ask, moment(now))

    def gone(self, ids: Sequence[str], ask: Ask, since: Mark, now: str, kind: SubjectKind = "firm") -> Gone:
        """Which of the ids that a run uses may no longer be used: their consent was withdrawn or has run out since a mark.

        Quick where nothing was. Raises DataError (code consent) for a ledger that is older than the mark.
        """
        return self.gone_of(len(ids), lambda: self._names.of(ids, kind), ask, since, now)

    def gone_of(self, count: int, named: Callable[[], Sequence[bytes]], ask: Ask, since: Mark, now: str) -> Gone:
        """As `gone`, of subjects by their hashes. count: how many; named: gives them, where anybody is gone at all."""
        with self._db.reading() as connection:
            window = Window(since, Mark(reading.read_revision(connection), moment(now)))
            window.require()
            left, over = reading.touched(connection, window)
            mask = np.zeros(count, bool)
            if not (left or over or window.rewound):
                return Gone(mask, 0, 0, window.until)
            subjects = named()
            places = [place for place, subject in enumerate(subjects) if window.rewound or subject in left or subject in over]
            mask[places] = ~reading.decide(connection, [subjects[place] for place in places], ask, window.until.at)
        withdrawn = sum(subjects[place] in left for place in np.flatnonzero(mask).tolist())
        return Gone(mask, withdrawn, int(mask.sum()) - withdrawn, window.until)

    def revision(self) -> int:
        """How many changes there were."""
        with self._db.reading() as connection:
            return reading.read_revision(connection)

    # -- what was used, and what a subject may ask ------------------------------------------------------------------------------------

    def record_use(self, run: str, ids: Sequence[str], ask: Ask, until: dt.date, now: str, kind: SubjectKind = "firm") -> None:
        """A run uses the records of these ids, kept until a day: to be recorded before anything leaves. Again for a run that goes on."""
        self.record_use_of(run, [subject for subject in self._names.of(ids, kind) if subject != NOBODY], ask, until, now)

    def record_use_of(self, run: str, subjects: Sequence[bytes], ask: Ask, until: dt.date, now: str) -> None:
        """As `record_use`, of subjects by their hashes."""
        at = moment(now)
        with self._db.changing() as connection:
            revision = self._revise(connection, at, "use")
            used.insert_subjects(connection, used.insert_use(connection, run, ask, at, to_day(until)), subjects)
            self._on_change("use", revision=revision, run=run, subjects=len(set(subjects)), purpose=ask.purpose)

    def record_model(self, run: str, model: str, now: str) -> None:
        """A model came of a run. model: its hash."""
        with self._db.changing() as connection:
            if connection.scalar(sa.select(sa.exists().where(models.c.run == run, models.c.model == model))) is True:
                return
            revision = self._revise(connection, moment(now), "model")
            connection.execute(models.insert(), {"run": run, "model": model, "at": moment(now)})
            self._on_change("model", revision=revision, run=run)

    def explain(self, subject_id: str, kind: SubjectKind | None = None) -> Explanation:
        """All that is known of one subject (PIPL art. 24, 44, 45). kind: None for as what it is known. Raises DataError for no id."""
        (subject,) = self._known([subject_id], kind or self._known_as(subject_id))
        with self._db.reading() as connection:
            return used.read_explanation(connection, self._names, subject)

    def kinds(self, subject_id: str) -> tuple[SubjectKind, ...]:
        """As what a consent or a use of an identifier is known: a firm, an owner, both or neither. Raises DataError for no id."""
        asked: tuple[SubjectKind, ...] = ("firm", "owner")
        found = {kind: self.explain(subject_id, kind) for kind in asked}
        return tuple(kind for kind in asked if found[kind].grants or found[kind].uses)

    def request_erasure(self, subject_id: str, now: str, kind: SubjectKind | None = None) -> tuple[EraseRequest, tuple[Deletion, ...]]:
        """A subject asks for deletion (PIPL art. 47): all its consents are withdrawn; returns what must be gone, and by when. kind: None for as
        what it is known, and then the consents of whoever is so named are withdrawn.
        """
        ended: tuple[SubjectKind, ...] = ("firm", "owner") if kind is None else (kind,)
        (subject,), at = self._known([subject_id], kind or self._known_as(subject_id)), moment(now)
        rows: list[dict[str, bytes | None]] = [{"subject": self._known([subject_id], each)[0], "evidence": None} for each in ended]
        with self._db.changing() as connection:
            connection.execute(erase_requests.insert(), {"subject": subject, "at": at, "due": due_day(at)})
            self._withdraw(connection, rows, at, 1)
            request = used.read_requests(connection, subject)[-1]
            self._on_change("erase request", request=request.number)
            return request, deletions(used.read_uses(connection, subject), request.due)

    def erased(self, request: int, now: str) -> bool:
        """The deletion that was asked for is done; returns False where it was before. Raises DataError for a request that there is not."""
        with self._db.changing() as connection:
            if connection.scalar(sa.select(sa.exists().where(erase_requests.c.number == request))) is not True:
                raise DataError(self._db.where, "there is no such request for deletion", "See `creditfed node consent show`.")
            if connection.scalar(sa.select(sa.exists().where(erasures.c.request == request))) is True:
                return False
            self._revise(connection, moment(now), "erased")
            connection.execute(erasures.insert(), {"request": request, "at": moment(now)})
            self._on_change("erased", request=request)
            return True

    def requests(self) -> tuple[EraseRequest, ...]:
        """All requests for deletion, oldest first."""
        with self._db.reading() as connection:
            return used.read_requests(connection, None)

    def standing(self, now: str) -> tuple[Standing, ...]:
        """How many grants there are for each purpose: no subject."""
        at = moment(now)
        with self._db.reading() as connection:
            forms = reading.read_terms(connection)
            found = reading.read_grants(connection, None, forms)
        today, ended = day_of(at), found.withdrawn <= at
        states = np.select([ended, found.start > today, found.until < today], [3, 1, 2], 0)
        out = []
        for purpose in sorted({form.purpose for form in forms.values()}):
            chosen = np.isin(found.terms, [number for number, form in forms.items() if form.purpose == purpose])
            out.append(Standing(purpose, *np.bincount(states[chosen], minlength=4).tolist()))
        return tuple(out)

    def _known_as(self, subject_id: str) -> SubjectKind:
        return "owner" if self.kinds(subject_id) == ("owner",) else "firm"

    # -- within a transaction -----------------------------------------------------------------------------------------------------

    def _known(self, ids: Sequence[str], kind: SubjectKind) -> list[bytes]:
        found = self._names.of(ids, kind)
        bad = [f"{place + 1}" for place, subject in enumerate(found) if subject == NOBODY]
        if bad:
            what = f"{len(bad):,} of {len(ids):,} are no identifiers (rule: text that is not empty); rows {', '.join(bad[:5])}"
            raise DataError("identifiers", what, "Nothing was changed. Correct these rows.")
        return list(dict.fromkeys(found))

    def _revise(self, connection: sa.Connection, at: int, kind: str) -> int:
        revision = reading.read_revision(connection) + 1
        connection.execute(changes.insert(), {"revision": revision, "at": at, "kind": kind})
        return revision

    def _withdraw(self, connection: sa.Connection, rows: list[dict[str, bytes | None]], at: int, told: int) -> None:
        revision = self._revise(connection, at, "withdrawal")
        if rows:
            connection.execute(withdrawals.insert(), [{**row, "at": at, "revision": revision} for row in rows])
        self._on_change("withdrawal", revision=revision, withdrawn=told, day=date_of(at).isoformat())

    def _insert(self, connection: sa.Connection, batch: list[Row], before: int, numbers: dict[Terms, int], revision: int) -> None:
        subjects = [NOBODY] * len(batch)
        for kind in {row.subject for row in batch}:
            places = [place for place, row in enumerate(batch) if row.subject == kind]
            for place, subject in zip(places, self._names.of([batch[place].id for place in places], kind), strict=True):
                subjects[place] = subject
        if NOBODY in subjects:
            what = f"row {before + subjects.index(NOBODY) + 1} has no identifier (rule: text that is not empty)"
            raise DataError("consent import", what, "Nothing was imported. Correct it at the source.")
        for form in {row.terms for row in batch} - numbers.keys():
            numbers[form] = _insert_terms(connection, form)
        rows: list[dict[str, Any]] = [
            {
                "subject": subject, "terms": numbers[row.terms], "start": row.start, "until": row.until, "revision": revision,
                "evidence": self._names.mark(row.evidence), "sealed": self._names.seal(subject, row.evidence),
            }
            for row, subject in zip(batch, subjects, strict=True)
        ]  # fmt: skip
        into = postgresql.insert(grants) if self._db.dialect == "postgresql" else sqlite.insert(grants)
        connection.execute(into.on_conflict_do_nothing(), rows)


def _insert_terms(connection: sa.Connection, form: Terms) -> int:
    columns, recipients = sorted(form.columns), sorted(form.recipients)
    digest = suite.digest("terms", form.purpose, form.level, len(columns), *columns, *recipients)
    said = {"purpose": form.purpose, "columns": json.dumps(columns), "level": form.level, "recipients": json.dumps(recipients)}
    connection.execute(terms.insert(), {**said, "digest": digest})
    number = connection.scalar(sa.select(terms.c.number).where(terms.c.digest == digest))
    assert number is not None, "it was inserted in this transaction"
    return int(number)


def _untold(_: str, /, **facts: str | int) -> None:
    pass
