"""The `ray` back end: the clients of a simulation in worker processes, on this machine or on a Ray cluster, by Flower's simulation engine.

Flower's own `RayBackend` makes the workers (`ClientAppActor`), and its protocol with them is used as it stands; the Grid in front of it is the
in-process one (`simulations.inline`), since Flower's has no way to give a client a configuration, waits in steps of a second, and keeps a
worker that has died (docs/adr/0012-the-ray-back-end.md). A client is always sent to the same worker, where its node may still be in memory;
when a worker dies another is put in its place, finds the clients' journals, and is sent the message again.

A cluster of our own listens on every interface of the machine, as Ray does; so it asks for a token that only this process and its children
know. Telemetry, usage statistics, metrics and the dashboard are off.
"""

from __future__ import annotations

import functools
import gc
import importlib.util
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp

from federation.kernel.errors import ConfigurationError
from simulations.ray_client import client_app, measured

RESIDENTS = 1024
"""Nodes that a worker keeps in memory at most."""
MEMORY_SHARE = 0.5
"""Of what Ray counts as a machine's free memory, all its workers together."""
ATTEMPTS = 3
"""Workers that one message may outlive, before its client counts as lost."""
PATIENCE = 10.0
"""Seconds until a cluster's address that does not answer is wrong."""
PARTITION = "partition-id"
"""Flower's name for a simulated client's number, in its node configuration."""
SETTINGS = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else a FutureWarning, and no accelerator is used here
    "RAY_worker_niceness": "0",  # the workers are the run, and Ray would put them behind all else (15)
}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def require_ray() -> None:
    """Raises ConfigurationError where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        action = "Install it with: pip install 'creditfed[ray]'. Or use --backend inline."
        raise ConfigurationError("command line", "--backend ray needs Ray, which is not installed", action)


def require_cluster(address: str) -> None:
    """Raises ConfigurationError where nothing listens at HOST:PORT; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise ConfigurationError(
            "--ray-address", f"{address!r} is not HOST:PORT", "Give what `ray start --head` printed, such as 10.0.0.1:6379."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except (OSError, OverflowError):
        raise ConfigurationError("--ray-address", f"nothing answers at {address}", "Check the address and that Ray runs there.") from None


class RayWorkers:
    """Called with a message and its client's context, as a ClientApp is; answers from a worker.

    address: of a Ray cluster that runs already, or None for one of our own; clients: how many there will be; app: makes the ClientApp in a
    worker, from the bounds on what it keeps; route: the worker's number for a client's partition id. Raises ConfigurationError where Ray is
    missing or does not answer.
    """

    def __init__(
        self,
        address: str | None = None,
        clients: int = 1,
        *,
        residents: int = RESIDENTS,
        app: Callable[[int, float], ClientApp] = client_app,
        route: Callable[[int], int] = lambda partition: partition,
    ) -> None:
        require_ray()
        if address is not None:
            require_cluster(address)
        self._route, self._lock, self._folder = route, threading.Lock(), None if address else _folder()
        try:
            with _untidy():
                self._start(address, min(clients, os.cpu_count() or 1))
                self._app = functools.partial(app, residents, self._megabytes())
                self._backend.build(self._app)
        except BaseException:
            self.close()
            raise
        self._actors = list(self._backend.pool.pool)

    def _start(self, address: str | None, cpus: int) -> None:
        os.environ.update(SETTINGS)
        if address is None:
            os.environ["RAY_AUTH_MODE"] = "token"
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # Ray reads it once a process
        import ray
        from flwr.server.superlink.fleet.vce.backend.raybackend import RayBackend

        self._ray: Any = ray
        logging.getLogger("ray").setLevel(logging.ERROR)
        path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
        own: dict[str, Any] = {"address": address}
        if address is None:
            own = {
                "address": "local",
                "num_cpus": cpus,
                "include_dashboard": False,
                "_node_ip_address": "127.0.0.1",
                "_temp_dir": self._folder,
            }
        try:
            ray.init(
                **own, log_to_driver=False, configure_logging=False, logging_level=logging.ERROR,
                runtime_env={"env_vars": SETTINGS | ONE_THREAD | {"PYTHONPATH": path}},
            )  # fmt: skip
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            where = "a cluster of its own" if address is None else f"the Ray cluster at {address}"
            what = f"{where} does not answer ({type(error).__name__})"
            raise ConfigurationError(
                "--ray-address" if address else "--backend ray", what, "Check the address and that Ray runs."
            ) from None
        self._backend: Any = RayBackend({"client_resources": {"num_cpus": 1, "num_gpus": 0.0}})

    def _megabytes(self) -> float:
        """What one worker may hold: Ray knows each machine's memory, also inside a container."""
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
        if not machines:
            raise ConfigurationError("--backend ray", "the Ray cluster has no processor to offer", "Start it with at least one.")
        return float(min(MEMORY_SHARE * machine["memory"] / machine["CPU"] for machine in machines) / 1e6)

    @property
    def count(self) -> int:
        """Workers."""
        return len(self._actors)

    def __call__(self, message: Message, context: Context) -> Message:
        """A client's reply, or an error where its ClientApp raised one or no worker lived to the end of it."""
        partition = int(context.node_config[PARTITION])
        reason = "the workers died"
        for _ in range(ATTEMPTS):
            place = self._route(partition) % len(self._actors)
            actor = self._actors[place]
            try:
                _, reply, updated = self._ray.get(actor.run.remote(self._app, message, str(partition), context))
            except self._ray.exceptions.RayTaskError as error:
                reason = f"the ClientApp raised {type(error.cause).__name__}"  # and no text: it could quote data
                break
            except self._ray.exceptions.RayError:
                self._replace(place, actor)
                continue
            context.state = updated.state
            answer: Message = reply
            return answer
        return Message(Error(code=0, reason=reason), reply_to=message)

    def _replace(self, place: int, actor: Any) -> None:
        """Another worker in the place of one that died, unless another thread was first."""
        with self._lock:
            if self._actors[place] is actor:
                self._actors[place] = self._backend.pool.create_actor_fn()

    def measure(self, kind: str) -> list[float]:
        """Of each worker: `peak` memory in MB, `cpu` seconds, nodes `made` and `kept`, `pid`."""
        asked = [actor.run.remote(functools.partial(measured, kind), None, "", None) for actor in self._actors]
        return [value for _, value, _ in self._ray.get(asked)]

    def close(self) -> None:
        """End the workers, and the cluster if it is our own."""
        with _untidy():
            if hasattr(self, "_ray"):
                for actor in getattr(self, "_actors", ()):
                    self._ray.kill(actor)
                self._ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


@contextmanager
def _untidy() -> Iterator[None]:
    """Ray leaves files that it opened, and processes that it ended, to the garbage collector, which may warn of them: let it do so here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            yield
        finally:
            gc.collect()


def _folder() -> str:
    """For Ray's sockets and logs: of our own, since its usual one stays behind, and short, since a socket's path may have 107 bytes."""
    return tempfile.mkdtemp(prefix="creditfed-ray-", dir="/tmp" if len(tempfile.gettempdir()) > 24 else None)  # noqa: S108  # mode 700
