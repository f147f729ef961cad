"""The default policies once more, as one short function in another language, and random questions to compare them on."""

from __future__ import annotations

import random
from typing import get_args

from privacy.institutions import institution_roles
from privacy.levels import PERSON_ROLES, Classification
from privacy.policy.ask import Act, Ask, ColumnAsk, PersonAsk, Purpose, Recipient, ReleaseAsk, ReleaseKind, RunAsk, Task


# BEGIN reference: at most 60 lines
def reference(ask: Ask) -> bool:
    """Whether the default policies allow it."""
    match ask:
        case ColumnAsk():
            return column(ask)
        case RunAsk(approval="automatic"):
            plain = ask.task != "train" and ask.highest_level <= 2
            return ask.requester in ("modeller", "validator") and plain and not ask.new_counterpart
        case RunAsk():
            return asks(ask.requester, ask.task == "statistics") and (not ask.new_counterpart or "owner" in ask.approved_by)
        case ReleaseAsk():
            return release(ask)
        case PersonAsk():
            return person(ask)


def asks(requester: str, statistics: bool) -> bool:
    return requester in ("modeller", "validator") or (statistics and requester in ("owner", "risk officer"))


def column(ask: ColumnAsk) -> bool:
    owner = "owner" in ask.approved_by
    if ask.institution == "agency" or ask.classification == "C3" or not asks(ask.requester, ask.task == "statistics"):
        return False
    if ask.classification == "C2" and not owner:
        return False
    if ask.purpose == "research":
        return ask.level <= 2 or (ask.level == 3 and owner)
    if ask.level <= 3:
        return True
    return ask.level == 4 and owner and ask.purpose in ("decide", "monitor")


def release(ask: ReleaseAsk) -> bool:
    owner = "owner" in ask.approved_by
    if ask.recipient == "coordinator" or not asks(ask.requester, ask.kind == "statistics"):
        return False
    if ask.minimum_cohort < 10 or ask.fewest_rows < ask.minimum_cohort:
        return False
    if ask.shows_labels and not (ask.noised or owner):
        return False
    if ask.kind == "model":
        return 10 * ask.parameters <= ask.rows
    if ask.kind == "scores":
        return owner or ask.score_reveals < ask.partner_columns
    return ask.noised or ask.highest_level <= 3


def person(ask: PersonAsk) -> bool:
    may = {
        "owner": {"approve run", "change policy", "revoke approval", "read log"}, "risk officer": {"revoke approval", "set budget", "read log"},
        "auditor": {"read log", "export log"}, "operator": {"operate node", "record consent"}, "validator": {"view validation"},
    }  # fmt: skip
    return ask.act in may.get(ask.role, set()) and not (ask.same_person and ask.act in ("approve run", "change policy"))


# END reference


def approvals(draw: random.Random) -> frozenset[str]:
    """Nobody, the owner, or some people."""
    return draw.choice((frozenset(), frozenset({"owner"}), frozenset(draw.sample(PERSON_ROLES, draw.randint(1, 4)))))


def random_ask(draw: random.Random) -> Ask:
    """A question of any kind. Those who may ask are drawn more often, and numbers near the places where rules turn."""
    requester = draw.choice(PERSON_ROLES + ("modeller", "validator") * 3)
    task, purpose, level = draw.choice(get_args(Task)), draw.choice(get_args(Purpose)), draw.randint(1, 5)
    match draw.randrange(4):
        case 0:
            holder = draw.choice((*institution_roles(), "bank", "platform", "tax"))
            kind = draw.choice((*get_args(Classification), "C1", "C1"))
            return ColumnAsk(f"c{draw.randrange(5)}", level, kind, holder, purpose, requester, approvals(draw), task)
        case 1:
            others = frozenset(draw.sample(("bank", "platform", "tax"), draw.randint(0, 3)))
            approval = draw.choice(("by a person", "automatic"))
            return RunAsk("scorecard", task, purpose, requester, level, others, draw.random() < 0.3, approvals(draw), approval)
        case 2:
            cohort = draw.choice((9, 10, 10, 10, 11, 30))
            parameters, columns = draw.choice((0, 1, 12, 40)), draw.choice((0, 1, 12))
            return ReleaseAsk(
                draw.choice(get_args(ReleaseKind)), task, purpose, requester,
                rows=max(0, 10 * parameters + draw.choice((-1, 0, 1, 500))),
                fewest_rows=max(0, cohort + draw.choice((-1, 0, 1, 20))),
                highest_level=level, recipient=draw.choice((*get_args(Recipient), "label party", "institutions")),
                minimum_cohort=cohort, parameters=parameters,
                score_reveals=max(0, columns + draw.choice((-1, 0, 1))), partner_columns=columns,
                shows_labels=draw.random() < 0.3, noised=draw.random() < 0.4, approved_by=approvals(draw),
            )  # fmt: skip
        case _:
            return PersonAsk(draw.choice(PERSON_ROLES), draw.choice(get_args(Act)), draw.random() < 0.4)


def sample(size: int, seed: int) -> list[Ask]:
    """Random questions; the same for the same seed."""
    draw = random.Random(seed)
    return [random_ask(draw) for _ in range(size)]
