"""What a participant must not lose, behind one small interface; the carriage keeps it in SQLite, a test or a laptop in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass
class Record:
    """snapshot: the participant at its stage's start; entries: the batches received since; number and reply: of the last batch answered."""

    snapshot: bytes
    entries: list[bytes] = field(default_factory=list)
    number: int = -1
    reply: bytes = b""
    effects: dict[str, bytes] = field(default_factory=dict)


class Journal(Protocol):
    """Every write is one transaction, on disk before it returns."""

    def load(self) -> Record | None:
        """All that was kept, or None for a new participant."""

    def answered(self, number: int, batch: bytes, reply: bytes, snapshot: bytes | None, effects: dict[str, bytes]) -> None:
        """A batch and what was sent for it. With a snapshot a new stage began: entries are dropped, effects replaced by those given;
        without one these are kept beside the others.
        """

    def keep(self, label: str, value: bytes) -> None:
        """An effect of the current stage."""


class MemoryJournal:
    """A journal that lives as long as its owner does; a test 'kills' a participant by handing its journal to a new one. record: what it begins
    with, where a journal that was kept is only looked at.
    """

    def __init__(self, record: Record | None = None) -> None:
        self._record = record

    def load(self) -> Record | None:
        """All that was kept."""
        return self._record

    def answered(self, number: int, batch: bytes, reply: bytes, snapshot: bytes | None, effects: dict[str, bytes]) -> None:
        """A batch and what was sent for it."""
        if snapshot is not None:
            self._record = Record(snapshot, [], number, reply, dict(effects))
        elif self._record is not None:
            self._record.entries.append(batch)
            self._record.number, self._record.reply = number, reply
            self._record.effects.update(effects)

    def keep(self, label: str, value: bytes) -> None:
        """An effect of the current stage."""
        if self._record is not None:
            self._record.effects[label] = value
