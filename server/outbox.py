"""The coordinator's outbox: the exchange that is due, kept before it is carried out, so that a coordinator that was killed repeats it.

Every party answers a batch number that it has seen with the bytes it sent then (`kernel.participant`), so repeating an exchange changes
nothing, and after it the coordinator knows again what every party sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Self

import msgspec

from federation.carriage.sealed_file import SealedFile
from federation.kernel.batch import Batch
from federation.kernel.envelope import Envelope
from federation.kernel.known import known
from federation.kernel.role import COORDINATOR

NextStop = Callable[[str, Envelope], str | None]
"""Takes who gave out an envelope; None where it was not theirs to give out."""


def straight(at: str, envelope: Envelope) -> str | None:
    """To its recipient, where no agency stands between."""
    return envelope.recipient if envelope.sender == at else None


class Cost(msgspec.Struct, frozen=True):
    """What the run has cost so far: seconds by phase, bytes and messages by party, exchanges."""

    seconds: dict[str, float] = {}
    bytes_sent: dict[str, int] = {}
    messages: dict[str, int] = {}
    exchanges: int = 0


class Exchange(msgspec.Struct, frozen=True):
    """batches: to carry to each party that is due; numbers: the last batch number of every party; done: who has finished or failed;
    lost: who did not answer and is not asked again.
    """

    batches: dict[str, Batch]
    numbers: dict[str, int]
    done: dict[str, bool]
    cost: Cost = Cost()
    lost: tuple[str, ...] = ()

    @classmethod
    def first(cls, parties: tuple[str, ...]) -> Self:
        """An empty batch to everyone, upon which they begin."""
        return cls({name: Batch(0) for name in parties}, dict.fromkeys(parties, 0), dict.fromkeys(parties, False))

    @property
    def over(self) -> bool:
        """Everyone has finished, or nobody has anything to send."""
        return all(self.done.values()) or not self.batches

    @property
    def stuck(self) -> bool:
        """Nobody has anything to send, and nobody who is left has finished or failed."""
        return not any(over for name, over in self.done.items() if name not in self.lost)

    def following(self, replies: Mapping[str, Batch], cost: Cost, lost: tuple[str, ...] = (), next_stop: NextStop = straight) -> Exchange:
        """The exchange that delivers what these replies send. lost: who gave no reply; the coordinator's participant is told so; next_stop: to
        whom an envelope goes that a party has given out.
        """
        gone = (*self.lost, *lost)
        waiting: dict[str, list[Envelope]] = {}
        for name, reply in replies.items():
            for envelope in reply.envelopes:
                to = next_stop(name, envelope)  # no party speaks, or is blamed, for another
                if to is not None and to in self.numbers and to not in gone:
                    waiting.setdefault(to, []).append(envelope)
        batches = {name: Batch(self.numbers[name] + 1, tuple(waiting[name])) for name in self.numbers if name in waiting}
        if lost:
            told = batches.get(COORDINATOR, Batch(self.numbers[COORDINATOR] + 1))
            batches[COORDINATOR] = msgspec.structs.replace(told, missing=lost)
        done = {name: over or name in gone or (name in replies and replies[name].done) for name, over in self.done.items()}
        return Exchange(batches, self.numbers | {name: batch.number for name, batch in batches.items()}, done, cost, gone)


class Outbox:
    """Keeps the exchange that is due. file: None where a killed coordinator need not go on."""

    def __init__(self, file: SealedFile | None = None) -> None:
        self._file = file

    def load(self) -> Exchange | None:
        """The exchange under way when the coordinator was last alive."""
        stored = None if self._file is None else self._file.load()
        return None if stored is None else msgspec.msgpack.decode(stored, type=known(Exchange))

    def store(self, exchange: Exchange) -> None:
        """On disk before it returns."""
        if self._file is not None:
            self._file.store(msgspec.msgpack.encode(exchange))
