"""Death, and a journal that outlives it: the process is gone as it writes a batch, and a new one begins from what was written."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from federation.kernel.envelope import Envelope
from federation.kernel.journal import MemoryJournal
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
