"""Trials on a Ray cluster: each worker is an actor. Needs the extra `ray`."""

import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import ray
from ray._private.services import canonicalize_bootstrap_address
from ray._raylet import AuthenticationTokenLoader, Config, GcsClient  # type: ignore[attr-defined]
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RpcError, TaskCancelledError

from autoopt.errors import BadInput, last_line, one_line
from autoopt.executor.remote import FAREWELL, Gone, Link, Remote
from autoopt.executor.resources import Limits, Machine
from autoopt.executor.worker import LINGER, Message, Worker
from autoopt.orders import Problem
from autoopt.process.endings import full_folders
from autoopt.store import Store

PLACE_TIME = 25.0
"""Seconds for the first worker to find a place; connecting takes a few before."""
LOOK = 1.0
"""Seconds between two looks at the size of the cluster."""
EXCLUDED = [
    *(".git", ".venv", "venv", "__pycache__", "mlruns", "mlflow.db*"),
    *(".env", ".env.*", ".netrc", ".pgpass", ".pypirc", ".npmrc", ".git-credentials", ".ssh", ".aws", ".azure", ".config/gcloud"),
    *(".docker", ".kube", ".kaggle", "kaggle.json", ".huggingface", "credentials.json", "token.json", "client_secret*.json"),
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "*.pem", "*.key", "*.p12", "*.pfx"),
]
"""What of the working directory stays here: it is large, or may be secret."""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


class RayLink(Link):
    """The way to an actor: at most one call of `exchange` is on its way, which takes the messages of the time before it."""

    def __init__(self, actor: Any):
        self.actor = actor
        self.call: Any = None
        self.outbox: list[Message] = []

    def tell(self, message: Message) -> None:
        self.outbox.append(message)
        if self.call is None:
            self._exchange()

    def hear(self, busy: bool) -> list[Message]:
        if self.call is None:
            if busy:
                self._exchange()
            return []
        try:
            if not ray.wait([self.call], timeout=0)[0]:
                return []
            told: list[Message] = ray.get(self.call)
        except RayError as error:
            raise Gone(problem_of(error)) from error
        self.call = None
        if self.outbox:
            self._exchange()
        return told

    def _exchange(self) -> None:
        self.call, self.outbox = self.actor.exchange.remote(self.outbox, LINGER), []

    def end(self) -> None:
        try:
            ray.wait([self.actor.close.remote()], timeout=FAREWELL if self.call is None else 0.1)
        finally:
            ray.kill(self.actor)


def problem_of(error: RayError) -> Problem:
    """The problem of a trial whose worker is gone."""
    text = one_line(error)
    if isinstance(error, OutOfMemoryError) or "memory monitor" in text or "OutOfMemory" in text:
        return Problem("lost", "its worker was ended by Ray for lack of memory on its node")  # perhaps another's, so not the recipe's fault
    if isinstance(error, TaskCancelledError):
        return Problem("user", "cancelled by ray.cancel")
    if isinstance(error, RayActorError) and (error.preempted or "preempted" in text):
        return Problem("preempted", "its node was preempted")
    if getattr(error, "actor_init_failed", False):
        return Problem("lost", f"its worker on Ray could not start: {last_line(error)}"[:300])
    _, found, why = text.partition("The actor is dead because ")
    return Problem("lost", f"its worker on Ray is gone: {why if found else text}"[:200])


