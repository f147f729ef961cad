"""Stock Flower on one machine: flower-superlink, flower-supernode and `flwr run`, with TLS, node authentication and SQLite state.

For a trial (docs/guides/trial-with-stock-flower.md) and to compare with. Its nodes run whatever code the server sends them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from federation.kernel.errors import LocalError
from server.certificates import issue
from server.conducting import moment
from simulations.deployed import HOST, ROOT, free_port, running, until

SUPERLINK = "here"
"""The connection's name in Flower's own configuration."""
ENDED = "finished"


@dataclass(frozen=True)
class Stock:
    """A SuperLink that runs, and its nodes' processes by name. folder: of keys, certificates, logs and state."""

    folder: Path
    port: int
    superlink: subprocess.Popen[bytes]
    nodes: dict[str, subprocess.Popen[bytes]]

    def run(self, app: Path, config: Mapping[str, str], seconds: float) -> str:
        """`flwr run` of an app's folder until it has ended; returns how. Raises LocalError where it does not end in time."""
        given = [word for key, value in config.items() for word in ("--run-config", f"{key}={json.dumps(value)}")]
        said = _flwr(self.folder, "run", str(app), SUPERLINK, "--format", "json", *given)
        number = str(said["run-id"])

        def status() -> str:
            return str(_flwr(self.folder, "list", SUPERLINK, "--run-id", number, "--format", "json")["runs"][0]["status"])

        until(lambda: status().startswith(ENDED), seconds, "the run has not ended", look=2.0)
        return status()


def write_app(folder: Path, client: str, server: str, config: Sequence[str] = ()) -> Path:
    """A Flower app of two thin modules that name the installed ones, as MODULE:NAME. config: keys of its run configuration."""
    package = folder / "trial"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for name, reference in (("client_app", client), ("server_app", server)):
        module, _, attribute = reference.partition(":")
        (package / f"{name}.py").write_text(f"import {module}\n\napp = {module}.{attribute}\n")  # Flower looks for an assignment
    document: dict[str, Any] = {
        "build-system": {"requires": ["setuptools"], "build-backend": "setuptools.build_meta"},
        "project": {"name": "trial", "version": "1.0.0", "license": "Apache-2.0", "dependencies": []},
        "tool": {"flwr": {"app": {
            "publisher": "creditfed",
            "components": {"serverapp": "trial.server_app:app", "clientapp": "trial.client_app:app"},
            "config": dict.fromkeys(config, ""),
        }}},
    }  # fmt: skip
    (folder / "pyproject.toml").write_text(tomli_w.dumps(document))
    return folder


@contextmanager
def stock(folder: Path, nodes: Mapping[str, Mapping[str, str]]) -> Iterator[Stock]:
    """A SuperLink and a SuperNode for each name, as long as the context lasts. nodes: their node configurations."""
    tls, port = folder / "tls", free_port()
    issue(tls, (HOST,), moment())
    (folder / "home").mkdir()
    connection = {"address": f"{HOST}:{port}", "root-certificates": str(tls / "ca.pem")}
    (folder / "home" / "config.toml").write_text(tomli_w.dumps({"superlink": {"default": SUPERLINK, SUPERLINK: connection}}))
    with ExitStack() as stack:
        superlink = stack.enter_context(
            _process(
                folder, "superlink", "flower-superlink",
                "--ssl-ca-certfile", str(tls / "ca.pem"), "--ssl-certfile", str(tls / "server.pem"), "--ssl-keyfile", str(tls / "server.key"),
                "--host", HOST, "--port", str(port), "--enable-supernode-auth", "--database", str(folder / "state.db"),
                "--disable-runtime-dependency-installation",
            )
        )  # fmt: skip
        until(lambda: _listens(folder), 60, "flower-superlink does not answer")
        started = {}
        for name, config in nodes.items():
            key = _key(folder / f"{name}.key")
            _flwr(folder, "supernode", "register", str(key.with_suffix(".pub")), SUPERLINK, "--name", name, "--format", "json")
            given = " ".join(f"{each}={json.dumps(value)}" for each, value in config.items())
            started[name] = stack.enter_context(
                _process(
                    folder, name, "flower-supernode", "--superlink", f"{HOST}:{port}", "--root-certificates", str(tls / "ca.pem"),
                    "--auth-supernode-private-key", str(key), "--host", HOST, "--port", str(free_port()), "--node-config", given,
                )
            )  # fmt: skip
        until(lambda: _online(folder) == len(nodes), 90, "the SuperNodes are not online")
        yield Stock(folder, port, superlink, started)


def _key(path: Path) -> Path:
    """A P-384 key, and its public half beside it."""
    key = ec.generate_private_key(ec.SECP384R1())
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    path.chmod(0o600)
    path.with_suffix(".pub").write_bytes(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b"\n")
    return path


def _environment(folder: Path) -> dict[str, str]:
    """Nothing is asked of the internet; creditfed is importable where it is not installed."""
    quiet = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "FLWR_HOME": str(folder / "home"), "PYTHONWARNINGS": "ignore"}
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return os.environ | quiet | {"PYTHONPATH": str(ROOT), "PATH": path}


def _command(name: str) -> str:
    return str(Path(sys.executable).parent / name)


@contextmanager
def _process(folder: Path, name: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    with running([_command(words[0]), *words[1:]], folder, folder / f"{name}.log", _environment(folder)) as started:
        yield started


def _flwr(folder: Path, *words: str) -> dict[str, Any]:
    """What a `flwr` command says, as JSON. Raises LocalError."""
    ran = subprocess.run(  # noqa: S603  # Flower's own command
        [_command("flwr"), *words], cwd=folder, env=_environment(folder), capture_output=True, text=True, check=False, timeout=120
    )
    place = ran.stdout.find("{")
    found = dict(json.JSONDecoder().raw_decode(ran.stdout[place:])[0]) if place >= 0 else {}
    if ran.returncode != 0 or not found.get("success"):
        said = found.get("error-message") or ran.stdout + ran.stderr
        raise LocalError("flwr", f"{words[0]} failed: {str(said).strip()[-800:]}", f"Look at the logs in {folder}.")
    return found


def _listens(folder: Path) -> bool:
    try:
        return bool(_flwr(folder, "list", SUPERLINK, "--format", "json")["success"])
    except LocalError:
        time.sleep(0.5)
        return False


def _online(folder: Path) -> int:
    found = _flwr(folder, "supernode", "list", SUPERLINK, "--format", "json")
    return sum(node["status"] == "online" for node in found.get("nodes", ()))
