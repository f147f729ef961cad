"""What the coordinator gives to an institution before it joins: its server, the authority that signs for it, and its own keys, signed as one.

Text in, text out: `creditfed coordinator init` writes it as invitation.toml, and `creditfed node init --invitation` reads it. Who compares the
fingerprint of the coordinator's key, on paper or by telephone, has by the signature compared the certificate and the address, too.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final

import msgspec

from federation.kernel import suite
from federation.kernel.errors import ConfigurationError
from federation.kernel.known import known
from federation.kernel.secret import Secret

LONGEST: Final = 1 << 16
"""Characters: an institution's own PKI may have a chain of authorities."""
_ADDRESS: Final = re.compile(r"([A-Za-z0-9.\-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):([1-9][0-9]{0,4})")
_LAST_PORT: Final = 65535
_CERTIFICATE: Final = re.compile(r"(-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n)+")
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}")
_AGAIN: Final = "Ask the coordinator for invitation.toml again, as `creditfed coordinator init` wrote it."


class Invitation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """address: host:port; authority: PEM of the certificates that sign the server's; key: the coordinator's Ed25519 identity key, hex;
    exchange_key: X25519, under which files for it are sealed, hex; signature: by the identity key over all the rest, hex.
    """

    address: str
    authority: str
    key: str
    exchange_key: str
    signature: str

    def text(self) -> str:
        """The file. No field has a character that TOML would escape."""
        plain = "".join(f'{name} = "{getattr(self, name)}"\n' for name in ("address", "key", "exchange_key", "signature"))
        return f"{plain}authority = '''\n{self.authority}'''\n"


def invitation(address: str, authority: str, identity: Secret, exchange_key: str) -> Invitation:
    """An invitation, signed. Raises ConfigurationError for an address, certificate or key that is none."""
    key = suite.signing_public(identity).hex()
    signature = suite.sign(identity, _statement(address, authority, key, exchange_key)).hex()
    made = Invitation(address, authority, key, exchange_key, signature)
    _check(made, "invitation")
    return made


def read_invitation(text: str, where: str = "invitation") -> Invitation:
    """An invitation whose signature holds. where: what an error calls the text. Raises ConfigurationError, and never quotes the text."""
    found = None
    if len(text) <= LONGEST:
        try:
            found = msgspec.convert(tomllib.loads(text), known(Invitation), strict=True)
        except (tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError):
            found = None
    if found is None:
        what = f"it is not an invitation: TOML with just the keys {', '.join(Invitation.__struct_fields__)}, each a text"
        raise ConfigurationError(where, what, _AGAIN)
    _check(found, where)
    return found


def _check(found: Invitation, where: str) -> None:
    address = _ADDRESS.fullmatch(found.address)
    if not address or int(address[2]) > _LAST_PORT:
        raise ConfigurationError(where, "its address is not host:port", _AGAIN)
    if not _CERTIFICATE.fullmatch(found.authority):
        raise ConfigurationError(where, "its authority is not a certificate in PEM", _AGAIN)
    if not _KEY.fullmatch(found.key) or not suite.is_signing_public(bytes.fromhex(found.key)):
        raise ConfigurationError(where, "its key is not an Ed25519 public key of 64 hexadecimal digits", _AGAIN)
    if not _KEY.fullmatch(found.exchange_key) or not suite.is_agreement_public(bytes.fromhex(found.exchange_key)):
        raise ConfigurationError(where, "its exchange_key is not an X25519 public key of 64 hexadecimal digits", _AGAIN)
    statement = _statement(found.address, found.authority, found.key, found.exchange_key)
    if not _SIGNATURE.fullmatch(found.signature) or not suite.verifies(bytes.fromhex(found.key), statement, bytes.fromhex(found.signature)):
        what = "its signature does not hold: it was not made by its key, or something was changed afterwards"
        raise ConfigurationError(where, what, f"Do not use it. {_AGAIN}")


def _statement(address: str, authority: str, key: str, exchange_key: str) -> bytes:
    """What is signed, in a domain of its own."""
    return suite.frame("invite", suite.NAME, address, authority, key, exchange_key)
