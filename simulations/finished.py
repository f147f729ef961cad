"""What a run that is over left at its institutions: each one's share, and their files, copied side by side. Only a simulation can do this."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec

from federation.kernel.manifest import Manifest
from federation.kernel.role import COORDINATOR

_FILES = {
    "share.json": ("models", "json"),
    "bins.toml": ("bins", "toml"),
    "bins.digest": ("bins", "digest"),
    "scores.parquet": ("scores", "parquet"),
}


@dataclass(frozen=True)
class Finished:
    """out: the simulation's folder; homes: of all institutions with a table; shares: the share.json of those that have one (a bank that was
    lost on the way has none); conduct: what the coordinator knows; history: the fit's iterations, as the screen showed them.
    """

    manifest: Manifest
    out: Path
    homes: dict[str, Path]
    shares: dict[str, Any]
    conduct: dict[str, Any]
    history: list[dict[str, float | int]]

    @classmethod
    def read(cls, out: Path, homes: dict[str, Path], conduct: dict[str, Any], history: list[dict[str, float | int]]) -> Self:
        """From the institutions' own results folders."""
        manifest = msgspec.convert(conduct["manifest"], Manifest, strict=False)
        homes = {name: home for name, home in homes.items() if name in manifest.members}  # whoever had nothing left took no part
        files = {name: home / "results" / "share.json" for name, home in homes.items()}
        shares = {name: json.loads(path.read_text()) for name, path in files.items() if path.exists()}
        return cls(manifest, out, homes, shares, conduct, history)

    def party(self, name: str) -> dict[str, Any]:
        """What the result says of an institution in every run."""
        declared, iv = self.manifest.party(name), self.shares.get(name, {}).get("iv", {})
        columns = [{"name": column.name, "kind": column.kind, "iv": iv.get(column.name)} for column in declared.columns]
        return {"name": name, "role": declared.role, "columns": columns}

    def copy(self) -> None:
        """Shares, bins and scores of everybody, each kind in a folder of its own."""
        for folder, _ in _FILES.values():
            shutil.rmtree(self.out / folder, ignore_errors=True)
        for name in self.shares:
            for source, (folder, suffix) in _FILES.items():
                path = self.homes[name] / "results" / source
                if path.exists():
                    (self.out / folder).mkdir(exist_ok=True)
                    shutil.copyfile(path, self.out / folder / f"{name}.{suffix}")


def copy_audit(out: Path, homes: dict[str, Path]) -> None:
    """Every institution's audit log, and the coordinator's, as they would be handed to an auditor."""
    shutil.rmtree(out / "audit", ignore_errors=True)
    for name, home in (homes | {COORDINATOR: out / "coordinator"}).items():
        if (home / "audit").exists():
            shutil.copytree(home / "audit", out / "audit" / name)
