"""Which rows a run may use by consent, as the node keeps it: decided once when the vault opens, the same after a restart, watched until the end.

What was decided for a run that is open lies beside its journal (RUN.consented): a bit for each row of the source and where the ledger stood.
Without it a process that starts again would find fewer rows than the run began with whenever somebody had withdrawn meanwhile, and could not
go on; with it those who withdrew are told to the run's next stage instead. Where an agency holds the consents its statements decide in place
of the ledger (`clients.stated`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from clients.consent import into_log, open_ledger
from clients.home import Home
from clients.linked import asks_of
from clients.party_config import PartyConfig
from clients.stated import StatedConsents
from federation.kernel.errors import AbortCode, DataError
from federation.kernel.known import known
from federation.kernel.manifest import Manifest
from federation.models.table import Table
from privacy.consent.withdrawals import Mark
from privacy.store.audit_file import AuditFile
from privacy.store.consent_ledger import ConsentLedger

Mask = NDArray[np.bool_]


class _Decided(msgspec.Struct, frozen=True):
    """manifest: its hash; revision, at: where the ledger stood; rows: of the source; packed: the mask over them, eight to a byte."""

    manifest: bytes
    revision: int
    at: int
    rows: int
    packed: bytes

    @property
    def mask(self) -> Mask:
        return np.unpackbits(np.frombuffer(self.packed, np.uint8), count=self.rows).astype(bool)

    @property
    def mark(self) -> Mark:
        return Mark(self.revision, self.at)


class Consents:
    """One node's, for rows whose legal basis is consent; for all others every method lets all rows through. Where a row speaks of a
    firm and of its owner, both are asked, each for what is theirs (`clients.linked`).
    """

    def __init__(self, home: Home, config: PartyConfig, log: Callable[[], AuditFile], clock: Callable[[], str]) -> None:
        self._home, self._config, self._log, self._clock = home, config, log, clock
        self._decided: dict[bytes, _Decided] = {}
        self.stated = StatedConsents(home, config, log, clock)

    @property
    def needed(self) -> bool:
        """Whether rows are used by consent."""
        return self._config.legal_basis in ("consent", "agency")

    @property
    def at_agency(self) -> bool:
        """Whether an agency holds the consents."""
        return self._config.legal_basis == "agency"

    def choose(self, manifest: Manifest) -> Callable[[Sequence[str], Sequence[str]], Mask] | None:
        """What tells the vault which rows of the source may be used in a run, by their firms and owners; None where consent is not the basis."""
        if not self.needed:
            return None

        def permitted(firms: Sequence[str], owners: Sequence[str]) -> Mask:
            decided = self._of(manifest)
            if decided is None and self.at_agency:
                mask = self.stated.permitted(manifest, firms)
                decided = self._decided[manifest.hash] = _Decided(manifest.hash, 0, 0, len(mask), np.packbits(mask).tobytes())
            elif decided is None:
                with closing(self._ledger()) as ledger:
                    mark = ledger.mark(self._clock())  # first, so that nothing falls between the two
                    mask = self._permitted(ledger, manifest, firms, owners)
                decided = _Decided(manifest.hash, mark.revision, mark.at, len(mask), np.packbits(mask).tobytes())
                self._decided[manifest.hash] = decided
            if decided.rows != len(firms):
                what = "the source has another number of rows than when the run was approved"
                raise DataError(self._config.name, what, "Restore it, or start a new run.")
            return decided.mask

        return permitted

    def _permitted(self, ledger: ConsentLedger, manifest: Manifest, firms: Sequence[str], owners: Sequence[str]) -> Mask:
        asks, now = asks_of(manifest, self._config), self._clock()
        mask = ledger.permitted(firms, asks.firm.purpose, asks.firm.columns, asks.firm.recipients, now)
        if asks.owner is not None:
            mask &= ledger.permitted(owners, asks.owner.purpose, asks.owner.columns, asks.owner.recipients, now, "owner")
        return mask

    def again(self, manifest: Manifest) -> None:
        """Forget what was decided for a run that is not open: consents are asked for anew.

        What an opening that was cut short has kept stays, since who left meanwhile is then told to the run; not so where an agency holds the
        consents, whose statements are numbered from the opening on.
        """
        kept = self._stored(manifest) is not None
        if kept and self.at_agency:
            self._path(manifest).unlink()
        if not kept or self.at_agency:
            self._decided.pop(manifest.hash, None)

    def opened(self, manifest: Manifest, table: Table) -> None:
        """A run begins: what was decided is kept beside its journal, and the ledger notes the use, before anything leaves."""
        decided = self._of(manifest)
        if decided is None:
            return
        if self._config.journal != "memory":
            self._home.keep(self._path(manifest), msgspec.json.encode(decided))
        if self.at_agency:  # whose ledger notes the use
            return
        until = dt.date.fromisoformat(manifest.expires[:10])
        asks = asks_of(manifest, self._config)
        with closing(self._ledger()) as ledger:
            ledger.record_use(manifest.run, table.firms, asks.firm, until, self._clock())
            if asks.owner is not None:
                ledger.record_use(manifest.run, table.owners, asks.owner, until, self._clock(), "owner")

    def gone(self, manifest: Manifest, table: Table) -> Mask | None:
        """Rows of an open run whose consent was withdrawn, or has run out, since it was opened, (n,); None where nobody's. Raises DataError."""
        decided = self._of(manifest)
        if decided is None:
            return None
        if self.at_agency:
            gone = self.stated.gone(manifest, table.firms)
            return self._gone_meanwhile(manifest, gone, gone=int(gone.sum()))
        asks = asks_of(manifest, self._config)
        with closing(self._ledger()) as ledger:
            found = ledger.gone(table.firms, asks.firm, decided.mark, self._clock())
            mask, counts = found.mask, {"withdrawn": found.withdrawn, "run_out": found.run_out}
            if asks.owner is not None:
                found = ledger.gone(table.owners, asks.owner, decided.mark, self._clock(), "owner")
                mask, counts = mask | found.mask, counts | {"owners_withdrawn": found.withdrawn, "owners_run_out": found.run_out}
        return self._gone_meanwhile(manifest, mask, **counts)

    def _gone_meanwhile(self, manifest: Manifest, mask: Mask, **counts: int) -> Mask | None:
        if not mask.any():
            return None
        self._log().append("consent", manifest.run, change="gone meanwhile", **counts)
        return mask

    def finished(self, manifest: Manifest, model: str) -> None:
        """A model came of the run: whoever asks is told."""
        if self.needed and model and not self.at_agency:
            with closing(self._ledger()) as ledger:
                ledger.record_model(manifest.run, model, self._clock())

    def _of(self, manifest: Manifest) -> _Decided | None:
        return self._decided.get(manifest.hash) or self._stored(manifest)

    def _stored(self, manifest: Manifest) -> _Decided | None:
        path = self._path(manifest)
        if not self.needed or not path.exists():
            return None
        try:
            decided = msgspec.json.decode(path.read_bytes(), type=known(_Decided))
        except msgspec.MsgspecError:
            what = "what was decided about consents for this run cannot be read"
            raise DataError(str(path), what, "Start the run anew, under another name.", AbortCode.CONSENT) from None
        if decided.manifest != manifest.hash:  # of another manifest of this name: decided for other columns, recipients or days
            return None
        self._decided[manifest.hash] = decided
        return decided

    def _path(self, manifest: Manifest) -> Path:
        return self._home.journal(manifest.run).with_suffix(".consented")

    def _ledger(self) -> ConsentLedger:
        return open_ledger(self._home, into_log(self._log()))
