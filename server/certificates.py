"""The server's certificates in the coordinator's folder: made here, or an institution's own PKI's, copied in after they were checked."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from privacy.store.durable import READABLE, put
from server.pki import CA, SERVER, SERVER_KEY, make_ca, make_server
from server.pki_check import check


def issue(folder: Path, hosts: Sequence[str], now: str) -> None:
    """An authority of the coordinator's own, and a certificate by it. Raises ConfigurationError."""
    shutil.rmtree(folder, ignore_errors=True)  # what a founding that was cut short has left
    make_ca(folder, now)
    make_server(folder, hosts, now)


def adopt(folder: Path, certificate: Path, key: Path, ca: Path, hosts: Sequence[str], now: str) -> None:
    """Certificate (with its chain), key and authority of an institution's own PKI. Raises ConfigurationError for what does not fit together."""
    check(certificate, key, ca, hosts, now)
    put(folder / CA, ca.read_bytes(), READABLE)
    put(folder / SERVER, certificate.read_bytes(), READABLE)
    put(folder / SERVER_KEY, key.read_bytes())


def adopt_anew(folder: Path, certificate: Path, key: Path | None, hosts: Sequence[str], now: str) -> Path:
    """Another certificate of the authority that institutions trust already; returns where it lies. key: None: that of the last one.

    Raises ConfigurationError for what does not fit together, and changes nothing then.
    """
    check(certificate, key or folder / SERVER_KEY, folder / CA, hosts, now)
    if key is not None:
        put(folder / SERVER_KEY, key.read_bytes())
    return put(folder / SERVER, certificate.read_bytes(), READABLE)


def require_usable(folder: Path, hosts: Sequence[str], now: str) -> int:
    """Days that the certificate is still good for. Raises ConfigurationError where it is not, for these hosts and this authority."""
    return check(folder / SERVER, folder / SERVER_KEY, folder / CA, hosts, now).days_left
