"""Messages are taken strictly: one kind, known fields, right types, bounded size, arrays of the shape and range that the receiver names."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from federation.kernel.codec import SMALL, Array, Message, decode, encode
from federation.kernel.errors import PeerError

CANARY = "canary-value-of-a-field"


class Answer(Message, frozen=True, tag="sample/answer"):
    """A message."""

    number: int
    text: str
    words: Array


class Other(Message, frozen=True, tag="sample/other"):
    """Another kind with the same fields."""

    number: int
    text: str
    words: Array


def answer(**changes: Any) -> Answer:
    return msgspec.structs.replace(Answer(3, CANARY, Array.of(np.arange(4, dtype="<u8"))), **changes)


def test_a_message_comes_back_and_always_as_the_same_bytes() -> None:
    assert decode(encode(answer()), Answer, "peer") == answer()
    assert encode(answer()) == encode(answer())
    assert (Answer.kind(), Answer.protocol()) == ("sample/answer", "sample")


def test_another_kind_with_the_same_fields_is_refused() -> None:
    raw = encode(Other(3, CANARY, answer().words))
    assert decode(raw, Other, "peer").number == 3  # control: as its own kind it is taken
    with pytest.raises(PeerError):
        decode(raw, Answer, "peer")


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1}, {"number": "3"}, {"number": 3.0}, {"number": None}, {"text": 3}, {"words": [1, 2]}, {"type": "sample/other"},
        {"text": b"\xff"}, {"words": {"dtype": "<u8", "shape": [4], "data": b"", "order": "F"}}, {"words": {"dtype": "<u8", "shape": ["4"], "data": b""}},
    ],
)  # fmt: skip
def test_unknown_fields_and_other_types_are_refused_without_being_quoted(change: dict[str, Any]) -> None:
    raw = msgspec.msgpack.encode(msgspec.msgpack.decode(encode(answer())) | change)
    with pytest.raises(PeerError) as caught:
        decode(raw, Answer, "peer")
    assert CANARY not in str(caught.value)
    assert caught.value.where == "peer"


def test_control_the_same_rewriting_without_a_change_is_taken() -> None:
    assert decode(msgspec.msgpack.encode(msgspec.msgpack.decode(encode(answer()))), Answer, "peer") == answer()


@pytest.mark.parametrize("drop", ["number", "text", "words"])
def test_a_missing_field_is_refused(drop: str) -> None:
    fields = msgspec.msgpack.decode(encode(answer()))
    del fields[drop]
    with pytest.raises(PeerError):
        decode(msgspec.msgpack.encode(fields), Answer, "peer")


def test_size_is_refused_before_anything_is_read() -> None:
    raw = encode(answer(text="x" * SMALL))
    assert decode(raw, Answer, "peer", 2 * SMALL).number == 3
    with pytest.raises(PeerError, match="at most"):
        decode(raw, Answer, "peer")
    with pytest.raises(PeerError, match="at most"):
        decode(b"\xc1" * 11, Answer, "peer", 10)  # never valid: refused for its size, not for its content


def test_bytes_that_nest_without_end_are_refused() -> None:
    for raw in (b"\x91" * 100_000, b"\x81\xa1a" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"):
        with pytest.raises(PeerError):
            decode(raw, Answer, "peer")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(some.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_peer_error(raw: bytes) -> None:
    try:
        decode(raw, Answer, "peer")
    except PeerError:
        return


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    some.sampled_from(["<u8", "<i8", "<f8", "|u1", "<i4"]),
    some.lists(some.integers(0, 5), min_size=0, max_size=3).map(tuple),
    some.booleans(),
)
def test_an_array_comes_back_whatever_its_type_shape_or_memory_order(dtype: str, shape: tuple[int, ...], big: bool) -> None:
    array = np.arange(math.prod(shape)).reshape(shape).astype(np.dtype(dtype).newbyteorder(">" if big else "<"), order="F")
    back = Array.of(array).read("peer", dtype, shape)
    assert back.dtype.str == dtype
    assert np.array_equal(back, array)
    assert not back.flags.writeable


WORDS = np.arange(6, dtype="<u8").reshape(2, 3)


@pytest.mark.parametrize(
    "given_array",
    [
        Array("<i8", (2, 3), WORDS.tobytes()), Array("<u8", (3, 2), WORDS.tobytes()), Array("<u8", (6,), WORDS.tobytes()),
        Array("<u8", (2, 3), WORDS.tobytes()[:-1]), Array("<u8", (2, 3), WORDS.tobytes() + b"\0"), Array("<u8", (2, 3), b""),
        Array("O", (2, 3), WORDS.tobytes()), Array(">u8", (2, 3), WORDS.tobytes()), Array("<u8", (-2, -3), WORDS.tobytes()),
        Array("<u8", (1 << 62, 1 << 62), b""),
    ],
)  # fmt: skip
def test_an_array_of_another_type_shape_or_length_is_refused(given_array: Array) -> None:
    assert np.array_equal(Array("<u8", (2, 3), WORDS.tobytes()).read("peer", "<u8", (2, 3)), WORDS)
    with pytest.raises(PeerError):
        given_array.read("peer", "<u8", (2, 3))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 10.5, -0.5])
def test_an_array_that_is_not_finite_or_out_of_range_is_refused_and_not_quoted(bad: float) -> None:
    fine = np.array([0.0, 10.0])
    assert np.array_equal(Array.of(fine).read("peer", "<f8", (2,), 0, 10), fine)
    with pytest.raises(PeerError) as caught:
        Array.of(np.array([1.25, bad])).read("peer", "<f8", (2,), 0, 10)
    assert "10.5" not in str(caught.value)
    assert "1.25" not in str(caught.value)


def test_an_array_of_objects_cannot_be_sent_as_such() -> None:
    packed = Array("|O", (1,), b"\0" * 8)
    with pytest.raises(PeerError):
        packed.read("peer", "<u8", (1,))
