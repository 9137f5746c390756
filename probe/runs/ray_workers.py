"""Workers as actors of Ray, on this machine or a cluster."""

import os
import queue
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from typing import Any

from probe.runs.messages import Lost, Reply, pack, unpack
from probe.runs.pool import EngineError

_CONNECT_TIMEOUT = 5.0  # seconds in which a cluster must answer
_OBJECT_STORE = 256 * 2**20  # bytes on one machine: what does not fit is written to the disk by Ray
_INLINE = 100_000  # bytes up to which a message does not pass through the object store
_LOCAL = "127.0.0.1"


class Host:
    """The actor: a worker in a thread, which computes while the methods of the actor carry its messages."""

    def __init__(self, *, alone: bool) -> None:
        from probe.runs.worker import hello, serve

        os.environ.setdefault("PROBE_DECODERS", "0")  # a worker on a core decodes its own images
        self._inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._hello = hello()
        node = "" if alone else self._hello.node
        work = threading.Thread(
            target=serve, args=(self._inbox.get, self._outbox.put), kwargs={"node": node}, daemon=True
        )
        work.start()

    def greet(self) -> bytes:
        """What the driver must know of this worker."""
        return pack(self._hello)

    def request(self, *messages: bytes) -> bytes:
        """The next reply, after these messages."""
        for message in messages:
            self._inbox.put(message)
        return self._outbox.get()


class RayWorkers:
    """An actor for each worker, with one CPU, and one GPU where the models compute on CUDA.

    address: HOST:PORT of a cluster, or "auto" for the one that this machine belongs to; empty for this machine alone.
    Raises EngineError where Ray is not installed, no cluster answers or none of its nodes has what a worker takes.
    """

    def __init__(self, address: str, workers: int, *, cuda: bool) -> None:
        self._ray = ray = _import_ray()
        self._own = not ray.is_initialized()
        if self._own:
            _connect(ray, address, workers)
        self._needed = {"CPU": 1, "GPU": 1} if cuda else {"CPU": 1}
        self._is_alone = len(ray.nodes()) == 1
        self._actors: dict[int, Any] = {}
        self._pending: dict[Any, int] = {}
        self._count = 0
        try:
            self.size = self._affordable(workers)
        except EngineError:
            self.close()
            raise

    def _affordable(self, workers: int) -> int:
        """As many workers as the cluster has room for, at most `workers` unless that is 0."""
        resources = self._ray.cluster_resources()
        room = min(int(resources.get(name, 0)) for name in self._needed)
        if room < 1:
            missing = next(name for name in reversed(self._needed) if resources.get(name, 0) < 1)
            raise EngineError(
                f"no node of the Ray cluster has a {missing}: start nodes that have one (`ray start --num-"
                f"{missing.lower()}s=1`)" + (", or choose --device cpu" if missing == "GPU" else "")
            )
        return min(workers, room) if workers else room

    def start(self) -> int:
        self._count += 1
        options = {"num_cpus": self._needed["CPU"], "num_gpus": self._needed.get("GPU", 0)}
        actor = self._ray.remote(Host).options(**options, scheduling_strategy="SPREAD", max_restarts=0)
        self._actors[self._count] = actor.remote(alone=self._is_alone)
        self._pending[self._actors[self._count].greet.remote()] = self._count
        return self._count

    def share(self, message: Any) -> Any:
        content = pack(message)
        if len(content) <= _INLINE:
            return content
        try:
            return self._ray.put(content)
        except (self._ray.exceptions.RayError, OSError) as error:
            raise EngineError(
                f"Ray cannot store the {len(content) / 2**20:,.0f} MB for the workers ({_first_line(error)}): use images on "
                "disk (folder:), of which only the paths are sent"
            ) from None

    def send(self, worker: int, shared: Sequence[Any]) -> None:
        self._pending[self._actors[worker].request.remote(*shared)] = worker

    def wait(self, seconds: float) -> Sequence[tuple[int, Reply]]:
        ready, _ = self._ray.wait(list(self._pending), num_returns=1, timeout=seconds)
        return [(self._pending.pop(reference), self._reply(reference)) for reference in ready]

    def _reply(self, reference: Any) -> Reply:
        errors = self._ray.exceptions
        try:
            return unpack(self._ray.get(reference))
        except (errors.RayActorError, errors.NodeDiedError, errors.ObjectLostError) as error:
            if "ModuleNotFoundError" in str(error) or "ImportError" in str(error):
                raise EngineError(_first_line(error, "Error:")) from None
            return Lost(_first_line(error))
        except (errors.RayError, OSError) as error:
            raise EngineError(f"Ray: {_first_line(error)}") from None

    def kill(self) -> None:
        for actor in self._actors.values():
            with suppress(Exception):
                self._ray.kill(actor, no_restart=True)
        self._actors.clear()
        self._pending.clear()

    def close(self) -> None:
        """End the workers, and the Ray of this process if it was started here."""
        self.kill()
        if self._own:
            self._ray.shutdown()


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise EngineError(
            "the engine ray needs Ray: pip install 'cnn-probe[ray]' (--engine processes needs nothing)"
        ) from None
    return ray


def _connect(ray: Any, address: str, workers: int) -> None:
    """Connect to the cluster at `address`, or start Ray on this machine, reachable from here alone."""
    quiet = {"logging_level": "ERROR", "log_to_driver": False, "configure_logging": False}
    if address and address != "auto":
        _require_listener(address)
    where = (
        {"address": address}
        if address
        else {
            "num_cpus": workers or None,
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE,
            "_node_ip_address": _LOCAL,
        }
    )
    try:
        with _preserve_handlers(), _silent_libraries(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(**where, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
        at = f" at {address}" if address else ""
        raise EngineError(f"Ray cannot be used{at}: {_first_line(error)}") from None


def _require_listener(address: str) -> None:
    """Raise EngineError, after a few seconds, if nothing listens at `address`."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise EngineError(f"address must be HOST:PORT of a Ray cluster, or auto, got {address!r}")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT).close()
    except (OSError, OverflowError) as error:
        raise EngineError(
            f"no Ray cluster answers at {address} ({getattr(error, 'strerror', None) or error}): start one there with "
            f"`ray start --head --port={port}`"
        ) from None


@contextmanager
def _preserve_handlers():
    """Keep the handlers of signals, of which Ray replaces one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _silent_libraries():
    """Nothing on the error stream of the process: Ray's library repeats every second that a cluster does not answer."""
    sys.stderr.flush()
    original, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(original, 2)
        os.close(original)
        os.close(nowhere)


def _first_line(error: BaseException, containing: str = "") -> str:
    """The first line of the message that contains a text, or the first of all."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = next((line for line in lines if containing in line), lines[0] if lines else type(error).__name__)
    return " ".join(lines) if first.endswith(":") else first  # a heading, as that of versions that differ
