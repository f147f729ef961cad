"""The coordinator's outbox: which exchange follows, and that it lies on disk sealed, whole and under its own name."""

from __future__ import annotations

from pathlib import Path

import pytest

from federation.carriage.sealed_file import SealedFile
from federation.kernel.batch import Batch
from federation.kernel.envelope import Envelope
from federation.kernel.errors import DataError
from federation.kernel.secret import Secret
from server.outbox import Cost, Exchange, Outbox

KEY, OTHER = Secret(b"k" * 32), Secret(b"o" * 32)
PARTIES = ("coordinator", "bank", "tax")


def envelope(sender: str, recipient: str, body: bytes = b"sealed") -> Envelope:
    return Envelope(b"s" * 32, "test", "stage:", sender, recipient, 0, "test/kind", body, b"g" * 64)


def test_everyone_begins_with_an_empty_batch() -> None:
    first = Exchange.first(PARTIES)
    assert first.batches == dict.fromkeys(PARTIES, Batch(0)) and not first.over


def test_only_those_who_are_sent_something_are_due() -> None:
    sent = envelope("bank", "tax")
    following = Exchange.first(PARTIES).following({"bank": Batch(0, (sent,)), "tax": Batch(0, (), done=True)}, Cost(exchanges=1))
    assert following.batches == {"tax": Batch(1, (sent,))}
    assert following.numbers == {"coordinator": 0, "bank": 0, "tax": 1} and following.cost.exchanges == 1
    assert following.done == {"coordinator": False, "bank": False, "tax": True} and not following.over


def test_who_was_done_stays_done_and_nobody_unknown_is_written_to() -> None:
    exchange = Exchange.first(PARTIES).following({"tax": Batch(0, (), done=True)}, Cost())
    after = exchange.following({"tax": Batch(1, (envelope("tax", "stranger"),))}, Cost())
    assert after.done["tax"] and after.batches == {} and after.over


def test_an_exchange_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "journal" / "run.outbox"
    exchange = Exchange.first(PARTIES).following(
        {"bank": Batch(0, (envelope("bank", "tax", b"x" * 1000),))}, Cost({"open": 0.5}, {"bank": 9})
    )
    assert Outbox(SealedFile(path, KEY)).load() is None
    Outbox(SealedFile(path, KEY)).store(exchange)
    assert Outbox(SealedFile(path, KEY)).load() == exchange
    assert path.stat().st_mode & 0o777 == 0o600 and [p.name for p in path.parent.iterdir()] == [path.name]
    assert b"x" * 16 not in path.read_bytes() and b"tax" not in path.read_bytes()


def test_control_without_a_file_nothing_is_kept() -> None:
    outbox = Outbox()
    outbox.store(Exchange.first(PARTIES))
    assert outbox.load() is None


@pytest.mark.parametrize("attack", ["another key", "a changed byte", "another name", "cut short", "empty"])
def test_a_file_that_is_not_what_was_stored_is_refused(attack: str, tmp_path: Path) -> None:
    path, key = tmp_path / "run.outbox", KEY
    SealedFile(path, KEY).store(b"value")
    sealed = bytearray(path.read_bytes())
    if attack == "another key":
        key = OTHER
    elif attack == "another name":
        path = path.rename(tmp_path / "other.outbox")
    else:
        sealed[-1] ^= 1
        path.write_bytes({"a changed byte": bytes(sealed), "cut short": bytes(sealed[:20]), "empty": b""}[attack])
    with pytest.raises(DataError, match="does not decrypt"):
        SealedFile(path, key).load()
