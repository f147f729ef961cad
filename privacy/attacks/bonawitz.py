"""Attacks on the masked sum with drop-outs by the coordinator and some members, and the weakened members that each of them must break.

The weaknesses are those measured in Flower 1.42's SecAgg+: lists of active and dead members that may overlap, mask seeds folded to 32 bits, a
weight that may exceed its bound, a threshold that the server chooses, and keys that the server hands out; and those that Bonawitz et al.
2017 name: survivors that nobody signs, and a second set of survivors. The coordinator is given one member or more, who tell it all that they
hold and sign what it likes: so the group mask is no obstacle, and an attack that fails fails for want of shares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from federation.kernel import suite
from federation.kernel.codec import Array, Message
from federation.kernel.role import COORDINATOR, Role, Run
from federation.kernel.secret import Secret
from federation.masked_sum import bonawitz, shamir
from federation.masked_sum.bonawitz import Advert, Agreement, Circle, MaskedInput, Roster, Seen, Shares, Survivors, Total, Unmask
from federation.masked_sum.cover import Cover, Masked, Tally, stretch, total_of
from federation.masked_sum.fixed_point import FixedPoint, Integers
from federation.masked_sum.graph import Graph

Without = Literal["disjoint lists", "agreement", "one survivor set", "long seeds", "certified keys", "tag"]
"""The one protection that a weakened member lacks."""

View = Mapping[str, tuple[str, ...]]
"""The survivors that each member is shown."""

_HEADER = 1 << 20


class ServerKeys(Message, frozen=True, tag="weakened/keys"):
    """What a server hands out where members do not seal their mask keys for each other: a public key by name."""

    keys: dict[str, bytes]


class Lists(Message, frozen=True, tag="weakened/lists"):
    """What a server asks for where one message names both: seed shares of the active, key shares of the dead."""

    active: tuple[str, ...]
    dead: tuple[str, ...]


class ServersCircle(Circle):
    """A circle under whatever threshold the server chose."""

    def __post_init__(self) -> None:
        """Refuse nothing."""
        object.__setattr__(self, "started", self.started or len(self.members))


# -- what the coordinator has, and what it makes of it ----------------------------------------------------------------------------


@dataclass
class Loot:
    """What the coordinator and its members hold of one sum. run: its place; keys, inputs: as members sent them; seeds, mask_keys: shares of
    each member's two secrets, by holder; known: private mask keys that it has otherwise.
    """

    run: Run
    circle: Circle
    keys: dict[str, bytes] = field(default_factory=dict)
    inputs: dict[str, Masked] = field(default_factory=dict)
    seeds: dict[str, dict[str, bytes]] = field(default_factory=dict)
    mask_keys: dict[str, dict[str, bytes]] = field(default_factory=dict)
    known: dict[str, Secret] = field(default_factory=dict)

    def take(self, holder: str, unmask: Unmask) -> None:
        """The shares that one member released."""
        for name, share in unmask.seeds.items():
            self.seeds.setdefault(name, {})[holder] = share
        for name, share in unmask.keys.items():
            self.mask_keys.setdefault(name, {})[holder] = share

    def collude(self, run: Run, held: Mapping[str, Shares]) -> None:
        """A member in league: its own secrets, and both shares of everyone who sent it some."""
        own = bonawitz._Secrets.draw(run, self.circle)  # noqa: SLF001  # the member knows its own
        self.known[run.me] = own.key
        for name, shares in {**held, run.me: Shares(own.public, *own.shares[run.me])}.items():
            self.take(run.me, Unmask({name: shares.seed_share}, {name: shares.key_share}))

    def seed(self, name: str) -> Secret | None:
        """A member's self-mask seed, if there are shares enough."""
        return self._combined(self.seeds.get(name, {}))

    def key(self, name: str) -> Secret | None:
        """A member's private mask key, if it is known or there are shares enough."""
        return self.known.get(name) or self._combined(self.mask_keys.get(name, {}))

    def both(self) -> list[str]:
        """Members of whom both secrets can be put together, those in league left out."""
        return [name for name in self.circle.members if name not in self.known and self.seed(name) and self.key(name)]

    def _combined(self, shares: Mapping[str, bytes]) -> Secret | None:
        places = {self.circle.places[holder]: share for holder, share in shares.items()}
        return shamir.combine(places, self.circle.threshold) if len(places) >= self.circle.threshold else None

    def strip(self, names: Sequence[str], roster: Sequence[str], *, except_for: Iterable[str] = ()) -> Masked | None:
        """The covered inputs of `names` added, without their self masks and their pair masks with the rest of the roster (but for the rest
        named in `except_for`). None where a secret is missing.
        """
        tally = Tally(total_of((self.inputs[name] for name in names), len(self.inputs[names[0]].words)))
        for name in names:
            if (seed := self.seed(name)) is None:
                return None
            tally.add(bonawitz._self_mask(self.run, seed), -1)  # noqa: SLF001
            for other in (other for other in roster if other not in (*names, *except_for)):
                if (mask := self._pair(name, other)) is None:
                    return None
                tally.add(mask, -bonawitz._sign(name, other, {one: place for place, one in enumerate(roster)}))  # noqa: SLF001
        return tally.masked

    def _pair(self, name: str, other: str) -> Secret | None:
        for one, two in ((other, name), (name, other)):
            if (key := self.key(one)) is not None:
                return bonawitz._pair_mask(self.run, key, self.keys[two], one, two)  # noqa: SLF001
        return None

    def read(self, names: Sequence[str], roster: Sequence[str], group: Cover) -> Integers | None:
        """The sum of these members' integers, right if the secrets are. group: from a member in league."""
        stripped = self.strip(names, roster)
        if stripped is None:
            return None
        return stripped.minus(group.mask.times(len(names))).words.view(np.int64) >> np.int64(group.shift)


