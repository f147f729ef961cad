"""How long a node keeps what runs leave behind: days after a run's end, by kind and by the highest level of the columns that went into it.

PIPL art. 19: no longer than the purpose needs; JR/T 0197-2020: the higher the level, the shorter. What proves (proposals, votes, the memory of
earlier releases) stays longest, and holds no value of a record.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from federation.kernel.errors import ConfigurationError

Kind = Literal["journal", "alignment", "scores", "model", "proposal", "releases", "audit"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

DAYS: Final[Mapping[Kind, tuple[int, int, int, int, int]]] = {
    "journal": (30, 30, 14, 7, 1), "alignment": (730, 730, 365, 180, 30), "scores": (1825, 1825, 730, 365, 180),
    "model": (3650, 3650, 1825, 1825, 730), "proposal": (3650, 3650, 3650, 3650, 3650), "releases": (1825, 1825, 1825, 1825, 1825),
    "audit": (3650, 3650, 3650, 3650, 3650),
}  # fmt: skip
"""Days for levels 1 to 5. journal: secrets and messages of a session, encrypted; alignment: positions, to use again; scores: of single firms;
model: share, metrics, bins; proposal: the manifest as people saw it; releases: keyed hashes of rows, against differencing; audit: a segment of
the log, from its last entry.
"""


@dataclass(frozen=True)
class Item:
    """Something that a run has left, or a segment of the log. level: the highest of its columns; since: the day of the run's end or of its
    expiry, of a segment that of its last entry; files: names within the home, none where it lies in a ledger; manifest: what tells one run
    from another of its name.
    """

    kind: Kind
    run: str
    level: int
    since: dt.date
    files: tuple[str, ...] = ()
    manifest: str = ""


@dataclass(frozen=True)
class Due:
    """An item and the first day on which it must be gone."""

    item: Item
    on: dt.date
    rule: str


def schedule(items: Iterable[Item], own: Mapping[str, int]) -> tuple[Due, ...]:
    """When each item goes, soonest first. own: days that the institution has set for a kind. Raises ConfigurationError.

    A proposal says what else there is of its run and how long that is kept, so it goes when all else has gone, or with it.
    """
    require(own)
    found, last = list[Due](), dict[str, dt.date]()
    for item in sorted(items, key=lambda item: item.kind == "proposal"):
        days = own.get(item.kind, DAYS[item.kind][item.level - 1])
        end = "its last entry" if item.kind == "audit" else "the run's end"
        rule = f"{days} days after {end} ({'node.toml' if item.kind in own else f'{item.kind}, level {item.level}'})"
        on = item.since + dt.timedelta(days=days)
        if item.kind == "proposal":
            on = max(on, last.get(item.manifest, on))
        elif item.manifest:
            last[item.manifest] = max(on, last.get(item.manifest, on))
        found.append(Due(item, on, rule))
    return tuple(sorted(found, key=lambda due: (due.on, due.item.kind == "proposal", due.item.kind, due.item.files, due.item.run)))


def overdue(planned: Iterable[Due], today: dt.date) -> tuple[Due, ...]:
    """What must be gone today."""
    return tuple(due for due in planned if due.on <= today)


def require(own: Mapping[str, int]) -> None:
    """Raises ConfigurationError for a kind that is none, or days out of range."""
    for kind, days in own.items():
        if kind not in KINDS:
            raise ConfigurationError("node.toml: [retention]", f"{kind!r} is no kind of what is kept", f"Use {', '.join(KINDS)}.")
        if not 0 <= days <= 36_500:
            raise ConfigurationError(f"node.toml: [retention] {kind}", "is not a number of days", "Use 0 to 36500.")
