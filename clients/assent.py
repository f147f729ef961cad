"""Whether an institution's people, a study that they approved, or its policy have let a run through, and whether that still stands.

A run that is against somebody's vote, or past its day, is refused whoever approved it before. Asked when a manifest is proposed, when it is
opened, and before every answer.
"""

from __future__ import annotations

from collections.abc import Callable

from clients.approvals import NOT_A_PERSON, Approvals
from clients.asks import Roles, run_ask
from clients.home import Home
from clients.joined import asked_again
from clients.party_config import PartyConfig
from federation.kernel.errors import AbortCode, PolicyRefusal
from federation.kernel.manifest import Manifest
from privacy.approval.study import Study, outside
from privacy.approval.vote import Standing, about_name, cast, standing
from privacy.policy.decide import Policies


class Assent:
    """One node's. at_once: a simulation, where one person is every owner."""

    def __init__(
        self, home: Home, config: PartyConfig, policies: Callable[[], Policies], clock: Callable[[], str], *, at_once: bool = False
    ) -> None:
        self._home, self._config, self._policies, self._clock, self._at_once = home, config, policies, clock, at_once
        self.approvals = Approvals(home)

    def of(self, manifest: Manifest) -> tuple[tuple[str, ...], Roles]:
        """By whom, and in which role: owners by their votes, or by their vote on a study, or the policy. Raises PolicyRefusal."""
        me, needed, owners = self._config.name, self._config.approvals_needed, Roles({"owner"})
        found, why = self._standing(manifest.hash).approved, tuple[str, ...]()
        if len(found) >= needed:
            return found, owners
        study = self.study(manifest)
        if study is not None and len(self._standing(study.hash).approved) >= needed:
            why = outside(study, manifest, me, self.approvals.used(study.name, manifest), self._clock())
            if not why:
                return (f"study {study.name}",), owners
        if self._at_once:
            return self._every_owners(manifest), owners
        if self._policies().decide(run_ask(manifest, me, self.approvals.partners(), Roles(), "automatic")).allowed:
            return (NOT_A_PERSON,), Roles()
        some = f", and has {len(found)}" if found else ""
        what = f"run {manifest.run} waits for the approval of {needed} owner{'s' if needed > 1 else ''}{some}"
        beyond = f" (it is outside the study {manifest.study}: {'; '.join(why)})" if why else ""
        missing = next((name for name in self.approvals.owners() if name not in found), "NAME")
        vote = f"creditfed node approve {manifest.run} --as {missing} --home {self._home.root}"
        raise self._refusal(what + beyond, f"Look at it and vote: {vote}. {asked_again(self._home)}")

    def decided(self, run: str, digest: bytes) -> bool:
        """Whether a manifest that was proposed no longer waits for people, so that proposing it again gives another answer. digest: its hash."""
        waiting = next((manifest for manifest in self.approvals.proposals() if manifest.run == run and manifest.hash == digest), None)
        if waiting is None:
            return True
        try:
            self.require_current(waiting)
            self.of(waiting)
        except PolicyRefusal as refusal:
            return refusal.code is not AbortCode.APPROVAL
        return True

    def require_current(self, manifest: Manifest) -> None:
        """The run has not expired and was not revoked. Raises PolicyRefusal."""
        if self._clock() >= manifest.expires:
            what = f"run {manifest.run} has expired (on {manifest.expires})"
            raise PolicyRefusal(self._config.name, what, "Draft it again: the approval was for that long.", AbortCode.EXPIRED)
        for about in (manifest.hash, about_name(manifest.run)):
            if against := self._standing(about).against:
                what = f"run {manifest.run} was refused or revoked by {', '.join(against)}"
                raise self._refusal(
                    what, "Ask them; a new run, which a changed run file gives another name, needs a new approval.", AbortCode.REVOKED
                )
        study = self.study(manifest)
        if study is not None and self._standing(study.hash).against:
            what = f"the study {study.name} was refused or revoked"
            raise self._refusal(what, "Take the study's name out of the run, or put a new study to the vote.", AbortCode.REVOKED)

    def require_not_over(self, manifest: Manifest) -> None:
        """The run has not ended here. Raises PolicyRefusal."""
        if self.over(manifest):
            what = f"run {manifest.run} is over, and is not begun again under the same approval"
            raise self._refusal(what, "Draft a new run, under another name.", AbortCode.REVOKED)

    def require_standing(self, manifest: Manifest) -> None:
        """The run is current, and whoever approved it may still do so: asked at every message. Raises PolicyRefusal."""
        self.require_current(manifest)
        events = [event for event in self.approvals.events() if event.manifest == manifest.hash.hex() and event.event == "approved"]
        if not events or events[-1].by == (NOT_A_PERSON,):
            return
        study = self.study(manifest) if events[-1].by[0].startswith("study ") else None
        about = manifest.hash if study is None else study.hash
        if len(self._standing(about).approved) < self._config.approvals_needed:
            what = f"the approval of run {manifest.run} no longer stands"
            raise self._refusal(what, "See `creditfed node approvers`; vote on a new run.", AbortCode.REVOKED)

    def study(self, manifest: Manifest) -> Study | None:
        """The study that the manifest names, where this node knows it."""
        return next((study for study in self.approvals.studies() if study.name == manifest.study), None) if manifest.study else None

    def over(self, manifest: Manifest) -> bool:
        """Whether the run has ended here, and the log has said so."""
        return self._happened(manifest, "finished") or self._happened(manifest, "failed")

    def opened_before(self, manifest: Manifest) -> bool:
        """Whether this manifest was opened here, by this process or an earlier one: it has been counted, once."""
        return self._happened(manifest, "opened")

    def _happened(self, manifest: Manifest, event: str) -> bool:
        return any(found.manifest == manifest.hash.hex() and found.event == event for found in self.approvals.events())

    def _standing(self, about: bytes) -> Standing:
        return standing(self.approvals.votes(), about, self._config.name, self.approvals.approvers())

    def _every_owners(self, manifest: Manifest) -> tuple[str, ...]:
        """The owners' keys are here, and vote."""
        owners = [person.name for person in self.approvals.approvers().values() if person.role == "owner" and not person.revoked]
        names = tuple(owners[: self._config.approvals_needed])
        if len(names) < self._config.approvals_needed:
            raise self._refusal("too few owners have a key here to approve at once", "Found the node anew.")
        for name in names:
            self.approvals.record_vote(cast(self._config.name, name, manifest.hash, "approve", self._clock(), self.approvals.key_of(name)))
        return names

    def _refusal(self, what: str, action: str, code: AbortCode = AbortCode.APPROVAL) -> PolicyRefusal:
        return PolicyRefusal(self._config.name, what, action, code)
