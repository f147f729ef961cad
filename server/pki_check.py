"""Whether a server's certificate will do, before it is served: the institution's own, or one that `server.pki` made.

What nodes would refuse as they connect is found here, one finding at a time, each with what to do about it.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from federation.kernel.errors import ConfigurationError

Host = x509.DNSName | x509.IPAddress
_LABEL: Final = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_DNS: Final = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)*(?!\d+\Z){_LABEL}")


@dataclass(frozen=True)
class Certified:
    """What a certificate that will do is for, and how long. days_left: whole days until it expires."""

    hosts: tuple[str, ...]
    until: dt.datetime
    days_left: int


def check(certificate: Path, key: Path, ca: Path, hosts: Sequence[str], now: str) -> Certified:
    """The server's certificate, its key and the authority that members have, for every host at which nodes reach the server.

    certificate: the server's own first, then those between it and the authority, if any. Raises ConfigurationError.
    """
    (served, *between), authorities, where = certificates(certificate), certificates(ca), str(certificate)
    at, wanted = moment(now), tuple(map(host_name, hosts))
    if not wanted:
        raise ConfigurationError("server certificate", "it is checked for no host", "Name the host at which nodes reach the server.")
    if _public(private_key(key).public_key()) != _public(served.public_key()):
        what = f"it is not for the key in {key.name}"
        raise ConfigurationError(
            where, what, "Name the key that the certificate was asked for with; the server's own certificate comes first."
        )
    _require_time(where, served, at)
    if not any(one.not_valid_before_utc <= at <= one.not_valid_after_utc for one in authorities):
        _require_time(str(ca), authorities[0], at)
    _require_server(where, served)
    _require_hosts(where, served, wanted)
    for host in wanted:
        _require_chain(where, served, between, authorities, host, at)
    until = served.not_valid_after_utc
    return Certified(tuple(str(host.value) for host in names_of(served)), until, (until - at).days)


def host_name(text: str) -> Host:
    """A DNS name or an IP address, as a certificate has it. Raises ConfigurationError for what is neither; wildcards are not taken."""
    name = text.lower()
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is not None and not address.is_unspecified and "%" not in text:  # "%" names an interface of one machine
        return x509.IPAddress(address)
    if address is not None or not _DNS.fullmatch(name):
        action = (
            "Write it like server.example.com, 192.0.2.7 or 2001:db8::7: no port, no scheme, no wildcard; other scripts in their xn-- form."
        )
        raise ConfigurationError("server certificate", "a host is neither a DNS name nor an IP address", action)
    return x509.DNSName(name)


def names_of(certificate: x509.Certificate) -> tuple[Host, ...]:
    """The DNS names and addresses that a certificate is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(name for name in names if isinstance(name, x509.DNSName | x509.IPAddress))


def certificates(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file, at least one. Raises ConfigurationError."""
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError:
        action = "Name a file with -----BEGIN CERTIFICATE-----; openssl x509 -inform der -in FILE makes one of a DER file."
        raise ConfigurationError(str(path), "there is no certificate in PEM in it", action) from None


def private_key(path: Path) -> PrivateKeyTypes:
    """The private key of a PEM file that is its owner's, or its owner's group's. Raises ConfigurationError, which says nothing of the key."""
    content = _read(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o007:
        raise ConfigurationError(str(path), "everybody on this machine may use this key", f"Run: chmod 600 {path}")
    try:
        return load_pem_private_key(content, password=None)
    except TypeError:
        what, action = "this key is under a password", "Give the server one without: openssl pkey -in FILE -out NEWFILE, mode 600."
    except (ValueError, UnsupportedAlgorithm):
        what, action = "there is no private key in PEM in it", "Name the file that the certificate was asked for with."
    raise ConfigurationError(str(path), what, action)


def moment(now: str) -> dt.datetime:
    """A time such as 2026-05-01T12:00:00Z as a certificate's."""
    return dt.datetime.strptime(now, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.UTC)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(str(path), f"it cannot be read ({error.strerror})", "Name a file that the server may read.") from None


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]  # every public key has it
    return encoded


def _require_time(where: str, certificate: x509.Certificate, at: dt.datetime) -> None:
    if at < certificate.not_valid_before_utc:
        what = f"it is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        raise ConfigurationError(where, what, "Check this machine's clock, or wait.")
    if at > certificate.not_valid_after_utc:
        what = f"it expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
        raise ConfigurationError(where, what, "Renew it where it was issued.")


def _require_server(where: str, served: x509.Certificate) -> None:
    """It is one of a server, and of nothing that could make others."""
    action = "Ask its issuer for a server's certificate (serverAuth, no CA)."
    try:
        extensions = served.extensions
    except ValueError:
        raise ConfigurationError(where, "its extensions cannot be read", action) from None
    said = [extension.value for extension in extensions]
    if any(isinstance(value, x509.BasicConstraints) and value.ca for value in said):
        raise ConfigurationError(where, "it is an authority's and no server's", action)
    if not any(isinstance(value, x509.ExtendedKeyUsage) and ExtendedKeyUsageOID.SERVER_AUTH in value for value in said):
        raise ConfigurationError(where, "it does not say that it is for a server", action)


def _require_hosts(where: str, served: x509.Certificate, wanted: tuple[Host, ...]) -> None:
    names = names_of(served)
    patterns = {name.value.lower() for name in names if isinstance(name, x509.DNSName)}
    for host in wanted:
        parent = str(host.value).partition(".")[2]
        if host not in names and not (isinstance(host, x509.DNSName) and {host.value, f"*.{parent}"} & patterns):
            action = "Nodes that reach the server by it would refuse it: ask for a certificate with this name in its subjectAltName."
            raise ConfigurationError(where, f"it is not for {host.value}", action)


def _require_chain(
    where: str, served: x509.Certificate, between: list[x509.Certificate], authorities: list[x509.Certificate], host: Host, at: dt.datetime
) -> None:
    """As a strict node would verify it (RFC 5280, with the additions that public authorities agreed on)."""
    try:
        PolicyBuilder().store(Store(authorities)).time(at).build_server_verifier(host).verify(served, between)
    except VerificationError as error:
        reason = " ".join(str(error).split())[:200]
        action = "Name the authority that signed it, and put the certificates between the two after the server's own, in its file."
        raise ConfigurationError(where, f"it does not lead to the authority ({reason})", action) from None
