"""A task of a run over many banks, whole: its plan, and all that is made of the plan's end, so that the types of both meet in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from federation.kernel.manifest import Manifest
from federation.kernel.state import State
from federation.models.bins import Bins
from federation.models.horizontal.plan import Plan
from federation.models.training import Local

Agreed: TypeAlias = Mapping[str, tuple[str, ...]]
"""Levels of each categorical column, common to all banks."""
Document: TypeAlias = dict[str, Any]
P = TypeVar("P", bound=Plan[Any])
S = TypeVar("S", bound=State)


@dataclass(frozen=True)
class Task(Generic[P, S]):
    """plan: one bank's, once levels of categorical columns are agreed; lines: what of the last state all banks have alike; document: this
    bank's share.json, by the bank's name; bins: to edit by hand, None where the task finds none; scores: columns of this bank's own file of
    scores, with the model's hash; figures: for this bank's own screen, between two sums.
    """

    plan: Callable[[Manifest, Local, Agreed], P]
    lines: Callable[[P, S], list[str]]
    document: Callable[[P, S, str], Document] = lambda _plan, _state, _me: {}
    bins: Callable[[P, S], Mapping[str, Bins] | None] = lambda _plan, _state: None
    scores: Callable[[P, S, str, bytes], Document] | None = None
    figures: Callable[[S], dict[str, float | str]] = lambda _state: {}
