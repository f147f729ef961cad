"""Heads of a peer's audit log as they arrive in a run: one that goes back, forks, or does not show that it goes on is refused there and then."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from federation.kernel import suite
from federation.kernel.codec import decode, encode
from federation.kernel.errors import PeerError
from federation.kernel.role import COORDINATOR
from federation.kernel.session import Hello
from federation.kernel.signatures import Opening, sign_manifest
from privacy.audit import heads
from privacy.audit.heads import Forked, Notice, Proof, RolledBack, SignedHead, Unproven, seen, sign
from privacy.audit.witness import Witness
from privacy.store.audit_file import AuditFile
from tests.audit_scene import NOON, PEER_KEY, PUBLIC, audit_file, copy, decoded, fill, lines_of, rechained, rewrite
from tests.house import OTHERS, House
from tests.post import identity

COUNT = 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bank's log of 30 entries, with a signed head at the end."""
    fill(audit_file(tmp_path / "bank" / "audit"), COUNT - 1).head()
    return tmp_path / "bank" / "audit"


@pytest.fixture
def mine(tmp_path: Path, folder: Path) -> AuditFile:
    """A platform's log, which has seen the bank's."""
    log = audit_file(tmp_path / "peer" / "audit", PEER_KEY, "platform")
    log.saw("bank", PUBLIC, audit_file(folder).notice())
    return log


def verdicts(log: AuditFile) -> list[object]:
    return [entry.facts["verdict"] for entry in log.entries() if entry.kind == "heads seen"]


def anew(folder: Path, tmp_path: Path, more: int = 5) -> AuditFile:
    """The bank's log written anew under its own key, one decision turned over, and longer than before."""
    other = copy(folder, tmp_path / "anew")
    entries = decoded(lines_of(folder))
    entries[7] = msgspec.structs.replace(entries[7], facts=entries[7].facts | {"allowed": not entries[7].facts["allowed"]})
    rewrite(other, entries)
    return fill(audit_file(other), more)


def test_a_log_that_goes_on_shows_it_and_is_accepted(mine: AuditFile, folder: Path) -> None:
    for count in (1, 7, 300):
        told = mine.last_seen(PUBLIC)
        mine.saw("bank", PUBLIC, fill(audit_file(folder), count).notice([told or 0]), told=told)
    assert verdicts(mine) == ["first", "later", "later", "later"]


def test_a_log_written_anew_is_refused_on_arrival_and_kept_as_evidence(mine: AuditFile, folder: Path, tmp_path: Path) -> None:
    told, forged = mine.last_seen(PUBLIC), anew(folder, tmp_path)
    with pytest.raises(Unproven, match="without a proof"):
        mine.saw("bank", PUBLIC, forged.notice([COUNT]), told=told)
    assert mine.last_seen(PUBLIC) == COUNT, "it is not what later heads are held to"
    mine.saw("bank", PUBLIC, fill(audit_file(folder), 2).notice([COUNT]), told=told)
    assert verdicts(mine) == ["first", "unproven", "later"]


def test_control_where_no_proof_is_asked_for_it_is_accepted(mine: AuditFile, folder: Path, tmp_path: Path) -> None:
    mine.saw("bank", PUBLIC, anew(folder, tmp_path).notice([COUNT]), told=None)
    assert verdicts(mine) == ["first", "unlinked"]


