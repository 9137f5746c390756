"""Decode image files in processes, where decoding takes so long that they pay."""

import atexit
import os
import pickle
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

import numpy as np

import probe
from probe.data.image_files import Archive, read_pixels, reopen
from probe.data.preprocess import Preprocess
from probe.errors import UserError

_AFTER = 2.0  # seconds of decoding in threads before processes are started
_IDLE = 5.0  # seconds without work after which they end
_READY = b"+"
_LENGTH = struct.Struct(">I")  # of a request
_SHAPE = struct.Struct(">III")  # channels, height and width of the pixels that follow; zeros: it failed

FileIdentity = tuple[int, int, int, int]


@dataclass(frozen=True)
class Request:
    """Image files and what is to become of them. zipped: the identity of an open zip, None for files of a folder."""

    path: str
    zipped: FileIdentity | None
    inside: str
    names: tuple[str, ...]
    channels: int
    preprocess: Preprocess

    @classmethod
    def of(
        cls, archive: Archive, names: Sequence[str], channels: int, preprocess: Preprocess
    ) -> "Request | None":
        """The request for files of an archive; None for a zip in memory, which other processes cannot read."""
        identity = None if archive.opened is None else _identity(archive)
        if identity is None and archive.opened is not None:
            return None
        path = os.path.abspath(archive.path)
        return cls(path, identity, archive.inside, tuple(names), channels, preprocess)

    def pixels(self) -> list[np.ndarray | None]:
        """The images, decoded and preprocessed: (c, h, w) bytes; None for those that cannot be."""
        return [self._pixels(name) for name in self.names]

    def _pixels(self, name: str) -> np.ndarray | None:
        try:
            archive = _archive(self.path, self.zipped, self.inside)
            return read_pixels(archive, name, self.channels, self.preprocess)
        except Exception:  # whatever it is: the process that asks decodes the image itself, and reports it
            return None


class Decoders:
    """Processes that decode images for the threads of this one, each of which waits for the pixels of a few.

    They are started after two seconds of decoding in threads, and end after five without work, or with this process,
    however it ends. What no process is free for, is lost with one or fails there, is decoded by the thread itself: pixels
    and errors are the same with and without them. They are started afresh, not forked: that is safe beside threads and
    needs no `if __name__ == "__main__"`. Pixels come through pipes: containers often have little shared memory.
    """

    def __init__(self) -> None:
        self._free: deque[_Process] = deque()
        self._processes: list[_Process] = []
        self._lock = threading.Lock()
        self._keeper: threading.Thread | None = None
        self._stop = threading.Event()
        self._unusable = False
        self._seconds = self._latest = 0.0

    def decode(
        self, request: Request | None, names: Sequence[str], here: Callable[[str], np.ndarray], *, count: int
    ) -> list[np.ndarray]:
        """The pixels of the files `names`: by one of `count` processes, which get `request`, or by `here` in this thread.

        request: None where only this process can decode them.
        """
        pixels = self._by_process(request) if request and count else None
        if pixels is not None:
            return [here(name) if array is None else array for name, array in zip(names, pixels, strict=True)]
        start = time.thread_time()
        decoded = [here(name) for name in names]
        self._seconds += time.thread_time() - start
        if request and count and self._seconds > _AFTER and not self._unusable:
            self._open(count)
        return decoded

    def _by_process(self, request: Request) -> list[np.ndarray | None] | None:
        """What a free process decodes; None if there is none."""
        try:
            process = self._free.popleft()
            pixels = process.decode(request)
        except (IndexError, OSError, ValueError):  # none is free, or it has ended
            return None
        self._latest = time.monotonic()
        self._free.append(process)
        return pixels

    def pids(self) -> list[int]:
        """The processes that there are."""
        return [process.pid for process in self._processes]

    def close(self) -> None:
        """End the processes, also those that hang while they start; later work may start new ones."""
        self._stop.set()
        while (keeper := self._keeper) is not None and keeper.is_alive():
            for process in tuple(self._processes):
                process.kill()
            keeper.join(0.1)

    def after_fork(self) -> None:
        """In a process that was forked: the pipes are those of the one that forked it."""
        for process in self._processes:
            process.close_pipes()
        self.__init__()

    def _open(self, count: int) -> None:
        with self._lock:
            if self._keeper is None:
                self._stop.clear()
                self._keeper = threading.Thread(target=self._keep, args=(count,), daemon=True)
                self._keeper.start()

    def _keep(self, count: int) -> None:
        """Start the processes, wait until they are not needed any more, and end them."""
        processes = self._processes
        try:
            while len(processes) < count and not self._stop.is_set():
                processes.append(_Process())
            ready = [process for process in processes if process.is_ready()]
            self._unusable = not ready and not self._stop.is_set()
            self._free.extend(ready)
            self._latest = time.monotonic()
            while any(process.lives() for process in processes):
                if time.monotonic() > self._latest + _IDLE or self._stop.wait(0.2):
                    break
        except OSError:  # this process may start no others
            self._unusable = True
        finally:
            self._free.clear()
            for process in processes:
                process.end()
            processes.clear()
            self._seconds, self._keeper = 0.0, None