class OnRay(Remote):
    """Hires actors, as many as the cluster has room for, and one more when a node comes.

    The actors belong to this process: when it ends, however it ends, Ray ends them with their trials. So a supervisor that comes
    back finds no trial running, and submits what had not ended once more, under its number and from its last checkpoint.

    Args:
        address: of the cluster; `None`: one is started here, for this process alone.
        resources: custom resources of a trial, by name.
    """

    def __init__(self, setup: dict[str, Any], store: Store, limits: Limits, address: str | None, resources: Mapping[str, float]):
        super().__init__(store)
        self._limits, self._resources = limits, dict(resources)
        self._own = address is None
        self._before: dict[str, str | None] = {}
        self._connected = not ray.is_initialized()
        if self._connected:
            self._connect(address)
        gpus = {"GPU": limits.gpu_share} if limits.gpus and ray.cluster_resources().get("GPU") else {}
        self._asked: dict[str, float] = {"CPU": limits.processors, **gpus, **self._resources}
        actor = ray.remote(Worker).options(
            num_cpus=limits.processors, num_gpus=gpus.get("GPU", 0), resources=self._resources, max_restarts=0, scheduling_strategy="SPREAD"
        )
        folder = os.getcwd() if self._own else None
        self._start = lambda: actor.remote(setup, limits.trial_time, limits.cpus_per_trial, folder)
        free = ray.available_resources()  # before there are workers of ours
        self._had_room = all(free.get(name, 0) >= need for name, need in self._asked.items())
        self._began, self._looked, self._room = self.now(), -LOOK, 1

    def _connect(self, address: str | None) -> None:
        self._before = {name: os.environ.get(name) for name in (*QUIET, "RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
        os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
        settings: dict[str, Any] = {"logging_level": "CRITICAL", "log_to_driver": False}
        try:
            with signals_kept():
                if address is None:
                    start_cluster(self._limits, self._resources, settings)
                else:
                    excludes = [*EXCLUDED, str(self.store.root.parent.relative_to(os.getcwd()))] if self._inside() else EXCLUDED
                    ray.init(reachable(address), runtime_env={"working_dir": os.getcwd(), "excludes": excludes}, **settings)
        except Exception as error:  # of Ray, in many shapes
            self.disconnect()
            what = "executor=ray: no cluster can be started here" if self._own else f"executor.ray.address={address or repr(address)}"
            way = "; install the cluster's versions here" if "Version mismatch" in str(error) else ""
            raise BadInput(f"{what}: {one_line(error)}{full_folders()}"[:600] + way) from error
        if address is not None and os.environ.get("RAY_AUTH_MODE") != "token":
            self._told.append(
                f"warning: the Ray cluster at {address} lets anyone who reaches it run code; start it with RAY_AUTH_MODE=token"
            )

    def _inside(self) -> bool:
        return self.store.root.parent.is_relative_to(os.getcwd()) and str(self.store.root.parent) != os.getcwd()

    @property
    def workers(self) -> int:  # type: ignore[override]
        """As many as are set, or as the nodes that are there now have room for."""
        if self._limits.workers:
            return self._limits.workers
        if time.monotonic() - self._looked > LOOK:
            self._looked = time.monotonic()
            self._room = sum(places_on(node["Resources"], self._asked) for node in ray.nodes() if node["Alive"])
        return max(1, self._room)

    def hire(self) -> Link:
        return RayLink(self._start())

    def wait(self, links: Sequence[Link], timeout: float) -> None:
        calls = [link.call for link in links if isinstance(link, RayLink) and link.call is not None]
        if calls:
            ray.wait(calls, timeout=timeout)
        else:
            time.sleep(min(timeout, LINGER))

    def check(self) -> None:
        if self._facts is not None or self._had_room or self.now() - self._began < PLACE_TIME:
            return
        ready = [hand.link.actor.__ray_ready__.remote() for hand in self._hands if isinstance(hand.link, RayLink)]
        if ray.wait(ready, timeout=1.0)[0]:
            self._had_room = True
            return
        free, there = ray.available_resources(), ray.cluster_resources()
        asked = ", ".join(f"{need:g} {name}" for name, need in self._asked.items())
        has = ", ".join(f"{free.get(name, 0):g} of {there.get(name, 0):g} {name}" for name in self._asked)
        raise BadInput(f"executor=ray: no place for a trial after {PLACE_TIME:g} s: it needs {asked}; free in the cluster: {has}")

    def disconnect(self) -> None:
        if self._connected:
            ray.shutdown()
            for name, value in self._before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})
            read_authentication()


def places_on(there: Mapping[str, float], asked: Mapping[str, float]) -> int:
    """How many trials a node has room for."""
    return min(int(there.get(name, 0) / need + 1e-9) for name, need in asked.items())


@contextmanager
def signals_kept() -> Iterator[None]:
    """Keep this process's own answer to SIGTERM: `ray.init` puts one of its own beneath Python's, which prints a stack and aborts."""
    if threading.current_thread() is not threading.main_thread():  # where no answer can be set
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:  # it was set by another than Python
            signal.signal(signal.SIGTERM, before)


def start_cluster(limits: Limits, resources: Mapping[str, float], settings: Mapping[str, Any]) -> None:
    """Start a cluster of this machine that only holders of a fresh token may use, and that ends with this process."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    read_authentication()
    machine, workers = Machine.here(), limits.workers or 1
    ray.init(
        "local",  # without it, it would join a cluster that runs here, or that RAY_ADDRESS names
        num_cpus=max(int(machine.cores), workers * limits.processors),
        num_gpus=len(machine.gpus),
        resources={name: need * max(workers, int(machine.cores)) for name, need in resources.items()},
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        **settings,
    )


def read_authentication() -> None:
    """Have Ray read RAY_AUTH_MODE and RAY_AUTH_TOKEN again, which it has read when it was imported."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def running_here() -> str:
    """The address of the cluster that RAY_ADDRESS names, or that has a node on this machine.

    Raises:
        ConnectionError: there is none.
    """
    with suppress(ConnectionError):  # its text names Ray's options instead of ours
        if address := canonicalize_bootstrap_address("auto"):
            return address
    raise ConnectionError("no cluster runs on this machine: `ray start --head` starts one, and without an address the search does")


@contextmanager
def without_stderr() -> Iterator[None]:
    """Ray's C++ logs to the descriptor what its exceptions say as well."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def reachable(address: str) -> str:
    """The address of a cluster that answers, or of a server for Ray's client, which is only known to listen.

    Raises:
        ConnectionError: it does not, or Ray's client is needed and not installed.
    """
    address = running_here() if address == "auto" else address
    if address.startswith("ray://") and find_spec("grpc") is None:
        raise ConnectionError("ray:// needs Ray's client: pip install 'ray[client]'")
    parts = urlsplit(address if "://" in address else f"ray://{address}")
    try:
        sound = parts.scheme == "ray" and parts.hostname and parts.port
    except ValueError:  # a port that is none
        sound = False
    if not sound:
        raise ConnectionError("expected auto, host:port, or ray://host:port")
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=5).close()
    except OSError as error:
        raise ConnectionError(f"nothing answers at {parts.netloc}: {error.strerror or error}") from error
    if "://" not in address:
        try:
            with without_stderr():
                GcsClient(address=address)  # which gives up after one attempt; `ray.init` makes twenty
        except RpcError as error:
            hint = "if the cluster uses TLS, set RAY_USE_TLS and its certificates here, too"
            raise ConnectionError(f"what listens at {address} does not answer as Ray does; {hint}") from error
    return address
