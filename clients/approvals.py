"""What a node keeps of approvals: proposed manifests, people's votes, studies, and what became of each run.

approvers.toml            who may vote: name, role, public key
approvals/RUN.json        the manifest proposed under this name, canonical bytes
approvals/votes.jsonl     every vote, in order; nothing is overwritten
approvals/studies/*.json  studies that were put to the vote
approvals/runs.jsonl      what became of manifests: approved, opened, finished, failed
approvers/NAME.key        a person's own key, where it is kept here (mode 600)
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import tomli_w

from clients.home import Home
from federation.kernel import suite
from federation.kernel.errors import ConfigurationError, CreditfedError
from federation.kernel.manifest import Manifest, read_manifest, require_run_name
from federation.kernel.secret import Secret
from privacy.approval.study import Study, Used
from privacy.approval.vote import Approver, Vote
from privacy.levels import PersonRole

Event = Literal["approved", "opened", "finished", "failed"]


class RunEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of a manifest. by: who approved it: names, "policy", or "study NAME"."""

    run: str
    manifest: str
    event: Event
    time: str
    by: tuple[str, ...] = ()
    study: str = ""


class _Approvers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"approvers": "approver"}):
    approvers: tuple[Approver, ...] = ()


@dataclass(frozen=True)
class Approvals:
    """Over one node's home."""

    home: Home

    @property
    def _folder(self) -> Path:
        return self.home.root / "approvals"

    # -- people -----------------------------------------------------------------------------------------------------------------

    def approvers(self) -> dict[str, Approver]:
        """Who may vote, by name. Raises ConfigurationError."""
        path = self.home.root / "approvers.toml"
        if not path.exists():
            return {}
        try:
            found = msgspec.convert(tomllib.loads(path.read_text()), _Approvers).approvers
        except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            raise ConfigurationError(str(path), str(error).replace("`", ""), "Correct the file.") from None
        names = [approver.name for approver in found]
        if len(set(names)) < len(names):
            raise ConfigurationError(str(path), "two approvers have one name", "Give every [[approver]] a name of its own.")
        return {approver.name: approver for approver in found}

    def add_approver(self, name: str, role: PersonRole) -> Approver:
        """Make a person's key, kept in approvers/, and let its public half vote. Raises ConfigurationError for a name that is taken."""
        require_run_name(name)
        known = self.approvers()
        if name in known:
            raise ConfigurationError("approvers.toml", "an approver of this name is there already", "Choose another name.")
        path = self.home.root / "approvers" / f"{name}.key"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(os.urandom(32))
        approver = Approver(name, role, suite.signing_public(self.key_of(name)).hex())
        self._keep_approvers((*known.values(), approver))
        return approver

    def revoke_approver(self, name: str) -> None:
        """No vote of this person counts any more, also none given before."""
        known = self.approvers()
        if name not in known:
            raise ConfigurationError("approvers.toml", "there is no approver of this name", "See `creditfed node approvers`.")
        self._keep_approvers(msgspec.structs.replace(a, revoked=True) if a.name == name else a for a in known.values())

    def _keep_approvers(self, approvers: Any) -> None:
        document = {"approver": [msgspec.to_builtins(approver) for approver in approvers]}
        self.home.keep(self.home.root / "approvers.toml", tomli_w.dumps(document).encode())

    def key_of(self, name: str, path: Path | None = None) -> Secret:
        """A person's own key. Raises ConfigurationError where it is not there."""
        found = path or self.home.root / "approvers" / f"{name}.key"
        if not found.is_file() or len(raw := found.read_bytes()) != suite.KEY_BYTES:
            raise ConfigurationError(str(found), "there is no key of 32 bytes", "Give the path of your key: --key FILE.")
        return Secret(raw)

    # -- votes ------------------------------------------------------------------------------------------------------------------

    def votes(self) -> list[Vote]:
        """Every vote, in the order in which they were cast."""
        return list(_lines(self._folder / "votes.jsonl", Vote))

    def record_vote(self, vote: Vote) -> None:
        """Keep a vote, on disk before this returns."""
        _append(self._folder / "votes.jsonl", vote)

    # -- runs -------------------------------------------------------------------------------------------------------------------

    def propose(self, manifest: Manifest) -> None:
        """Keep a manifest for people to look at."""
        path, raw = self._proposal(manifest.run), manifest.canonical()
        if not path.exists() or path.read_bytes() != raw:
            self.home.keep(path, raw)

    def proposal(self, run: str) -> Manifest:
        """The manifest proposed under a name. Raises ConfigurationError."""
        path = self._proposal(run)
        if not path.exists():
            known = ", ".join(m.run for m in self.proposals()) or "none"
            raise ConfigurationError(f"run {run}", "no such run was proposed to this node", f"Proposed: {known}.")
        return read_manifest(path.read_bytes())

    def proposals(self) -> list[Manifest]:
        """Every proposed manifest that this version can read."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                found.append(read_manifest(path.read_bytes()))
            except CreditfedError:
                continue  # of another version: it can no longer be approved
        return found

    def _proposal(self, run: str) -> Path:
        require_run_name(run)
        return self._folder / f"{run}.json"

    def note(self, manifest: Manifest, event: Event, time: str, by: tuple[str, ...] = ()) -> None:
        """Keep what became of a manifest; the same event twice is kept once."""
        said = RunEvent(manifest.run, manifest.hash.hex(), event, time, by, manifest.study)
        if not any((e.manifest, e.event, e.by) == (said.manifest, event, by) for e in self.events()):
            _append(self._folder / "runs.jsonl", said)
        if event == "approved":
            self.home.keep(self._folder / "signed" / f"{said.manifest}.json", manifest.canonical())

    def events(self) -> list[RunEvent]:
        """What became of every manifest, in order."""
        return list(_lines(self._folder / "runs.jsonl", RunEvent))

    def signed(self, manifest_hash: str) -> Manifest | None:
        """A manifest that this node has signed."""
        path = self._folder / "signed" / f"{manifest_hash}.json"
        return read_manifest(path.read_bytes()) if path.exists() else None

    def last_approved(self, other_than: Manifest) -> Manifest | None:
        """The manifest that was approved last, to show what is new."""
        for event in reversed(self.events()):
            if event.event == "approved" and event.manifest != other_than.hash.hex():
                return self.signed(event.manifest)
        return None

    def partners(self) -> frozenset[str]:
        """Institutions with which this node has finished a run."""
        signed = (self.signed(event.manifest) for event in self.events() if event.event == "finished")
        return frozenset(party for manifest in signed if manifest is not None for party in manifest.signers)

    # -- studies ----------------------------------------------------------------------------------------------------------------

    def add_study(self, study: Study) -> None:
        """Put a study to the vote. Raises ConfigurationError where another one has its name."""
        for known in self.studies():
            if known.name == study.name and known != study:
                raise ConfigurationError(f"study {study.name}", "another study of this name is here", "Give the new one another name.")
        self.home.keep(self._folder / "studies" / f"{study.name}.json", msgspec.json.encode(study))

    def studies(self) -> list[Study]:
        """Every study that was put to the vote."""
        return [msgspec.json.decode(path.read_bytes(), type=Study) for path in sorted((self._folder / "studies").glob("*.json"))]

    def used(self, study: str, but: Manifest) -> Used:
        """What a study's runs have used, but for one: those that were opened under it."""
        total, seen = Used(), {but.hash.hex()}
        for event in self.events():
            if event.event == "opened" and event.study == study and event.manifest not in seen:
                seen.add(event.manifest)
                manifest = self.signed(event.manifest)
                total = total if manifest is None else total.plus(manifest)
        return total


def _append(path: Path, item: msgspec.Struct) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        cut_short = b"\n" if size and file.read(1) != b"\n" else b""  # by a crash: what follows must not become part of it
        file.write(cut_short + msgspec.json.encode(item) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _lines(path: Path, kind: type[Any]) -> Iterator[Any]:
    """Whole lines; one that a crash cut short was never acted on."""
    if path.exists():
        for line in path.read_bytes().split(b"\n")[:-1]:
            try:
                yield msgspec.json.decode(line, type=kind)
            except msgspec.MsgspecError:
                continue
