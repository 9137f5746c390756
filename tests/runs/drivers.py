"""Runs of `Chunky`, here and by scripts that tests stop, and the files of their results."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from probe.runs.execute import run_or_load
from probe.runs.inputs import Inputs
from probe.runs.pool import Pool
from probe.runs.store import RunDirectory
from probe.runs.threads import single_thread
from tests.runs.chunky import Chunky


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def stored(analysis: Chunky, inputs: Inputs, path: Path, pool: Pool | None = None) -> dict[str, bytes]:
    """The files of the result of `analysis`, but for its key, which depends on its parameters."""
    with single_thread():
        run_or_load(analysis, inputs, RunDirectory(path), folder="chunky", pool=pool)
    files = contents(path / "chunky")
    del files["key.json"]
    return files


SCRIPT = """
import sys
from pathlib import Path
import probe
from tests.runs.chunky import Chunky
from tests.runs.thread_worker import ThreadWorker
from probe.reporting.recipes import Recipe
from probe.runs.engine import Engine
import probe.interrupts as interrupts
engine, count, seconds, out = sys.argv[1:]
interrupts.install()
recipe = Recipe("chunky", (Chunky(count=int(count), seconds=float(seconds)),))
workers = Engine(name="local", workers=1) if engine == "plain" else Engine(name=engine, workers=2)
with interrupts.raised():
    try:
        print(probe.report(probe.load("lenet5-digits", device="cpu"), probe.images("digits:test", n=8), recipe,
            out=out, workers=workers).page, flush=True)
    except KeyboardInterrupt as stop:
        sys.exit(interrupts.exit_code(stop))
"""


def begin_script(
    engine: str, out: Path, count: int = 6, seconds: float = 0.5, stderr: int | None = None
) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, engine, str(count), str(seconds), str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)


def finish_script(engine: str, out: Path, **options: Any) -> dict[str, bytes]:
    """The files of the result of a script that runs to its end."""
    process = begin_script(engine, out, **options)
    page, _ = process.communicate(timeout=200)
    assert process.returncode == 0
    files = contents(Path(page.strip()).parent / "chunky")
    del files["key.json"]  # depends on the time that a chunk takes
    return files


def wait_for_chunks(out: Path, count: int = 2) -> list[Path]:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if len(found := sorted(out.glob("*/.chunks-chunky/*.npz"))) >= count:
            return found
        time.sleep(0.02)
    raise AssertionError("no chunks were stored")


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in children]
