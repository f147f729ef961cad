"""What is asked of an institution's policies: four kinds of question, and how each reads to Cedar.

Cedar's request is (principal, action, resource, context). The principal is always the *role* of the person, never the person: equal questions
then have equal answers, which may be kept, and no name enters a decision. The resource is what is asked for; all other fields are the context,
under their own names (`schema.cedarschema`). Whether a person holds the role they claim is settled before, where signatures are checked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, Final, Literal, get_args, get_origin, get_type_hints

from federation.kernel.errors import ConfigurationError
from privacy.institutions import institution_roles
from privacy.levels import Classification, Level, PersonRole

Purpose = Literal["acquire", "decide", "monitor", "collect", "research"]
"""The leaves of privacy/purposes.py."""
Task = Literal["statistics", "binning", "train", "multi_lender", "shared_identity", "common_counterparties"]
ReleaseKind = Literal["statistics", "bin counts", "scores", "model", "check"]
Recipient = Literal["institutions", "label party", "coordinator"]
Act = Literal[
    "approve run", "change policy", "revoke approval", "set budget", "read log", "export log", "operate node", "record consent",
    "view validation",
]  # fmt: skip
Approval = Literal["by a person", "automatic"]

LARGEST: Final = 2**63 - 1
"""Cedar's integers have 64 bits."""

_ENTITY: Final[dict[str, str]] = {
    "purpose": "Purpose", "task": "Task", "classification": "Classification", "institution": "Institution", "recipient": "Recipient",
}  # fmt: skip
"""The entity type of a context field that is one of several words."""
_HOLDER: Final = "institution"
"""The field whose words are the dictionary's, and not this file's."""


@cache
def _hints(kind: type) -> dict[str, tuple[Any, frozenset[Any]]]:
    """Each field's type, and the words that it may hold where they are declared."""
    hints = get_type_hints(kind)
    found = {}
    for field in fields(kind):
        hint = hints[field.name]
        inner = get_args(hint)[0] if get_origin(hint) is frozenset else hint
        found[field.name] = (hint, frozenset(institution_roles() if field.name == _HOLDER else get_args(inner)))
    return found


def words_of(kind: type, field: str) -> tuple[Any, ...] | None:
    """The words that a field may be, in their declared order; None where it is a number, a switch, a set or free text."""
    hint = get_type_hints(kind)[field]
    return institution_roles() if field == _HOLDER else get_args(hint) if get_origin(hint) is Literal else None


def _entity(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "id": name}


@dataclass(frozen=True)
class _Ask(ABC):
    """Common to all questions. Raises ConfigurationError where a field holds a word or number that its kind does not know."""

    principal_field: ClassVar[str]
    resource_field: ClassVar[str]
    resource_type: ClassVar[str]
    unseen: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        kind: Any = type(self)
        for name, (hint, words) in _hints(kind).items():
            value = getattr(self, name)
            if get_origin(hint) is frozenset:
                good = isinstance(value, frozenset) and (value <= words if words else all(isinstance(word, str) for word in value))
            elif words:
                good = type(value) in {str, int} and value in words
            else:
                good = type(value) is hint and (hint is not int or 0 <= value <= LARGEST)
            if not good:
                wanted = ", ".join(map(str, sorted(words))) if words else "the type that its documentation states"
                raise ConfigurationError(f"{kind.__name__}.{name}", "holds what the policies do not know", f"Use {wanted}.")

    @property
    @abstractmethod
    def action(self) -> str:
        """The action's name in the schema."""

    def request(self) -> dict[str, Any]:
        """The question as cedarpy reads it."""
        context: dict[str, Any] = {}
        kind: Any = type(self)
        for field in context_fields(kind):
            value = getattr(self, field)
            if field == "approved_by":
                context[field] = [_entity("Role", role) for role in sorted(value)]
            elif field == "counterparts":
                context[field] = sorted(value)
            else:
                context[field] = _entity(_ENTITY[field], value) if field in _ENTITY else value
        resource = getattr(self, self.resource_field) if self.resource_field else "this institution"
        return {
            "principal": _entity("Role", getattr(self, self.principal_field)),
            "action": _entity("Action", self.action),
            "resource": _entity(self.resource_type, resource),
            "context": context,
        }


