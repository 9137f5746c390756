"""Start the dashboard: a server of Streamlit that listens on this machine alone unless told otherwise."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from pydantic import Field

from probe.cli.options import MODEL_HELP
from probe.errors import UserError
from probe.interrupts import restated
from probe.params import Names, Parameters, UserPath
from probe.paths import APPS
from probe.terminal import print_line

_GRACE = 2.0  # seconds in which the server may stop by itself
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
UPLOAD_LIMIT = 500  # MB, of checkpoints; pages take pictures of 20 MB at most
# Each page runs in a thread of its own, for which the allocator of glibc keeps memory: 600 MB after 50 pages. oneDNN
# keeps code for the last 1,024 shapes of layers and batches, of whichever models.
_MEMORY = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "MALLOC_MMAP_THRESHOLD_": "1048576",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256",
}


class DashboardOptions(Parameters):
    """What the dashboard offers, and where it listens."""

    models: Names = Field((), description=f"further models to choose from: {MODEL_HELP}")
    data: Names = Field((), description="further images to choose from, for example folder:PATH")
    labels: str | None = Field(
        None,
        description="true classes of the images in folders: 'prefix' (file names start with the class number) or a CSV file",
    )
    out: UserPath = Field(
        Path("runs"),
        description="folder of the runs: new runs are written to it, and all runs in it are listed",
    )
    address: str = Field(
        "127.0.0.1", description="address to listen on; 0.0.0.0 accepts connections from other machines"
    )
    port: int = Field(8501, ge=1, le=65535, description="port to listen on")
    open: bool = Field(True, description="open the dashboard in a browser")


def server_command(options: DashboardOptions) -> list[str]:
    """The command line of the server."""
    settings = {
        "server.address": options.address,
        "server.port": options.port,
        "server.headless": not options.open,
        "server.showEmailPrompt": False,
        "server.enableXsrfProtection": True,
        "server.enableCORS": True,
        "server.fileWatcherType": "none",
        "server.maxUploadSize": UPLOAD_LIMIT,
        "server.disconnectedSessionTTL": 30,  # seconds: the address of a page holds its state, so a reload restores it
        "runner.magicEnabled": False,
        "browser.gatherUsageStats": False,
        "logger.hideWelcomeMessage": True,
        "logger.level": "warning",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "client.toolbarMode": "minimal",
        "theme.light.primaryColor": "#0a5a9c",
        "theme.light.textColor": "#101418",  # captions are paler, and must still be read
        # Enough contrast to the white on buttons and, as the text of tabs and sliders, to the ground.
        "theme.dark.primaryColor": "#2c79bf",
        "theme.dark.backgroundColor": "#020304",
        "theme.dark.secondaryBackgroundColor": "#14181d",
    }
    flags = [
        f"--{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in settings.items()
    ]
    if options.address in _LOOPBACK:  # a page of another site cannot reach the server by a name of its own
        flags += [f"--server.allowedHosts={host}" for host in (*_LOOPBACK, "[::1]")]
    return [sys.executable, str(APPS / "serve.py"), *flags]


def server_environment(options: DashboardOptions) -> dict[str, str]:
    """The environment of the server: what it offers beside what is installed."""
    return {
        **_MEMORY,
        **os.environ,
        "PROBE_DASHBOARD_MODELS": "\n".join(options.models),
        "PROBE_DASHBOARD_DATA": "\n".join(options.data),
        "PROBE_DASHBOARD_LABELS": options.labels or "",
        "PROBE_DASHBOARD_OUT": str(options.out),
    }


def run_dashboard(options: DashboardOptions) -> int:
    """Run the server until it is stopped; returns its exit code, 2 for models and images that cannot be opened."""
    if not (APPS / "serve.py").is_file():
        raise UserError(f"{APPS / 'serve.py'} is missing: probe is not installed completely")
    if options.labels and not any(spec.startswith("folder:") for spec in options.data):
        raise UserError("--labels applies to images in a folder: set the folder with --data folder:PATH")
    if options.out.exists() and not options.out.is_dir():
        raise UserError(f"{options.out} is not a folder: --out must be the folder of the runs")
    if options.address not in _LOOPBACK:
        print_line(
            f"warning: the dashboard listens on {options.address}: anyone who can reach this machine can use it",
            sys.stderr,
        )
    _check_port(options)
    server = subprocess.Popen(server_command(options), env=server_environment(options))
    threading.Thread(target=_announce, args=(options, server), daemon=True).start()
    try:
        return server.wait()
    except KeyboardInterrupt as stop:
        raise restated(stop, "the dashboard has stopped") from None
    finally:
        _end(server)


def _check_port(options: DashboardOptions) -> None:
    """Raise UserError where the server could not listen."""
    try:
        family = socket.getaddrinfo(options.address, options.port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as test:
            test.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            test.bind((options.address, options.port))
    except OSError as error:
        raise UserError(
            f"cannot listen on {_host(options.address)}:{options.port} ({error.strerror or error}): "
            f"choose another port, such as --port {options.port % 65535 + 1}"
        ) from None


def _end(server: "subprocess.Popen[bytes]") -> None:
    """End the server, which stops by itself at Ctrl-C but is not told of other signals."""
    for stop in (server.terminate, server.kill):
        try:
            server.wait(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            stop()
    server.wait()


def _announce(options: DashboardOptions, server: "subprocess.Popen[bytes]") -> None:
    """Print the address once the server answers there."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(options.address, options.address)
    while server.poll() is None:
        try:
            socket.create_connection((local, options.port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            print_line(f"dashboard: http://{_host(options.address)}:{options.port} (Ctrl-C stops it)")
            return


def _host(address: str) -> str:
    """An address as it stands in a URL."""
    return f"[{address}]" if ":" in address else address