def fold(seed: Secret, bits: int = 32) -> Secret:
    """A seed folded to 32 bits as Flower folds it (the exclusive or of its 32-bit words), or to fewer; as a key of the same generator."""
    folded = int(np.bitwise_xor.reduce(np.frombuffer(seed.reveal(), "<u4"))) & ((1 << bits) - 1)
    return Secret(folded.to_bytes(suite.KEY_BYTES, "little"))


def search(stripped: Masked, sign: int, group: Cover, bits: int) -> tuple[Integers | None, int]:
    """A member's integers where one pair mask is left, by trying every seed of so many bits (None where no seed fits), and how many it tried.

    A wrong seed leaves random words: that all are multiples of 2^s within the bound tells the right one.
    """
    covered = stripped.minus(group.mask).words
    for candidate in range(1 << bits):
        mask = suite.keystream(Secret(candidate.to_bytes(suite.KEY_BYTES, "little")), len(covered))
        plain = covered - mask if sign == 1 else covered + mask
        if not int(plain[0]) & ((1 << group.shift) - 1):
            integers = plain.view(np.int64) >> np.int64(group.shift)
            if (np.abs(integers) <= group.encoding.largest).all() and not (plain & np.uint64((1 << group.shift) - 1)).any():
                return integers, candidate + 1
    return None, 1 << bits


def bounded_weight_mean(
    vectors: Sequence[NDArray[np.float64]], rows: Sequence[int], most: float = 1000.0, clip: float = 8.0, target: int = 1 << 22
) -> NDArray[np.float64]:
    """Flower's SecAgg+ weighted mean with its defaults and without its masks, which cancel: weights in units of `most`, modulo 2^32.

    Each vector times its weight is clipped before it is rounded, and only a line in a log says that a weight exceeds `most`.
    """
    factors = [round(count / most * target) for count in rows]
    scaled = [np.clip(vector * (factor / target), -clip, clip) for vector, factor in zip(vectors, factors, strict=True)]
    words = [np.rint((part + clip) * (target / (2 * clip))).astype(np.int64) for part in scaled]
    total = np.sum(words, axis=0) & ((1 << 32) - 1)
    summed = total * (2 * clip / target) - clip - (len(rows) - 1) * clip
    mean: NDArray[np.float64] = summed * (target / (sum(factors) & ((1 << 32) - 1)))
    return mean


# -- the hostile coordinator ------------------------------------------------------------------------------------------------------


