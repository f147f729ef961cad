"""Two bureaus that compare the counterparties of pairs of firms, in a room or over real envelopes in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from federation.checks.common import Comparer, Comparison, Matcher
from federation.kernel import suite
from federation.kernel.codec import Message
from federation.kernel.manifest import CheckSettings, Manifest, PartyDeclaration, PrivacySettings
from federation.kernel.role import COORDINATOR, Role, Run
from federation.models.table import Table
from tests.post import Post, identity, manifest
from tests.rooms import Delivery, Room

ASKS, ASKED = "bureau-a", "bureau-b"
Lists = tuple[tuple[str, ...], tuple[str, ...]]
FIRST = tuple(f"c{number}" for number in range(20))
PAIRS: dict[str, Lists] = {
    "case 1": (FIRST, tuple(f"c{number}" for number in range(13, 40))), "case 2": (FIRST, tuple(f"d{number}" for number in range(11))),
    "case 3": (FIRST, ("c1", "c2", "c3")), "case 4": (FIRST, FIRST), "case 5": (("c1",), FIRST),
}  # fmt: skip
EXPECTED = (
    Comparison(20, 7, "compared"), Comparison(20, 0, "compared"), Comparison(20, 0, "other too few"), Comparison(20, 20, "compared"),
    Comparison(0, 0, "own too few"),
)  # fmt: skip


@dataclass
class CommonCase:
    """pairs: by name, the counterparties of the asking institution's firm and of the other's."""

    pairs: Mapping[str, Lists] = field(default_factory=lambda: PAIRS)
    check: dict[str, Any] = field(default_factory=dict)
    post: dict[str, Any] = field(default_factory=dict)
    privacy: dict[str, Any] = field(default_factory=dict)

    @property
    def manifest(self) -> Manifest:
        """Of just these."""
        parties = tuple(
            PartyDeclaration(name=name, role="tax", identity=suite.signing_public(identity(name)).hex()) for name in (ASKS, ASKED)
        )
        check = CheckSettings(**({"asks": ASKS, "pairs": tuple(self.pairs), "pad": 16, "max_asked": 64} | self.check))
        return manifest(
            ASKS,
            ASKED,
            parties=parties,
            task="common_counterparties",
            purpose="decide",
            check=check,
            privacy=PrivacySettings(**self.privacy),
        )

    def table(self, name: str) -> Table:
        """As the vault makes it: sorted keys, each a counterparty within its pair."""
        place = (ASKS, ASKED).index(name)
        rows = sorted((f"{pair}|{other}", f"firm of {pair}") for pair, lists in self.pairs.items() for other in lists[place])
        return Table(keys=tuple(key for key, _ in rows), firms=tuple(firm for _, firm in rows), columns={}, commitment=b"\0" * 32)

    @property
    def programs(self) -> dict[str, Callable[[], Any]]:
        """Everybody's part, made anew at each call."""
        said = self.manifest
        parts: dict[str, Callable[[], Any]] = {name: partial(Comparer, said, name, self.table(name)) for name in (ASKS, ASKED)}
        return parts | {COORDINATOR: partial(Matcher, said)}

    def make(self) -> Post:
        """Everybody's participants and the post between them."""
        return Post(self.manifest, self.programs, **self.post)

    def played(
        self, post: Callable[[Delivery], Message | None] = lambda d: d.message, session: bytes = b"one"
    ) -> tuple[dict[str, Any], Room]:
        """Everybody's last state, and all that passed. Raises what the first party raises."""
        room = Room((ASKS, ASKED), session=session.ljust(32, b"\0"), post=post)

        def whole(program: Any, run: Run) -> Role[Any]:
            state = program.begin()
            while (stage := program.stage(state)) is not None:
                state = yield from stage.role(run.within(stage.name))
            return state

        return room.play({name: whole(program(), room.run(name)) for name, program in self.programs.items()}), room


def one(first: tuple[str, ...], second: tuple[str, ...], **check: Any) -> CommonCase:
    """A single pair."""
    return CommonCase({"case": (first, second)}, check)
