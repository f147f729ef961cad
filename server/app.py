"""The coordinator's Flower ServerApp: drafts the manifest, collects signatures, opens the session, and carries envelopes until all are done.

It sees no record, no key between institutions and no single contribution. What it is in a protocol (a summer, a matcher, a router) is its
own participant's program, the same coroutines as everybody's.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from federation.carriage.journal_file import JournalFile
from federation.carriage.mailbox import UNDECIDED, Parcel
from federation.carriage.sealed_file import SealedFile
from federation.checks.common import Compared, Matcher
from federation.checks.program import Router
from federation.checks.program import Standing as Checked
from federation.kernel import suite
from federation.kernel.batch import Batch
from federation.kernel.codec import decode, encode
from federation.kernel.errors import AbortCode, CreditfedError, PeerError
from federation.kernel.journal import Journal, MemoryJournal
from federation.kernel.known import known
from federation.kernel.manifest import COMPARES, Description, Manifest
from federation.kernel.manifest_rules import read_manifest
from federation.kernel.participant import Participant
from federation.kernel.passage import Passage
from federation.kernel.role import COORDINATOR
from federation.kernel.secret import Secret
from federation.kernel.signatures import Opening, Signature, check_signatures
from federation.models.horizontal.program import Adder, Standing
from federation.models.training import Coordinator, Progress
from privacy.audit.witness import Witness
from privacy.store.audit_file import AuditFile
from privacy.store.durable import READABLE, put
from server.courier import Courier, Stopped, never, refusal
from server.draft import draft_manifest
from server.drafts import Drafts
from server.keys import file_key
from server.outbox import Cost, Exchange, NextStop, Outbox
from server.post import GridPost, LostNode
from server.run_file import RunFile, load
from server.statements import carry, carry_first

T = TypeVar("T")


def clock() -> dt.datetime:
    """The coordinator's, UTC."""
    return dt.datetime.now(dt.UTC)


LARGEST_BATCH = 1 << 30
TELLING = 10.0
"""Seconds that nodes are given to hear that a run was stopped."""


@dataclass(frozen=True)
class Kept:
    """What the coordinator keeps between runs: drafts, and its audit log."""

    drafts: Drafts
    log: AuditFile

    @classmethod
    def of(cls, folder: Path, identity: Secret) -> Self:
        """In the coordinator's folder."""
        log = AuditFile(folder / "audit", identity, lambda: clock().strftime("%Y-%m-%dT%H:%M:%SZ"), party=COORDINATOR)
        return cls(
            Drafts(folder / "drafts", lambda run: log.append("retention", run, step="done", what="draft and journal", rule="expired")), log
        )


@dataclass(frozen=True)
class Conduct:
    """What came of a run, for its record: no contribution and no sum is in it."""

    manifest: Manifest
    session: bytes
    cost: Cost
    failure: CreditfedError | None
    state: Progress | Standing | Checked | Compared

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "manifest": msgspec.to_builtins(self.manifest), "manifest_hash": self.manifest.hash.hex(), "session": self.session.hex(),
            **msgspec.to_builtins(self.cost), "universe": self.state.universe, "model_hash": self.state.model_hash.hex(),
            "failure": failure_document(self.failure) if self.failure else None,
        }  # fmt: skip


def failure_document(error: CreditfedError) -> dict[str, Any]:
    """What went wrong, as JSON values."""
    return {"exit_code": error.exit_code, "code": error.code.value, "kind": type(error).__name__, "text": str(error)}


Watcher = Callable[[str, int], None]
watchers: list[Watcher] = []
"""Called with the coordinator's stage and the number of exchanges so far; a simulation draws its progress bar from it."""


def conduct(grid: Grid, run_file: RunFile, run: str, identity: Secret, journal: Journal, outbox: Outbox, kept: Kept) -> Conduct:
    """Run a run file over all of a grid's nodes, whose names nobody knows before they say them. kept: drafts and the audit log.

    Raises CreditfedError; a failure inside the session is in the result.
    """
    started = time.monotonic()
    numbers = {str(node): node for node in grid.get_node_ids()}
    said = described(Courier(dict.fromkeys(numbers, GridPost(grid, numbers))), run)
    post = GridPost(grid, {said[name].party.name: node for name, node in numbers.items()})
    desk = Desk(run_file, run, identity, journal, outbox, kept)
    return carry_out(Courier(dict.fromkeys(post.nodes, post)), tuple(said.values()), desk, started)


@dataclass(frozen=True)
class Desk:
    """What one run is conducted with, beside a courier. kept: drafts and the audit log; waiting: told who has not approved yet, it sleeps, so
    that they are asked again, or raises; None where a run that waits for people ends. watch: beside `watchers`.
    """

    run_file: RunFile
    run: str
    identity: Secret
    journal: Journal
    outbox: Outbox
    kept: Kept
    waiting: Callable[[tuple[str, ...]], None] | None = None
    drafted: Callable[[Manifest], None] = lambda _: None
    watch: Watcher = lambda _stage, _exchanges: None


