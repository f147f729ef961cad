"""Who may take part: an institution's joining file waits in the coordinator's folder, and the operator lets it in by the fingerprint that was
compared by telephone. What is let in is in the run store, and in consortium.toml, which every member pins after comparing in turn.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import tomli_w
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from federation.carriage.flower import SuperLink
from federation.kernel import suite
from federation.kernel.errors import ConfigurationError
from federation.kernel.joining import Joining
from privacy.approval.words import fingerprint
from privacy.institutions import institution_roles
from privacy.store.durable import READABLE, put
from server.join import read_join_file
from server.place import Place
from server.store.records import Node, Way
from server.store.run_store import RunStore

_SUFFIX, _LOOKED_AT = ".join.toml", "*.toml"
"""What an institution calls its joining file, and what is taken for one: mail programs rename."""


@dataclass(frozen=True)
class Waiting:
    """A joining file that nobody has enrolled yet."""

    path: Path
    joining: Joining

    @property
    def fingerprint(self) -> str:
        """To be compared by telephone."""
        return fingerprint(self.joining.key)


def waiting(place: Place, more: tuple[Path, ...] = ()) -> tuple[Waiting, ...]:
    """The joining files in the coordinator's folder and those named. Raises ConfigurationError for one that is none."""
    found = [*sorted((place.root / "joining").glob(_LOOKED_AT)), *more]
    return tuple(Waiting(path, _read(path)) for path in found)


def _read(path: Path) -> Joining:
    found = read_join_file(path)
    if found.role not in institution_roles():
        raise ConfigurationError(str(path), "its role is not one of an institution", f"Roles are {', '.join(institution_roles())}.")
    return found


def enrol(place: Place, store: RunStore, compared: str, files: tuple[Path, ...], way: Way, now: str) -> Node:
    """Let in the institution whose fingerprint was compared. Raises ConfigurationError where no joining file has it."""
    plain = _plain(compared)
    among = waiting(place, files)
    chosen = next((one for one in among if _plain(one.fingerprint) == plain), None)
    if chosen is None:
        if any(node.revoked_at is None and _plain(fingerprint(node.key)) == plain for node in store.nodes()):
            raise ConfigurationError("fingerprint", "the institution that has it is enrolled already", "Nothing is to be done.")
        action = (
            "Compare again; creditfed coordinator enrol lists what waits." if among else f"Put NAME{_SUFFIX} into {place.root / 'joining'}."
        )
        raise ConfigurationError("fingerprint", "no joining file that waits here has it", action)
    node = Node.of(chosen.joining, way, now)
    store.enrol(node)
    if chosen.path.parent == place.root / "joining":
        done = place.root / "joining" / "enrolled"
        done.mkdir(exist_ok=True)
        shutil.move(chosen.path, done / chosen.path.name)
    pin(place, store)
    return node


def _plain(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())


def pin(place: Place, store: RunStore) -> Path:
    """Write consortium.toml: the coordinator's key and every member's, in the form that a node reads."""
    newest = {node.name: node for node in store.nodes()}
    members = [
        {"name": node.name, "role": node.role, "key": node.key} | ({"revoked": True} if node.revoked_at else {})
        for node in newest.values()
    ]  # fmt: skip
    document = {"coordinator": suite.signing_public(place.identity).hex(), "member": members}
    return put(place.root / "consortium.toml", tomli_w.dumps(document).encode(), READABLE)


def let_in(link: SuperLink, nodes: tuple[Node, ...]) -> dict[str, int]:
    """Register every enrolled node that connects with Flower, and nobody else; their numbers by name."""
    numbers = {}
    for node in nodes:
        public = load_pem_public_key(node.node_key)
        if not isinstance(public, EllipticCurvePublicKey):
            raise ConfigurationError(f"node {node.name}", "its node key is no EC key", "Enrol it again.")
        if node.revoked_at is not None or node.way != "connected":
            link.unregister(public)
        else:
            numbers[node.name] = link.register(public, node.name)
    return numbers
