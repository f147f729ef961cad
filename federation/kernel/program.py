"""A party's whole run as a chain of stages: what a participant drives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from federation.kernel.role import Role, Run
from federation.kernel.state import State

S = TypeVar("S", bound=State)


@dataclass(frozen=True)
class Stage(Generic[S]):
    """A stage: its name, unique in the session, and the role that leads from one state to the next."""

    name: str
    role: Callable[[Run], Role[S]]


class Program(Protocol[S]):
    """A party's whole run as a chain of stages."""

    kind: type[S]

    def begin(self) -> S:
        """The state before the first stage."""

    def stage(self, state: S) -> Stage[S] | None:
        """The stage that follows a state, or None at the end."""