class _Process:
    """A process that decodes, one image at a time."""

    def __init__(self) -> None:
        """Start it; OSError where that is not possible."""
        if not sys.executable or getattr(sys, "frozen", False):
            raise OSError("there is no Python interpreter to start")
        pipe = subprocess.PIPE
        self._popen = subprocess.Popen(
            [sys.executable, "-P", "-m", "probe.data.decoders"],
            bufsize=0,
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
            env=child_environment(),
            start_new_session=True,  # Ctrl-C is the business of the process that started it
        )
        self.pid = self._popen.pid
        self._lock = threading.Lock()  # a pipe is not closed while a thread reads from it
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._requests, self._replies = self._popen.stdin, self._popen.stdout

    def is_ready(self) -> bool:
        """Whether it has started, for which this waits."""
        return self._replies.read(len(_READY)) == _READY

    def lives(self) -> bool:
        return self._popen.poll() is None

    def decode(self, request: Request) -> list[np.ndarray | None]:
        """The pixels of each file, None where it could not decode one. Raises OSError or ValueError if it has ended."""
        content = pickle.dumps(request)
        with self._lock:
            self._requests.write(_LENGTH.pack(len(content)) + content)
            header = bytearray(_SHAPE.size * len(request.names))
            _fill(self._replies, memoryview(header))
            shapes: list[tuple[int, int, int]] = list(_SHAPE.iter_unpack(header))
            sizes = [channels * height * width for channels, height, width in shapes]
            together = np.empty(sum(sizes), dtype=np.uint8)
            _fill(self._replies, together.data)
        parts = np.split(together, list(accumulate(sizes))[:-1])
        return [part.reshape(shape) if part.size else None for part, shape in zip(parts, shapes, strict=True)]

    def kill(self) -> None:
        """Stop it at once: whoever reads from it reaches the end of the pipe."""
        self._popen.kill()

    def end(self) -> None:
        """Stop it and close its pipes: a thread that waits for it decodes the image itself."""
        self.kill()
        self._popen.wait()
        with self._lock:
            self.close_pipes()

    def close_pipes(self) -> None:
        for pipe in (self._requests, self._replies):
            with suppress(OSError):
                pipe.close()


DECODERS = Decoders()
atexit.register(DECODERS.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=DECODERS.after_fork)


def main() -> None:
    """Decode what the standard input asks for until it is closed, as it is when the process at its other end is gone."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no reply
    warnings.simplefilter("ignore")
    with suppress(OSError):
        _send(sink, _READY)
        while len(header := source.read(_LENGTH.size)) == _LENGTH.size:
            content = source.read(*_LENGTH.unpack(header))
            decoded = pickle.loads(content).pixels()
            shapes = [(0, 0, 0) if array is None else array.shape for array in decoded]
            _send(sink, *(_SHAPE.pack(*shape) for shape in shapes), *(a for a in decoded if a is not None))


def _send(sink: IO[bytes], *parts: Any) -> None:
    for part in parts:
        sink.write(part)
    sink.flush()


def _fill(pipe: Any, target: memoryview) -> None:
    """Read until `target` is full; EOFError, an OSError, if the pipe ends before."""
    while target:
        size = pipe.readinto(target)
        if not size:
            raise BrokenPipeError
        target = target[size:]


def child_environment() -> dict[str, str]:
    """The environment of a Python process that imports what this one does and computes with one thread."""
    paths = [str(Path(probe.__file__).resolve().parent.parent), *map(os.path.abspath, sys.path)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _identity(archive: Archive) -> FileIdentity | None:
    """What tells the file of an open zip from one that replaces it; None for a zip in memory."""
    file: Any = archive.opened and archive.opened.fp
    try:
        status = os.fstat(file.fileno())
    except (AttributeError, OSError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=4)
def _archive(path: str, zipped: FileIdentity | None, inside: str) -> Archive:
    """The archive, opened once. Raises UserError where it cannot be read, or is another one than `zipped` by now."""
    archive = reopen(Path(path), (), zipped is not None, inside)
    if _identity(archive) != zipped:
        raise UserError(f"{path} has been replaced by another file")
    return archive


if __name__ == "__main__":
    main()
