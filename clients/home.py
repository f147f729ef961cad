"""A node's home folder: its own configuration, keys, journals and results. Nothing outside it belongs to the node but its source.

node.toml        name, role, source, columns: this party's own section of the run file
keys/            identity.key, storage.key; source.password of a database (mode 600)
journal/RUN.db   the journals of running sessions, encrypted
align/ID.npz     positions of a finished alignment, for `[align] from`
results/         share.json, scores.parquet, bins.toml, metrics.json of the last run; run.json: which one, and a digest of each;
                 earlier/RUN: those of a run before it
approvals/       proposed runs, votes, studies, what became of runs; approvers.toml, approvers/ beside it
policy/          the institution's Cedar policies
consortium.toml  the members by their keys
coordinator.toml the coordinator's invitation: its address and public keys
exchange/        of runs that are exchanged as files: the answer to each one's last question
node.lock        held by the one process that works on this home
audit/           the audit log
releases/        what was released before
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest_rules import require_run_name
from federation.kernel.secret import Secret
from privacy.store.durable import put, sync


@dataclass(frozen=True)
class Home:
    """Paths of one node."""

    root: Path

    def config(self) -> dict[str, Any]:
        """node.toml as a dictionary."""
        path = self.root / "node.toml"
        try:
            return tomllib.loads(path.read_text())
        except FileNotFoundError:
            what, action = (
                "there is no node here: it has no node.toml",
                "Give the node's folder with --home DIR, or found one: creditfed node init.",
            )
            raise ConfigurationError(str(self.root), what, action) from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(str(path), f"not valid TOML: {error}", "Correct the file.") from None

    def key(self, name: str) -> Secret:
        """A 32-byte key of this node, made from the operating system's entropy when first asked for."""
        path = self.root / "keys" / f"{name}.key"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(os.urandom(32))
                file.flush()
                os.fsync(file.fileno())
            sync(path.parent)
        return Secret(path.read_bytes())

    def journal(self, run: str) -> Path:
        """Where the journal of a run lies. Raises ConfigurationError for a name that would lie elsewhere."""
        require_run_name(run)
        return self.root / "journal" / f"{run}.db"

    @property
    def results(self) -> Path:
        """The folder of results, made when missing."""
        path = self.root / "results"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a result whole or not at all."""
        return self.keep(self.results / name, content.encode() if isinstance(content, str) else content)

    @staticmethod
    def keep(path: Path, content: bytes) -> Path:
        """Put a file in place whole or not at all, on disk before it returns."""
        return put(path, content)
