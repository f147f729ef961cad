"""State: what a party carries from one stage to the next, as bytes for its own journal only.

Unlike messages these bytes never come from a peer, so arrays are stored as they are; decoding is strict all the same.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
import numpy as np

from federation.kernel.known import known

S = TypeVar("S")


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frozen, serialisable value between two stages."""


def _out(value: object) -> tuple[str, tuple[int, ...], bytes]:
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    msg = f"a state cannot hold {type(value).__name__}"
    raise TypeError(msg)


def _in(_kind: type, value: Any) -> Any:
    dtype, shape, data = value
    return np.frombuffer(data, dtype).reshape(shape)


def dump(value: object) -> bytes:
    """The bytes of a state."""
    return msgspec.msgpack.encode(value, enc_hook=_out)


def load(raw: bytes, kind: type[S]) -> S:
    """The state of just this type."""
    return msgspec.msgpack.decode(raw, type=known(kind), dec_hook=_in)
