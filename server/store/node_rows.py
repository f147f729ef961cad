"""Nodes, as rows: what may be enrolled, and what stands in its way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from federation.kernel import suite
from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest_rules import is_moment, require_party_name
from privacy.institutions import institution_roles
from server.store.records import Node
from server.store.tables import nodes

WAYS: Final = ("connected", "files")
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_COLUMNS: Final = tuple(column for column in nodes.c if column.name != "number")


def select_nodes() -> sa.Select[Any]:
    """All nodes, in the order of their enrolment."""
    return sa.select(*_COLUMNS).order_by(nodes.c.number)


def node_of(row: Mapping[Any, Any]) -> Node:
    """A row as a record."""
    return Node(**{str(name): value for name, value in row.items()} | {"node_key": bytes(row["node_key"])})


def require_node(node: Node) -> None:
    """Raises ConfigurationError for a record that is not one of a node that may be enrolled."""
    require_party_name(node.name)
    where = f"node {node.name}"
    if node.role not in institution_roles():
        raise ConfigurationError(where, "its role is not known", f"Known: {', '.join(institution_roles())}.")
    if node.way not in WAYS:
        raise ConfigurationError(where, "the way to it is not known", f"Known: {', '.join(WAYS)}.")
    if node.revoked_at is not None or not is_moment(node.enrolled_at):
        what = "it is revoked, or its enrolment has no time such as 2027-01-31T00:00:00Z"
        raise ConfigurationError(where, what, "Report this bug.")
    again = "Ask the institution for its joining file again."
    if not _KEY.fullmatch(node.key) or not suite.is_signing_public(bytes.fromhex(node.key)):
        raise ConfigurationError(where, "its identity key is not an Ed25519 public key", again)
    if not _KEY.fullmatch(node.exchange_key) or not suite.is_agreement_public(bytes.fromhex(node.exchange_key)):
        raise ConfigurationError(where, "its exchange key is not an X25519 public key", again)
    if not _is_node_key(node.node_key):
        raise ConfigurationError(where, "its node key is not a P-384 public key in PEM", again)


def _is_node_key(pem: bytes) -> bool:
    """Whether bytes are the one PEM of a P-384 public key: under another spelling of it the server would not find it."""
    try:
        public = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        return False
    if not isinstance(public, EllipticCurvePublicKey) or not isinstance(public.curve, SECP384R1):
        return False
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) == pem


def require_room(connection: sa.Connection, node: Node) -> None:
    """Nothing in the store stands in the way of a node. Raises ConfigurationError."""
    where = f"node {node.name}"
    same_name = connection.execute(sa.select(nodes.c.number).where(nodes.c.name == node.name, nodes.c.revoked_at.is_(None))).first()
    if same_name is not None:
        action = "Give the new one another name, or revoke the old one first, whose keys cannot come back after that."
        raise ConfigurationError(where, "a node of this name is enrolled", action)
    for column, key in ((nodes.c.key, "identity key"), (nodes.c.node_key, "node key"), (nodes.c.exchange_key, "exchange key")):
        found = connection.execute(sa.select(nodes.c.name, nodes.c.revoked_at).where(column == getattr(node, column.name))).first()
        if found is not None and found.revoked_at is not None:
            what = f"its {key} was revoked, of {found.name}, and a revoked key does not come back"
            raise ConfigurationError(where, what, "The institution makes new keys: creditfed node init in a new folder.")
        if found is not None:
            action = "Every institution has keys of its own: ask for its own joining file."
            raise ConfigurationError(where, f"its {key} is that of {found.name}", action)
