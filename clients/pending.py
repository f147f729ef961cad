"""What was proposed to a node and how it stands, in words, for `creditfed node pending`."""

from __future__ import annotations

from dataclasses import dataclass

from clients.approvals import Approvals
from clients.home import Home
from federation.kernel.manifest import Manifest
from privacy.approval.study import Study
from privacy.approval.vote import Standing, about_name, standing
from privacy.approval.words import legible

_BECAME = {"approved": "approved", "opened": "under way", "finished": "finished", "failed": "ended without a result"}
_FIRST = "waits for"


@dataclass(frozen=True)
class Proposed:
    """A run or a study; every text is legible, whatever a manifest has in it."""

    name: str
    what: str
    until: str
    votes: str
    state: str


def proposed(home: Home, now: str) -> tuple[Proposed, ...]:
    """All that was proposed, what waits for a vote first. now: ISO 8601. Raises ConfigurationError."""
    approvals, config = Approvals(home), home.config()
    me, needed = str(config["name"]), int(config.get("approvals_needed", 1))
    votes, people = approvals.votes(), approvals.approvers()
    became = {event.manifest: event.event for event in approvals.events()}
    found = []
    for manifest in approvals.proposals():
        stands = standing(votes, manifest.hash, me, people)
        against = tuple(sorted({*stands.against, *standing(votes, about_name(manifest.run), me, people).against}))
        event = became.get(manifest.hash.hex(), "")
        state = (
            _BECAME[event]
            if event in ("finished", "failed")
            else _state(stands.approved, against, needed, expired=manifest.expires <= now, event=event)
        )
        found.append(_row(manifest, stands.approved, against, state))
    for study in approvals.studies():
        stands = standing(votes, study.hash, me, people)
        found.append(_study(study, stands, _state(stands.approved, stands.against, needed, expired=study.expires <= now)))
    return tuple(sorted(found, key=lambda each: not each.state.startswith(_FIRST)))


def _state(approved: tuple[str, ...], against: tuple[str, ...], needed: int, *, expired: bool, event: str = "") -> str:
    if against:
        return "refused"
    if expired:
        return "expired"
    if event:
        return _BECAME[event]
    missing = needed - len(approved)
    return f"{_FIRST} {missing} vote{'s' if missing > 1 else ''}" if missing > 0 else "approved; not signed yet"


def _row(manifest: Manifest, approved: tuple[str, ...], against: tuple[str, ...], state: str) -> Proposed:
    model = f" {manifest.model}" if manifest.task == "train" else ""
    what = f"{manifest.task}{model} ({manifest.purpose})"
    return Proposed(*map(legible, (manifest.run, what, manifest.expires[:10], _votes(approved, against), state)))


def _study(study: Study, stands: Standing, state: str) -> Proposed:
    what = f"up to {study.runs} runs ({study.purpose})"
    return Proposed(*map(legible, (f"study:{study.name}", what, study.expires[:10], _votes(stands.approved, stands.against), state)))


def _votes(approved: tuple[str, ...], against: tuple[str, ...]) -> str:
    return ", ".join((*approved, *(f"{name} against" for name in against)))
