"""The institution's node: what it says about itself, what it signs, and its participant in each session.

Five operations, each answered from this machine's own files and rules:
    describe   name, role, identity key, columns with kind and level: what a manifest is drafted from
    propose    a manifest -> this institution's signature, or a refusal
    open       the manifest with everybody's signatures -> a participant with a journal
    deliver    a batch of envelopes -> a batch of envelopes
    voted      whether people have decided on a manifest that was proposed and waits for them: opens nothing, and writes nothing
and `consents`, where an agency holds them: its statement -> this institution's acknowledgement.

Each may be answered by another process than the one before (`simulations.ray_workers`): whatever a node keeps in memory is made anew from
its files when another process has gone on with the run, and each may be asked again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from clients.course import Course
from clients.gate import Gate
from clients.home import Home
from clients.open_run import OpenRun
from clients.part import files_of, part_in
from clients.party_config import PartyConfig
from clients.recorded import INDEX, Results, put_away
from clients.results import read_alignment, read_bins
from clients.stated import read_told
from clients.vault import Vault
from federation.carriage.journal_file import JournalFile, Overtaken
from federation.carriage.mailbox import DECIDED, UNDECIDED, Parcel
from federation.kernel import suite
from federation.kernel.batch import Batch
from federation.kernel.codec import decode
from federation.kernel.errors import ConfigurationError, CreditfedError, DataError, LocalError, PeerError, PolicyRefusal
from federation.kernel.journal import Journal, MemoryJournal
from federation.kernel.known import known
from federation.kernel.manifest import Description, Manifest, PartyDeclaration
from federation.kernel.manifest_rules import read_manifest
from federation.kernel.participant import Participant
from federation.kernel.role import COORDINATOR
from federation.kernel.signatures import Opening, Signature, check_signatures, sign_manifest
from federation.models.bins import Bins
from federation.models.horizontal.program import Bank
from federation.models.table import Table
from federation.models.training import Local

LARGEST_BATCH = 1 << 30


Observer = Callable[[str, dict[str, float | str]], None]


class Node:
    """One institution's node over its home folder. observer: takes progress for this institution's own screen.

    at_once: its owners' keys, which then lie here, approve every run by themselves. Only simulations say so, of nodes that they throw away.
    """

    def __init__(self, root: Path, *, at_once: bool = False) -> None:
        self.home = Home(root)
        self.config = PartyConfig.from_dict(self.home.config(), self.home.root)
        self.identity = self.home.key("identity")
        self.gate = Gate(self.home, self.config, self.identity, at_once=at_once)
        self.observer: Observer = lambda _party, _figures: None
        self.vault = Vault(self.config, self.home.key("snapshot salt"))
        self.course = Course()
        self._runs: dict[str, OpenRun] = {}
        self.gate.retention.resume()

    @property
    def name(self) -> str:
        """The institution's name in the consortium."""
        return self.config.name

    def answer(self, parcel: Parcel) -> Parcel:
        """Carry out one operation. Raises CreditfedError with a text for this node's own log."""
        try:
            try:
                return self._answer(parcel)
            except Overtaken:  # a process that was thought dead was still at it; what it has sent stands, and is sent again
                self._forget(parcel.run)
                return self._answer(parcel)
        except CreditfedError as error:
            self._note_failure(error)
            raise

    def _answer(self, parcel: Parcel) -> Parcel:
        if parcel.operation == "describe":
            return self._reply(parcel, msgspec.json.encode(self.describe()))
        if parcel.operation == "propose":
            with self.gate.approvals.alone():
                signature = self.approve(read_manifest(parcel.payload))
            self.course.signed(parcel.run)
            return self._reply(parcel, msgspec.json.encode(signature))
        if parcel.operation == "open":
            with self.gate.approvals.alone():
                return self._reply(parcel, self.open(parcel.run, parcel.payload))
        if parcel.operation == "deliver":
            return self._reply(parcel, self.deliver(parcel.run, parcel.payload))
        if parcel.operation == "voted":
            return self._reply(parcel, DECIDED if self.gate.assent.decided(parcel.run, parcel.payload) else UNDECIDED)
        return self._answer_other(parcel)

    def _answer_other(self, parcel: Parcel) -> Parcel:
        if parcel.operation == "consents":
            with self.gate.approvals.alone():
                return self._reply(parcel, self.hear_consents(parcel.payload))
        raise PeerError(COORDINATOR, "an unknown operation", "describe, propose, voted, open, deliver or consents")

    def hear_consents(self, payload: bytes) -> bytes:
        """Take a consent statement of the agency that holds the consents; returns the acknowledgement. Raises PeerError, ConfigurationError."""
        manifest = read_manifest(read_told(payload).manifest)
        opened = self._opened(manifest.run)
        if opened is not None:
            self._require_open(manifest, opened)
        return self.gate.consents.stated.hear(manifest, payload, self.identity, opened=opened is not None)

    def close(self) -> None:
        """Let go of all that is kept in memory, and of open files; the node can be made anew from its home."""
        for run in list(self._runs):
            self._forget(run)
        self.vault.forget()

    def _forget(self, run: str) -> None:
        """What is in memory of a run; its journal stays."""
        if (open_run := self._runs.pop(run, None)) is not None:
            open_run.release()

    def _current(self, run: str) -> OpenRun | None:
        """A run that is open in this process, unless another has gone on with it since."""
        if run in self._runs and self._runs[run].overtaken():
            self._forget(run)
        return self._runs.get(run)

    def broken(self, parcel: Parcel, kind: str) -> Parcel:
        """After an internal error: end the run at this party and tell its peers so, with a code and nothing else."""
        error = LocalError(self.name, f"an internal error ({kind})", "This is a bug: report it with the steps that led here.")
        self._note_failure(error)
        open_run = self._runs.get(parcel.run)
        if parcel.operation != "deliver" or open_run is None:
            return Parcel("refused", parcel.run, error.code.value.encode())
        return self._reply(parcel, open_run.participant.abort(error))

    def describe(self) -> Description:
        """What this node offers: columns, never rows."""
        facts = self.vault.facts()
        self.gate.told.described(facts.rows, len(facts.columns))
        party = PartyDeclaration(
            name=self.name, role=self.config.role, identity=suite.signing_public(self.identity).hex(), label=self.config.has_outcomes,
            dated=facts.dated, months=(facts.periods[0], facts.periods[-1]) if facts.periods else (), columns=facts.columns,
            taken="" if facts.dated else self.config.taken or "", through=self.config.through, consents_at_agency=self.gate.consents.at_agency,
            repayments=self.config.repayments is not None,
        )  # fmt: skip
        return Description(party, facts.id_kind, facts.several_rows_per_firm, facts.periods)

    def approve(self, manifest: Manifest) -> Signature:
        """Sign a manifest that says of this institution what the institution says of itself, if the gate lets it through.

        A run that is open already was let through, and has the same signature again.
        """
        opened = self._opened(manifest.run)
        if opened is not None:
            self._require_open(manifest, opened)
            return next(signature for signature in opened.signatures if signature.party == self.name)
        self.gate.asked(manifest)
        mine = self.describe().party.without(manifest.select.drop_sources)
        if self.name not in manifest.members or manifest.party(self.name) != mine:
            raise ConfigurationError(
                self.name, "the manifest declares other columns, role or key for this institution than its own configuration",
                "Draft the manifest again from the node's current description.",
            )  # fmt: skip
        table = self.gate.admit(manifest, lambda: self._asked_anew(manifest))
        return sign_manifest(manifest, self.name, table.commitment, self.identity, self.gate.witness(manifest).seen())

    def _require_open(self, manifest: Manifest, opened: Opening) -> None:
        """It is the run that is open under its name, and may go on."""
        if opened.manifest != manifest.canonical():
            raise PeerError(COORDINATOR, "another manifest for a run that is open already", "a new run name, or a new attempt")
        self.gate.require_standing(manifest)

    def open(self, run: str, payload: bytes) -> bytes:
        """Check every signature, then create this party's participant; the same manifest again finds the one there is, or its journal."""
        opening = _json(payload, Opening)
        manifest = read_manifest(opening.manifest)
        approved = check_signatures(manifest, opening.signatures)
        if run != manifest.run:
            raise PeerError(COORDINATOR, "a manifest of another run", "the run it was sent for")
        open_already = self._opened(run)
        if open_already is None and self.gate.assent.opened_before(manifest) and not self.home.journal(run).exists():
            what = "this run was opened before, and its journal is gone"  # begun anew it would release twice what was counted once
            raise DataError(self.name, what, "Start the run anew, under another name or as a new attempt.")
        if self.approve(manifest).snapshot != approved[self.name]:
            what = "the data are not those that this run was approved for"
            raise DataError(self.name, what, "Nothing was sent. Start the run again: it is then approved anew.")
        if self._current(run) is None:
            with self._journal(run, opened=open_already is not None) as journal:
                if open_already is None:
                    self._require_consents(manifest, approved)
                    self._note_opening(manifest, opening)
                self._runs[run] = self._open_run(open_already or opening, journal)
        if self.config.journal != "memory" and open_already is None:
            self.home.keep(self._opening_file(run), msgspec.json.encode(opening))
        return manifest.hash

    def _require_consents(self, manifest: Manifest, approved: dict[str, bytes]) -> None:
        """By the statement that the agency signed for, where one holds the consents. approved: what each institution signed for."""
        if self.gate.consents.at_agency:
            self.gate.consents.stated.require_committed(manifest, approved)

    def _note_opening(self, manifest: Manifest, opening: Opening) -> None:
        table = self.table(manifest)
        self.gate.opened(manifest, table, opening.signatures)
        self.course.opened(manifest.run, (name for name in manifest.members if name != self.name), table.rows)

    def deliver(self, run: str, payload: bytes) -> bytes:
        """One batch in, one batch out; nothing more of a run that has expired or was revoked."""
        open_run = self._current(run) or self._resume(run)
        participant, manifest = open_run.participant, open_run.manifest
        batch = decode(payload, Batch, COORDINATOR, LARGEST_BATCH)
        try:
            self.gate.require_standing(manifest)
        except PolicyRefusal as refusal:
            reply = participant.abort(refusal)
        else:
            reply = participant.deliver(batch.number, batch.envelopes)
            if participant.failure is None and not participant.finished:
                self.course.at(run, participant.stage)
        if (participant.failure is not None or participant.finished) and not self.gate.assent.over(manifest):
            self._report(open_run)
        return reply

    def _report(self, open_run: OpenRun) -> None:
        """A run is over: its results, or why there are none, and the log."""
        failure = open_run.participant.failure
        if failure is not None:
            self._note_failure(failure)
            self.gate.ended(open_run.manifest, failure)
            self.course.ended(open_run.manifest.run, failure, "")
            return
        made = files_of(open_run)
        put_away(self.home, open_run.manifest.hash.hex())
        for name, content in made.items():
            self.home.write(name, content)
        results = Results.of(open_run.participant, made)
        self.home.write(INDEX, msgspec.json.encode(results))
        self.gate.ended(open_run.manifest, None, session=results.session, model=results.model, rows=open_run.rows, results=results.digest)
        (self.home.results / "failure.json").unlink(missing_ok=True)  # of this run's waiting for people, or of a run before
        self.course.ended(open_run.manifest.run, None, f"its results are in {self.home.results}")

    def replayed(self, run: str) -> OpenRun:
        """A finished run, made again from its journal and from the rows that the vault opens anew; the journal is only read.

        Raises DataError where the journal has gone, the run did not finish, or the data are not those that it began with.
        """
        opening = self._opened(run)
        if opening is None or self.config.journal == "memory" or not self.home.journal(run).exists():
            what = (
                f"the journal of run {run} is not here: retention has deleted it, it was kept in memory alone, or the run was never opened"
            )
            raise DataError(self.name, what, "Nothing can be replayed. `creditfed node retention show` says how long journals are kept.")
        digest = read_manifest(opening.manifest).hash.hex()
        if not any(event.manifest == digest and event.event == "finished" for event in self.gate.approvals.events()):
            raise DataError(self.name, f"run {run} did not finish at this node", "Nothing can be replayed: it left no results.")
        journal = JournalFile(self.home.journal(run), self.home.key("storage"), shared=self.config.journal == "shared")
        try:
            record = journal.load()
        finally:
            journal.close()
        return self._open_run(opening, MemoryJournal(record))

    @staticmethod
    def model_hash_again(of: OpenRun) -> str:
        """A replayed run's model hash, hexadecimal: over banks made anew from what all have alike; across parties, where it is over every
        party's share and none has the others', as the journal has it.
        """
        program, state = of.program, of.participant.state
        return (program.digest(state, program.state_of(state)) if isinstance(program, Bank) else state.model_hash).hex()

    def _resume(self, run: str) -> OpenRun:
        opening = self._opened(run)
        if opening is None:
            raise PeerError(COORDINATOR, "a batch of a run that this node has no journal of", "a new attempt")
        with self._journal(run, opened=True) as journal:
            self._runs[run] = self._open_run(opening, journal)
        return self._runs[run]

    def _opening_file(self, run: str) -> Path:
        return self.home.journal(run).with_suffix(".opening")

    def _opened(self, run: str) -> Opening | None:
        """The manifest and signatures under which this node opened a run, None where it did not."""
        if run in self._runs:
            return self._runs[run].opening
        stored = self._opening_file(run)
        return _json(stored.read_bytes(), Opening) if stored.exists() else None

    @contextmanager
    def _journal(self, run: str, *, opened: bool) -> Iterator[Journal]:
        """The run's journal, closed again where the run does not come about. opened: this node opened the run before, so that a journal there
        must be, and an earlier one must not.
        """
        if self.config.journal == "memory":
            yield MemoryJournal()
            return
        journal = JournalFile(self.home.journal(run), self.home.key("storage"), shared=self.config.journal == "shared")
        with ExitStack() as undo:
            undo.callback(journal.close)
            record = journal.load()
            if (opened and record is None) or (not opened and record is not None and record.number >= 0):
                raise DataError(self.name, "the journal of this run was lost or is not its own", "Start the run anew, under another name.")
            yield journal
            undo.pop_all()

    def _open_run(self, opening: Opening, journal: Journal) -> OpenRun:
        manifest = read_manifest(opening.manifest)
        table = self.table(manifest)
        former = None
        if manifest.align.former is not None and self.config.former is not None:
            former = read_alignment(self.config.former, table, manifest.align.former)
        bins = {name: one for name, one in self._bins(manifest.run).items() if name in table.columns or not manifest.select.drop_sources}
        local = Local(table, self.config.workers, former, bins)
        program = part_in(manifest, self.name, local)
        participant = self._in_session(opening, program, journal, table.commitment, lambda: self.gate.consents.gone(manifest, table))
        return OpenRun(opening, participant, program, journal, table.rows)

    def _in_session(
        self,
        opening: Opening,
        program: Any,
        journal: Journal,
        commitment: bytes,
        withdrawn: Callable[[], NDArray[np.bool_] | None] | None = None,
    ) -> Participant[Any]:
        """A participant whose log, screen and consents are this node's."""
        manifest = read_manifest(opening.manifest)
        witness = self.gate.witness(manifest)
        told = next(signature.seen for signature in opening.signatures if signature.party == self.name)

        def observe(figures: dict[str, float | str]) -> None:
            self.observer(self.name, figures)

        return Participant[Any](
            manifest, self.name, self.identity, program, journal, entropy=os.urandom, commitment=commitment, observer=observe,
            approved={signature.party: signature.snapshot for signature in opening.signatures}, notice=self.gate.notice(opening),
            heard=lambda hellos, session: witness.heard(hellos, session, told), witness=witness.stage, withdrawn=withdrawn,
            spent=partial(self.gate.spent, manifest),
        )  # fmt: skip

    def _bins(self, run: str) -> dict[str, Bins]:
        """Bins edited by hand, each edit logged with its reason."""
        if self.config.bins is None:
            return {}
        bins, edits = read_bins(self.config.bins, self.config.bins.with_suffix(".digest"))
        for edit in edits:
            self.gate.log.append(
                "configuration", run, change="bins edited", column=edit.column, what=edit.what[:200], reason=edit.reason[:200]
            )
        return bins

    def table(self, manifest: Manifest) -> Table:
        """This party's rows as the manifest wants them and consents allow them, opened by the vault and kept."""
        return self.vault.rows(manifest, self.gate.consents.choose(manifest))

    def _asked_anew(self, manifest: Manifest) -> Table:
        """The rows of a run that is not open yet, by the source and the consents of today."""
        self.gate.consents.again(manifest)
        return self.vault.rows_anew(manifest, self.gate.consents.choose(manifest))

    def _note_failure(self, error: CreditfedError) -> None:
        facts: dict[str, Any] = {"exit_code": error.exit_code, "code": error.code.value, "kind": type(error).__name__, "text": str(error)}
        self.home.write("failure.json", json.dumps(facts))

    @staticmethod
    def _reply(parcel: Parcel, payload: bytes) -> Parcel:
        return Parcel(parcel.operation, parcel.run, payload)


def _json(payload: bytes, kind: type[Opening]) -> Opening:
    try:
        return msgspec.json.decode(payload, type=known(kind), strict=True)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise PeerError(COORDINATOR, "malformed bytes", "an opening") from None
