"""The masked sum that survives drop-outs and a hostile coordinator: Bonawitz et al. 2017 (CCS), figure 4, the active-adversary variant.

n members, threshold t > 2n/3. For each sum, with fresh keys whose public halves and shares travel signed by the session's run keys:

    advert    u -> coordinator   public mask key;  u -> every v: sealed shares at v (Shamir, t of n) of u's mask key and of its self-mask seed
    roster    coordinator -> u   U2: whose adverts came. u takes the shares of all of U2
    input     u -> coordinator   y_u = c_u + PRG(seed_u) + sum_{v in U2} +-PRG(s_uv),   c_u from `cover`, s_uv = X25519(mask keys of u and v)
    survivors coordinator -> u   U3: whose input came
    seen      u -> coordinator   u's signature of U3;   agreement: coordinator -> u, t signatures of this same U3
    unmask    u -> coordinator   for v in U3 the share of v's seed, for v in U2 without U3 the share of v's mask key: never both
    total     coordinator -> u   sum_{u in U3} c_u, which each member opens and whose tag it verifies

A member may be lost before any of its five messages; with fewer than t left the run ends and nothing is opened. Two different U3 cannot both
have t signatures of n members of whom fewer than n/3 are dishonest, so no member is made to release both shares of one other. A step has one
place in the session and its keys serve there once, so there is no second survivor set and no retry: what a replay sends is byte for byte what
was sent before. Pair masks are AES-256-CTR under 256-bit keys; the group mask and the tag of `cover` hide the sum from the coordinator and
show a wrong one.

Up to 64 members everybody shares with everybody. Above, "every v" and "t signatures" above are a member's neighbours in the k-regular graph of
Bell et al. 2020 (`graph`), among whom its own threshold holds; the whole circle's threshold stays above 2n/3 as well.

Who learns what: privacy/contracts/bonawitz.toml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from federation.kernel import suite
from federation.kernel.codec import Array, Message
from federation.kernel.errors import ConfigurationError, LostParty, PeerError, PolicyRefusal
from federation.kernel.role import COORDINATOR, Role, Run
from federation.kernel.secret import Secret
from federation.masked_sum import mersenne, shamir
from federation.masked_sum.cover import Cover, Masked, Tally, total_of
from federation.masked_sum.fixed_point import FixedPoint, Integers
from federation.masked_sum.graph import Graph

COMPLETE, MOST_MEMBERS = 64, 2048
_HEADER = 1 << 16
_TOTAL = "the sum of the survivors' inputs"


class Advert(Message, frozen=True, tag="bonawitz/advert"):
    """To the coordinator. key: X25519 public mask key of this sum, 32 bytes; length: of the vector, in words."""

    key: bytes
    length: int


class Shares(Message, frozen=True, tag="bonawitz/shares"):
    """To one member, sealed. key: the sender's public mask key; key_share, seed_share: Shamir shares at the recipient, 66 bytes each."""

    key: bytes
    key_share: bytes
    seed_share: bytes

    def __repr__(self) -> str:
        return "Shares()"


class Roster(Message, frozen=True, tag="bonawitz/roster"):
    """U2, in the order of the members: whose adverts came."""

    broadcast: ClassVar[bool] = True

    names: tuple[str, ...]


class MaskedInput(Message, frozen=True, tag="bonawitz/input"):
    """vector: (k,) uint64, 2^s input + group mask + self mask + pair masks, mod 2^64; tag: weighted sum of the input + masks, mod p."""

    vector: Array
    tag: int


class Survivors(Message, frozen=True, tag="bonawitz/survivors"):
    """U3, in the order of the members: whose input came, and therefore is in the sum."""

    broadcast: ClassVar[bool] = True

    names: tuple[str, ...]


class Seen(Message, frozen=True, tag="bonawitz/seen"):
    """The sender's signature (64 bytes) of the survivors that it was told of, at this place of this session."""

    signature: bytes


class Agreement(Message, frozen=True, tag="bonawitz/agreement"):
    """The signatures of members by name: proof that so many were told of the same survivors."""

    signatures: dict[str, bytes]


class Unmask(Message, frozen=True, tag="bonawitz/unmask"):
    """Shares that the sender holds. seeds: of survivors' self-mask seeds; keys: of the mask keys of those who were lost after the roster."""

    seeds: dict[str, bytes]
    keys: dict[str, bytes]

    def __repr__(self) -> str:
        return f"Unmask({len(self.seeds)} seeds, {len(self.keys)} keys)"


