"""A worker: repeats the run of an analysis up to the chunks that the driver asks for, and computes those.

What a chunk computes depends on what its analysis did before. A worker therefore runs the same analysis. Where that
reaches a group of chunks, it computes those it is asked for, and takes the results of all from the driver before it goes
on: just as a run does that is resumed after an interruption.
"""

import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from probe.analyses.analysis import Analysis
from probe.data.images import Images, no_images
from probe.errors import UserError
from probe.model.loading import load
from probe.model.model import Model
from probe.runs.execute import execute
from probe.runs.job import RunJob
from probe.runs.messages import (
    Complete,
    Done,
    Failed,
    Finished,
    Hello,
    Load,
    ModelSpec,
    Part,
    Start,
    Stop,
    Task,
    Whole,
    pack,
    read_message,
    unpack,
    write_message,
)
from probe.runs.provenance import code_digest, versions
from probe.runs.store import Arrays
from probe.runs.threads import single_thread

T = TypeVar("T")
Receive = Callable[[], bytes]
Send = Callable[[bytes], None]


class _Elsewhere(BaseException):
    """Leaves the run of an analysis: the driver has come to another one."""

    def __init__(self, message: Load | Start | Stop) -> None:
        self.message = message


def hello() -> Hello:
    """What the driver must know of this worker."""
    return Hello(socket.gethostname(), versions(), code_digest())


def serve(receive: Receive, send: Send, *, node: str = "") -> None:
    """Do what the messages ask for, with one thread, until one of them is Stop. node: named in errors about its files."""
    with single_thread():
        _Worker(receive, send, node).serve()


class _Worker:
    """A worker with its models, what they are loaded for, and what ended its run, if anything did."""

    def __init__(self, receive: Receive, send: Send, node: str) -> None:
        self._receive, self._send, self._node = receive, send, node
        self._inputs: Load = Load((), no_images((3, 1, 1)))
        self._models: dict[ModelSpec, Model] = {}
        self._failure: Exception | None = None

    def serve(self) -> None:
        following = None
        while not isinstance(following, Stop):
            try:
                message, following = following or unpack(self._receive()), None
                if isinstance(message, Stop):
                    return
                if isinstance(message, Task):
                    self._send(pack(Failed(message, self._failure or _diverged(message, "it has ended"))))
                elif isinstance(message, Load):
                    self._inputs = message
                elif isinstance(message, Start):
                    self._failure = None
                    self._run(message)
                elif isinstance(message, Whole):
                    self._send(pack(self._complete(message)))
            except _Elsewhere as left:
                following = left.message
            except Exception as error:
                self._failure = self._located(_sendable(error))

    def _run(self, start: Start) -> None:
        model, *compare_to = self._prepared(start.analysis)
        job = _WorkerJob(start.seed, compare_to, self._receive, self._send)
        execute(start.analysis, model, self._inputs.images, job)

    def _complete(self, run: Whole) -> Complete | Failed:
        try:
            model, *compare_to = self._prepared(run.analysis)
            started = time.perf_counter()
            job = RunJob(run.seed, compare_to=compare_to, store=_SentChunks(run, self._send))
            result = execute(run.analysis, model, self._inputs.images, job)
            return Complete(run.task, result, time.perf_counter() - started)
        except Exception as error:
            return Failed(run.task, self._located(_sendable(error)))

    def _prepared(self, analysis: Analysis) -> list[Model]:
        """The models, each loaded once. Raises UserError for models and files that are not there."""
        models = self._loaded(self._inputs.models)
        _require_files(self._inputs.images, analysis.files())
        return models

    def _loaded(self, specs: Sequence[ModelSpec]) -> list[Model]:
        """The models, each loaded once."""
        self._models = {spec: self._models.get(spec) or _load(spec) for spec in specs}
        return [self._models[spec] for spec in specs]

    def _located(self, error: Exception) -> Exception:
        """`error` with the name of the node, if it is one about a model, a file or a device there."""
        return (
            UserError(f"on {self._node}: {error}") if self._node and isinstance(error, UserError) else error
        )


class _SentChunks:
    """The chunks of a whole run: those that the driver has, and those that it is sent to store."""

    def __init__(self, run: Whole, send: Send) -> None:
        self._run, self._send = run, send

    def load(self, label: str) -> Arrays | None:
        return self._run.chunks.get(label)

    def save(self, label: str, arrays: Arrays) -> None:
        self._send(pack(Part(self._run.task, label, arrays)))


class _WorkerJob(RunJob):
    """The job of a run on a worker, which computes the chunks that it is asked for."""

    def __init__(self, seed: int, compare_to: Sequence[Model], receive: Receive, send: Send) -> None:
        super().__init__(seed, compare_to=compare_to)
        self._receive, self._send = receive, send
        self._group = 0

    def chunks(
        self, name: str, items: Sequence[T], compute: Callable[[T, torch.Generator], Arrays]
    ) -> list[Arrays]:
        while True:
            message = unpack(self._receive())
            if isinstance(message, Finished):
                self._group += 1
                self.reseed(name, "end")
                return message.chunks
            if not isinstance(message, Task):
                raise _Elsewhere(message)
            here = (self._group, name, len(items))
            if (message.group, message.name, message.count) != here:
                reply = Failed(message, _diverged(message, f"it reached {len(items)} chunks of {name!r}"))
            else:
                try:
                    reply = Done(message, self.compute(name, message.index, items[message.index], compute))
                except Exception as error:
                    reply = Failed(message, _sendable(error))
            self._send(pack(reply))


def _load(wanted: ModelSpec) -> Model:
    """The model, as the driver has it."""
    model = load(wanted.spec, device=wanted.device)
    if model.digest != wanted.digest:
        raise UserError(
            f"the model {wanted.spec} differs from that of the driver: their digests do not match"
        )
    model.fix_batches(dict(wanted.batches))
    return model


def _require_files(images: Images, files: Sequence[Path]) -> None:
    """Raise UserError, with the path, for images on disk or files of an analysis that cannot be read here."""
    images.require_readable()
    for path in files:
        if not path.exists():
            raise UserError(f"there is no {path}")


def _diverged(task: Task, instead: str) -> UserError:
    return UserError(
        f"the run of a worker differs from that of the driver: instead of {task.count} chunks of {task.name!r}, {instead}. "
        "Do all nodes have the same kind of processor?"
    )


def _sendable(error: Exception) -> Exception:
    """`error` as it can be pickled; one that is no mistake of the user has its traceback as a note."""
    trace = "".join(traceback.format_exception(error))
    try:
        unpack(pack(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    if not isinstance(error, UserError):
        error.add_note(f"On the worker:\n{trace}")
    return error


def main() -> None:
    """Serve the driver at the other end of the standard input and output, until it closes them or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's, which ends its workers
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what libraries print is no message
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        while (content := read_message(source)) is not None:
            inbox.put(content)
        os._exit(0)  # the driver is gone, in the middle of a chunk too

    def send(content: bytes) -> None:
        try:
            write_message(sink, content)
        except OSError:
            os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    send(pack(hello()))
    serve(inbox.get, send)


if __name__ == "__main__":
    sys.exit(main())
