"""consortium.toml: the members of the consortium that this node knows, by the keys that were compared when they joined.

    coordinator = "<64 hexadecimal digits>"
    [[member]]
    name = "platform-a"
    role = "platform"
    key = "<64 hexadecimal digits>"
    revoked = false

A run whose manifest names another key for a member, a member that is not here, or one whose key was revoked, is not answered.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import msgspec
import tomli_w

from federation.kernel import suite
from federation.kernel.errors import AbortCode, ConfigurationError, PolicyRefusal
from federation.kernel.known import known
from federation.kernel.manifest import Manifest
from privacy.institutions import institution_roles
from privacy.store.durable import put

Key = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
FILE = "consortium.toml"


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """name: as runs use it; key: Ed25519 identity key, hexadecimal; revoked: nothing signed with it counts any more."""

    name: str
    role: str
    key: Key
    revoked: bool = False


class Consortium(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"members": "member"}):
    """The coordinator's key and the members; both keys of `coordinator_revoked` and a member's `revoked` are final."""

    coordinator: Key
    members: tuple[Member, ...] = ()
    coordinator_revoked: bool = False

    def require(self, manifest: Manifest) -> None:
        """Every party and agency of the manifest, and its coordinator, is the one pinned here. Raises PolicyRefusal, and names who is not."""
        if manifest.coordinator != self.coordinator or self.coordinator_revoked:
            raise _refusal("the coordinator", "has another key than the one pinned here, or a revoked one")
        pinned = {member.name: member for member in self.members}
        for party in manifest.institutions:
            member = pinned.get(party.name)
            if member is None:
                raise _refusal(party.name, "is not a member that this node knows")
            if member.revoked:
                raise _refusal(party.name, "has a key that was revoked")
            if (member.key, member.role) != (party.identity, party.role):
                raise _refusal(party.name, "has another key or role than the one pinned here")


def _refusal(who: str, what: str) -> PolicyRefusal:
    return PolicyRefusal(
        FILE, f"{who} {what}", "Compare fingerprints with them (`creditfed node members`), and correct the file if they are right."
    )


def read(root: Path) -> Consortium:
    """A node's consortium. Raises PolicyRefusal where none is pinned, ConfigurationError for a file that is not one."""
    try:
        return read_file(root / FILE)
    except FileNotFoundError:
        action = "Put the members' keys into it (docs/guides/institution.md), after comparing fingerprints."
        raise PolicyRefusal(str(root / FILE), "no members are pinned, so no run is answered", action, AbortCode.POLICY) from None


def read_file(path: Path) -> Consortium:
    """A consortium's file. Raises FileNotFoundError where there is none, ConfigurationError for one that is not a consortium's."""
    try:
        return _read(path.read_bytes())
    except ConfigurationError as wrong:
        raise ConfigurationError(str(path), wrong.what, wrong.action) from None


@lru_cache(maxsize=8)
def _read(raw: bytes) -> Consortium:
    """From the file's bytes, whosever they are: it is asked for at every message, and with two thousand members it takes a while to read. A
    thousand nodes of a simulation have the same file each.
    """
    try:
        found = msgspec.convert(tomllib.loads(raw.decode()), known(Consortium))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(FILE, _reason(error), "Correct the file.") from None
    names, keys = [m.name for m in found.members], [found.coordinator, *(m.key for m in found.members)]
    if len(set(names)) < len(names) or len(set(keys)) < len(keys):
        raise ConfigurationError(FILE, "two members have one name, or one key", "Give every [[member]] its own.")
    if any(member.role not in institution_roles() for member in found.members):
        raise ConfigurationError(FILE, "a member's role is none that is known", f"Roles are {', '.join(institution_roles())}.")
    if not all(suite.is_signing_public(bytes.fromhex(key)) for key in keys):
        raise ConfigurationError(FILE, "a key is not an Ed25519 public key", "Copy it again, and compare fingerprints.")
    return found


def _reason(error: Exception) -> str:
    return "is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error).replace("`", "")


def write(root: Path, coordinator: str, members: Iterable[Member]) -> Path:
    """Pin a coordinator and members."""
    document = {"coordinator": coordinator, "member": [msgspec.to_builtins(member) for member in members]}
    return put(root / FILE, tomli_w.dumps(document).encode())
