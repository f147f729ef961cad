"""The key that an agency and a platform share, under which the agency's ledger and its statements name the platform's subjects.

The agency makes it (`creditfed node consent key --platform`), one for each platform; it travels once, as a file of mode 600, by a way that the
two trust, and never by the coordinator. Whoever has it can try identifiers against a statement that was opened, and can open sealed ones.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import msgspec
import tomli_w

from clients.home import Home
from federation.kernel.errors import ConfigurationError
from federation.kernel.known import known
from federation.kernel.manifest import AGENCY
from federation.kernel.manifest_rules import require_party_name
from federation.kernel.secret import Secret

_KEY = re.compile(r"[0-9a-f]{64}")


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """key: 32 bytes, hexadecimal."""

    agency: str
    platform: str
    key: str

    def __repr__(self) -> str:
        return f"_File({self.agency!r}, {self.platform!r})"


def shared_key(home: Home, other: str) -> Secret:
    """The key that this node shares with a platform or an agency. Raises ConfigurationError where there is none."""
    require_party_name(other)
    if not _path(home, other).exists():
        action = "The agency makes one: creditfed node consent key --platform NAME --out FILE; the platform takes it with --from FILE."
        raise ConfigurationError("consent key", f"there is none here that {other} shares", action)
    return home.key(_name(other))


def give_key(home: Home, platform: str, out: Path) -> None:
    """At an agency: the key for a platform, made when first asked for, into a new file of mode 600. Raises ConfigurationError."""
    require_party_name(platform)
    config = home.config()
    if config.get("role") != AGENCY:
        raise ConfigurationError("consent key", "an agency makes it, and this node is none", "Take the agency's with --from FILE.")
    document = {"agency": str(config["name"]), "platform": platform, "key": home.key(_name(platform)).reveal().hex()}
    _write_new(out, tomli_w.dumps(document).encode())


def take_key(home: Home, file: Path) -> str:
    """At a platform: the key from an agency's file; returns the agency's name. Raises ConfigurationError, and never quotes the file."""
    try:
        found = msgspec.convert(tomllib.loads(file.read_text()), known(_File), strict=True)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError):
        found = None
    if found is None or not _KEY.fullmatch(found.key):
        raise ConfigurationError(file.name, "it is no consent key", "Take the file that the agency made, whole.") from None
    require_party_name(found.agency)
    if found.platform != home.config().get("name"):
        raise ConfigurationError(file.name, "it was made for another platform", "Ask the agency for this institution's own.")
    key, path = Secret(bytes.fromhex(found.key)), _path(home, found.agency)
    if not path.exists():
        _write_new(path, key.reveal())
    elif home.key(_name(found.agency)) != key:
        what = f"there is another key already that {found.agency} shares"
        raise ConfigurationError("consent key", what, f"If the agency has begun anew, move {path} away first.")
    return found.agency


def _name(other: str) -> str:
    return f"consent-{other}"


def _path(home: Home, other: str) -> Path:
    return home.root / "keys" / f"{_name(other)}.key"


def _write_new(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigurationError(path.name, f"it cannot be written ({error.strerror})", "Name a file that is not there yet.") from None
