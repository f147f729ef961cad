"""One message type for everything: `query.mailbox` carries an operation and its bytes to a node, and its reply carries bytes back.

A short payload rides beside its operation in one `ConfigRecord`: every record more is a request more over HTTP. A long one rides in an
`ArrayRecord` (5 MB serialise in 0.02 s, chunked; as ConfigRecord bytes it is 1.5 s).

Flower's state knows a record by its hash alone, for all runs and nodes: who can guess one may announce it first, in another form, so that the
true one is refused, or ask whether it is there. Hence a salt beside each operation.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from federation.kernel.errors import PeerError

MESSAGE_TYPE = "query.mailbox"
QUERY = "mailbox"
LARGEST = (1 << 31) - 1
"""Flower's own limit on one message, bytes."""
_SALT = "salt"
SHORT = 1 << 16
"""Bytes up to which a payload rides beside its operation."""

DECIDED, UNDECIDED = b"decided", b"not yet"
"""Answers to `voted`."""


@dataclass(frozen=True)
class Parcel:
    """operation: "describe", "propose", "deliver"; run: the run's name; payload: its bytes."""

    operation: str
    run: str
    payload: bytes


def pack(parcel: Parcel) -> RecordDict:
    """A parcel as Flower records."""
    head = ConfigRecord({"operation": parcel.operation, "run": parcel.run, _SALT: secrets.token_bytes(16)})
    if len(parcel.payload) <= SHORT:
        head["payload"] = parcel.payload
        return RecordDict({"head": head})
    data = Array(dtype="uint8", shape=(len(parcel.payload),), stype="raw", data=parcel.payload)
    return RecordDict({"head": head, "body": ArrayRecord({"payload": data})})


def unpack(records: RecordDict, sender: str, limit: int = LARGEST) -> Parcel:
    """The parcel, or PeerError where the records are not one, or are larger than `limit` bytes."""
    head, body = records.config_records.get("head"), records.array_records.get("body")
    if head is None or set(records) - {"head", "body"}:
        raise PeerError(sender, "other records", "a mailbox parcel")
    operation, run = head.get("operation"), head.get("run")
    if not isinstance(operation, str) or not isinstance(run, str):
        raise PeerError(sender, "a malformed head", "a mailbox parcel")
    fields = set(head) - {_SALT}
    if body is None and fields == {"operation", "run", "payload"}:
        payload = head["payload"]
        if not isinstance(payload, bytes):
            raise PeerError(sender, "a payload that is not bytes", "a mailbox parcel")
        if len(payload) > min(limit, SHORT):
            raise PeerError(sender, f"a payload of {len(payload)} bytes beside its operation", f"at most {min(limit, SHORT)}")
        return Parcel(operation, run, payload)
    if body is None or set(body) != {"payload"} or fields != {"operation", "run"}:
        raise PeerError(sender, "other records", "a mailbox parcel")
    array = body["payload"]
    if array.dtype != "uint8" or array.stype != "raw" or array.shape != (len(array.data),) or len(array.data) > limit:
        raise PeerError(sender, f"a payload of {len(array.data)} bytes in another form", f"at most {limit} plain bytes")
    return Parcel(operation, run, bytes(array.data))
