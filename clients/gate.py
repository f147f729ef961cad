"""The gate: what must hold, by this institution's own files and clock, before a run gets a signature, an opening or another answer.

In order, and each refusal is an entry of the audit log: the members are those that are pinned; the run is in time, not revoked and not over;
people, a study or the policy have approved it; the policies allow the run, each column and each release; consents leave enough rows; no few
firms make up a total that becomes clear; earlier releases and the budget leave room. Data are opened only after all that can be decided
without them. Default is deny: what has no file, no vote, no rule, is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property

from clients import consortium, proposed_today
from clients.asks import Roles, column_asks, release_asks, run_ask
from clients.assent import Assent
from clients.budget_commands import ledger_path
from clients.clock import utc_now
from clients.consented import Consents
from clients.home import Home
from clients.linked import asks_of
from clients.party_config import PartyConfig
from clients.retention import Retention
from clients.told import Told
from federation.checks.common import require_apart, rows_of
from federation.kernel.errors import AbortCode, CreditfedError, PolicyRefusal
from federation.kernel.loss import Loss
from federation.kernel.manifest import AGENCY, COMPARES, Manifest
from federation.kernel.secret import Secret
from federation.kernel.signatures import Opening, Signature
from federation.models.horizontal.private_losses import reserved
from federation.models.table import Table
from privacy.approval.learning import left_out
from privacy.approval.words import longest_text
from privacy.audit.witness import Witness
from privacy.budget.limits import Cost, Counts
from privacy.disclosure.release import Release, Study, named_rows
from privacy.policy.ask import Ask
from privacy.policy.decide import Policies
from privacy.policy.defaults import schema_text
from privacy.policy.explain import require
from privacy.store.audit_file import AuditFile
from privacy.store.budget_file import BudgetFile
from privacy.store.policy_folder import read_texts
from privacy.store.releases import ReleaseFile

LONGEST_TEXT, MOST_CONTRACTS = 1_000, 32
"""Of a manifest that is put before people: characters of one text, and leakage contracts."""

_ANY_NUMBER = 2**31 - 1


def run_key(manifest: Manifest) -> str:
    """A run's name for ledgers: its own, and its hash, since a name may be drafted again. All of the hash: who drafts can look for two manifests
    that begin alike, and what is recorded already is not counted again.
    """
    return f"{manifest.run}-{manifest.hash.hex()}"


class Gate:
    """One node's. Nothing is read or locked before it is asked for. at_once: as of `Node`."""

    def __init__(
        self, home: Home, config: PartyConfig, identity: Secret, clock: Callable[[], str] | None = None, *, at_once: bool = False
    ) -> None:
        self._home, self._config, self._identity, self.clock = home, config, identity, clock or utc_now
        self._policies: tuple[dict[str, str], Policies] | None = None
        self.assent = Assent(home, config, lambda: self.policies, self.clock, at_once=at_once)
        self.approvals = self.assent.approvals
        self.told = Told(home, config.name, lambda: self.log, self.clock)
        self.consents = Consents(home, config, lambda: self.log, self.clock)

    @cached_property
    def log(self) -> AuditFile:
        """The node's audit log."""
        return AuditFile(self._home.root / "audit", self._identity, self.clock, party=self._config.name)

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
        return Retention(self._home, own, lambda: self.log, lambda: self.releases, run_key, self.clock)

    @cached_property
    def budget(self) -> BudgetFile:
        """What runs have cost, and may cost still."""
        return BudgetFile(ledger_path(self._home.root), self._note_budget)

    # -- before a run -----------------------------------------------------------------------------------------------------------

    def asked(self, manifest: Manifest) -> None:
        """Count a proposal, before anything is opened for it. Raises PolicyRefusal where it is one too many today."""
        with self._refusals_told(manifest):
            proposed_today.count(self._home, manifest, self.clock())

    def admit(self, manifest: Manifest, open_rows: Callable[[], Table]) -> Table:
        """Everything, in the order above; returns the rows that may be used. Raises PolicyRefusal, DataError, ConfigurationError."""
        self.told.configuration()
        with self._refusals_told(manifest):
            by, roles = self.decide(manifest)
            table = open_rows()
            self.told.opened_rows(manifest, table)
            self._require_cohort(manifest, table)
            for ask in release_asks(manifest, self._config.name, table.rows, roles):
                self._ask(manifest, ask)
            self._config.disclosure.require_totals(manifest, self._config.name, table, self._config.weight)
            self.releases.check(run_key(manifest), self._release(manifest, table), manifest.privacy.minimum_cohort)
            self.budget.current().reserve(run_key(manifest), self.dataset, manifest.purpose, self._cost(manifest, table))  # only asked
        self._approve(manifest, by, table.commitment)
        return table

    def admit_relay(self, manifest: Manifest, state: Callable[[], bytes]) -> bytes:
        """At an agency: everything that can be decided without data; then state, which makes its consent statements and returns what commits
        to them, which is returned. Raises PolicyRefusal, DataError, ConfigurationError.
        """
        self.told.configuration()
        with self._refusals_told(manifest):
            by, _ = self.decide(manifest)
            snapshot = state()
        self._approve(manifest, by, snapshot)
        return snapshot

    def decide(self, manifest: Manifest) -> tuple[tuple[str, ...], Roles]:
        """All that can be decided without the data; returns who approved, and as what."""
        consortium.read(self._home.root).require(manifest)
        self._require_readable(manifest)
        self.assent.require_current(manifest)
        self.assent.require_not_over(manifest)
        self.approvals.propose(manifest, self.clock())
        by, roles = self.assent.of(manifest)
        self._ask(manifest, run_ask(manifest, self._config.name, self.approvals.partners(), roles, "by a person"))
        if self._config.role != AGENCY:
            self._config.disclosure.require_cohort(manifest)
        for ask in column_asks(manifest, self._config.name, roles):
            self._ask(manifest, ask)
        return by, roles

    def require_standing(self, manifest: Manifest) -> None:
        """What a run that is open still needs, asked at every message: its members are those that are pinned, it is current, and whoever
        approved it may still do so. Raises PolicyRefusal.
        """
        consortium.read(self._home.root).require(manifest)
        self.assent.require_standing(manifest)

    @contextmanager
    def _refusals_told(self, manifest: Manifest) -> Iterator[None]:
        try:
            yield
        except CreditfedError as error:
            self.told.refused(manifest, error)
            raise

    def _approve(self, manifest: Manifest, by: tuple[str, ...], snapshot: bytes) -> None:
        self.approvals.note(manifest, "approved", self.clock(), by)
        self.told.approved(manifest, by, snapshot)

    def _require_readable(self, manifest: Manifest) -> None:
        """People can be shown it, and are told all that others learn."""
        me, missing = self._config.name, left_out(manifest)
        if missing:
            what = f"the manifest leaves out leakage contracts that hold for the run: {', '.join(missing)}"
            raise PolicyRefusal(me, what, "Draft it with a coordinator of this version.", AbortCode.REVOKED)
        if longest_text(manifest) > LONGEST_TEXT or len(manifest.contracts) > MOST_CONTRACTS:
            what = f"the manifest has a text of more than {LONGEST_TEXT} characters, or more than {MOST_CONTRACTS} contracts"
            raise PolicyRefusal(me, what, "Nobody could read it before approving. Draft it with shorter names.", AbortCode.REVOKED)

    def _ask(self, manifest: Manifest, ask: Ask) -> None:
        self.told.allowed(manifest, ask, require(self.policies, ask))

    def _require_cohort(self, manifest: Manifest, table: Table) -> None:
        least = manifest.privacy.minimum_cohort
        if manifest.task == COMPARES:  # of two firms' lists, whose lengths have a rule of their own
            require_apart(manifest, self._config.name, table)
            return
        if self._config.name == manifest.check.asks:  # of one applicant as of a whole book
            return
        if not manifest.horizontal and self._fewest(manifest, table) < least:  # of a bank's few rows the sum over banks tells nothing
            what = f"the rows of fewer than {least} firms, or owners, may be used (rule: minimum_cohort)"
            raise PolicyRefusal(
                self._config.name, what, "Nothing was sent. Check consents (`creditfed node consent show`).", AbortCode.COHORT
            )

    def _fewest(self, manifest: Manifest, table: Table) -> int:
        """How many firms the rows are of; where the run uses columns of owners, how many persons, if those are fewer."""
        firms = len(set(table.firms))
        return firms if asks_of(manifest, self._config).owner is None else min(firms, len(set(table.owners) - {""}))

    def _release(self, manifest: Manifest, table: Table) -> Release:
        """What the run would release of this institution's rows."""
        if manifest.is_check:
            return self._check_release(manifest, table)
        columns = (*table.columns, *self._config.own_columns) or ("membership",)
        study = self.assent.study(manifest)
        keys, whose = named_rows(table)
        rows, firms = self.releases.hashes(keys), self.releases.hashes(whose)
        return Release(rows, columns, manifest.task, manifest.purpose, None if study is None else Study(study.name, study.runs), firms)

    def _check_release(self, manifest: Manifest, table: Table) -> Release:
        """Of a check: how often one key may be asked about is counted where it is asked; who is asked releases as often as its budget allows,
        for it does not know about whom. Two that compare counterparties know their own firms of each pair, and both count them.
        """
        keys, counts = list(table.keys), self._config.name == manifest.check.asks
        if manifest.task == COMPARES:
            keys, counts = sorted({table.firms[row] for rows in rows_of(manifest, table).values() for row in rows}), True
        study = self.assent.study(manifest)
        return Release(
            self.releases.hashes(keys), (f"check {manifest.task}",), manifest.task, manifest.purpose,
            None if study is None else Study(study.name, study.runs), most_repeats=manifest.check.max_repeats if counts else _ANY_NUMBER,
        )  # fmt: skip

    def _cost(self, manifest: Manifest, table: Table) -> Cost:
        """What the run may cost this institution's firms: what its noise is stated to cost, and counts of what has none."""
        privacy = manifest.privacy
        mine = manifest.horizontal or table.label is not None  # labels that are turned over are the label party's
        noise = reserved(manifest) if mine else ()
        if privacy.epsilon is not None:
            return Cost(noise)
        answers = 0 if manifest.horizontal else privacy.max_answers
        if manifest.is_check:
            answers = len(manifest.check.pairs) or manifest.check.max_asked
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
        self.approvals.note(manifest, "opened", self.clock())
        self.witness(manifest).approved(signatures)
        self.told.released(manifest, table)

    def spent(self, manifest: Manifest, release: str, loss: Loss) -> None:
        """Before a release with noise leaves: its cost is in the ledger, on disk. Raises PolicyRefusal (BUDGET) beyond what the run reserved."""
        self.budget.spend(run_key(manifest), release, Cost((loss,)))

    def opened_relay(self, manifest: Manifest, signatures: Iterable[Signature]) -> None:
        """At an agency, before anything of the run leaves."""
        self.approvals.note(manifest, "opened", self.clock())
        self.witness(manifest).approved(signatures)
        self.log.sync()

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
        self.witness(manifest).ended(failure, **facts)
        self.approvals.note(manifest, "finished" if failure is None else "failed", self.clock())  # last: what is over is not told again
