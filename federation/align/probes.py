"""Keys that each two institutions share in secret and both put into their lists ("probes"): they show that all lists were treated alike.

Who raises one list to another exponent on its way round the ring than the rest makes its keys match nobody's, and nobody sees it. Done to
every list but one, only that one's keys are still met by the cheater's own: it then has a neighbour's book by name. But it cannot tell a
list's probes from its other keys, which are blinded and in a secret order; and two honest institutions, whose probes must come home as the
same points, tell each other the hash of these before anything is made of the lists.

One who treats a share s of the rows of a list differently escapes with probability (1 - s)^(32 h), where h is how many honest institutions
there are beside the list's owner: a twentieth of the rows and h = 2, 4 in a hundred; the whole list, never.
"""

from __future__ import annotations

from collections.abc import Mapping

from federation.align.curve import Points
from federation.kernel import suite
from federation.kernel.codec import Message
from federation.kernel.errors import PeerError
from federation.kernel.role import Randomness, Role, Run

EACH = 32
"""Of each two institutions."""
_PROBE = b"\0probe "
"""No id begins so: ids hold no control characters."""


class Probed(Message, frozen=True, tag="align/probed"):
    """To each other institution. digest: 32 bytes, the hash of the probes that the two share, as the sender's list has brought them home."""

    digest: bytes


def probes(run: Run) -> dict[str, list[bytes]]:
    """The keys that this institution shares with each other one."""
    streams = {peer: Randomness(run.pair_key(peer, "probes")) for peer in run.peers}
    return {peer: [_PROBE + stream.bytes(32) for _ in range(EACH)] for peer, stream in streams.items()}


def compare_probes(run: Run, home: Mapping[str, Points]) -> Role[None]:
    """Tell the others, and hear from them, what came home. home: by peer, the (EACH, 32) keyed points of the probes shared with it.

    Raises PeerError where one list was treated otherwise than another.
    """
    said = {peer: Probed(suite.digest("align/probed", run.session, run.address, points.tobytes())) for peer, points in home.items()}
    received = yield from run.step("probed", send=said, expect=dict.fromkeys(said, Probed))
    for peer, mine in said.items():
        if received.of(peer, Probed).digest != mine.digest:
            found = "keys shared with it that came home as other points: somebody in the ring treated one list otherwise than another"
            raise PeerError(peer, found, "all lists under the same exponents")
