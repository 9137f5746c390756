"""Start the dashboard: a server of Streamlit that listens on this machine alone unless told otherwise."""

import os
import subprocess
import sys
from pathlib import Path

from pydantic import Field

from probe.cli.options import MODEL_HELP
from probe.errors import UserError
from probe.interrupts import restated
from probe.params import Names, Parameters, UserPath
from probe.paths import APPS
from probe.terminal import print_line

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
UPLOAD_LIMIT = 500  # MB, of checkpoints; pages take pictures of 20 MB at most
# Each page runs in a thread of its own, for which the allocator of glibc keeps memory: 600 MB after 50 pages.
_MEMORY = {"MALLOC_ARENA_MAX": "2", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_MMAP_THRESHOLD_": "1048576"}


class DashboardOptions(Parameters):
    """What the dashboard offers, and where it listens."""

    models: Names = Field((), description=f"further models to choose from: {MODEL_HELP}")
    data: Names = Field((), description="further images to choose from, such as folder:PATH")
    out: UserPath = Field(Path("runs"), description="folder in which runs are written and found")
    address: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 lets other machines in")
    port: int = Field(8501, ge=1, le=65535, description="port to listen on")
    open: bool = Field(True, description="open a browser")


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
        "browser.gatherUsageStats": False,
        "logger.hideWelcomeMessage": True,
        "client.showErrorDetails": "none",
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
    return [sys.executable, "-m", "streamlit", "run", str(APPS / "dashboard.py"), *flags]


def server_environment(options: DashboardOptions) -> dict[str, str]:
    """The environment of the server: what it offers beside what is installed."""
    return {
        **_MEMORY,
        **os.environ,
        "PROBE_DASHBOARD_MODELS": "\n".join(options.models),
        "PROBE_DASHBOARD_DATA": "\n".join(options.data),
        "PROBE_DASHBOARD_OUT": str(options.out),
    }


def run_dashboard(options: DashboardOptions) -> int:
    """Run the server until it is stopped; returns its exit code.

    Raises UserError, before the server starts, for models and images that cannot be opened.
    """
    from probe.data.sources import open_images
    from probe.model.loading import load

    for spec in options.models:
        load(spec)
    for spec in options.data:
        open_images(spec, n=1)
    if not (APPS / "dashboard.py").is_file():
        raise UserError(f"{APPS / 'dashboard.py'} is missing: probe is not installed completely")
    if options.address not in _LOOPBACK:
        print_line(
            f"warning: the dashboard listens on {options.address}: everyone who reaches this machine can use it",
            sys.stderr,
        )
    print_line(f"dashboard: http://{options.address}:{options.port} (Ctrl-C stops it)")
    sys.stdout.flush()
    try:
        return subprocess.run(
            server_command(options), env=server_environment(options), check=False
        ).returncode
    except KeyboardInterrupt as stop:
        raise restated(stop, "the dashboard has stopped") from None