def described(courier: Courier, run: str) -> dict[str, Description]:
    """What each node says of itself. Raises CreditfedError."""
    answers = courier.exchange({name: Parcel("describe", run, b"") for name in courier.names})
    return {name: _stated(answer, Description, name) for name, answer in answers.items()}


def carry_out(courier: Courier, said: tuple[Description, ...], desk: Desk, started: float) -> Conduct:
    """Run a run file over nodes that have described themselves, or go on with it from where journal and outbox were left.

    Raises CreditfedError; a failure inside the session is in the result.
    """
    run_file, run, identity, kept = desk.run_file, desk.run, desk.identity, desk.kept
    now, me = clock(), suite.signing_public(identity).hex()
    manifest = kept.drafts.manifest(run_file, run, said, now, lambda: draft_manifest(run_file, run, said, me, now))
    desk.drafted(manifest)
    signatures = _approvals(courier, manifest, desk.waiting)
    approved = check_signatures(manifest, signatures)
    witness = Witness(kept.log, manifest, COORDINATOR)
    opening = Opening(manifest.canonical(), signatures, witness.seen())
    raw = msgspec.json.encode(opening)
    courier.exchange({name: Parcel("open", run, raw) for name in manifest.signers})
    program = _program(manifest)
    witness.approved(signatures)
    participant: Participant[Any] = Participant(
        manifest, COORDINATOR, identity, program, desk.journal, entropy=os.urandom, approved=approved,
        notice=kept.log.notice(opening.seen_of(COORDINATOR)), heard=lambda hellos, session: witness.heard(hellos, session, opening.seen),
        witness=witness.stage,
    )  # fmt: skip
    courier.patience = run_file.run.patience
    cost = _carry(courier, participant, desk, {"manifest": time.monotonic() - started})
    courier.ask({agency.name: Parcel("close", run, b"") for agency in manifest.agencies})
    witness.ended(participant.failure, session=participant.session.hex(), model=participant.state.model_hash.hex())
    return Conduct(manifest, participant.session, cost, participant.failure, participant.state)


def _program(manifest: Manifest) -> Any:
    """The coordinator's own part in the run."""
    if manifest.task == COMPARES:
        return Matcher(manifest)
    if manifest.is_check:
        return Router(manifest)
    return Adder(manifest) if manifest.horizontal else Coordinator(manifest)


def _approvals(courier: Courier, manifest: Manifest, waiting: Callable[[tuple[str, ...]], None] | None) -> tuple[Signature, ...]:
    """Everybody's; of a platform whose consents an agency holds, once it was told them."""
    canonical, by_agency = manifest.canonical(), tuple(party.name for party in manifest.parties if party.consents_at_agency)
    asked = {name: Parcel("propose", manifest.run, canonical) for name in manifest.signers}
    answers = _asked(courier, {name: parcel for name, parcel in asked.items() if name not in by_agency}, waiting)
    if by_agency:
        carry_first(courier, manifest)
        answers |= _asked(courier, {name: asked[name] for name in by_agency}, waiting)
    return tuple(_stated(answers[name], Signature, name) for name in asked)


def _asked(courier: Courier, asked: dict[str, Parcel], waiting: Callable[[tuple[str, ...]], None] | None) -> dict[str, Parcel]:
    """Signatures, for which one waits as long as it is people who have not voted yet; who has signed is not asked again, and who has not only
    once somebody there has decided, since a proposal opens the source and is counted.
    """
    signed: dict[str, Parcel] = {}
    due, undecided = asked, dict[str, Parcel]()
    while len(signed) < len(asked):
        for name, answer in courier.hear(due).items():
            if isinstance(answer, LostNode):
                raise answer
            if answer.operation != "refused":
                signed[name] = answer
                continue
            refused = refusal(name, answer)
            if waiting is None or refused.code is not AbortCode.APPROVAL:
                raise refused
            undecided[name] = Parcel("voted", asked[name].run, read_manifest(asked[name].payload).hash)
        due = {}
        if undecided and waiting is not None:
            waiting(tuple(undecided))
            said = courier.exchange(undecided)
            due = {name: asked[name] for name in undecided if said[name].payload != UNDECIDED}
            undecided = {name: parcel for name, parcel in undecided.items() if name not in due}
    return signed


def _stated(answer: Parcel, kind: type[T], name: str) -> T:
    """What a node's answer says, or PeerError."""
    try:
        return msgspec.json.decode(answer.payload, type=known(kind))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise PeerError(name, "malformed bytes", kind.__name__) from None


