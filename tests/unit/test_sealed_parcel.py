"""A parcel as a file: what comes out is what went in, in one form, and what is looked at before what."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.carriage.sealing import seal_to
from federation.kernel import sealed_parcel, suite
from federation.kernel.errors import LocalError, PeerError
from federation.kernel.sealed_parcel import (
    BLOCK,
    HEAD_BYTES,
    LARGEST,
    Answer,
    Ends,
    Question,
    about,
    number_of,
    numbered,
    read,
    ticket_of,
    write,
)
from federation.kernel.secret import Secret
from tests.post import identity

ME, YOU, KEY = identity("coordinator"), identity("tax"), Secret(b"k" * 32)
ENDS = Ends(suite.signing_public(ME), suite.signing_public(YOU))
PUBLIC = suite.agreement_public(KEY)


def written(payload: bytes = b"payload", number: int = 1, sealer: sealed_parcel.Sealer = seal_to) -> bytes:
    return write(Question("deliver", "run", payload), numbered(number), ENDS, ME, PUBLIC, sealer)


def taken(raw: bytes, limit: int = LARGEST) -> Question:
    return read(raw, Question, ENDS, KEY, "coordinator", limit)


@given(st.binary(max_size=10_000), st.integers(0, (1 << 256) - 1), st.text(max_size=128), st.text(max_size=128))
def test_what_comes_out_is_what_went_in(payload: bytes, number: int, operation: str, run: str) -> None:
    said = Question(operation, run, payload)
    raw = write(said, numbered(number), ENDS, ME, PUBLIC, seal_to)
    assert taken(raw) == said and number_of(ticket_of(raw[:HEAD_BYTES], "x")) == number


@pytest.mark.parametrize("size", [0, 1, BLOCK - 60, BLOCK - 8, BLOCK, 5_000_000])
def test_a_file_has_whole_blocks(size: int) -> None:
    raw = written(bytes(size))
    assert (len(raw) - HEAD_BYTES - suite.HPKE_BYTES - 64) % BLOCK == 0 and len(raw) < size + 2 * BLOCK + 200
    assert len(taken(raw).payload) == size


def test_the_same_parcel_is_another_file_each_time_and_by_the_same_draw_the_same() -> None:
    assert len({written() for _ in range(10)}) == 10

    def sealer(_key: bytes, _info: bytes, text: bytes) -> bytes:
        return bytes(48) + text

    assert written(sealer=sealer) == written(sealer=sealer), "nothing is drawn but by the sealer"


def test_the_size_is_looked_at_first_then_the_signature_then_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    raw, asked = written(), list[str]()
    for name, answer in {"plain_digest": bytes(32), "verifies": False, "open_sealed": None}.items():

        def noted(*_: Any, name: str = name, answer: Any = answer) -> Any:
            asked.append(name)
            return answer

        monkeypatch.setattr(suite, name, noted)
    for wrong in (raw, raw + bytes(BLOCK)):
        with pytest.raises(PeerError, match="bytes"):
            taken(wrong, len(raw) - 1)
    assert asked == []
    with pytest.raises(PeerError, match="signature"):
        taken(raw)
    assert asked == ["plain_digest", "verifies"]
    monkeypatch.setattr(suite, "verifies", lambda *_: True)
    with pytest.raises(PeerError, match="does not open"):
        taken(raw)


def padded_as(change: Any) -> bytes:
    return written(sealer=lambda key, info, text: seal_to(key, info, change(text)))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1] + b"\1",
        lambda text: text + bytes(BLOCK),
        lambda text: (1 << 40).to_bytes(8, "big") + text[8:],
        lambda text: bytes(8) + text[8:],
        lambda text: (int.from_bytes(text[:8], "big") + 1).to_bytes(8, "big") + text[8:],
        lambda text: text[:8] + b"\xc1" + text[9:],
        lambda text: b"\xff" * len(text),
    ],
)
def test_a_sealed_text_has_one_form(change: Any) -> None:
    with pytest.raises(PeerError):
        taken(padded_as(change))
    assert taken(padded_as(lambda text: text)).payload == b"payload"


def test_words_that_are_too_long_and_another_kind_are_refused() -> None:
    with pytest.raises(PeerError):
        taken(write(Question("x" * 129, "run", b""), numbered(1), ENDS, ME, PUBLIC, seal_to))
    with pytest.raises(PeerError):
        read(written(), Answer, ENDS, KEY, "coordinator")


def test_what_this_side_may_not_write_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_parcel, "MOST_PAYLOAD", 100)
    with pytest.raises(LocalError):
        written(bytes(101))
    with pytest.raises(LocalError):
        write(Question("a", "b", b""), b"short", ENDS, ME, PUBLIC, seal_to)
    with pytest.raises(LocalError):
        write(Question("a", "b", b""), numbered(1), ENDS, YOU, PUBLIC, seal_to)


def test_an_answer_names_its_question() -> None:
    raw = written()
    assert about(raw) == suite.plain_digest(raw) != about(written())


def test_the_largest_payload_fits() -> None:
    assert LARGEST > HEAD_BYTES + sealed_parcel.MOST_PAYLOAD + BLOCK + suite.HPKE_BYTES + 64
