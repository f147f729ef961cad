"""Death, and a journal that outlives it: the process is gone as it writes a batch, and a new one begins from what was written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from federation.kernel.batch import Batch
from federation.kernel.codec import decode
from federation.kernel.envelope import Envelope
from federation.kernel.journal import MemoryJournal
from federation.kernel.role import Run
from tests.post import Post


class Killed(BaseException):
    """kill -9: the process is gone, and nothing is tidied up."""


class MortalJournal(MemoryJournal):
    """Dies at each batch once, before or after it is written; effects that were stored remain. dies: at which batches, all unless told."""

    def __init__(self, dies: Callable[[int], bool] = lambda _number: True, *, before: bool = True) -> None:
        super().__init__()
        self.dies, self.before, self.died, self.unsent = dies, before, set[int](), b""

    def answered(self, number: int, batch: bytes, reply: bytes, snapshot: bytes | None, effects: dict[str, bytes]) -> None:
        dies = number >= 0 and number not in self.died and self.dies(number)
        if not (dies and self.before):
            super().answered(number, batch, reply, snapshot, effects)
        if dies:
            self.died.add(number)
            self.unsent = reply
            raise Killed


def dying(here: Post, name: str, number: int, batch: tuple[Envelope, ...]) -> tuple[bytes, bytes]:
    """What a party was about to send as it died at this batch, and what its new process sends."""
    journal = here.journals[name]
    assert isinstance(journal, MortalJournal)
    with pytest.raises(Killed):
        here.parties[name].deliver(number, batch)
    here.parties[name] = here.build(name)
    return journal.unsent, here.parties[name].deliver(number, batch)


class SentAgain:
    """Delivers, as `Post.delivers`, where everybody dies at every batch: what is sent must be what was to be sent. compared: envelopes so far."""

    def __init__(self) -> None:
        self.compared = 0

    def __call__(self, here: Post, name: str, number: int, batch: tuple[Envelope, ...]) -> bytes:
        lost, reply = dying(here, name, number, batch)
        unsent, sent = decode(lost, Batch, name, len(lost)), decode(reply, Batch, name, len(reply))
        assert sent == unsent
        self.compared += len(sent.envelopes)
        return reply


def draw_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A weakened copy: randomness that is not the run's own, and another whenever it is asked for."""
    count, random = [0], Run.random

    def fresh(self: Run, label: str) -> Any:
        count[0] += 1
        return random(self, f"{label} {count[0]}")

    monkeypatch.setattr(Run, "random", fresh)