class Total(Message, frozen=True, tag="bonawitz/total"):
    """vector: (k,) uint64, 2^s sum + |U3| group masks, mod 2^64; tag: weighted sum of the sum + |U3| tag masks, mod p."""

    broadcast: ClassVar[bool] = True

    vector: Array
    tag: int


def least_threshold(members: int) -> int:
    """The least t > 2n/3."""
    return 2 * members // 3 + 1


@dataclass(frozen=True)
class Circle:
    """Who adds. members: in the manifest's order; threshold: how many must stay; started: n, how many the threshold was set for; graph: who
    shares with whom, None for everybody with everybody.

    Over a run members become fewer; the thresholds and the graph stay. Raises PolicyRefusal for a threshold of at most 2n/3 or under three
    members (of two, each learns the other's input), ConfigurationError for members that are not distinct institutions or too many.
    """

    members: tuple[str, ...]
    threshold: int
    started: int = field(default=0)
    graph: Graph | None = None

    def __post_init__(self) -> None:
        """Refuse what would not be safe."""
        members, began = self.members, self.started or len(self.members)
        object.__setattr__(self, "started", began)
        most = COMPLETE if self.graph is None else MOST_MEMBERS
        if len(set(members)) != len(members) or COORDINATOR in members or len(members) > began or began > most:
            raise ConfigurationError("masked sum", f"the members must be distinct institutions, at most {most}", "Correct the manifest.")
        if not least_threshold(began) <= self.threshold <= began or self.threshold < 3:  # of two, each learns the other's
            raise PolicyRefusal(
                "masked sum",
                f"a threshold of {self.threshold} with {began} members (rule: above two thirds of the members, and at least three)",
                f"Set the threshold to {max(3, least_threshold(began))} or more, or leave it out.",
            )

    @cached_property
    def places(self) -> dict[str, int]:
        """The point at which each member's shares are taken."""
        return {name: place for place, name in enumerate(self.members, 1)}

    @property
    def share_threshold(self) -> int:
        """How many of those who hold a member's shares open them."""
        return self.threshold if self.graph is None else self.graph.threshold

    def near(self, name: str, among: tuple[str, ...]) -> tuple[str, ...]:
        """Those of `among` who hold a member's shares, itself among them, in their order."""
        return among if self.graph is None else tuple(other for other in among if other in self.graph.near[name])

    def without(self, survivors: tuple[str, ...]) -> Circle:
        """The circle of those who are left."""
        return Circle(survivors, self.threshold, self.started, self.graph)

    def check(self, names: tuple[str, ...], within: tuple[str, ...], me: str) -> None:
        """Raises PeerError unless names are enough of these members in their order, this member and enough of its neighbours among them."""
        said = set(names)
        right = names == tuple(name for name in within if name in said) and me in said
        if not right or len(names) < self.threshold or len(self.near(me, names)) < self.share_threshold:
            raise PeerError(COORDINATOR, f"a list of {len(names)} members", f"{self.threshold} or more in order, this one among them")


# -- a member ---------------------------------------------------------------------------------------------------------------------


def sum_member(run: Run, integers: Integers, encoding: FixedPoint, circle: Circle) -> Role[tuple[Integers, tuple[str, ...]]]:
    """A member's part: its integers, (k,) within `encoding.largest`; returns the exact sum over the survivors, (k,), and who they are.

    Raises ConfigurationError for an encoding for fewer members, LocalError beyond the clip, PeerError when the coordinator's lists, proofs or
    total do not hold.
    """
    if run.me not in circle.members or encoding.members < len(circle.members):
        raise ConfigurationError(run.me, "a sum of others, or an encoding for fewer members", "Correct the manifest.")
    encoding.check(integers, run.me)
    length, secrets = len(integers), _Secrets.draw(run, circle)
    shares = {name: Shares(secrets.public, *held) for name, held in secrets.shares.items() if name != run.me}
    sent = {COORDINATOR: Advert(secrets.public, length), **shares}
    received = yield from run.step("roster", send=sent, expect={COORDINATOR: Roster}, limit=_HEADER)
    roster = received.of(COORDINATOR, Roster).names
    circle.check(roster, circle.members, run.me)
    others = tuple(name for name in circle.near(run.me, roster) if name != run.me)
    received = yield from run.step("shares", expect=dict.fromkeys(others, Shares))
    held = {name: _held(name, received.of(name, Shares)) for name in others}
    cover = Cover.agree(run, circle.members, length, encoding)  # before the survivors: bound to the roster
    masked = _masked(run, cover.conceal(integers), secrets, {name: shares.key for name, shares in held.items()}, roster)
    sent = {COORDINATOR: MaskedInput(Array.of(masked.words), masked.tag)}
    received = yield from run.step("survivors", send=sent, expect={COORDINATOR: Survivors}, limit=_HEADER)
    survivors = received.of(COORDINATOR, Survivors).names
    circle.check(survivors, roster, run.me)
    statement = suite.frame(*survivors)
    sent = {COORDINATOR: Seen(run.attest("survivors", statement))}
    received = yield from run.step("agreement", send=sent, expect={COORDINATOR: Agreement}, limit=_HEADER)
    _require_agreement(run, circle, survivors, statement, received.of(COORDINATOR, Agreement).signatures)
    mine = Shares(secrets.public, *secrets.shares[run.me])
    unmask = _released(held | {run.me: mine}, survivors)
    received = yield from run.step("total", send={COORDINATOR: unmask}, expect={COORDINATOR: Total}, limit=8 * length + _HEADER)
    total = received.of(COORDINATOR, Total)
    return cover.open(_read(COORDINATOR, total, length), len(survivors)), survivors