def _carry(courier: Courier, participant: Participant[Any], desk: Desk, seconds: dict[str, float]) -> Cost:
    """Batches to and fro until every party has finished or failed; begins with the exchange that an earlier process had under way.

    A bank that does not answer is given up, and the run over banks goes on without it; across parties nobody can be spared.
    """
    exchange = desk.outbox.load()
    if exchange is None:
        exchange = Exchange.first((COORDINATOR, *participant.manifest.signers))
    seconds = exchange.cost.seconds | seconds
    courier.count(exchange.cost.bytes_sent, exchange.cost.messages)
    passage = Passage.of(participant.manifest)
    while not exchange.over:
        desk.outbox.store(exchange)
        clock, phase = time.monotonic(), participant.stage.split(" ", maxsplit=1)[0]
        try:
            replies, lost = _exchange(courier, participant, desk.run, exchange.batches)
        except Stopped as stopped:
            _tell(courier, participant, desk.run, exchange, stopped, passage.next_stop)
            raise
        seconds = seconds | {phase: seconds.get(phase, 0.0) + time.monotonic() - clock}
        cost = Cost(seconds, dict(courier.bytes_sent), dict(courier.messages), exchange.cost.exchanges + 1)
        exchange = exchange.following(replies, cost, lost, passage.next_stop)
        for watch in (desk.watch, *watchers):
            watch(participant.stage, cost.exchanges)
    if exchange.stuck and exchange.lost:
        raise LostNode(", ".join(exchange.lost), "did not answer in time, and the session cannot open without", "Start a new run.")
    if exchange.stuck:
        names = ", ".join(exchange.done)
        raise LostNode(names, "the run stands still: nobody has anything to send", "Resume the run; if it happens again, report it.")
    return exchange.cost


def _tell(courier: Courier, participant: Participant[Any], run: str, exchange: Exchange, stopped: Stopped, next_stop: NextStop) -> None:
    """Tell the nodes that the run is stopped, so that none waits for it: first the exchange under way again, since some may have had it."""
    courier.stopped, courier.patience = never, TELLING
    with suppress(CreditfedError):  # who cannot be told, or answers nonsense, does not make the stop a failure
        replies, lost = _exchange(courier, participant, run, exchange.batches)
        if participant.failure is None:
            replies[COORDINATOR] = decode(participant.abort(stopped), Batch, COORDINATOR, LARGEST_BATCH)
        last = exchange.following(replies, exchange.cost, lost, next_stop)
        _exchange(courier, participant, run, {name: batch for name, batch in last.batches.items() if name != COORDINATOR})


def _exchange(
    courier: Courier, participant: Participant[Any], run: str, batches: dict[str, Batch]
) -> tuple[dict[str, Batch], tuple[str, ...]]:
    """One batch to each party that is due, the coordinator's own participant among them; their replies, and who gave none."""
    replies = {}
    if COORDINATOR in batches:
        mine = batches[COORDINATOR]
        replies[COORDINATOR] = participant.deliver(mine.number, mine.envelopes, mine.missing)
    parcels = {name: Parcel("deliver", run, encode(batch)) for name, batch in batches.items() if name != COORDINATOR}
    answers, lost = courier.ask(parcels)
    while told := {name: answer for name, answer in answers.items() if answer.operation == "consents"}:  # until heard, nothing passes
        carry(courier, participant.manifest, told)
        again, more = courier.ask({name: parcels[name] for name in told})
        answers, lost = answers | again, lost | more
    if not participant.manifest.horizontal:
        for error in lost.values():
            raise error
    replies |= {name: answer.payload for name, answer in answers.items()}
    own = len(replies.get(COORDINATOR, b""))  # what it hands to thousands of banks is more than any of them may send
    return {name: decode(raw, Batch, name, own if name == COORDINATOR else LARGEST_BATCH) for name, raw in replies.items()}, tuple(lost)


app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Flower's entry. run_config: folder (the coordinator's own), run-file, run (its name), journal ("memory" or "disk").

    Leaves `conduct.json` in the folder: what was computed, what it cost, and how it ended.
    """
    config = {key: str(value) for key, value in context.run_config.items()}
    folder = Path(config["folder"])
    identity = file_key(folder / "keys" / "identity.key")
    journal: Journal = MemoryJournal()
    outbox, kept = Outbox(), Kept.of(folder, identity)
    if config["journal"] == "disk":
        storage, stem = file_key(folder / "keys" / "storage.key"), folder / "journal" / config["run"]
        journal = JournalFile(stem.with_suffix(".db"), storage)
        outbox = Outbox(SealedFile(stem.with_suffix(".outbox"), storage))
    try:
        record = conduct(grid, load(Path(config["run-file"])), config["run"], identity, journal, outbox, kept).document()
    except CreditfedError as error:
        record = {"failure": failure_document(error)}
    put(folder / "conduct.json", json.dumps(record, indent=1).encode(), READABLE)
