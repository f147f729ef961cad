"""How often a manifest may be proposed within a day, one that is approved as well: each time the source is opened and the log grows."""

from __future__ import annotations

import msgspec

from clients.home import Home
from federation.kernel.errors import AbortCode, DataError, PolicyRefusal
from federation.kernel.known import known
from federation.kernel.manifest import Manifest

OF_ONE, OF_ALL = 100, 1_000
"""Proposals within a day (UTC): of one manifest, and of all together."""


class Today(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """approvals/today. day: YYYY-MM-DD; times: proposals by the manifest's hash."""

    day: str = ""
    times: dict[str, int] = {}


def count(home: Home, manifest: Manifest, now: str) -> None:
    """Count one more, on disk when this returns. now: ISO 8601. Raises PolicyRefusal (code cap) for one too many."""
    path, name = home.root / "approvals" / "today", manifest.hash.hex()
    try:
        today = msgspec.json.decode(path.read_bytes(), type=known(Today))
    except FileNotFoundError:
        today = Today()
    except msgspec.MsgspecError:
        raise DataError(str(path), "the count of today's proposals cannot be read", "Remove the file: counting begins anew.") from None
    if today.day != now[:10]:
        today = Today(now[:10])
    times, together = today.times.get(name, 0), sum(today.times.values())
    if times >= OF_ONE or together >= OF_ALL:
        what = f"run {manifest.run} was proposed {times} times today (most: {OF_ONE}), all runs {together:,} times (most: {OF_ALL:,})"
        raise PolicyRefusal("approvals", what, "Nothing was opened. Propose it again tomorrow (UTC).", AbortCode.CAP)
    home.keep(path, msgspec.json.encode(Today(today.day, today.times | {name: times + 1})))
