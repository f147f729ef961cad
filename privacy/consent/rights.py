"""What a person or firm may ask of an institution, and the answer in words.

Explain: PIPL art. 24 (automated decisions: an explanation, and no decision by automation alone) with art. 44 and 45 (to know, to have a copy).
Erase: PIPL art. 47 (consent withdrawn, purpose reached, time over: the handler deletes). GB/T 35273-2020, 8.7: an answer within thirty days.
A copy of this is no legal advice: an institution puts its own words around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from privacy.consent.days import date_of, day_of, to_date
from privacy.consent.grant import FOREVER, Grant

DAYS_TO_ERASE: Final = 30
"""GB/T 35273-2020, 8.7."""


@dataclass(frozen=True)
class Use:
    """A run that used a subject's record. models: hashes of what came of it; began: a moment; until: the last day that its data are kept."""

    run: str
    purpose: str
    columns: tuple[str, ...]
    recipients: tuple[str, ...]
    models: tuple[str, ...]
    began: int
    until: int


@dataclass(frozen=True)
class EraseRequest:
    """A subject asked for deletion. at, done: moments, done None while it is open; due: the last day."""

    number: int
    at: int
    due: int
    done: int | None = None


@dataclass(frozen=True)
class Explanation:
    """All that an institution's ledger knows of one subject. evidence: the references of the grants, one each."""

    grants: tuple[Grant, ...]
    evidence: tuple[str, ...]
    uses: tuple[Use, ...]
    requests: tuple[EraseRequest, ...]


@dataclass(frozen=True)
class Deletion:
    """Something that must be gone by the end of a day."""

    run: str
    what: str
    by: int


def due_day(asked: int) -> int:
    """The last day to delete after a request."""
    return day_of(asked) + DAYS_TO_ERASE


def deletions(uses: Sequence[Use], due: int) -> tuple[Deletion, ...]:
    """What must be deleted of a subject, the earliest first: each run's rows, and the subject's part in each model.

    A model is a sum over many; it holds no row. It may stay in force to the end of its run's time, and is fitted without the subject from the
    next fit on; consents and withdrawals stay, as proof that the use was lawful (PIPL art. 47, last sentence, and art. 69).
    """
    found = []
    for use in uses:
        by = min(use.until, due)
        found.append(Deletion(use.run, "rows in tables, caches, journals and scores", by))
        found += [Deletion(use.run, f"the row in the next fit of model {model[:12]}", max(use.until, by)) for model in use.models]
    return tuple(sorted(found, key=lambda deletion: (deletion.by, deletion.run, deletion.what)))


def explain_text(known: Explanation, institution: str, now: int, platform: str = "") -> str:
    """The answer to "what did you do with my record": for the person, in plain words. platform: for which the institution, an agency, holds
    the consent; whose record was used it does not know.
    """
    return "\n".join(_explained(known, institution, now, platform)) + "\n"


def _explained(known: Explanation, institution: str, now: int, platform: str) -> Iterator[str]:
    yield f"What {institution} holds of your consent, and what your record was used for (as of {date_of(now)})."
    yield ""
    yield "You consented to:" if known.grants else "We know of no consent of yours."
    for grant, evidence in zip(known.grants, known.evidence, strict=True):
        yield f"- {_scope(grant)}, for the purpose {grant.terms.purpose!r}, shared with {_listed(sorted(grant.terms.recipients))},"
        yield f"  from {to_date(grant.start)} to {to_date(grant.until)} (your form: {evidence}). {_standing(grant, now)}"
    yield ""
    if platform and known.uses:
        yield f"Your record, where {platform} has one, could be used in the following: {platform} was told that you consent."
    else:
        yield "Your record was used in:" if known.uses else "Your record was used in no joint computation."
    for use in known.uses:
        yield f"- run {use.run}, begun {date_of(use.began)}, for the purpose {use.purpose!r}, together with {_listed(use.recipients)}."
        yield f"  Data used: {_listed(use.columns)}. Models that came of it: {_listed([model[:12] for model in use.models])}."
        yield f"  Kept until {to_date(use.until)}."
    for request in known.requests:
        state = f"done on {date_of(request.done)}" if request.done is not None else f"to be done by {to_date(request.due)}"
        yield f"- You asked for deletion on {date_of(request.at)}: {state}."
    yield ""
    yield "Each institution computed on its own records and handed none over. What others learned in a run is written down: ask for it."
    yield "You may withdraw your consent at any time, ask for deletion, learn the reasons of a decision about you, and have a person decide it."


def erase_text(request: EraseRequest, listed: Sequence[Deletion]) -> str:
    """The receipt of a request for deletion: for the person, and as the institution's list of work."""
    lines = [f"Request for deletion no. {request.number} of {date_of(request.at)}. Your record is used in no further run from now on."]
    lines += [f"By {to_date(item.by)}: {item.what} (run {item.run})." for item in listed] or [
        "No run used your record: nothing else to delete."
    ]
    lines.append("Your consents and withdrawals themselves are kept, under a hash and sealed, as proof of what was allowed.")
    return "\n".join(lines) + "\n"


def _scope(grant: Grant) -> str:
    parts = [f"data {_listed(sorted(grant.terms.columns))}"] if grant.terms.columns else []
    return " and ".join([*parts, *([f"all data up to level {grant.terms.level}"] if grant.terms.level else [])])


def _standing(grant: Grant, now: int) -> str:
    if grant.withdrawn != FOREVER:
        return f"Withdrawn on {date_of(grant.withdrawn)}."
    today = day_of(now)
    return "Not yet begun." if today < grant.start else "Expired." if today > grant.until else "In force."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"