@dataclass(frozen=True)
class _Secrets:
    """One sum's secrets of one member. shares: (key share, seed share) at each member."""

    key: Secret
    seed: Secret
    public: bytes
    shares: Mapping[str, tuple[bytes, bytes]]

    @classmethod
    def draw(cls, run: Run, circle: Circle) -> _Secrets:
        key, seed = run.random("mask key").secret(), run.random("self mask").secret()
        places = {name: circle.places[name] for name in circle.near(run.me, circle.members)}
        if len(places) < circle.share_threshold:
            what = f"{len(places)} who may hold this party's shares are left (rule: {circle.share_threshold})"
            raise LostParty(run.me, what, "Nothing was sent. Start a new run when the lost parties are back.")
        of_key = shamir.split(key, circle.share_threshold, list(places.values()), run.random("key shares"))
        of_seed = shamir.split(seed, circle.share_threshold, list(places.values()), run.random("seed shares"))
        return cls(key, seed, suite.agreement_public(key), {name: (of_key[at], of_seed[at]) for name, at in places.items()})


def _masked(run: Run, covered: Masked, secrets: _Secrets, keys: Mapping[str, bytes], roster: tuple[str, ...]) -> Masked:
    tally = Tally(covered)
    tally.add(_self_mask(run, secrets.seed))
    order = {name: place for place, name in enumerate(roster)}
    for name, public in keys.items():
        tally.add(_pair_mask(run, secrets.key, public, run.me, name), _sign(run.me, name, order))
    return tally.masked


def _released(held: Mapping[str, Shares], survivors: tuple[str, ...]) -> Unmask:
    """For each member whose shares this one holds just one: of the seed where its input is in the sum, else of the mask key."""
    summed = set(survivors)
    return Unmask(
        {name: shares.seed_share for name, shares in held.items() if name in summed},
        {name: shares.key_share for name, shares in held.items() if name not in summed},
    )


def _require_agreement(run: Run, circle: Circle, survivors: tuple[str, ...], statement: bytes, signatures: Mapping[str, bytes]) -> None:
    near, needed = set(circle.near(run.me, survivors)), circle.share_threshold
    good = sum(name in near and run.attested(name, "survivors", statement, made) for name, made in signatures.items())
    if good < needed or good < len(signatures):
        raise PeerError(COORDINATOR, f"{good} signatures of these survivors", f"{needed} or more, all of survivors, and all good")


def _held(sender: str, shares: Shares) -> Shares:
    if len(shares.key) != suite.KEY_BYTES or not (shamir.is_share(shares.key_share) and shamir.is_share(shares.seed_share)):
        raise PeerError(sender, "malformed shares", "a public key and two shares")
    return shares


# -- the coordinator --------------------------------------------------------------------------------------------------------------


