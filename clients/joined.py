"""What ties a node to its coordinator: the invitation that it was given, its node-authentication key, and the joining file that it gives back.

coordinator.toml   the invitation, as it came
keys/node.pem      P-384, by which the node shows itself to the coordinator's server (mode 600)
NAME.join.toml     its public keys, signed as one: the coordinator enrols it by that
"""

from __future__ import annotations

import ssl
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from clients.consortium import FILE, Consortium, read_file
from clients.home import Home
from federation.kernel import suite
from federation.kernel.errors import ConfigurationError
from federation.kernel.invitation import LONGEST, Invitation, read_invitation
from federation.kernel.joining import Joining, joining
from privacy.store.durable import READABLE, put

COORDINATOR_FILE = "coordinator.toml"


def node_key(home: Home) -> ec.EllipticCurvePrivateKey:
    """This node's authentication key, made when first asked for. Raises ConfigurationError where the file is none."""
    path = home.root / "keys" / "node.pem"
    if not path.exists():
        made = ec.generate_private_key(ec.SECP384R1())
        home.keep(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
        raise ConfigurationError(str(path), "it is not a P-384 private key", "Restore the file from your backup, or found the node anew.")
    return key


def asked_again(home: Home) -> str:
    """What brings a run on after a vote, in words."""
    return "The coordinator asks again by itself." if (home.root / COORDINATOR_FILE).exists() else "Then start the simulation again."


def own_joining(home: Home) -> Joining:
    """What this node gives to whoever enrols it."""
    config = home.config()
    public = node_key(home).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    exchange = suite.agreement_public(home.key("exchange")).hex()
    return joining(str(config["name"]), str(config["role"]), home.key("identity"), public, exchange)


def write_joining(home: Home) -> Path:
    """Put the joining file into the node's home."""
    made = own_joining(home)
    return put(home.root / f"{made.name}.join.toml", made.text().encode(), READABLE)


def read_invited(path: Path) -> Invitation:
    """An invitation's file. Raises ConfigurationError."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LONGEST + 1)
    except OSError as error:
        raise ConfigurationError(str(path), f"it cannot be read ({error.strerror})", "Name the coordinator's invitation.toml.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(str(path), "it is not UTF-8 text", "Name the coordinator's invitation.toml.") from None
    return read_invitation(text, str(path))


def accept(home: Home, invited: Invitation) -> None:
    """Keep an invitation. Raises ConfigurationError where another coordinator's is there or pinned already."""
    there = home.root / COORDINATOR_FILE
    known = {read_invited(there).key} if there.exists() else set()
    if (home.root / FILE).exists():
        known.add(read_file(home.root / FILE).coordinator)
    if known - {invited.key}:
        what = "this node belongs to another coordinator"
        raise ConfigurationError(str(home.root), what, "Found another node for this one; a node has one coordinator.")
    require_authority(invited)
    home.keep(there, invited.text().encode())


def require_authority(invited: Invitation) -> None:
    """Its authority can be trusted as one. Raises ConfigurationError."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=invited.authority)
    except (ssl.SSLError, ValueError):
        what = "its authority is in the form of a certificate and is none"
        raise ConfigurationError("invitation", what, "Ask the coordinator for invitation.toml again.") from None


def link(home: Home) -> Invitation:
    """Where the coordinator's server is, and who it is. Raises ConfigurationError where no invitation was accepted."""
    path = home.root / COORDINATOR_FILE
    if not path.exists():
        raise ConfigurationError(
            str(home.root), "no coordinator has invited this node", "creditfed node start --invitation invitation.toml"
        )
    invited = read_invited(path)
    require_authority(invited)
    return invited


def require_ours(home: Home, consortium: Consortium) -> None:
    """A consortium's file has this node as it is, and the coordinator that invited it. Raises ConfigurationError."""
    me, mine = str(home.config()["name"]), suite.signing_public(home.key("identity")).hex()
    member = next((member for member in consortium.members if member.name == me), None)
    if member is None or member.key != mine:
        what = f"it does not have {me} with this node's key" if member else f"it does not have {me}"
        raise ConfigurationError("consortium", what, f"Give {me}.join.toml to the coordinator, and ask for the file again.")
    if (home.root / COORDINATOR_FILE).exists() and consortium.coordinator != link(home).key:
        what = "its coordinator has another key than the one that invited this node"
        raise ConfigurationError("consortium", what, "Do not use it. Compare fingerprints with the coordinator by telephone.")