@pytest.mark.parametrize("weakened", [False, True], ids=["", "control"])
def test_an_early_signature_lets_no_log_that_was_written_anew_take_the_place_of_the_last_head(
    weakened: bool, mine: AuditFile, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coordinator has run B signed first, runs A, and then opens B: the proof is owed from before A."""
    early = mine.last_seen(PUBLIC)
    forged = anew(folder, tmp_path, more=60)  # what it will be when A is over
    mine.saw("bank", PUBLIC, fill(audit_file(folder), 25).notice([early or 0]), told=early)
    last = mine.last_seen(PUBLIC)
    if weakened:
        monkeypatch.setattr(heads, "verdict", lambda *_: "later")
    mine.saw("bank", PUBLIC, forged.notice(), told=None)
    assert mine.last_seen(PUBLIC) == (last if not weakened else COUNT + 60)
    owed = mine.last_seen(PUBLIC)
    if weakened:
        mine.saw("bank", PUBLIC, fill(forged, 3).notice([owed or 0]), told=owed)
    else:
        with pytest.raises(Unproven):
            mine.saw("bank", PUBLIC, fill(forged, 3).notice([owed or 0]), told=owed)


def test_no_other_proof_will_do(mine: AuditFile, folder: Path) -> None:
    log = audit_file(folder)
    fill(log, 1).head()
    fill(log, 5)
    good = decode(log.notice([COUNT, COUNT + 1]), Notice, "bank")
    right = next(proof for proof in good.proofs if proof.earlier == COUNT)
    other = next(proof for proof in good.proofs if proof.earlier == COUNT + 1)
    wrong = [
        (),
        (other,),
        (Proof(COUNT, other.path),),
        (Proof(COUNT, right.path[:-1]),),
        (Proof(COUNT, (*right.path, bytes(32))),),
        (Proof(COUNT + 1, right.path),),
    ]
    for place in range(len(right.path)):
        altered = bytes([right.path[place][0] ^ 1]) + right.path[place][1:]
        wrong.append((Proof(COUNT, (*right.path[:place], altered, *right.path[place + 1 :])),))
    for proofs in wrong:
        with pytest.raises(Unproven):
            mine.saw("bank", PUBLIC, encode(Notice(good.head, proofs)), told=COUNT)
    mine.saw("bank", PUBLIC, encode(good), told=COUNT)


def test_a_proof_goes_over_segments_and_is_gone_with_what_retention_deleted(tmp_path: Path) -> None:
    log = fill(audit_file(tmp_path / "bank" / "audit", segment_bytes=2000), 20)
    early = seen(log.notice(), "bank", PUBLIC).head
    fill(log, 60)
    assert seen(log.notice([early.size]), "bank", PUBLIC).shows(early)
    late = log.head()
    assert log.keep_from(late.size - 20) > early.size
    fill(log, 60)
    after = seen(log.notice([early.size, late.size, 5, 0, -1, 10**6]), "bank", PUBLIC)
    assert after.shows(late) and not after.shows(early) and len(after.proofs) == 1


def test_what_another_run_brought_meanwhile_does_not_matter(mine: AuditFile, folder: Path, tmp_path: Path) -> None:
    told, log = mine.last_seen(PUBLIC), audit_file(folder)
    mine.saw("bank", PUBLIC, fill(log, 3).notice([COUNT]), told=told)  # the other run
    mine.saw("bank", PUBLIC, fill(log, 3).notice([COUNT]), told=told)
    with pytest.raises(Unproven):
        mine.saw("bank", PUBLIC, anew(folder, tmp_path, 20).notice([COUNT]), told=told)


def test_a_notice_of_a_million_entries_and_nine_peers_has_room() -> None:
    proofs = tuple(Proof(10**6 + number, tuple(bytes(32) for _ in range(40))) for number in range(64))
    head = SignedHead(1 << 40, bytes(32), bytes(32), NOON, bytes(32), bytes(64))
    assert len(encode(Notice(head, proofs))) < 1 << 17


def test_a_node_tells_what_it_has_seen_and_owes_proofs_from_what_others_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path / "house", monkeypatch)
    log, platform = house.node.gate.log, suite.signing_public(identity("platform"))
    log.saw("platform", platform, fill(audit_file(tmp_path / "platform", identity("platform")), 6).notice())
    before, made = log.head(), house.drafted()
    house.vote(made.hash)
    signed = house.proposed(made)
    assert signed.seen == {"platform": 7}
    others = (sign_manifest(made, name, bytes(32), identity(name), {"bank": before.size}) for name in OTHERS)
    house.ask("open", msgspec.json.encode(Opening(made.canonical(), (signed, *others))))
    said = [decode(envelope.body, Hello, "bank") for envelope in house.hello().envelopes if envelope.recipient == COORDINATOR]
    notice = seen(said[0].notice, "bank", suite.signing_public(house.node.identity))
    assert notice.head.size > before.size and notice.shows(before)


def test_what_a_party_has_seen_is_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path / "house", monkeypatch)
    made = house.drafted()
    house.vote(made.hash)
    mine, platform, tax = house.signatures(made)
    for seen_of in ({"bank": 3}, {"bank": 0}, {"bank": -1}, {"bank": 1 << 63}):
        with pytest.raises(PeerError, match=r"does not hold|no size"):
            house.open(made, (mine, msgspec.structs.replace(platform, seen=seen_of), tax))
    house.open(made, (mine, platform, tax))


def test_a_run_ends_for_a_peer_whose_log_was_written_anew_and_control_goes_on_for_an_honest_one(
    mine: AuditFile, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = House(tmp_path / "house", monkeypatch).drafted()
    made = msgspec.structs.replace(made, parties=(msgspec.structs.replace(made.parties[0], identity=PUBLIC.hex()), *made.parties[1:]))
    witness = Witness(mine, made, "platform")
    told = witness.seen()
    assert told == {"bank": COUNT}

    def hellos(bank: AuditFile) -> dict[str, Hello]:
        rest = {name: audit_file(tmp_path / f"log of {name}", identity(name), name) for name in ("tax", COORDINATOR)}
        return {name: Hello(b"", b"", b"", b"", log.notice([COUNT])) for name, log in {"bank": bank, **rest}.items()}

    with pytest.raises(Unproven):
        witness.heard(hellos(anew(folder, tmp_path)), bytes(32), told)
    witness.heard(hellos(fill(audit_file(folder), 2)), bytes(32), told)


def test_a_peer_that_goes_back_or_keeps_two_logs_is_refused_at_once_by_name(tmp_path: Path, folder: Path) -> None:
    mine = audit_file(tmp_path / "peer" / "audit", PEER_KEY, "platform")
    old = copy(folder, tmp_path / "old")
    log = audit_file(folder)
    mine.saw("bank", PUBLIC, log.notice())
    mine.saw("bank", PUBLIC, log.notice())
    fill(log, 2).head()
    mine.saw("bank", PUBLIC, log.notice())
    with pytest.raises(RolledBack, match="rolled back"):
        mine.saw("bank", PUBLIC, audit_file(old).notice())
    other = fill(audit_file(old), 2, "another run").notice()
    with pytest.raises(Forked, match="a fork"):
        mine.saw("bank", PUBLIC, other)
    mine.saw("bank", PUBLIC, fill(log, 1).notice())
    verdicts = [entry.facts["verdict"] for entry in mine.entries() if entry.kind == "heads seen"]
    assert verdicts == ["first", "same", "unlinked", "rolled back", "forked", "unlinked"], "a head that is refused is evidence, and is kept"


def test_the_last_head_seen_is_known_to_the_next_process_and_after_retention(tmp_path: Path, folder: Path) -> None:
    place = tmp_path / "peer" / "audit"
    old = audit_file(folder).notice()
    fill(log := audit_file(folder), 2)
    audit_file(place, PEER_KEY, segment_bytes=2000).saw("bank", PUBLIC, log.notice())
    with pytest.raises(RolledBack):
        audit_file(place, PEER_KEY, segment_bytes=2000).saw("bank", PUBLIC, old)
    mine = fill(audit_file(place, PEER_KEY, segment_bytes=2000), 60)
    assert mine.keep_from(40) > 20
    with pytest.raises(RolledBack):
        audit_file(place, PEER_KEY).saw("bank", PUBLIC, old)


def test_control_without_the_last_head_a_roll_back_is_accepted(tmp_path: Path, folder: Path) -> None:
    old = audit_file(folder).notice()
    mine = audit_file(tmp_path / "peer" / "audit", PEER_KEY)
    mine.saw("bank", PUBLIC, fill(audit_file(folder), 2).notice())
    audit_file(tmp_path / "amnesiac" / "audit", PEER_KEY).saw("bank", PUBLIC, old)


def test_a_notice_that_is_none_is_refused_and_not_recorded(tmp_path: Path, folder: Path) -> None:
    mine = audit_file(tmp_path / "peer" / "audit", PEER_KEY)
    good = audit_file(folder).notice()
    assert len(good) <= 1024
    draw = random.Random(3)
    bad = [b"", b"\x00" * 2000, good + b"\x00", good[:-1], encode(Notice(sign(rechained(decoded(lines_of(folder)))[1], NOON, PEER_KEY)))]
    for _ in range(200):
        altered = bytearray(good)
        altered[draw.randrange(len(good))] ^= 1 << draw.randrange(8)
        bad.append(bytes(altered))
    for raw in bad:
        with pytest.raises(PeerError):
            mine.saw("bank", PUBLIC, raw)
    assert not list(mine.entries())
