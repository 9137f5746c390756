"""Engines whose driver is stopped, or that finds another one at work: no worker outlives them, and no byte is lost."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.processes import alive
from tests.runs.drivers import begin_script, contents, finish_script, wait_for_chunks, workers_of


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks up processes in /proc")
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_driver_that_is_stopped_takes_its_workers_along_and_continues(
    stop: signal.Signals, plain_script: dict[str, bytes], tmp_path: Path
) -> None:
    with begin_script("processes", tmp_path / "out") as process:
        kept = {path: path.read_bytes() for path in wait_for_chunks(tmp_path / "out")}
        workers = workers_of(process)
        assert len(workers) == 2
        started = time.monotonic()
        os.kill(process.pid, stop)
        while any(map(alive, workers)):
            assert time.monotonic() - started < 1, "workers outlive their driver by more than a second"
            time.sleep(0.01)
        process.communicate(timeout=60)
    assert process.returncode == (-stop if stop is signal.SIGKILL else 128 + stop)
    assert all(path.read_bytes() == content for path, content in kept.items())
    again = finish_script("processes", tmp_path / "out")
    assert again == plain_script


@pytest.mark.slow
def test_a_second_driver_on_the_same_run_folder_is_refused_and_costs_the_first_no_byte(
    plain_script: dict[str, bytes], tmp_path: Path
) -> None:
    with begin_script("processes", tmp_path / "out", seconds=1) as first:
        wait_for_chunks(tmp_path / "out")
        second = begin_script("processes", tmp_path / "out", seconds=1, stderr=subprocess.PIPE)
        _, message = second.communicate(timeout=60)
        assert second.returncode == 1
        assert "UserError: another process is writing to" in message
        page, _ = first.communicate(timeout=60)
    files = contents(Path(page.strip()).parent / "chunky")
    del files["key.json"]
    assert files == plain_script