def gather(run: Run, loot: Loot, rosters: Callable[[str], Message] | None = None) -> Role[None]:
    """Adverts, roster and inputs. rosters: what each member is told in place of the true roster."""
    adverts = yield from run.step("roster", expect=dict.fromkeys(loot.circle.members, Advert), quorum=0)
    loot.keys = {name: adverts.of(name, Advert).key for name in loot.circle.members if name in adverts}
    told = {name: rosters(name) if rosters else Roster(tuple(loot.keys)) for name in loot.keys}
    received = yield from run.step("survivors", told, dict.fromkeys(told, MaskedInput), _HEADER, 0)
    for name in received:
        message = received.of(name, MaskedInput)
        loot.inputs[name] = Masked(message.vector.read(name, "<u8", message.vector.shape), message.tag)


def ask(run: Run, loot: Loot, views: View, league: Mapping[str, Run], *, agreement: bool = True, again: str = "") -> Role[None]:
    """Show each member its own set of survivors, with as many signatures of just that set as there are; take what shares come back.

    league: the runs of members in league, who sign every set. agreement False: weakened members ask for no signatures.
    """
    sent: dict[str, Message] = {name: Survivors(view) for name, view in views.items()}
    if agreement:
        received = yield from run.step(f"seen{again}", sent, dict.fromkeys(views, Seen), quorum=0)
        signed: dict[tuple[str, ...], dict[str, bytes]] = {}
        for name in received:
            signed.setdefault(views[name], {})[name] = received.of(name, Seen).signature
        for view in set(views.values()):
            forged = {name: spy.attest("survivors", suite.frame(*view)) for name, spy in league.items() if name in view}
            signed[view] = signed.get(view, {}) | forged
        sent = {name: Agreement(signed[view]) for name, view in views.items()}
    received = yield from run.step(f"unmask{again}", sent, dict.fromkeys(views, Unmask), _HEADER, 0)
    for name in received:
        loot.take(name, received.of(name, Unmask))


def ask_by_lists(run: Run, loot: Loot, active: tuple[str, ...], dead: tuple[str, ...]) -> Role[None]:
    """Ask for seed shares of the active and key shares of the dead, some of whom are both."""
    sent = dict.fromkeys(loot.inputs, Lists(active, dead))
    received = yield from run.step("unmask", sent, dict.fromkeys(loot.inputs, Unmask), _HEADER, 0)
    for name in received:
        loot.take(name, received.of(name, Unmask))


# -- the weakened member ----------------------------------------------------------------------------------------------------------


def weakened_member(
    run: Run, integers: Integers, encoding: FixedPoint, circle: Circle, without: Without | None, bits: int = 32
) -> Role[tuple[Integers, tuple[str, ...]]]:
    """`bonawitz.sum_member` but for one protection (None: but for its circle's). bits: of the folded seeds."""
    length, secrets = len(integers), bonawitz._Secrets.draw(run, circle)  # noqa: SLF001
    sent: dict[str, Message] = {name: Shares(secrets.public, *secrets.shares[name]) for name in circle.members if name != run.me}
    sent[COORDINATOR] = Advert(secrets.public, length)
    kind: type[Roster | ServerKeys] = ServerKeys if without == "certified keys" else Roster
    received = yield from run.step("roster", sent, {COORDINATOR: kind})
    message = received[COORDINATOR]
    handed = message.keys if isinstance(message, ServerKeys) else {}
    roster = message.names if isinstance(message, Roster) else tuple(handed)
    others = tuple(name for name in roster if name != run.me)
    received = yield from run.step("shares", expect=dict.fromkeys(others, Shares))
    held = {name: received.of(name, Shares) for name in others}
    keys = {name: handed.get(name, held[name].key) for name in others}
    cover = Cover.agree(run, circle.members, length, encoding)
    if without == "long seeds":
        masked = _folded(run, cover.conceal(integers), secrets, keys, roster, bits)
    else:
        masked = bonawitz._masked(run, cover.conceal(integers), secrets, keys, roster)  # noqa: SLF001
    held[run.me] = Shares(secrets.public, *secrets.shares[run.me])
    yield from run.step("input", {COORDINATOR: MaskedInput(Array.of(masked.words), masked.tag)})
    survivors, unmask = yield from _answer(run, circle, roster, held, without)
    received = yield from run.step("total", {COORDINATOR: unmask}, {COORDINATOR: Total}, limit=_HEADER)
    total = bonawitz._read(COORDINATOR, received.of(COORDINATOR, Total), length)  # noqa: SLF001
    if without == "tag":
        return total.minus(cover.mask.times(len(survivors))).words.view(np.int64) >> np.int64(cover.shift), survivors
    return cover.open(total, len(survivors)), survivors


