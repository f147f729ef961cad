"""The universe of all parties' keys, when not even the coordinator may know who has which: chain, then a sum of lookup tables.

`chain` alone shows the coordinator, position by position, which parties hold it. Where that is the secret (which bank lends to a firm), each
list goes round the ring all the same, and comes home fully keyed; but then its owner keeps it:

    pseudonym   61 bits of a fully keyed point; nobody can compute that of an id that is not in a list of its own
    table       each institution puts its pseudonyms into a lookup table with secret weights (`sketch`); the tables are added under pair
                masks (`masked_sum.residues`), and the coordinator takes the sum apart: the union, with neither owners nor multiplicities
    union       is sent to all alike, in ascending order; everyone finds its own positions in it by itself, and tells nobody

An institution that only looks others' keys up (`looks`) puts in as many keys of nobody in their place: the union is the same whatever it looks
for, so that nobody reads from it what that was. Where one of its keys is not there, the key of nobody stands for it.

Before a table is filled, every two institutions compare keys that they share in secret (`probes`): nobody was able to make one list match and
the others not. Lists are filled up with keys of nobody to a multiple of `pad`, so that sizes tell little. Two keys have one pseudonym with
probability below n^2 / 2^62: 2 in ten million for a million keys.

Who learns what: privacy/contracts/hidden_union.toml.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from federation.align import probes
from federation.align.chain import Announced, Announcement, keyed_list
from federation.align.curve import Points, as_words
from federation.align.sketch import cells_for, fill, peel
from federation.align.universe import Positions, Universe
from federation.align.uscc import refuse_duplicates
from federation.kernel import suite
from federation.kernel.codec import Array, Message
from federation.kernel.errors import AbortCode, LocalError, PeerError, PolicyRefusal
from federation.kernel.role import COORDINATOR, Role, Run
from federation.masked_sum import mersenne
from federation.masked_sum.mersenne import Words
from federation.masked_sum.residues import add_residues, send_residues

_HEADER = 4096
_PADDING = b"\0padding "
"""No id begins so: ids hold no control characters."""


class Union(Message, frozen=True, tag="align/union"):
    """Every pseudonym that any institution has, once, to every institution alike. pseudonyms: (u,) uint64, ascending."""

    broadcast: ClassVar[bool] = True

    pseudonyms: Array


def padded(rows: int, pad: int, members: int) -> int:
    """How long a list of so many rows is made among so many institutions: with its probes, the next multiple of pad."""
    return pad * max(1, -(-(rows + probes.EACH * (members - 1)) // pad))


def union_member(
    run: Run, ids: Sequence[str], workers: int, max_rows: int, pad: int, longest: Mapping[str, int] | None = None, *, looks: bool = False
) -> Role[Universe]:
    """An institution's part: the size of the union, and the positions in it of its own keys, in the order of `ids`, then of its padding.

    longest: the most keys, with padding, that a party's list may have, for parties whose lists are bounded; looks: its ids are not put into
    the union, and one that nobody else puts in has the position of a key of nobody. Raises DataError for duplicates, LocalError (code cap) for
    too many rows, PolicyRefusal (code cap) for another's list that is longer than it may be, PeerError where lists were not treated alike,
    where the union lacks a key that this institution has put in, or another part breaks the protocol.
    """
    refuse_duplicates(ids, run.me)
    length = padded(len(ids), pad, len(run.members))
    if length > max_rows:
        what = f"has {len(ids):,} rows to align, {length:,} with padding (rule: at most {max_rows:,})"
        raise LocalError(run.me, what, "Narrow the source's query, or raise the manifest's cap.", AbortCode.CAP)
    stream = run.random("padding")
    keys, shared = [key.encode() for key in ids], {}
    for peer, own_probes in probes.probes(run).items():
        shared[peer] = slice(len(keys), len(keys) + len(own_probes))
        keys += own_probes
    keys += [_PADDING + stream.bytes(32) for _ in range(length - len(keys))]
    order = run.random("order").permutation(length)
    points, announced = yield from keyed_list(run, [keys[row] for row in order], workers, max_rows)
    require_lengths(run.me, announced.sizes, longest or {})
    home = np.empty_like(points)
    home[order] = points
    yield from probes.compare_probes(run, {peer: home[where] for peer, where in shared.items()})
    own = pseudonyms(home)
    entered = own.copy()
    if looks:
        entered[: len(ids)] = mersenne.uniform(run.random("stand-ins").words(len(ids)))
    if len(np.unique(np.concatenate([own, entered[: len(ids) * looks]]))) != length + len(ids) * looks:
        raise LocalError(run.me, "two of its keys came to one pseudonym, which happens by chance once in millions of runs", "Start anew.")
    cells = cells_for(sum(announced.sizes.values()))
    weights = mersenne.uniform(run.random("weights").words(length))
    yield from send_residues(run.within("table"), fill(entered, weights, cells, _seed(run)))
    received = yield from run.step("union", expect={COORDINATOR: Union}, limit=8 * cells + _HEADER)
    union = _read(received.of(COORDINATOR, Union).pseudonyms, announced)
    positions = own_positions(union, entered)
    if looks:
        at = np.minimum(np.searchsorted(union, own), len(union) - 1).astype(np.int64)
        positions = np.where(union[at] == own, at, positions)
    return Universe(len(union), positions)


def own_positions(union: Words, own: Words) -> Positions:
    """Where the pseudonyms that this institution has put in lie in the union, (n,). Raises PeerError where one of them is not there."""
    positions = np.searchsorted(union, own).astype(np.int64)
    if bool((union[np.minimum(positions, len(union) - 1)] != own).any()):
        raise PeerError(COORDINATOR, "a union without some of this party's keys", "the keys of every institution")
    return positions


def require_lengths(me: str, sizes: Mapping[str, int], longest: Mapping[str, int]) -> None:
    """Raises PolicyRefusal (code cap) for a list that was announced longer than it may be."""
    for name, most in longest.items():
        if sizes[name] > most:
            what = f"{name} announced a list of {sizes[name]:,} keys (rule: at most {most:,}, padding counted)"
            raise PolicyRefusal(me, what, "No count was shown. Shorten that list, or raise the manifest's cap.", AbortCode.CAP)


def union_coordinator(run: Run, max_rows: int, longest: Mapping[str, int] | None = None) -> Role[tuple[int, dict[str, int]]]:
    """The coordinator's part; returns the size of the union, and the announced sizes of the lists.

    Raises PeerError, PolicyRefusal, and LocalError where the tables' sum does not come apart.
    """
    received = yield from run.within("announce").step("announce", expect=dict.fromkeys(run.members, Announcement))
    announced = Announced.read({name: received.of(name, Announcement) for name in run.members}, max_rows)
    require_lengths(COORDINATOR, announced.sizes, longest or {})
    cells = cells_for(sum(announced.sizes.values()))
    union = peel((yield from add_residues(run.within("table"), 3 * cells)), _seed(run))
    if union is None:
        what = "the sum of the parties' tables does not come apart, which happens by chance twice in a million runs, or a table was crafted"
        raise LocalError(COORDINATOR, what, "Start the run again.", AbortCode.PROTOCOL)
    yield from run.step("union", send=dict.fromkeys(run.members, Union(Array.of(union))))
    return len(union), announced.sizes


def pseudonyms(points: Points) -> Words:
    """61 bits of fully keyed points, (n,) residues."""
    return mersenne.uniform(as_words(points)[:, 0])


def _seed(run: Run) -> bytes:
    return suite.digest("align/table", run.session, run.address)


def _read(array: Array, announced: Announced) -> Words:
    """The union, once it is ascending, without repeats, and as large as the lists allow."""
    low, high = max(announced.sizes.values()), sum(announced.sizes.values())
    size = len(array.data) // 8
    if not low <= size <= high:
        raise PeerError(COORDINATOR, "a union of another size", "a size that the parties' numbers of rows allow")
    union: Words = array.read(COORDINATOR, "<u8", (size,), high=mersenne.P - 1)
    if bool((union[1:] <= union[:-1]).any()):
        raise PeerError(COORDINATOR, "a union that is not in order", "distinct pseudonyms in ascending order")
    return union
