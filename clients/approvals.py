"""What a node keeps of approvals: proposed manifests, people's votes, studies, and what became of each run.

approvers.toml            who may vote: name, role, public key
approvals/RUN.json        the manifest proposed under this name, canonical bytes
approvals/votes.jsonl     every vote, in order; nothing is overwritten
approvals/studies/*.json  studies that were put to the vote
approvals/runs.jsonl      what became of manifests: approved, opened, finished, failed
approvals/today           how often each manifest was proposed today
approvals/in-force        digests of the files by which the node decides, as the log had them last
approvers/NAME.key        a person's own key, where it is kept here (mode 600)
"""

from __future__ import annotations

import fcntl
import os
import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import tomli_w

from clients.home import Home
from federation.kernel import suite
from federation.kernel.errors import AbortCode, ConfigurationError, CreditfedError, DataError, PolicyRefusal
from federation.kernel.known import known
from federation.kernel.manifest import Manifest
from federation.kernel.manifest_rules import read_manifest, require_run_name
from federation.kernel.secret import Secret
from privacy.approval.study import Study, Used
from privacy.approval.vote import Approver, Vote
from privacy.levels import PersonRole

MOST_PROPOSALS, MOST_BYTES = 1_000, 256 << 20
"""Proposed runs that wait for people at one time, and their size."""
NOT_A_PERSON = "policy"
"""What stands in a person's place where the policy approves."""

Event = Literal["approved", "opened", "finished", "failed"]


class RunEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of a manifest. by: who approved it: names, "policy", or "study NAME"."""

    run: str
    manifest: str
    event: Event
    time: str
    by: tuple[str, ...] = ()
    study: str = ""


_PERSON = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


def _is_person(name: str) -> bool:
    return re.fullmatch(_PERSON, name) is not None and name != NOT_A_PERSON


def require_person(name: str) -> None:
    """What a person may be called, whose key's file has the name, too. Raises ConfigurationError."""
    if not _is_person(name):
        what = f"a person's name is not made of letters, digits, '.', '_' and '-', or is {NOT_A_PERSON!r}"
        raise ConfigurationError("approvers.toml", what, "Choose another name, such as alice.wang.")


def _is_key(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None and suite.is_signing_public(bytes.fromhex(text))


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
            found = msgspec.convert(tomllib.loads(path.read_text()), known(_Approvers)).approvers
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
            said = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error).replace("`", "")
            raise ConfigurationError(str(path), said, "Correct the file.") from None
        names = [approver.name for approver in found]
        if len(set(names)) < len(names):
            raise ConfigurationError(str(path), "two approvers have one name", "Give every [[approver]] a name of its own.")
        for place, approver in enumerate(found, 1):
            if not _is_person(approver.name) or not _is_key(approver.key):
                what = f"approver {place} has a name that is none, or a key that is not 64 hexadecimal digits of an Ed25519 key"
                raise ConfigurationError(str(path), what, f"Names are letters, digits, '.', '_' and '-', and not {NOT_A_PERSON!r}.")
        return {approver.name: approver for approver in found}

    def owners(self) -> tuple[str, ...]:
        """Who may approve runs now."""
        return tuple(name for name, person in self.approvers().items() if person.role == "owner" and not person.revoked)

    def add_approver(self, name: str, role: PersonRole) -> Approver:
        """Make a person's key and let its public half vote. Raises ConfigurationError for a name that is taken."""
        approver = self.made(name, role)
        self.register(approver)
        return approver

    def made(self, name: str, role: PersonRole) -> Approver:
        """A person with a key, kept in approvers/ and made when it is not there, who may not vote yet. Raises ConfigurationError."""
        require_person(name)
        if name in self.approvers():
            raise ConfigurationError("approvers.toml", "an approver of this name is there already", "Choose another name.")
        path = self.home.root / "approvers" / f"{name}.key"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(os.urandom(32))
        return Approver(name, role, suite.signing_public(self.key_of(name)).hex())

    def register(self, approver: Approver) -> None:
        """Let a person vote."""
        self._keep_approvers((*self.approvers().values(), approver))

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

    def propose(self, manifest: Manifest, now: str) -> None:
        """Keep a manifest for people to look at. Raises PolicyRefusal where too many wait: whoever proposes without end fills no disk."""
        path, raw = self._proposal(manifest.run), manifest.canonical()
        if path.exists() and path.read_bytes() == raw:
            return
        if not self._has_room(len(raw)):
            self._drop_settled(now)
        if not self._has_room(len(raw)):
            what = f"{MOST_PROPOSALS:,} proposed runs, or {MOST_BYTES >> 20} MB of them, wait here already"
            raise PolicyRefusal("approvals", what, "Remove from approvals/ what nobody is going to approve.", AbortCode.CAP)
        self.home.keep(path, raw)

    def _has_room(self, size: int) -> bool:
        sizes = [path.stat().st_size for path in self._folder.glob("*.json")]
        return len(sizes) < MOST_PROPOSALS and sum(sizes) + size <= MOST_BYTES

    def _drop_settled(self, now: str) -> None:
        """Forget proposals that have expired, and those that were signed, of which signed/ has a copy."""
        for manifest in self.proposals():
            if now >= manifest.expires or self._signed(manifest.hash.hex()).exists():
                self._proposal(manifest.run).unlink()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One signature or opening at a time at this node, of any thread or process: what a study has used is read, decided on and written."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def proposal(self, run: str) -> Manifest:
        """The manifest proposed under a name, or the last that was signed under it. Raises ConfigurationError."""
        path = self._proposal(run)
        signed = next((event.manifest for event in reversed(self.events()) if event.run == run), "")
        if not path.exists() and (before := self.signed(signed)) is not None:
            return before
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
            self.home.keep(self._signed(said.manifest), manifest.canonical())

    def events(self) -> list[RunEvent]:
        """What became of every manifest, in order."""
        return list(_lines(self._folder / "runs.jsonl", RunEvent))

    def signed(self, manifest_hash: str) -> Manifest | None:
        """A manifest that this node has signed."""
        path = self._signed(manifest_hash)
        return read_manifest(path.read_bytes()) if manifest_hash and path.exists() else None

    def _signed(self, manifest_hash: str) -> Path:
        return self._folder / "signed" / f"{manifest_hash}.json"

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
        for other in self.studies():
            if other.name == study.name and other != study:
                raise ConfigurationError(f"study {study.name}", "another study of this name is here", "Give the new one another name.")
        self.home.keep(self._folder / "studies" / f"{study.name}.json", msgspec.json.encode(study))

    def studies(self) -> list[Study]:
        """Every study that was put to the vote."""
        return [msgspec.json.decode(path.read_bytes(), type=known(Study)) for path in sorted((self._folder / "studies").glob("*.json"))]

    def used(self, study: str, but: Manifest) -> Used:
        """What a study's runs have used, but for one: those that were opened under it."""
        total, seen = Used(), {but.hash.hex()}
        for event in self.events():
            if event.event == "opened" and event.study == study and event.manifest not in seen:
                seen.add(event.manifest)
                manifest = self.signed(event.manifest)
                if manifest is None:
                    what = f"the manifest of run {event.run}, which counts in study {study}, is no longer there"
                    raise DataError(str(self._signed(event.manifest)), what, "Restore it: without it the study's totals are not known.")
                total = total.plus(manifest)
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
                yield msgspec.json.decode(line, type=known(kind))
            except msgspec.MsgspecError:
                continue
