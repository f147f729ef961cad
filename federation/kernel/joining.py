"""What an institution gives to the coordinator and to the other members when it joins: its name, role and public keys, signed as one.

Text in, text out: `creditfed node init` writes it as NAME.join.toml, and whoever enrols the institution reads it. The signature binds the other
keys to the identity key; that the identity key is the institution's own is for people to compare, by its fingerprint, on paper or by telephone.
That the institution has the private half of `node_key` shows when it connects, not here.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from federation.kernel import suite
from federation.kernel.errors import ConfigurationError
from federation.kernel.known import known
from federation.kernel.manifest_rules import require_party_name
from federation.kernel.secret import Secret

LONGEST: Final = 4096
"""Characters of a joining file; a whole one has about 650."""
_ROLE: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}")
_NODE_KEY: Final = re.compile(r"ecdsa-sha2-nistp384 [A-Za-z0-9+/]{1,256}={0,2}")
_AGAIN: Final = "Ask the institution for its NAME.join.toml again, as `creditfed node init` wrote it."


class Joining(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One institution's public keys, and its identity key's signature of all the rest.

    key: its Ed25519 identity key, hex; node_key: the P-384 key by which its node shows itself to the server, as OpenSSH writes it, without a
    comment; exchange_key: the X25519 key under which files for it are sealed, hex; signature: hex.
    """

    name: str
    role: str
    key: str
    node_key: str
    exchange_key: str
    signature: str

    def text(self) -> str:
        """The file. No field has a character that TOML would escape."""
        return "".join(f'{field} = "{getattr(self, field)}"\n' for field in self.__struct_fields__)


def joining(name: str, role: str, identity: Secret, node_key: str, exchange_key: str) -> Joining:
    """An institution's joining, signed by its identity key. node_key may end in a comment, which is left out.

    Raises ConfigurationError for a name, role or key that is none.
    """
    bare = " ".join(node_key.split()[:2])
    key = suite.signing_public(identity).hex()
    made = Joining(name, role, key, bare, exchange_key, suite.sign(identity, _statement(name, role, key, bare, exchange_key)).hex())
    _check(made, "joining")
    return made


def read_joining(text: str, where: str = "joining file") -> Joining:
    """A joining whose keys are ones and whose signature holds. where: what an error calls the text.

    Raises ConfigurationError, and never quotes the text.
    """
    found = None
    if len(text) <= LONGEST:
        try:
            found = msgspec.convert(tomllib.loads(text), known(Joining), strict=True)
        except (ValueError, RecursionError, msgspec.ValidationError):  # a TOMLDecodeError is a ValueError
            found = None
    if found is None:
        what = f"it is not a joining file: TOML with just the keys {', '.join(Joining.__struct_fields__)}, each a text"
        raise ConfigurationError(where, what, _AGAIN)
    _check(found, where)
    return found


def node_key_pem(node_key: str) -> bytes:
    """A P-384 public key in OpenSSH's form as a SubjectPublicKeyInfo in PEM: the bytes by which Flower's server knows a node.

    Raises ConfigurationError for anything but the one form of such a key without a comment.
    """
    public = None
    if _NODE_KEY.fullmatch(node_key):
        try:
            public = load_ssh_public_key(node_key.encode("ascii"))
        except (ValueError, UnsupportedAlgorithm, NotImplementedError):  # the last for a compressed point
            public = None
    if (
        not isinstance(public, EllipticCurvePublicKey)
        or not isinstance(public.curve, SECP384R1)
        or public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) != node_key.encode("ascii")
    ):
        raise ConfigurationError("node key", "it is not a P-384 public key in OpenSSH's form without a comment", _AGAIN)
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _check(found: Joining, where: str) -> None:
    require_party_name(found.name)
    if not _ROLE.fullmatch(found.role):
        raise ConfigurationError(where, "its role is not made of a-z, 0-9 and -", _AGAIN)
    if not _KEY.fullmatch(found.key) or not suite.is_signing_public(bytes.fromhex(found.key)):
        raise ConfigurationError(where, "its key is not an Ed25519 public key of 64 hexadecimal digits", _AGAIN)
    if not _KEY.fullmatch(found.exchange_key) or not suite.is_agreement_public(bytes.fromhex(found.exchange_key)):
        raise ConfigurationError(where, "its exchange_key is not an X25519 public key of 64 hexadecimal digits", _AGAIN)
    try:
        node_key_pem(found.node_key)
    except ConfigurationError as error:
        raise ConfigurationError(where, f"its node_key: {error.what}", _AGAIN) from None
    statement = _statement(found.name, found.role, found.key, found.node_key, found.exchange_key)
    said = bytes.fromhex(found.signature) if _SIGNATURE.fullmatch(found.signature) else b""
    if not suite.verifies(bytes.fromhex(found.key), statement, said):
        what = "its signature does not hold: it was not made by its key, or something was changed afterwards"
        raise ConfigurationError(where, what, f"Do not use it. {_AGAIN}")


def _statement(name: str, role: str, key: str, node_key: str, exchange_key: str) -> bytes:
    """What is signed, in a domain of its own: no other signature of the identity key can pass for one of a joining."""
    return suite.frame("join", suite.NAME, name, role, key, node_key, exchange_key)
