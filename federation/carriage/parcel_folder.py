"""A folder of sealed parcels as a courier keeps it: what in it may be one, and what its names say, which is nothing.

A file that is still being copied reads as one that is cut short; whoever looks again later finds it whole.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from federation.kernel import suite
from federation.kernel.errors import PeerError
from federation.kernel.sealed_parcel import HEAD_BYTES, LARGEST, ticket_of

SUFFIX: Final = ".sealed"
READABLE: Final = 0o644
"""Mode of a sealed file: another user may carry it."""


def file_name(ticket: bytes) -> str:
    """What a file with this ticket is called: a number that tells nothing, the same each time."""
    return f"{int.from_bytes(suite.digest('exchange name', ticket)[:8], 'big'):020d}{SUFFIX}"


@dataclass(frozen=True)
class Found:
    """A file that may be a parcel. mark: changes when the file does; ticket: what its head says, None where it has none."""

    path: Path
    size: int
    mark: tuple[int, int, int]
    ticket: bytes | None


def found(folder: Path) -> list[Found]:
    """The files whose names end as parcels' do, by name; links and other things that are no plain files are left alone. Raises OSError."""
    listed: list[Found] = []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False):
                state = entry.stat(follow_symlinks=False)
                listed.append(
                    Found(Path(entry.path), state.st_size, (state.st_ino, state.st_size, state.st_mtime_ns), _ticket(Path(entry.path)))
                )
    return listed


def _ticket(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return ticket_of(file.read(HEAD_BYTES), path.name)
    except (OSError, PeerError):
        return None


def content(file: Found, limit: int = LARGEST) -> bytes | None:
    """All its bytes, None where there are more than the limit or it cannot be read (it may have been carried on meanwhile)."""
    if file.size > limit:
        return None
    try:
        with file.path.open("rb") as opened:
            raw = opened.read(limit + 1)
    except OSError:
        return None
    return raw if len(raw) <= limit else None
