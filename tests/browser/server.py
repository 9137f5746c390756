"""A dashboard to open in a browser."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Server:
    """A running dashboard. process: that of Streamlit's server."""

    address: str
    process: int

    @property
    def megabytes(self) -> float:
        """Resident memory of the server."""
        pages = int(Path(f"/proc/{self.process}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def serve(out: Path, *flags: str) -> Iterator[Server]:
    """`probe dashboard` as a user starts it: with a browser to open (here none), and nobody to answer a prompt."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "probe", "dashboard", "--port", str(port), "--out", str(out), *flags]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    environment = os.environ | {"BROWSER": "true"}
    with subprocess.Popen(command, text=True, env=environment, **pipes) as started:
        url = f"http://127.0.0.1:{port}"
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=5).close()
                break
            except OSError:
                assert started.poll() is None, started.stderr.read() if started.stderr else ""
                time.sleep(0.5)
        children = subprocess.run(
            ["pgrep", "-P", str(started.pid)], capture_output=True, text=True, check=True
        )
        process = int(children.stdout.split()[0])
        try:
            yield Server(url, process)
        finally:
            subprocess.run(["pkill", "-P", str(started.pid)], check=False)
            started.terminate()
