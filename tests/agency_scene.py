"""The talk of `tests.talk` with a licensed credit agency before the platform: real envelopes, a real relay, and a post that can be hostile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from federation.kernel import suite
from federation.kernel.journal import MemoryJournal
from federation.kernel.manifest import AGENCY, AgencyDeclaration, Manifest
from federation.kernel.participant import Participant
from federation.kernel.relay import Relay, Silent
from tests.post import Post, identity, manifest
from tests.talk import EVERYONE, NAMES, Talk

NAME = "agency"


def behind_an_agency(*names: str, relayed: tuple[str, ...] = ("platform",), **changes: Any) -> Manifest:
    """A manifest of these parties; those relayed go through the agency."""
    made = manifest(*names, **changes)
    parties = tuple(msgspec.structs.replace(p, through=NAME if p.name in relayed else "") for p in made.parties)
    agency = AgencyDeclaration(name=NAME, identity=suite.signing_public(identity(NAME)).hex())
    return msgspec.structs.replace(made, parties=parties, agencies=(agency,), contracts=(AGENCY,))


@dataclass
class AgencyPost(Post):
    """A post with one agency. told: what the relay told its log, in order."""

    told: list[tuple[str, str, str, str, int, bytes]] = field(default_factory=list)
    ways: MemoryJournal = field(default_factory=MemoryJournal)

    def build(self, name: str) -> Any:
        """The agency's relay, or a participant."""
        built: Participant[Any] = super().build(name)
        return Relay(built, identity(NAME), self.ways, lambda *facts: self.told.append(facts)) if name == NAME else built

    @property
    def relay(self) -> Relay:
        """The agency's."""
        found: Any = self.parties[NAME]
        assert isinstance(found, Relay)
        return found


def talk(relayed: tuple[str, ...] = ("platform",), **hostile: Any) -> AgencyPost:
    """A talk through the agency, played to its end."""

    def program(name: str) -> Callable[[], Any]:
        return lambda: Talk(name)

    programs = {name: program(name) for name in EVERYONE} | {NAME: Silent}
    here = AgencyPost(behind_an_agency(*NAMES, relayed=relayed), programs, **hostile)
    here.play()
    return here


def finished(here: AgencyPost) -> dict[str, bool]:
    """Who came to the end of its program."""
    return {name: here.parties[name].finished and here.parties[name].failure is None for name in EVERYONE}
