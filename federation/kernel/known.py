"""What msgspec knows of a type, learned by one thread at a time.

msgspec (0.22) reads a struct's annotations at its first decoding, and marks the struct as known before those of its fields are: a second
thread that decodes the same kind meanwhile reads through a null pointer and the process dies. Parties of a simulation are threads of one
process, so every kind goes through `known` before it is decoded.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_KNOWN: set[Any] = set()
_LEARNING = threading.Lock()


def known(kind: type[T]) -> type[T]:
    """The same type, once msgspec knows all of it."""
    if kind not in _KNOWN:
        with _LEARNING:
            msgspec.msgpack.Decoder(kind)
            _KNOWN.add(kind)
    return kind
