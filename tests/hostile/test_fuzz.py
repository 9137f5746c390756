"""A sample of the inputs of `make hostile`: none executes, hangs, is lost or ends in a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import probe

HOME = Path(probe.__file__).parents[1]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs fork and /proc")
def test_hostile_inputs_are_refused_or_accepted_in_order(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("fuzz.py")), "--count", "300", "--workers", "2"]
    environment = os.environ | {"PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--results", str(tmp_path)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all               300" in done.stdout


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs fork and /proc")
def test_the_fuzzer_sees_what_it_looks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that execute, hang, take memory, print a traceback or leave files behind are told apart."""
    script = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import fuzz
import probe.cli
base = Path({str(tmp_path)!r})
fuzz.SECONDS = 1
fuzzer = fuzz.Fuzzer(base)

def verdict(name):
    folder = base / name
    folder.mkdir()
    def main(command):
        if name == "executed":
            (folder / "canary").touch()
        if name == "hang":
            while True:
                pass
        if name == "memory":
            bytearray(3 * 2**30)
        if name == "left":
            (folder / "out").mkdir()
            (folder / "out" / "weights.part").touch()
        print("a line" if name != "lines" else "two\\nlines", file=sys.stderr)
        return 1 if name == "internal" else 2
    probe.cli.main = main
    return fuzzer._judged("card", folder, *fuzzer._execute([], folder / "canary"))[0]

print([verdict(name) for name in ("executed", "hang", "memory", "left", "lines", "internal", "refused")])
"""
    environment = os.environ | {"PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    expected = ["executed", "hang", "traceback", "left", "traceback", "traceback", "refused"]
    assert done.stdout.strip() == str(expected), done.stdout + done.stderr
