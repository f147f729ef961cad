"""The post to resident nodes over the SuperLink: as over any Grid, to nodes that come and go."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from federation.carriage.flower import Line
from federation.carriage.mailbox import Parcel
from server.post import GridPost, LostNode

_HELD = 0.25
"""Seconds that a wait lasts where nobody rings."""
_SILENCE = 120.0
"""Seconds after which a node that is online and has not answered is asked again, twice as many each time: an answer may be lost on the way."""
_ASK_AGAIN = 1.0
"""Seconds between two looks at who has come online, and at least between two questions to one node."""


class LinePost(GridPost):
    """Nodes that come and go: what is for one that is offline waits for it, and what one was asked before its process was killed it is asked
    again, since Flower delivers once. A node answers a batch that it has seen with the bytes that it sent then.
    """

    def __init__(self, line: Line, nodes: Mapping[str, int], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(line, nodes)
        self._line, self._clock = line, clock
        self._asked: dict[str, tuple[Parcel, float, float]] = {}
        self._waiting: dict[str, Parcel] = {}
        self._looked = -_ASK_AGAIN

    def send(self, parcels: Mapping[str, Parcel]) -> None:
        """Give out to those who are online; the others have theirs when they come."""
        online = set(self._line.get_node_ids())
        self._waiting |= {name: parcel for name, parcel in parcels.items() if self.nodes[name] not in online}
        self._give({name: parcel for name, parcel in parcels.items() if self.nodes[name] in online})

    def _give(self, parcels: Mapping[str, Parcel]) -> None:
        for name, parcel in parcels.items():
            patience = 2 * self._asked[name][2] if name in self._asked else _SILENCE
            self._asked[name] = parcel, self._clock(), patience
        if parcels:
            super().send(parcels)

    def collect(self) -> dict[str, Parcel | LostNode]:
        """Answers; nobody is lost here but by the courier's patience."""
        self._ask_again()
        found = super().collect()
        for name in found:
            parcel, _, _ = self._asked.pop(name)
            if isinstance(found[name], LostNode):
                self._waiting[name] = parcel
        return {name: answer for name, answer in found.items() if not isinstance(answer, LostNode)}

    def _ask_again(self) -> None:
        now = self._clock()
        anew = {
            name: parcel
            for name, (parcel, at, patience) in self._asked.items()
            if now - at > (_ASK_AGAIN if self._line.came_online(self.nodes[name]) > at else patience)
        }
        if anew:
            before = [identifier for identifier, name in self._due.items() if name in anew]
            self._due = {identifier: name for identifier, name in self._due.items() if name not in anew}
            online = set(self._line.get_node_ids())
            for name in anew:
                if self.nodes[name] not in online:  # or it was revoked: Flower's state would not take a message for it
                    del self._asked[name]
            self.send(anew)
            self._line.withdraw(before)  # after the new ones, which have the same pieces: a node that comes and goes piles nothing up
        if self._waiting and now - self._looked >= _ASK_AGAIN:
            self._looked = now
            waiting, self._waiting = self._waiting, {}
            self.send(waiting)

    def forget(self) -> None:
        """Wait no longer for what has not come."""
        super().forget()
        self._asked.clear()
        self._waiting.clear()

    def wait(self) -> None:
        """Until a node has said something, or a moment has passed."""
        self._line.wait(_HELD)
