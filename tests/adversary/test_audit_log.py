"""Nobody changes an audit log unseen: not who has the disk, not who can compute the chain anew, not the node with its own key.

Each attack is found by its name and entry, and each has a control: verification without the layer that finds it takes the altered log for sound.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from privacy.audit import heads as heads_module
from privacy.audit import lines as lines_module
from privacy.audit import verify as verify_module
from privacy.audit.heads import SignedHead, sign
from privacy.audit.verify import verify
from privacy.store.audit_folder import HEADS, AuditFolder
from tests.audit_scene import (
    KEY,
    NOON,
    PEER_KEY,
    PEER_PUBLIC,
    PUBLIC,
    audit_file,
    check,
    copy,
    decoded,
    fill,
    in_memory,
    line_of,
    lines_of,
    names,
    put_lines,
    rechained,
    renumbered,
    rewrite,
)

COUNT = 30
Lines = list[bytes]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A log of a founding and 29 decisions, with a signed head after 11 and at the end."""
    log = fill(audit_file(tmp_path / "bank" / "audit"), 10)
    log.head()
    fill(log, COUNT - 11, "run-2").head()
    return tmp_path / "bank" / "audit"


@pytest.fixture
def weakened(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Verification that takes every line for one that follows, and asks no head."""

    def weaken() -> None:
        monkeypatch.setattr(lines_module.Walk, "_follows", lambda *_: True)
        monkeypatch.setattr(verify_module, "_heads_fit", lambda own, *_: list(own))

    return weaken


def test_an_untouched_log_is_sound(folder: Path) -> None:
    report = check(folder)
    assert report.sound and (report.size, report.unsigned, report.party) == (COUNT, 0, "bank") and not report.notes
    assert names(verify(AuditFolder(folder).log(), {PEER_PUBLIC})) == [("bad head", 0)] * 3 + [("no head", 0)]


# who has the disk and computes nothing anew


def flips(count: int, entries: int, tmp_path: Path) -> tuple[int, int, int]:
    """Flip one random bit in each of `count` bytes, spread over all; returns how many were tried, missed, and misnamed."""
    log = fill(audit_file(tmp_path / "audit"), entries)
    log.head()
    data, signed = b"".join(lines_of(tmp_path / "audit")), b"".join(AuditFolder(tmp_path / "audit").heads())
    draw = random.Random(5)
    step = max(1, (len(data) + len(signed)) // count)
    tried = missed = misnamed = 0
    for place in range(draw.randrange(step), len(data) + len(signed), step):
        bit = 1 << draw.randrange(8)
        altered = bytearray(data + signed)
        altered[place] ^= bit
        lines, heads = list(io.BytesIO(altered[: len(data)])), list(io.BytesIO(altered[len(data) :]))
        report = verify(in_memory(lines, heads), {PUBLIC})
        tried += 1
        missed += report.sound
        if place < len(data) and not report.sound:
            expected = ("truncated" if place == len(data) - 1 else "flipped", data[:place].count(b"\n"))
            misnamed += names(report)[0] != expected
        elif not report.sound:
            misnamed += names(report)[0][0] != "bad head"
    return tried, missed, misnamed


def test_no_flipped_bit_is_missed(tmp_path: Path) -> None:
    tried, missed, misnamed = flips(800, 9, tmp_path)
    print(f"{missed} of {tried} flips missed, {misnamed} under another name or entry")
    assert tried >= 800 and missed == misnamed == 0


@pytest.mark.slow
def test_no_flipped_bit_is_missed_in_any_byte(tmp_path: Path) -> None:
    tried, missed, misnamed = flips(1 << 30, 60, tmp_path)
    print(f"{missed} of {tried} flips missed, {misnamed} under another name or entry")
    assert tried >= 10_000 and missed == misnamed == 0


def test_control_without_chain_and_heads_a_flipped_fact_is_missed(folder: Path, weakened: Callable[[], None]) -> None:
    lines = lines_of(folder)
    put_lines(folder, [*lines[:7], lines[7].replace(b'"rows":6', b'"rows":7'), *lines[8:]])
    assert names(check(folder)) == [("flipped", 7)]
    weakened()
    assert check(folder).sound


def moved(lines: Lines, first: int, to: int) -> Lines:
    rest = lines[:first] + lines[first + 1 :]
    return [*rest[:to], lines[first], *rest[to:]]


def swapped(lines: Lines, first: int, second: int) -> Lines:
    out = list(lines)
    out[first], out[second] = out[second], out[first]
    return out


FOREIGN = "an entry that was never written"
ATTACKS: dict[str, tuple[Callable[[Lines], Lines], list[tuple[str, int]]]] = {
    "swapped neighbours": (lambda lines: swapped(lines, 12, 13), [("reordered", 12)]),
    "swapped far apart": (lambda lines: swapped(lines, 12, 20), [("reordered", 12)]),
    "moved back": (lambda lines: moved(lines, 12, 20), [("reordered", 12)]),
    "swapped neighbours, renumbered": (lambda lines: renumbered(swapped(lines, 12, 13)), [("reordered", 12)]),
    "swapped far apart, renumbered": (lambda lines: renumbered(swapped(lines, 12, 20)), [("reordered", 12), ("reordered", 20)]),
    "inserted copy": (lambda lines: [*lines[:12], lines[5], *lines[12:]], [("inserted", 12)]),
    "inserted copy, renumbered": (lambda lines: renumbered([*lines[:12], lines[5], *lines[12:]]), [("inserted", 12)]),
    "inserted three, renumbered": (lambda lines: renumbered(lines[:12] + lines[4:7] + lines[12:]), [("inserted", 12)]),
    "inserted at the end": (lambda lines: renumbered([*lines, lines[5]]), [("flipped", COUNT)]),
    "inserted noise": (lambda lines: [*lines[:12], b"noise\n", *lines[12:]], [("inserted", 12)]),
    "removed": (lambda lines: lines[:12] + lines[13:], [("removed", 12)]),
    "removed three": (lambda lines: lines[:12] + lines[15:], [("removed", 12)]),
    "removed three, renumbered": (lambda lines: renumbered(lines[:12] + lines[15:]), [("removed", 12)]),
    "removed the beginning": (lambda lines: lines[5:], [("removed", 0)]),
    "truncated": (lambda lines: lines[:12], [("truncated", 12)]),
    "truncated within a line": (lambda lines: [*lines[:12], lines[12][:50]], [("truncated", 12)]),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_what_was_done_to_the_file_is_found_by_name_and_entry(folder: Path, name: str) -> None:
    attack, expected = ATTACKS[name]
    put_lines(folder, attack(lines_of(folder)))
    assert names(check(folder)) == expected


@pytest.mark.parametrize("name", [name for name in ATTACKS if "renumbered" in name or "truncated" in name or "end" in name])
def test_control_without_chain_and_heads_it_is_missed(folder: Path, name: str, weakened: Callable[[], None]) -> None:
    put_lines(folder, ATTACKS[name][0](lines_of(folder)))
    weakened()
    assert check(folder).sound


# who computes the chain anew and has no key


CHANGES: dict[str, Callable[[Lines], Lines]] = {
    "flip": lambda lines: [*lines[:14], lines[14].replace(b'"rows":3', b'"rows":4'), *lines[15:]],
    "reordering": lambda lines: swapped(lines, 14, 15),
    "insertion": lambda lines: [*lines[:14], lines[5], *lines[14:]],
    "removal, then one put in at the end": lambda lines: [*lines[:14], *lines[15:], lines[5]],
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_chain_computed_anew_is_found_by_the_signed_head_after_the_change(folder: Path, name: str) -> None:
    lines, _ = rechained(decoded(CHANGES[name](lines_of(folder))))
    put_lines(folder, lines)
    assert names(check(folder)) == [("rewritten", 11)], "the head of 11 entries fits, that of 30 does not"


def test_control_without_signed_heads_a_chain_computed_anew_is_missed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, _ = rechained(decoded(CHANGES["flip"](lines_of(folder))))
    put_lines(folder, lines)
    monkeypatch.setattr(verify_module, "_heads_fit", lambda own, *_: list(own))
    assert check(folder).sound


def test_a_head_signed_with_another_key_or_altered_is_none(folder: Path) -> None:
    lines, chain = rechained(decoded(CHANGES["flip"](lines_of(folder))))
    put_lines(folder, lines)
    forged = sign(chain, NOON, PEER_KEY)
    for head in (forged, msgspec.structs.replace(forged, key=PUBLIC), msgspec.structs.replace(sign(chain, NOON, KEY), size=COUNT - 1)):
        (folder / HEADS).write_bytes(heads_module.to_line(heads_module.Checkpoint(head, chain.peaks)))
        assert names(check(folder)) == [("bad head", 0), ("no head", 0)]


def test_another_signature_of_the_identity_key_is_no_head(folder: Path) -> None:
    from federation.kernel import suite

    head = audit_file(folder).head()
    assert head.holds()
    assert not msgspec.structs.replace(head, signature=suite.sign(KEY, suite.frame(head.size, head.root))).holds()


def test_without_any_head_a_log_is_not_sound(folder: Path) -> None:
    (folder / HEADS).unlink()
    assert names(check(folder)) == [("no head", 0)]


# the node itself, with its key


@pytest.fixture
def witness(folder: Path) -> list[SignedHead]:
    """What a peer wrote down of the node in a run: its head of 30 entries."""
    peer = audit_file(folder.parent.parent / "peer" / "audit", PEER_KEY, "platform")
    return [peer.saw("bank", PUBLIC, audit_file(folder).notice(), "run-2")]


def test_a_log_written_anew_with_its_own_key_is_found_by_a_peers_head(folder: Path, witness: list[SignedHead]) -> None:
    entries = decoded(lines_of(folder))
    rewrite(folder, [entry for entry in entries if entry.number != 14] + [entries[5]] * 3)
    assert names(check(folder, witness)) == [("rewritten", 0)]
    assert check(folder).sound, "control: without the peer's head it is missed"


def test_a_roll_back_to_an_older_signed_head_is_found_by_a_peers_head(tmp_path: Path, folder: Path) -> None:
    old = copy(folder, tmp_path / "old")
    log = fill(audit_file(folder), 5, "run-3")
    witnessed = [log.head()]
    assert check(folder, witnessed).sound
    assert names(check(old, witnessed)) == [("rolled back", COUNT)]
    assert check(old).sound, "control: without the peer's head it is missed"


def test_a_fork_is_found_by_the_heads_of_two_peers(tmp_path: Path, folder: Path) -> None:
    other = copy(folder, tmp_path / "other")
    ours = fill(audit_file(folder), 5, "run-3").head()
    theirs = fill(audit_file(other), 5, "run-4").head()
    assert ours.size == theirs.size
    for shown in (folder, other):
        assert names(check(shown, [ours, theirs])) == [("forked", COUNT + 5)]
    assert check(folder, [ours]).sound and check(other, [theirs]).sound, "control: with the heads of one peer each is missed"


def test_a_fork_of_other_sizes_shows_as_a_log_written_anew(tmp_path: Path, folder: Path) -> None:
    other = copy(folder, tmp_path / "other")
    ours = fill(audit_file(folder), 5, "run-3").head()
    fill(audit_file(other), 7, "run-4").head()
    assert names(check(other, [ours])) == [("rewritten", COUNT)]


def test_heads_of_another_key_or_forged_ones_accuse_nobody(folder: Path) -> None:
    chain = rechained(decoded(lines_of(folder)[:9]))[1]
    stranger = sign(chain, NOON, PEER_KEY)
    forged = msgspec.structs.replace(sign(chain, NOON, KEY), root=bytes(32))
    report = check(folder, [stranger, forged])
    assert report.sound and report.checked == 0


# what retention deleted


def test_after_retention_the_rest_verifies_and_says_so(tmp_path: Path) -> None:
    log = fill(audit_file(tmp_path / "audit", segment_bytes=2000), 60)
    early, late = log.head(), fill(log, 5).head()
    start = log.keep_from(40)
    log.head()
    report = check(tmp_path / "audit", [early, late])
    assert 30 < start <= 40 and report.sound and report.start == start and report.party == "bank" and report.checked == 2


def test_first_segments_that_retention_did_not_delete_are_missed(tmp_path: Path) -> None:
    log = fill(audit_file(tmp_path / "audit", segment_bytes=2000), 60)
    log.head()
    folder = AuditFolder(tmp_path / "audit")
    folder.segment(0).unlink()
    assert names(check(tmp_path / "audit"))[0] == ("removed", 0)


def test_a_kept_from_head_without_its_entry_or_signature_does_not_excuse(tmp_path: Path) -> None:
    log = fill(audit_file(tmp_path / "audit", segment_bytes=2000), 60)
    log.head()
    folder = AuditFolder(tmp_path / "audit")
    second = folder.segments()[1]
    raw = next(raw for raw in folder.heads() if line_size(raw) == second)
    (tmp_path / "audit" / "kept-from.json").write_bytes(raw)
    assert ("removed", 0) in names(check(tmp_path / "audit"))
    (tmp_path / "audit" / "kept-from.json").write_bytes(raw.replace(b'"size":', b'"size":1'))
    assert ("bad head", 0) in names(check(tmp_path / "audit"))


def line_size(raw: bytes) -> int:
    checkpoint = heads_module.from_line(raw)
    assert checkpoint is not None
    return checkpoint.head.size


def test_entries_in_the_scene_are_as_assumed(folder: Path) -> None:
    assert line_of(lines_of(folder)[7]).entry.facts["rows"] == 6 and line_of(lines_of(folder)[14]).entry.facts["rows"] == 3