def _answer(
    run: Run, circle: Circle, roster: tuple[str, ...], held: Mapping[str, Shares], without: Without | None
) -> Role[tuple[tuple[str, ...], Unmask]]:
    """The survivors that the member was last told of, and the shares for them, which it has not sent yet."""
    if without == "disjoint lists":
        received = yield from run.step("lists", expect={COORDINATOR: Lists})
        lists = received.of(COORDINATOR, Lists)
        return lists.active, Unmask(
            {name: held[name].seed_share for name in lists.active}, {name: held[name].key_share for name in lists.dead}
        )
    survivors, unmask = yield from _release(run, circle, roster, held, without, "")
    if without == "one survivor set":
        yield from run.step("unmask", {COORDINATOR: unmask})
        survivors, unmask = yield from _release(run, circle, roster, held, without, " again")
    return survivors, unmask


def _release(
    run: Run, circle: Circle, roster: tuple[str, ...], held: Mapping[str, Shares], without: Without | None, again: str
) -> Role[tuple[tuple[str, ...], Unmask]]:
    received = yield from run.step(f"survivors{again}", expect={COORDINATOR: Survivors})
    survivors = received.of(COORDINATOR, Survivors).names
    circle.check(survivors, roster, run.me)
    if without != "agreement":
        statement = suite.frame(*survivors)
        received = yield from run.step(
            f"agreement{again}", {COORDINATOR: Seen(run.attest("survivors", statement))}, {COORDINATOR: Agreement}
        )
        signatures = received.of(COORDINATOR, Agreement).signatures
        bonawitz._require_agreement(run, circle, survivors, statement, signatures)  # noqa: SLF001
    return survivors, bonawitz._released(held, survivors)  # noqa: SLF001


def _folded(run: Run, covered: Masked, secrets: bonawitz._Secrets, keys: Mapping[str, bytes], roster: tuple[str, ...], bits: int) -> Masked:
    """As `bonawitz._masked`, with every pair mask drawn from a folded seed."""
    length = len(covered.words)
    masked = covered.plus(stretch(bonawitz._self_mask(run, secrets.seed), length))  # noqa: SLF001
    order = {one: place for place, one in enumerate(roster)}
    for name, public in keys.items():
        mask = stretch(fold(bonawitz._pair_mask(run, secrets.key, public, run.me, name), bits), length)  # noqa: SLF001
        first = bonawitz._sign(run.me, name, order) == 1  # noqa: SLF001
        masked = masked.plus(mask) if first else masked.minus(mask)
    return masked


# -- more than 64 members -------------------------------------------------------------------------------------------------------


def in_league_nearby(graph: Graph, league: frozenset[str]) -> dict[str, int]:
    """Of every member that is not in league, how many who hold its shares are."""
    return {name: len(near & league) for name, near in graph.near.items() if name not in league}


def smallest_cut(graph: Graph, league: frozenset[str]) -> int:
    """Fewest honest members whose sum alone a coordinator with this league can open by saying of others that they were lost, at least.

    A member goes on where `threshold` of those who hold its shares do, itself among them. In a group that is cut off these are members of
    the group or in league, so the group has at least threshold less the most in league near one of its members.
    """
    return graph.threshold - max(in_league_nearby(graph, league).values())


def seated(members: Sequence[str], league: frozenset[str], degree: int, threshold: int) -> Graph:
    """The graph that a coordinator would choose if it could: its league around one member."""
    honest = [name for name in members if name not in league]
    order = [*list(league)[: degree // 2], honest[0], *list(league)[degree // 2 :], *honest[1:]]
    count, half = len(order), degree // 2
    near = {
        name: frozenset(order[(place + step) % count] for step in range(-half, half + 1)) for place, name in enumerate(order)
    }  # fmt: skip
    return Graph(near, threshold)
