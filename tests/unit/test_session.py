"""A session is new by every party's own hello, and all keys follow from it; who was shown other hellos is in another session."""

from __future__ import annotations

import msgspec
import pytest

from federation.kernel import suite
from federation.kernel.codec import Message
from federation.kernel.errors import PeerError
from federation.kernel.manifest import Manifest
from federation.kernel.role import COORDINATOR
from federation.kernel.session import GroupShare, Hello, Keys, agree_on_group_key, greet, opening_session, session_channel
from tests.post import manifest
from tests.rooms import Delivery, Room

NAMES = ("bank", "platform", "tax")
EVERYONE = (COORDINATOR, *NAMES)
replace = msgspec.structs.replace


def party_keys(*, salt: str = "", different: str = "") -> dict[str, Keys]:
    """All parties' keys after hellos. different: this party is shown another hello of tax than everyone else."""
    roots = {name: Keys(suite.digest("root", name, salt)) for name in EVERYONE}
    hellos = {name: keys.hello(suite.digest("data", name)) for name, keys in roots.items()}
    other = Keys(suite.digest("root", "forged")).hello(bytes(32))
    return {name: replace(keys, hellos=hellos | ({"tax": other} if name == different else {})) for name, keys in roots.items()}


def test_all_parties_come_to_one_session_and_another_root_of_any_party_to_another() -> None:
    made = manifest(*NAMES)
    keys = party_keys()
    sessions = {k.session(made) for k in keys.values()}
    assert len(sessions) == 1
    for name in EVERYONE:
        for part in Hello.__struct_fields__:
            hellos = keys["bank"].hellos
            changed = replace(hellos[name], **{part: bytes(32)})
            assert replace(keys["bank"], hellos=hellos | {name: changed}).session(made) not in sessions
    hellos = keys["bank"].hellos
    swapped = hellos | {"bank": hellos["tax"], "tax": hellos["bank"]}
    assert replace(keys["bank"], hellos=swapped).session(made) not in sessions


@pytest.mark.parametrize("change", [{"seed": 8}, {"attempt": 1}, {"purpose": "other"}])
def test_another_manifest_or_attempt_is_another_session_and_opening(change: dict[str, object]) -> None:
    made, other = manifest(*NAMES), manifest(*NAMES, **change)
    keys = party_keys()["bank"]
    assert keys.session(made) != keys.session(other)
    assert opening_session(made) != opening_session(other)


def test_pairs_agree_on_one_secret_and_no_other_pair_has_it() -> None:
    made, keys = manifest(*NAMES), party_keys()
    pairs = {name: keys[name].pairs(made, name) for name in EVERYONE}
    assert pairs[COORDINATOR] == {}
    for one in NAMES:
        assert set(pairs[one]) == set(NAMES) - {one}
        for other in pairs[one]:
            assert pairs[one][other] == pairs[other][one]
    assert len({secret.reveal() for name in NAMES for secret in pairs[name].values()}) == 3
    fresh = party_keys(salt="again")
    assert all(fresh["bank"].pairs(made, "bank")[name] != pairs["bank"][name] for name in ("platform", "tax"))


def test_who_is_shown_another_hello_shares_no_session_and_opens_nothing() -> None:
    class Word(Message, frozen=True, tag="test/word"):
        """A message."""

    made, keys = manifest(*NAMES), party_keys(different="bank")
    assert keys["bank"].session(made) != keys["platform"].session(made) == keys["tax"].session(made)
    bank, platform = (session_channel(made, name, keys[name]) for name in ("bank", "platform"))
    with pytest.raises(PeerError, match="another session"):
        platform.open(bank.wrap("platform", "x", Word()))
    with pytest.raises(PeerError, match="another session"):
        bank.open(platform.wrap("bank", "x", Word()))
    tax = session_channel(made, "tax", keys["tax"])
    assert platform.open(tax.wrap("platform", "x", Word())).kind == "test/word"  # control: who saw the same hellos is understood


def test_a_low_order_agreement_key_is_the_peers_fault() -> None:
    made, keys = manifest(*NAMES), party_keys()["bank"]
    bad = keys.hellos | {"tax": replace(keys.hellos["tax"], agreement_key=bytes(32))}
    with pytest.raises(PeerError, match="tax: sent a low-order"):
        replace(keys, hellos=bad).pairs(made, "bank")


def test_run_agreement_and_session_keys_of_one_root_are_unrelated() -> None:
    keys = party_keys()["bank"]
    hello = keys.hello(bytes(32))
    parts = {hello.nonce, hello.run_key, hello.agreement_key, keys.signing.reveal(), keys.secret.reveal(), keys.root}
    assert len(parts) == 6
    assert all(keys.root not in part for part in parts - {keys.root})


def _greetings(made: Manifest, spoil: object = lambda d: d.message) -> dict[str, dict[str, Hello]]:
    room = Room(made.members, post=spoil)  # type: ignore[arg-type]
    keys = party_keys()
    return room.play({name: greet(room.run(name), keys[name].hello(bytes(32))) for name in EVERYONE})


def test_everyone_greets_everyone() -> None:
    met = _greetings(manifest(*NAMES))
    assert all(met[name] == met["bank"] for name in EVERYONE)
    assert set(met["bank"]) == set(EVERYONE)


@pytest.mark.parametrize("part", [part for part in Hello.__struct_fields__ if part != "notice"])
@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_hello_of_another_size_is_refused_and_its_sender_named(part: str, size: int) -> None:
    def spoil(delivery: Delivery) -> Message:
        changed = delivery.sender == "tax" and delivery.recipient == "bank"
        return replace(delivery.message, **{part: bytes(size)}) if changed else delivery.message

    with pytest.raises(PeerError, match="tax: sent a hello of the wrong size"):
        _greetings(manifest(*NAMES), spoil)


def test_a_run_key_taken_over_from_another_party_is_refused() -> None:
    bank = party_keys()["bank"].hello(bytes(32)).run_key

    def spoil(delivery: Delivery) -> Message:
        return replace(delivery.message, run_key=bank) if delivery.sender == "tax" else delivery.message

    with pytest.raises(PeerError, match="one run key"):
        _greetings(manifest(*NAMES), spoil)


def _group(spoil: object = lambda d: d.message, session: bytes = bytes(32)) -> dict[str, bytes]:
    room = Room(NAMES, session, post=spoil)  # type: ignore[arg-type]
    return room.play({name: agree_on_group_key(room.run(name)) for name in NAMES})


def test_institutions_share_a_group_key_new_in_every_session() -> None:
    agreed = _group()
    assert len(set(agreed.values())) == 1
    assert _group(session=b"\1" * 32)["bank"] not in agreed.values()


def test_a_share_told_differently_gives_different_keys_and_a_short_one_names_its_sender() -> None:
    def forked(delivery: Delivery) -> Message:
        return GroupShare(b"x" * 32) if (delivery.sender, delivery.recipient) == ("tax", "bank") else delivery.message

    told = _group(forked)
    assert told["bank"] != told["platform"] == told["tax"]

    def short(delivery: Delivery) -> Message:
        return GroupShare(b"x" * 31) if delivery.sender == "tax" else delivery.message

    with pytest.raises(PeerError, match="tax: sent a group share"):
        _group(short)


def test_the_coordinator_receives_no_share() -> None:
    room = Room(NAMES)
    room.play({name: agree_on_group_key(room.run(name)) for name in NAMES})
    assert room.deliveries
    assert all(delivery.recipient != COORDINATOR for delivery in room.deliveries)