@dataclass(frozen=True)
class ColumnAsk(_Ask):
    """Whether this column may take part in the run.

    column: its name; level, classification: as the data dictionary says; institution: the kind that holds it; requester: the role of the
    person who asks for the run; approved_by: roles of the people of this institution who have approved it.
    """

    principal_field, resource_field, resource_type = "requester", "column", "Column"

    column: str
    level: Level
    classification: Classification
    institution: str
    purpose: Purpose
    requester: PersonRole
    approved_by: frozenset[PersonRole] = frozenset()
    task: Task = "train"

    @property
    def action(self) -> str:
        """One action."""
        return "use column"


@dataclass(frozen=True)
class RunAsk(_Ask):
    """Whether this run may be done here (approval "by a person"), or even be approved without one ("automatic").

    model: the manifest's word for it; highest_level: of the columns it uses here; counterparts: names of the other institutions;
    new_counterpart: whether one of them has not been in a finished run with this institution.
    """

    principal_field, resource_field, resource_type, unseen = "requester", "model", "Model", ("approval",)

    model: str
    task: Task
    purpose: Purpose
    requester: PersonRole
    highest_level: Level
    counterparts: frozenset[str] = frozenset()
    new_counterpart: bool = False
    approved_by: frozenset[PersonRole] = frozenset()
    approval: Approval = "by a person"

    @property
    def action(self) -> str:
        """By the approval that is sought."""
        return "start run" if self.approval == "by a person" else "approve automatically"


@dataclass(frozen=True)
class ReleaseAsk(_Ask):
    """Whether this may leave in clear.

    rows: used in all; fewest_rows: behind any one number of the release; minimum_cohort: the manifest's; parameters: fitted numbers;
    score_reveals: score vectors shown (planned: the cap); partner_columns: this institution's columns behind them; shows_labels: whether
    single labels can be found from it; noised: whether it carries the noise that the manifest states.
    """

    principal_field, resource_field, resource_type = "requester", "kind", "Release"

    kind: ReleaseKind
    task: Task
    purpose: Purpose
    requester: PersonRole
    rows: int
    fewest_rows: int
    highest_level: Level = 3
    recipient: Recipient = "institutions"
    minimum_cohort: int = 10
    parameters: int = 0
    score_reveals: int = 0
    partner_columns: int = 0
    shows_labels: bool = False
    noised: bool = False
    approved_by: frozenset[PersonRole] = frozenset()

    @property
    def action(self) -> str:
        """One action."""
        return "release"


@dataclass(frozen=True)
class PersonAsk(_Ask):
    """Whether a person of this role may do this at the node. same_person: they asked for the run, or have approved it already."""

    principal_field, resource_field, resource_type, unseen = "role", "", "Node", ("act",)

    role: PersonRole
    act: Act
    same_person: bool = False

    @property
    def action(self) -> str:
        """The act."""
        return self.act


Ask = ColumnAsk | RunAsk | ReleaseAsk | PersonAsk
KINDS: Final[dict[str, type[Any]]] = {
    "column": ColumnAsk, "run": RunAsk, "release": ReleaseAsk, "person": PersonAsk,
}  # fmt: skip


@cache
def context_fields(kind: type[_Ask]) -> tuple[str, ...]:
    """Names of the fields that rules see as `context.NAME`."""
    elsewhere = {kind.principal_field, kind.resource_field, *kind.unseen}
    return tuple(field.name for field in fields(kind) if field.name not in elsewhere)


def said(ask: Ask) -> str:
    """What is asked, for a log: which column, run, release or act; no figure of the data."""
    match ask:
        case ColumnAsk():
            return f"column {ask.column}"
        case RunAsk():
            return f"run: {ask.task}, {ask.model}"
        case ReleaseAsk():
            return f"release: {ask.kind} to {ask.recipient}"
        case PersonAsk():
            return f"{ask.act} by a {ask.role}"
