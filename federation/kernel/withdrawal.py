"""Consent that is withdrawn while a run goes on: heard when a stage begins, kept with that stage's snapshot, and final for the run.

The node's answer is taken once for each stage and stored before it is used, as an effect is, since other effects (a noise draw) may depend on
it; then it is part of the stage's snapshot. So a process that comes back after a death works with the rows that the stage was begun with,
whoever has withdrawn since. A row that is gone stays gone, even if the node's answer later forgets it.
"""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import AbortCode, LocalError, PolicyRefusal
from federation.kernel.program import Program
from federation.kernel.state import State

S = TypeVar("S", bound=State)
Mask = NDArray[np.bool_]

RESULTS = "results"
"""The name under which rows are noted that withdrew in the last stage: they are left out of what the party writes for itself."""


@runtime_checkable
class Forgetting(Program[S], Protocol[S]):
    """A program that can go on without some of its party's rows."""

    def without(self, state: S, gone: Mask) -> S:
        """The state from which every later stage works as though these rows of the party's table, (n,) bool, did not exist.

        gone holds those of earlier calls too. Raises PolicyRefusal (code COHORT) where too few rows are left.
        """


class Withdrawal(msgspec.Struct, frozen=True):
    """stage: the first that worked without the rows; rows: how many more than before."""

    stage: str
    rows: int


class Withdrawals(msgspec.Struct, frozen=True):
    """All that were heard so far. rows: of the table, 0 before the first; packed: `gone`, eight rows to a byte; log: by stage."""

    rows: int = 0
    packed: bytes = b""
    log: tuple[Withdrawal, ...] = ()

    @property
    def gone(self) -> Mask:
        """Which rows are gone, (rows,) bool."""
        return np.unpackbits(np.frombuffer(self.packed, np.uint8), count=self.rows).astype(bool)

    def heard(self, answer: bytes, stage: str, me: str) -> Withdrawals:
        """With an answer, as `packed`, at the beginning of a stage; itself where nobody else is gone. Raises LocalError for a wrong mask."""
        if not answer:
            return self
        rows = int.from_bytes(answer[:8], "big")
        if self.rows and rows != self.rows:
            raise LocalError(me, _WRONG, _BUG)
        gone = Withdrawals(rows, answer[8:]).gone
        gone = gone | self.gone if self.rows else gone
        more = int(gone.sum()) - sum(entry.rows for entry in self.log)
        return Withdrawals(len(gone), np.packbits(gone).tobytes(), (*self.log, Withdrawal(stage, more))) if more else self


_WRONG, _BUG = "withdrawn rows that are not a mask over the rows of its table", "This is a bug in the node: report it."


def packed(answer: Mask | None, me: str) -> bytes:
    """A node's answer as bytes: how many rows the table has, in eight bytes, then eight rows to a byte; empty where nobody is gone.

    Raises LocalError for what is not a mask.
    """
    if answer is None:
        return b""
    if answer.dtype != np.bool_ or answer.ndim != 1:
        raise LocalError(me, _WRONG, _BUG)
    return len(answer).to_bytes(8, "big") + np.packbits(answer).tobytes() if answer.any() else b""


def without(program: Program[S], state: S, gone: Mask, rule: str, me: str) -> S:
    """The state that goes on without rows, (n,) bool. rule: the run's for withdrawals, "" when the last stage has ended and nothing is to end.

    Raises PolicyRefusal (code CONSENT) where the run may not go on, or its program cannot, without them.
    """
    if rule == "abort":
        raise refusal(me, 'withdrawal = "abort"')
    if isinstance(program, Forgetting):
        after: S = program.without(state, gone)
        return after
    if rule:
        raise refusal(me, "this program cannot go on without a row")
    return state


def refusal(me: str, rule: str) -> PolicyRefusal:
    """Why a run ends where rows were withdrawn and it may not go on, or cannot."""
    return PolicyRefusal(
        me, f"consent to the use of some of its rows was withdrawn, or has ended, during the run (rule: {rule})",
        "Nothing more was sent. Start a new run: it is drafted without these rows.", AbortCode.CONSENT,
    )  # fmt: skip
