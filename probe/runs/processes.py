"""Workers as processes of this machine, which talk through their standard input and output."""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch

from probe.data.decoders import child_environment
from probe.device import usable_cores
from probe.runs.messages import Lost, Reply, pack, read_message, unpack, write_message

_MOST_DECODERS = 16  # of a worker


class ProcessWorkers:
    """One process for each worker, with one thread. Where models compute on CUDA, the devices take turns.

    The processes are started afresh (no fork), so that a program needs no `if __name__ == "__main__"`, in a session of
    their own, so that Ctrl-C reaches the driver alone; a driver that is killed takes them along.
    """

    def __init__(self, workers: int, *, cuda: bool) -> None:
        """workers: how many there will be, which share the cores."""
        self._workers, self._cuda = workers, cuda
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._replies: queue.SimpleQueue[tuple[int, bytes | None]] = queue.SimpleQueue()
        self._count = 0

    def start(self) -> int:
        self._count += 1
        process = subprocess.Popen(
            [sys.executable, "-m", "probe.runs.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment(),
            start_new_session=True,
        )
        self._processes[self._count] = process
        threading.Thread(target=self._read, args=(self._count, process), daemon=True).start()
        return self._count

    def share(self, message: Any) -> bytes:
        return pack(message)

    def send(self, worker: int, shared: Sequence[bytes]) -> None:
        sink = self._processes[worker].stdin
        assert sink is not None
        with suppress(OSError):  # it has ended: the thread that reads its replies reports that
            for content in shared:
                write_message(sink, content)

    def wait(self, seconds: float) -> Sequence[tuple[int, Reply]]:
        try:
            worker, content = self._replies.get(timeout=seconds)
        except queue.Empty:
            return []
        if content is not None:
            return [(worker, unpack(content))]
        if (process := self._processes.pop(worker, None)) is None:
            return []  # it was killed from here
        return [(worker, Lost(_reason(process)))]

    def kill(self) -> None:
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
            with suppress(OSError):
                process.stdin.close()  # pyrefly: ignore[missing-attribute]
        self._processes.clear()

    def _read(self, worker: int, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout:
            while (content := read_message(process.stdout)) is not None:
                self._replies.put((worker, content))
        self._replies.put((worker, None))

    def _environment(self) -> dict[str, str]:
        environment, decoders = child_environment(), 0  # a worker on a core decodes its own images
        if self._cuda:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
            devices = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
            environment["CUDA_VISIBLE_DEVICES"] = devices[self._count % len(devices)]
            decoders = min(_MOST_DECODERS, usable_cores() // self._workers)
        environment.setdefault("PROBE_DECODERS", str(decoders))
        return environment


def _reason(process: subprocess.Popen[bytes]) -> str:
    """Why a process has ended."""
    with suppress(OSError):
        process.stdin.close()  # pyrefly: ignore[missing-attribute]
    code = process.wait()
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
