"""The gate: what must hold, by this institution's own files and clock, before a run gets a signature, an opening or another answer.

In order, and each refusal is an entry of the audit log: the members are those that are pinned; the run is in time, not revoked and not over;
people, a study or the policy have approved it; the policies allow the run, each column and each release; consents leave enough rows; no few
firms make up a total that becomes clear; earlier releases and the budget leave room. Data are opened only after all that can be decided
without them. Default is deny: what has no file, no vote, no rule, is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property

import msgspec

from clients import consortium, proposed_today
from clients.approvals import NOT_A_PERSON, Approvals
from clients.asks import Roles, column_asks, release_asks, run_ask
from clients.budget_commands import ledger_path
from clients.clock import utc_now
from clients.consented import Consents
from clients.home import Home
from clients.party_config import PartyConfig
from clients.retention import Retention
from federation.kernel import suite
from federation.kernel.errors import AbortCode, ConfigurationError, CreditfedError, DataError, PolicyRefusal
from federation.kernel.manifest import AGENCY, Manifest
from federation.kernel.secret import Secret
from federation.kernel.signatures import Opening, Signature
from federation.models.horizontal.private_losses import reserved
from federation.models.table import Table
from privacy.approval.learning import left_out
from privacy.approval.study import Study, outside
from privacy.approval.vote import about_name, cast, standing
from privacy.approval.words import legible, longest_text
from privacy.audit.witness import Witness
from privacy.budget.limits import Cost, Counts
from privacy.budget.loss import Loss
from privacy.disclosure.release import Release
from privacy.disclosure.release import Study as ReleaseStudy
from privacy.policy.ask import Ask, said
from privacy.policy.decide import Policies
from privacy.policy.defaults import schema_text
from privacy.policy.explain import require
from privacy.store.audit_file import AuditFile
from privacy.store.budget_file import BudgetFile
from privacy.store.policy_folder import read_texts
from privacy.store.releases import ReleaseFile

OVER = ("finished", "failed")
LONGEST_TEXT, MOST_CONTRACTS = 1_000, 32
"""Of a manifest that is put before people: characters of one text, and leakage contracts."""


def run_key(manifest: Manifest) -> str:
    """A run's name for ledgers: its own, and its hash, since a name may be drafted again. All of the hash: who drafts can look for two manifests
    that begin alike, and what is recorded already is not counted again.
    """
    return f"{manifest.run}-{manifest.hash.hex()}"


def _line(text: str) -> str:
    """A text as an entry of the log takes it."""
    return legible(" ".join(text.split()))[:200]


class _Hourly:
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


class Gate:
    """One node's. Nothing is read or locked before it is asked for. at_once: as of `Node`."""

    def __init__(
        self, home: Home, config: PartyConfig, identity: Secret, clock: Callable[[], str] | None = None, *, at_once: bool = False
    ) -> None:
        self._home, self._config, self._identity = home, config, identity
        self._clock, self._at_once = clock or utc_now, at_once
        self.approvals = Approvals(home)
        self._refusals, self._descriptions = _Hourly(), _Hourly()
        self._policies: tuple[dict[str, str], Policies] | None = None
        self.consents = Consents(home, config, lambda: self.log, self._clock)

    @cached_property
    def log(self) -> AuditFile:
        """The node's audit log."""
        return AuditFile(self._home.root / "audit", self._identity, self._clock, party=self._config.name)

    @property
    def policies(self) -> Policies:
        """The institution's policies, checked against the schema: those that are in the folder now, also where a node has run for months."""
        texts = read_texts(self._home.root / "policy")
        if self._policies is None or self._policies[0] != texts:
            self._policies = (texts, Policies.from_texts(schema_text(), texts))
        return self._policies[1]

    @cached_property
    def releases(self) -> ReleaseFile:
        """What was released before."""
        return ReleaseFile(self._home.root / "releases", self._home.key("releases"))

    @cached_property
    def retention(self) -> Retention:
        """What runs have left, and when it goes."""
        own = dict(self._config.retention)
        return Retention(self._home, own, lambda: self.log, lambda: self.releases, run_key, self._clock)

    @cached_property
    def budget(self) -> BudgetFile:
        """What runs have cost, and may cost still."""
        return BudgetFile(ledger_path(self._home.root), self._note_budget)

    # -- before a run -----------------------------------------------------------------------------------------------------------

    def described(self, rows: int, columns: int) -> None:
        """The source was opened to say what its columns are; its rows went nowhere."""
        if (number := self._descriptions.count(self._clock())) is not None:
            beyond = {"of_this_hour": number} if number > _Hourly.EACH else {}  # a worker of several counts its own: logs must not differ
            self.log.append("vault", "", opened="to describe its columns", rows=rows, columns=columns, **beyond)

    def asked(self, manifest: Manifest) -> None:
        """Count a proposal, before anything is opened for it. Raises PolicyRefusal where it is one too many today."""
        try:
            proposed_today.count(self._home, manifest, self._clock())
        except CreditfedError as error:
            self._note_refusal(manifest, error)
            raise

    def admit(self, manifest: Manifest, open_rows: Callable[[], Table]) -> Table:
        """Everything, in the order above; returns the rows that may be used. Raises PolicyRefusal, DataError, ConfigurationError."""
        self._note_configuration()
        try:
            by, roles = self.decide(manifest)
            table = open_rows()
            self.log.append(
                "vault",
                manifest.run,
                manifest=manifest.hash.hex(),
                rows=table.rows,
                columns=len(table.columns),
                snapshot=table.commitment.hex(),
            )
            self._require_cohort(manifest, table)
            for ask in release_asks(manifest, self._config.name, table.rows, roles):
                self._ask(manifest, ask)
            self._config.disclosure.require_totals(manifest, self._config.name, table, self._config.weight)
            self.releases.check(run_key(manifest), self._release(manifest, table), manifest.privacy.minimum_cohort)
            self.budget.current().reserve(run_key(manifest), self.dataset, manifest.purpose, self._cost(manifest, table))  # only asked
        except CreditfedError as error:
            self._note_refusal(manifest, error)
            raise
        self._note_approval(manifest, by, table.commitment)
        return table

    def admit_relay(self, manifest: Manifest, snapshot: bytes) -> None:
        """At an agency: everything that can be decided without data, of which it has none. Raises PolicyRefusal, ConfigurationError."""
        self._note_configuration()
        try:
            by, _ = self.decide(manifest)
        except CreditfedError as error:
            self._note_refusal(manifest, error)
            raise
        self._note_approval(manifest, by, snapshot)

    def _note_approval(self, manifest: Manifest, by: tuple[str, ...], snapshot: bytes) -> None:
        self.approvals.note(manifest, "approved", self._clock(), by)
        self.log.append(
            "approval", manifest.run, manifest=manifest.hash.hex(), party=self._config.name, by=", ".join(by), purpose=manifest.purpose,
            task=manifest.task, study=manifest.study, expires=manifest.expires, snapshot=snapshot.hex(),
        )  # fmt: skip
        self.log.sync()

    def decide(self, manifest: Manifest) -> tuple[tuple[str, ...], Roles]:
        """All that can be decided without the data; returns who approved, and as what."""
        consortium.read(self._home.root).require(manifest)
        self._require_readable(manifest)
        self.require_current(manifest)
        if any(event.manifest == manifest.hash.hex() and event.event in OVER for event in self.approvals.events()):
            what = f"run {manifest.run} is over, and is not begun again under the same approval"
            raise PolicyRefusal(self._config.name, what, "Draft a new run, under another name.", AbortCode.APPROVAL)
        self.approvals.propose(manifest, self._clock())
        by, roles = self._approved(manifest)
        self._ask(manifest, run_ask(manifest, self._config.name, self.approvals.partners(), roles, "by a person"))
        if self._config.role != AGENCY:
            self._config.disclosure.require_cohort(manifest)
        for ask in column_asks(manifest, self._config.name, roles):
            self._ask(manifest, ask)
        return by, roles

    def _require_readable(self, manifest: Manifest) -> None:
        """People can be shown it, and are told all that others learn."""
        me, missing = self._config.name, left_out(manifest)
        if missing:
            what = f"the manifest leaves out leakage contracts that hold for the run: {', '.join(missing)}"
            raise PolicyRefusal(me, what, "Draft it with a coordinator of this version.", AbortCode.APPROVAL)
        if longest_text(manifest) > LONGEST_TEXT or len(manifest.contracts) > MOST_CONTRACTS:
            what = f"the manifest has a text of more than {LONGEST_TEXT} characters, or more than {MOST_CONTRACTS} contracts"
            raise PolicyRefusal(me, what, "Nobody could read it before approving. Draft it with shorter names.", AbortCode.APPROVAL)

    def require_current(self, manifest: Manifest) -> None:
        """The run has not expired and was not revoked: asked at every message. Raises PolicyRefusal."""
        me = self._config.name
        if self._clock() >= manifest.expires:
            what = f"run {manifest.run} has expired (on {manifest.expires})"
            raise PolicyRefusal(me, what, "Draft it again: the approval was for that long.", AbortCode.EXPIRED)
        votes, approvers = self.approvals.votes(), self.approvals.approvers()
        for about in (manifest.hash, about_name(manifest.run)):
            if against := standing(votes, about, me, approvers).against:
                what = f"run {manifest.run} was refused or revoked by {', '.join(against)}"
                action = "Ask them; a new run, which a changed run file gives another name, needs a new approval."
                raise PolicyRefusal(me, what, action, AbortCode.APPROVAL)
        study = self._study(manifest)
        if study is not None and standing(votes, study.hash, me, approvers).against:
            what = f"the study {study.name} was refused or revoked"
            raise PolicyRefusal(me, what, "Take the study's name out of the run, or put a new study to the vote.", AbortCode.APPROVAL)

    def require_standing(self, manifest: Manifest) -> None:
        """What a run that is open still needs, asked at every message: that it is current, its members are those that are pinned, and whoever
        approved it may still do so. Raises PolicyRefusal.
        """
        consortium.read(self._home.root).require(manifest)
        self.require_current(manifest)
        events = [event for event in self.approvals.events() if event.manifest == manifest.hash.hex() and event.event == "approved"]
        if not events or events[-1].by == (NOT_A_PERSON,):
            return
        study = self._study(manifest) if events[-1].by[0].startswith("study ") else None
        about = manifest.hash if study is None else study.hash
        found = standing(self.approvals.votes(), about, self._config.name, self.approvals.approvers()).approved
        if len(found) < self._config.approvals_needed:
            what = f"the approval of run {manifest.run} no longer stands"
            raise PolicyRefusal(self._config.name, what, "See `creditfed node approvers`; vote on a new run.", AbortCode.APPROVAL)

    def _study(self, manifest: Manifest) -> Study | None:
        return next((study for study in self.approvals.studies() if study.name == manifest.study), None) if manifest.study else None

    def _approved(self, manifest: Manifest) -> tuple[tuple[str, ...], Roles]:
        """By whom, and in which role: owners by their votes, or by their vote on a study, or the policy."""
        me, needed = self._config.name, self._config.approvals_needed
        owners: Roles = frozenset({"owner"})
        approvers, votes = self.approvals.approvers(), self.approvals.votes()
        found = standing(votes, manifest.hash, me, approvers).approved
        if len(found) >= needed:
            return found, owners
        why: tuple[str, ...] = ()
        study = self._study(manifest)
        if study is not None and len(standing(votes, study.hash, me, approvers).approved) >= needed:
            why = outside(study, manifest, me, self.approvals.used(study.name, manifest), self._clock())
            if not why:
                return (f"study {study.name}",), owners
        if self._at_once:
            return self._vote_at_once(manifest)
        if self.policies.decide(run_ask(manifest, me, self.approvals.partners(), frozenset(), "automatic")).allowed:
            return (NOT_A_PERSON,), frozenset()
        some = f", and has {len(found)}" if found else ""
        what = f"run {manifest.run} waits for the approval of {needed} owner{'s' if needed > 1 else ''}{some}"
        beyond = f" (it is outside the study {manifest.study}: {'; '.join(why)})" if why else ""
        missing = next((name for name in self.approvals.owners() if name not in found), "NAME")
        vote = f"creditfed node approve {manifest.run} --as {missing} --home {self._home.root}"
        action = f"Look at it and vote: {vote}. Then start the run again."
        raise PolicyRefusal(me, what + beyond, action, AbortCode.APPROVAL)

    def _vote_at_once(self, manifest: Manifest) -> tuple[tuple[str, ...], Roles]:
        """A simulation, where one person is every owner: their keys are here, and vote."""
        names = [a.name for a in self.approvals.approvers().values() if a.role == "owner" and not a.revoked][
            : self._config.approvals_needed
        ]
        if len(names) < self._config.approvals_needed:
            raise PolicyRefusal(
                self._config.name, "too few owners have a key here to approve at once", "Found the node anew.", AbortCode.APPROVAL
            )
        for name in names:
            self.approvals.record_vote(cast(self._config.name, name, manifest.hash, "approve", self._clock(), self.approvals.key_of(name)))
        return tuple(names), frozenset({"owner"})

    def _ask(self, manifest: Manifest, ask: Ask) -> None:
        decision = require(self.policies, ask)
        self.log.append("policy", manifest.run, asked=said(ask)[:200], allowed=True, rules=", ".join(decision.rules)[:200])

    def _require_cohort(self, manifest: Manifest, table: Table) -> None:
        least = manifest.privacy.minimum_cohort
        if not manifest.horizontal and table.rows < least:  # of a bank's few rows the sum over banks tells nothing
            what = f"fewer than {least} rows may be used (rule: minimum_cohort)"
            raise PolicyRefusal(
                self._config.name, what, "Nothing was sent. Check consents (`creditfed node consent show`).", AbortCode.COHORT
            )

    def _release(self, manifest: Manifest, table: Table) -> Release:
        """What the run would release of this institution's rows."""
        own = (self._config.label, self._config.weight)
        columns = (*table.columns, *(name for name in own if name is not None)) or ("membership",)
        study = self._study(manifest)
        rows, firms = self.releases.hashes(table.keys), self.releases.hashes(table.firms)
        return Release(
            rows, columns, manifest.task, manifest.purpose, None if study is None else ReleaseStudy(study.name, study.runs), firms
        )

    def _cost(self, manifest: Manifest, table: Table) -> Cost:
        """What the run may cost this institution's firms: what its noise is stated to cost, and counts of what has none."""
        privacy = manifest.privacy
        mine = manifest.horizontal or table.label is not None  # labels that are turned over are the label party's
        noise = reserved(manifest) if mine else ()
        if privacy.epsilon is not None:
            return Cost(noise)
        answers = 0 if manifest.horizontal else privacy.max_answers
        return Cost(noise, Counts(1, len(table.columns), table.rows, answers))

    @property
    def dataset(self) -> str:
        """The name under which the budget keeps this institution's source."""
        return self._config.budget_dataset

    def _note_budget(self, kind: str, **facts: str | float | bool) -> None:
        key = str(facts.pop("run", ""))
        run, _, manifest = key.rpartition("-")
        if kind == "spent":  # of all that the run has spent so far
            epsilon, delta = self.budget.current().composed(key)
            facts |= {"manifest": manifest, "epsilon": epsilon, "delta": delta}
        self.log.append("budget", run, step=kind, **{name: value for name, value in facts.items() if len(str(value)) <= 200})

    def _note_configuration(self) -> None:
        """The log tells by which files this node decides, at first and whenever one of them was changed, by a command or by hand."""
        files = {name: [self._home.root / f"{name}.toml"] for name in ("node", "approvers", "consortium")}
        files["policy"] = sorted((self._home.root / "policy").glob("*.cedar"))
        digests = {
            name: suite.digest(
                "configuration", *(part for path in paths if path.is_file() for part in (path.name, path.read_bytes()))
            ).hex()
            for name, paths in files.items()
        }
        told, text = self._home.root / "approvals" / "in-force", msgspec.json.encode(digests)
        if not told.exists() or told.read_bytes() != text:
            self.log.append("configuration", "", change="in force", **digests)
            self._home.keep(told, text)

    def _note_refusal(self, manifest: Manifest, error: CreditfedError) -> None:
        if (
            isinstance(error, (PolicyRefusal, DataError, ConfigurationError))
            and (number := self._refusals.count(self._clock())) is not None
        ):
            self.log.append(
                "policy",
                manifest.run,
                allowed=False,
                code=error.code.value,
                where=_line(error.where),
                what=_line(error.what),
                of_this_hour=number,
            )
            self.log.sync()

    # -- a run that is under way ------------------------------------------------------------------------------------------------

    def opened(self, manifest: Manifest, table: Table, signatures: Iterable[Signature]) -> None:
        """Before anything of the run leaves: what it may release counts from now on, and what has no noise whatever becomes of it; and what is
        due goes first.
        """
        self.retention.apply()
        key, cost = run_key(manifest), self._cost(manifest, table)
        self.budget.reserve(key, self.dataset, manifest.purpose, cost)
        self.releases.record(key, self._release(manifest, table), manifest.privacy.minimum_cohort)
        self.consents.opened(manifest, table)
        if cost.counts != Counts():
            self.budget.spend(key, "all without noise", Cost(counts=cost.counts))
        self.approvals.note(manifest, "opened", self._clock())
        self.witness(manifest).approved(signatures)
        self.log.append(
            "release", manifest.run, manifest=manifest.hash.hex(), task=manifest.task, rows=table.rows, columns=len(table.columns)
        )
        self.log.sync()

    def spent(self, manifest: Manifest, release: str, loss: Loss) -> None:
        """Before a release with noise leaves: its cost is in the ledger, on disk. Raises PolicyRefusal (BUDGET) beyond what the run reserved."""
        self.budget.spend(run_key(manifest), release, Cost((loss,)))

    def opened_relay(self, manifest: Manifest, signatures: Iterable[Signature]) -> None:
        """At an agency, before anything of the run leaves."""
        self.approvals.note(manifest, "opened", self._clock())
        self.witness(manifest).approved(signatures)
        self.log.sync()

    def opened_before(self, manifest: Manifest) -> bool:
        """Whether this manifest was opened here, by this process or an earlier one: it has been counted, once."""
        return any(event.manifest == manifest.hash.hex() and event.event == "opened" for event in self.approvals.events())

    def notice(self, opening: Opening) -> bytes:
        """The head of this node's log for its hello, with proofs from those that others have seen."""
        return self.log.notice(opening.seen_of(self._config.name))

    def witness(self, manifest: Manifest) -> Witness:
        """What writes the run's course into the log."""
        return Witness(self.log, manifest, self._config.name)

    def ended(self, manifest: Manifest, failure: CreditfedError | None, **facts: str | int) -> None:
        """A run is over at this node."""
        if self._config.role != AGENCY:  # which has released nothing
            self.budget.settle(run_key(manifest))
            if failure is None:
                self.consents.finished(manifest, str(facts.get("model", "")))
        self.approvals.note(manifest, "finished" if failure is None else "failed", self._clock())
        self.witness(manifest).ended(failure, **facts)
