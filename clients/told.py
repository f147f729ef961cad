"""What the gate tells the audit log: by which files it decides, what it let through and refused, what was spent, and what it only looked at."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from clients.home import Home
from federation.kernel import suite
from federation.kernel.errors import ConfigurationError, CreditfedError, DataError, PolicyRefusal
from federation.kernel.manifest import Manifest
from federation.models.table import Table
from privacy.approval.words import legible
from privacy.policy.ask import Ask, said
from privacy.policy.decide import Decision
from privacy.store.audit_file import AuditFile


def _line(text: str) -> str:
    """A text as an entry of the log takes it."""
    return legible(" ".join(text.split()))[:200]


class Hourly:
    """Which refusals, or descriptions, are written: the first of each hour one by one, then those whose number is a power of two, lest whoever
    asks without end fill the disk. The number stands in the entry.
    """

    EACH = 200

    def __init__(self) -> None:
        self._hour, self._number = "", 0

    def count(self, now: str) -> int | None:
        """The number of one more within the hour; None where it is not to be written. now: ISO 8601."""
        if now[:13] != self._hour:
            self._hour, self._number = now[:13], 0
        self._number += 1
        return self._number if self._number <= self.EACH or self._number.bit_count() == 1 else None


class Told:
    """One node's gate. log: opened when it is first written to."""

    def __init__(self, home: Home, party: str, log: Callable[[], AuditFile], clock: Callable[[], str]) -> None:
        self._home, self._party, self._log, self._clock = home, party, log, clock
        self._refusals, self._descriptions = Hourly(), Hourly()

    def configuration(self) -> None:
        """By which files this node decides, at first and whenever one of them was changed, by a command or by hand."""
        files = {name: [self._home.root / f"{name}.toml"] for name in ("node", "approvers", "consortium")}
        files["policy"] = sorted((self._home.root / "policy").glob("*.cedar"))
        digests = {}
        for name, paths in files.items():
            parts = (part for path in paths if path.is_file() for part in (path.name, path.read_bytes()))
            digests[name] = suite.digest("configuration", *parts).hex()
        told, text = self._home.root / "approvals" / "in-force", msgspec.json.encode(digests)
        if not told.exists() or told.read_bytes() != text:
            self._log().append("configuration", "", change="in force", **digests)
            self._home.keep(told, text)

    def described(self, rows: int, columns: int) -> None:
        """Somebody asked what the source's columns are, for which it is opened when it has changed; its rows went nowhere."""
        if (number := self._descriptions.count(self._clock())) is not None:
            beyond = {"of_this_hour": number} if number > Hourly.EACH else {}  # a worker of several counts its own: logs must not differ
            self._log().append("vault", "", described="its columns", rows=rows, columns=columns, **beyond)

    def allowed(self, manifest: Manifest, ask: Ask, decision: Decision) -> None:
        """The policies allow what was asked."""
        self._log().append("policy", manifest.run, asked=said(ask)[:200], allowed=True, rules=", ".join(decision.rules)[:200])

    def opened_rows(self, manifest: Manifest, table: Table) -> None:
        """The vault has opened the rows of a run."""
        self._log().append(
            "vault",
            manifest.run,
            manifest=manifest.hash.hex(),
            rows=table.rows,
            columns=len(table.columns),
            snapshot=table.commitment.hex(),
        )

    def approved(self, manifest: Manifest, by: tuple[str, ...], snapshot: bytes) -> None:
        """The run is let through."""
        self._log().append(
            "approval", manifest.run, manifest=manifest.hash.hex(), party=self._party, by=", ".join(by), purpose=manifest.purpose,
            task=manifest.task, study=manifest.study, expires=manifest.expires, snapshot=snapshot.hex(),
        )  # fmt: skip
        self._log().sync()

    def refused(self, manifest: Manifest, error: CreditfedError) -> None:
        """The run is not let through, and why."""
        own = isinstance(error, (PolicyRefusal, DataError, ConfigurationError))
        if own and (number := self._refusals.count(self._clock())) is not None:
            self._log().append(
                "policy", manifest.run, allowed=False, code=error.code.value, where=_line(error.where), what=_line(error.what),
                of_this_hour=number,
            )  # fmt: skip
            self._log().sync()

    def released(self, manifest: Manifest, table: Table) -> None:
        """What a run releases begins to leave."""
        self._log().append(
            "release", manifest.run, manifest=manifest.hash.hex(), task=manifest.task, rows=table.rows, columns=len(table.columns)
        )
        self._log().sync()