def sum_coordinator(run: Run, circle: Circle, most: int) -> Role[tuple[str, ...]]:
    """The coordinator's part: adds, and takes off the masks whose keys or seeds t members have released; returns who is in the sum (U3).

    most: words that a vector may have. Raises LostParty below the threshold, PeerError for messages that do not fit together.
    """
    adverts = yield from run.step("roster", expect=dict.fromkeys(circle.members, Advert), quorum=circle.threshold)
    keys = {name: adverts.of(name, Advert).key for name in circle.members if name in adverts}
    length = _common_length({name: adverts.of(name, Advert) for name in keys}, most)
    sent: dict[str, Message] = dict.fromkeys(keys, Roster(tuple(keys)))
    received = yield from run.step("survivors", sent, dict.fromkeys(keys, MaskedInput), 8 * length + _HEADER, circle.threshold)
    survivors = tuple(name for name in keys if name in received)
    tally = Tally(total_of((), length))
    for name in survivors:
        tally.add_part(_read(name, received.of(name, MaskedInput), length))
    sent = dict.fromkeys(survivors, Survivors(survivors))
    received = yield from run.step("agreement", sent, dict.fromkeys(survivors, Seen), quorum=circle.threshold)
    signatures = {name: received.of(name, Seen).signature for name in received}
    sent = {name: Agreement(_near_only(circle, name, signatures)) for name in signatures}
    received = yield from run.step("total", sent, dict.fromkeys(signatures, Unmask), _HEADER, circle.threshold)
    released = {name: received.of(name, Unmask) for name in received}
    _take_off(run, circle, tally, keys, survivors, released)
    total = tally.masked
    yield from run.step("told", dict.fromkeys(released, Total(Array.of(total.words), total.tag)))
    return survivors


def _near_only(circle: Circle, name: str, signatures: dict[str, bytes]) -> dict[str, bytes]:
    """The signatures that concern a member: of those who hold its shares. One object for all where that is everybody."""
    return signatures if circle.graph is None else {other: signatures[other] for other in circle.near(name, tuple(signatures))}


def _common_length(adverts: Mapping[str, Advert], most: int) -> int:
    lengths = {advert.length for advert in adverts.values()}
    for name, advert in adverts.items():
        if len(advert.key) != suite.KEY_BYTES or not 1 <= advert.length <= most or len(lengths) > 1:
            raise PeerError(name, "an advert of another length", f"a public key, and one length at all members, at most {most}")
    return lengths.pop()


def _take_off(
    run: Run, circle: Circle, tally: Tally, keys: Mapping[str, bytes], survivors: tuple[str, ...], released: Mapping[str, Unmask]
) -> None:
    order, summed = {name: place for place, name in enumerate(keys)}, set(survivors)
    answered = tuple(name for name in circle.members if name in released)
    for name in keys:
        part = "seeds" if name in summed else "keys"
        shares = {circle.places[holder]: _share(holder, released[holder], part, name) for holder in circle.near(name, answered)}
        secret = _combined(circle, shares, name)
        if name in summed:
            tally.add(_self_mask(run, secret), -1)
            continue
        if suite.agreement_public(secret) != keys[name]:
            raise PeerError(name, "shares of another mask key", "shares of the key that it advertised")
        for peer in circle.near(name, survivors):
            tally.add(_pair_mask(run, secret, keys[peer], name, peer), _sign(name, peer, order))


def _share(holder: str, unmask: Unmask, part: str, name: str) -> bytes:
    share: bytes = (unmask.seeds if part == "seeds" else unmask.keys).get(name, b"")
    if not shamir.is_share(share):
        raise PeerError(holder, "no share of a member's secret, or a malformed one", "one share of each member whose shares it holds")
    return share


def _combined(circle: Circle, shares: Mapping[int, bytes], name: str) -> Secret:
    if len(shares) < circle.share_threshold:
        what = f"too few who hold its shares are left ({len(shares)}, and {circle.share_threshold} must be)"
        raise LostParty(name, what, "Nothing was opened. Start a new run when the lost parties are back.")
    secret = shamir.combine(shares, circle.share_threshold)
    if secret is None:
        raise PeerError(name, "shares that do not fit together", "shares of one secret")
    return secret


# -- masks ------------------------------------------------------------------------------------------------------------------------


def _self_mask(run: Run, seed: Secret) -> Secret:
    return suite.derive(seed, run.session, run.address, "self mask")


def _pair_mask(run: Run, key: Secret, public: bytes, one: str, other: str) -> Secret:
    """The key of the mask that two members share at this sum; at the coordinator, for one who was lost, from its reconstructed mask key."""
    try:
        agreed = suite.agree(key, public)
    except ValueError:
        raise PeerError(other, "a low-order mask key", "an X25519 public key") from None
    return suite.derive(agreed, run.session, *sorted((one, other)), run.address, "pair mask")


def _sign(me: str, other: str, order: Mapping[str, int]) -> int:
    """Who is named first adds the pair's mask, the other subtracts it."""
    return 1 if order[me] < order[other] else -1


def _read(sender: str, message: MaskedInput | Total, length: int) -> Masked:
    words = message.vector.read(sender, "<u8", (length,))
    if not mersenne.is_residue(message.tag):
        raise PeerError(sender, "a tag out of range", "a number in [0, 2^61 - 1)")
    return Masked(words, message.tag)
