"""The coordinator's folder: configuration, keys, certificates, and what it keeps of runs. No record of anybody is in it.

coordinator.toml    host, port, hosts, store
invitation.toml     what institutions get before they join
consortium.toml     the members' keys, for every node to pin
joining/            the joining files that wait to be enrolled
keys/               identity.key, storage.key, exchange.key (mode 600)
tls/                ca.pem, ca.key, server.pem, server.key
superlink.db        Flower's state; runs.db: the run store, where no other is configured
runs/NAME/          run.toml, conduct.json
exchange/NAME/      out, in: batches of an institution that takes them as files; exchange/asked/: what each was asked last
drafts/ journal/ audit/   as in a simulation
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import tomli_w

from federation.kernel import suite
from federation.kernel.errors import ConfigurationError
from federation.kernel.invitation import Invitation, invitation
from federation.kernel.known import known
from federation.kernel.secret import Secret
from privacy.store.durable import READABLE, put
from server.keys import file_key

_NOT_HERE = "Give the coordinator's folder with --home DIR, or found one: creditfed coordinator init."


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """coordinator.toml. host: the interface that the server listens on; port: its one port; hosts: by which nodes reach it, the first of them
    in the invitation; store: URL of the run store, "" for a file here; at_once: runs under way at one time.
    """

    host: str = "0.0.0.0"  # noqa: S104  # a server is there to be reached; what it serves is `server.guard`'s
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 9092
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1")
    store: str = ""
    at_once: Annotated[int, msgspec.Meta(ge=1, le=256)] = 16


@dataclass(frozen=True)
class Place:
    """Paths and keys of one coordinator."""

    root: Path

    @classmethod
    def there(cls, root: Path) -> Place:
        """The coordinator of a folder. Raises ConfigurationError where there is none."""
        place = cls(root)
        _ = place.settings
        return place

    @property
    def settings(self) -> Settings:
        """coordinator.toml. Raises ConfigurationError."""
        path = self.root / "coordinator.toml"
        try:
            return msgspec.convert(tomllib.loads(path.read_text()), known(Settings), strict=True)
        except FileNotFoundError:
            raise ConfigurationError(str(self.root), "there is no coordinator here: it has no coordinator.toml", _NOT_HERE) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
            raise ConfigurationError(str(path), str(error).replace("`", ""), "Correct the file.") from None

    def found(self, settings: Settings) -> Invitation:
        """Keys and configuration, once the certificates are there; the file that says that a coordinator is here comes last."""
        made = self.invite(settings)
        put(self.root / "coordinator.toml", tomli_w.dumps(msgspec.to_builtins(settings)).encode())
        return made

    def invite(self, settings: Settings) -> Invitation:
        """Write the invitation anew."""
        authority = (self.tls / "ca.pem").read_text()
        exchange = suite.agreement_public(self.key("exchange")).hex()
        host = f"[{settings.hosts[0]}]" if ":" in settings.hosts[0] else settings.hosts[0]  # RFC 3986: an IPv6 address stands in brackets
        made = invitation(f"{host}:{settings.port}", authority, self.identity, exchange)
        put(self.root / "invitation.toml", made.text().encode(), READABLE)
        return made

    def key(self, name: str) -> Secret:
        """A 32-byte key of this coordinator, made when first asked for."""
        return file_key(self.root / "keys" / f"{name}.key")

    @property
    def identity(self) -> Secret:
        """The key that every manifest names."""
        return self.key("identity")

    @property
    def tls(self) -> Path:
        """The folder of certificates."""
        return self.root / "tls"

    @property
    def store_url(self) -> str:
        """Where runs and nodes are kept."""
        return self.settings.store or f"sqlite:///{(self.root / 'runs.db').absolute()}"

    def run(self, name: str) -> Path:
        """A run's own folder."""
        return self.root / "runs" / name

    def exchange(self, name: str) -> tuple[Path, Path]:
        """Where files for an institution lie, and where its answers are looked for."""
        return self.root / "exchange" / name / "out", self.root / "exchange" / name / "in"

    def asked(self, run: str, name: str) -> Path:
        """What an institution was asked last by files in a run, for a server that is started again."""
        return self.root / "exchange" / "asked" / f"{run}.{name}"
