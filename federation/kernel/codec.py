"""Messages as strict, bounded bytes.

One frozen `Message` per message kind, whose tag is "protocol/kind". Decoding refuses unknown fields, wrong types and anything longer than
what the receiver said it would take; there is no pickle and no eval. Arrays travel as dtype, shape and bytes, and the receiver states
what it expects of them when it reads them: a peer never chooses a type, a shape or a range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import PeerError
from federation.kernel.known import known

M = TypeVar("M", bound=msgspec.Struct)

SMALL = 1 << 20
"""The size, in bytes, of a message that carries no array."""


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message kind. A subclass gives its tag, "protocol/kind", and documents every field."""

    broadcast: ClassVar[bool] = False
    """True where the coordinator must send every member the same bytes: the kernel then binds them into each member's view."""

    @classmethod
    def kind(cls) -> str:
        """The tag, "protocol/kind"."""
        return str(cls.__struct_config__.tag)

    @classmethod
    def protocol(cls) -> str:
        """The part of the tag that names the protocol."""
        return cls.kind().split("/", 1)[0]


class Array(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A numpy array on the wire: little-endian dtype such as "<u8", shape, bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, array: NDArray[Any]) -> Self:
        """Pack an array (made contiguous and little-endian)."""
        plain = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
        return cls(plain.dtype.str, plain.shape, plain.tobytes())

    def read(self, sender: str, dtype: str, shape: Sequence[int], low: float | None = None, high: float | None = None) -> NDArray[Any]:
        """The array, read-only, after checking that it has the dtype and shape expected, is finite, and lies within [low, high].

        Raises PeerError, naming the sender.
        """
        expected = f"an array {dtype} of shape {tuple(shape)}"
        if self.dtype != dtype or tuple(self.shape) != tuple(shape):
            raise PeerError(sender, f"an array {self.dtype[:8]} of shape {self.shape[:4]}", expected)
        if len(self.data) != math.prod(shape) * np.dtype(dtype).itemsize:
            raise PeerError(sender, f"{len(self.data)} bytes", expected)
        array = np.frombuffer(self.data, dtype).reshape(shape)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise PeerError(sender, "numbers that are not finite", expected)
        if low is not None and array.size and array.min() < low:
            raise PeerError(sender, "numbers below the range", f"numbers of at least {low:g}")
        if high is not None and array.size and array.max() > high:
            raise PeerError(sender, "numbers above the range", f"numbers of at most {high:g}")
        return array


def encode(message: msgspec.Struct) -> bytes:
    """The bytes of a message; the same message always gives the same bytes."""
    return msgspec.msgpack.encode(message, order="deterministic")


def decode(body: bytes, kind: type[M], sender: str, limit: int = SMALL) -> M:
    """A message of just this kind, or PeerError."""
    if len(body) > limit:
        raise PeerError(sender, f"a message of {len(body)} bytes", f"at most {limit} bytes")
    try:
        return msgspec.msgpack.decode(body, type=known(kind), strict=True)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise PeerError(sender, "malformed bytes", kind.__name__) from None
