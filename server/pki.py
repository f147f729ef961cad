"""The server's certificate: from a certificate authority of its own. One from elsewhere is checked by `server.pki_check`.

ca.key, ca.pem        the authority (EC P-384, ten years): members get ca.pem, once; ca.key is needed for `renew` alone and may be kept elsewhere
server.key, server.pem   the server's (EC P-256, 397 days), for the names and addresses at which nodes reach it

A renewed certificate is for the same key, so that one file changes, whole, and what members have stays right. Times are texts such as
2026-05-01T12:00:00Z, and arguments.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from federation.kernel.errors import ConfigurationError
from privacy.store.durable import READABLE, put
from server.pki_check import Host, certificates, host_name, moment, names_of, private_key

CA_KEY, CA, SERVER_KEY, SERVER = "ca.key", "ca.pem", "server.key", "server.pem"
CA_DAYS: Final = 3652
SERVER_DAYS: Final = 397
"""What the strictest clients take."""
_EARLIER: Final = dt.timedelta(hours=1)
"""By how much a node's clock may be behind when a certificate is new."""
_KEY_USES: Final = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign",
    "encipher_only", "decipher_only",
)  # fmt: skip


def make_ca(folder: Path, now: str, name: str = "creditfed coordinator") -> Path:
    """Make the authority; returns its certificate, ca.pem. name: what it is called in it, up to 64 characters.

    Raises ConfigurationError where there is one already, and for such a name.
    """
    if (folder / CA).exists():
        raise ConfigurationError(str(folder / CA), "there is an authority already", "Keep it: the members trust this one.")
    if not 1 <= len(name) <= 64 or not name.isprintable():
        raise ConfigurationError("certificate authority", "its name is not 1 to 64 printing characters", "Choose another name.")
    key = _kept_key(folder / CA_KEY, ec.SECP384R1())
    start = moment(now) - _EARLIER
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), start, start + dt.timedelta(CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_only("key_cert_sign"), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA384())
    )
    return _publish(folder / CA, made)


def make_server(folder: Path, hosts: Sequence[str], now: str) -> Path:
    """Make the server's certificate for the hosts, by the authority in the folder; returns it, server.pem.

    Raises ConfigurationError where there is one already, for no host or one that is none, and for a missing or expired authority.
    """
    if (folder / SERVER).exists():
        raise ConfigurationError(str(folder / SERVER), "there is a certificate already", "Renew it, or move it away first.")
    return _issue(folder, tuple(map(host_name, hosts)), now)


def renew(folder: Path, now: str, hosts: Sequence[str] | None = None) -> Path:
    """Another certificate for the server's key, for the hosts of the last one unless others are given. Members need nothing new.

    Raises ConfigurationError for what is missing, a host that is none, and an expired authority.
    """
    names: tuple[Host, ...] = tuple(map(host_name, hosts)) if hosts is not None else names_of(certificates(folder / SERVER)[0])
    return _issue(folder, names, now)


def _issue(folder: Path, names: tuple[Host, ...], now: str) -> Path:
    if not names:
        raise ConfigurationError("server certificate", "it would be for no host", "Name the host at which nodes reach the server.")
    if not (folder / CA_KEY).exists():
        what = "the authority's key is not here: you keep it elsewhere, or the certificate is of your own PKI"
        raise ConfigurationError(str(folder / CA_KEY), what, "Put it there, or give your PKI's new certificate: --certificate PEM.")
    at, authority, ca_key = moment(now), certificates(folder / CA)[0], private_key(folder / CA_KEY)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey) or ca_key.public_key() != authority.public_key():
        raise ConfigurationError(str(folder / CA_KEY), f"it is not the key of {CA}", "Restore the authority's own key.")
    if not authority.not_valid_before_utc <= at < authority.not_valid_after_utc:
        what = "the authority is not valid at this time"
        raise ConfigurationError(str(folder / CA), what, "Check the clock; an expired one is replaced at every member.")
    key = _kept_key(folder / SERVER_KEY, ec.SECP256R1())
    start = max(at - _EARLIER, authority.not_valid_before_utc)
    until = min(start + dt.timedelta(SERVER_DAYS), authority.not_valid_after_utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "creditfed server")])
    issuer = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    made = (
        x509.CertificateBuilder(authority.subject, subject, key.public_key(), x509.random_serial_number(), start, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_only("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
        .sign(ca_key, hashes.SHA384())
    )
    return _publish(folder / SERVER, made)


def _only(use: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name == use for name in _KEY_USES})


def _kept_key(path: Path, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
    """The key that is there, from an earlier call or one that was cut short; or else a new one, mode 600 and on disk."""
    if not path.exists():
        made = ec.generate_private_key(curve)
        put(path, made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    key = private_key(path)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigurationError(str(path), "it is not a key that creditfed made", "Move it away, and the certificate with it.")
    return key


def _publish(path: Path, certificate: x509.Certificate) -> Path:
    put(path, certificate.public_bytes(serialization.Encoding.PEM), READABLE)
    path.chmod(READABLE)  # whatever the umask
    return path
