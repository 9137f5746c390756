"""A worker in the process of a test."""

import queue
import threading
from collections.abc import Sequence
from typing import Any

from probe.runs.messages import Stop, pack, unpack
from probe.runs.worker import hello, serve


class ThreadWorker:
    """A worker as a thread of this process, so that what a test sets here holds there; counts its chunks."""

    def __init__(self, node: str = "") -> None:
        """node: the name of its machine, where that is another one."""
        self.node = node
        self.inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.outbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.replies = 0

    def start(self) -> int:
        self.outbox.put(pack(hello()))
        threading.Thread(
            target=serve, args=(self.inbox.get, self.outbox.put), kwargs={"node": self.node}, daemon=True
        ).start()
        return 1

    def share(self, message: Any) -> bytes:
        return pack(message)

    def send(self, worker: int, shared: Sequence[bytes]) -> None:
        for content in shared:
            self.inbox.put(content)

    def wait(self, seconds: float) -> Sequence[tuple[int, Any]]:
        self.replies += 1
        return [(1, unpack(self.outbox.get(timeout=60)))]

    def kill(self) -> None:
        self.inbox.put(pack(Stop()))
