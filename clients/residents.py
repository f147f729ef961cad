"""The nodes that a process keeps between messages, and how many: what a node holds in memory can be made anew from its home.

A deployed process has one node, an in-process simulation all of them, and a worker of a larger simulation as many as fit (`most`,
`megabytes`). Messages come to the nodes in turns, so the node that was used longest ago is the one that is due next; hence the node that came
*last* leaves first, and the others stay and are met again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from clients.agency import AgencyNode
from clients.home import Home
from clients.node import Node
from federation.kernel.manifest import AGENCY

_STATM = Path("/proc/self/statm")


def node_of(root: Path, *, at_once: bool = False) -> Node:
    """The node of a home folder, an agency's where its configuration says so. at_once: as of `Node`."""
    return (AgencyNode if Home(root).config().get("role") == AGENCY else Node)(root, at_once=at_once)


class Residents:
    """Nodes by home folder. most: nodes at once; megabytes: of this process's memory, above which one node leaves at each message (Linux;
    elsewhere `most` alone holds); make: what makes a node.
    """

    def __init__(self, make: Callable[[Path], Node] = node_of) -> None:
        self._nodes: dict[Path, Node] = {}
        self.most: int | None = None
        self.megabytes: float | None = None
        self.make = make
        self.made = 0

    def node(self, root: Path) -> Node:
        """The node of a home folder, made when it is not there."""
        self._make_room(root)
        if root not in self._nodes:
            self._nodes[root] = self.make(root)
            self.made += 1
        return self._nodes[root]

    def under_way(self, root: Path) -> dict[str, str]:
        """How far the open runs of a node are, which is not made for that."""
        node = self._nodes.get(root)
        return {} if node is None else node.course.under_way()

    def dismiss(self, root: Path) -> None:
        """Forget a node's process state, as the end of its process would."""
        node = self._nodes.pop(root, None)
        if node is not None:
            node.close()

    def _make_room(self, root: Path) -> None:
        while self.most is not None and root not in self._nodes and len(self._nodes) >= self.most:
            self.dismiss(next(reversed(self._nodes)))
        if self.megabytes is not None and resident_megabytes() > self.megabytes:
            others = [other for other in reversed(self._nodes) if other != root]
            for other in others[:1]:
                self.dismiss(other)

    def __len__(self) -> int:
        return len(self._nodes)


def resident_megabytes() -> float:
    """Memory that this process holds now; 0 where the system does not tell."""
    if not _STATM.exists():
        return 0.0
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


RESIDENTS = Residents()
"""This process's."""


def resident(root: Path) -> Node:
    """The node of a home folder, kept between messages as long as this process lives and has room for it."""
    return RESIDENTS.node(root)


def under_way(root: Path) -> dict[str, str]:
    """How far the runs are that a node of this process has open, by run; nothing where the node is not here."""
    return RESIDENTS.under_way(root)


def dismiss(root: Path) -> None:
    """Forget a node's process state, as the end of its process would."""
    RESIDENTS.dismiss(root)
