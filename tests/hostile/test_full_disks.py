"""Disks that fill at any moment of a command: one line with the file, nothing half-written, and the run continues."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

import probe
from probe.runs import provenance
from tests.hostile.test_command_line import receives_signals, start

HOME = Path(probe.__file__).parents[1]
LIMITED = """
import resource, signal, sys
import joblib, sklearn.datasets  # what they write when they are imported is not probe's
from probe.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
sys.exit(main(sys.argv[2:]))
"""
DIGITS = ["--model", "lenet5-digits", "--data", "digits:test", "--n", "20"]
SMALL = ["--model", "lenet5-digits", "--size", "48", "--steps", "1"]
COMMANDS = {
    "dream": ["dream", *SMALL, "--image", "china.jpg", "--octaves", "1", "--save", "OUT/picture.png"],
    "style": [
        "style",
        *SMALL,
        "--content",
        "china.jpg",
        "--style",
        "flower.jpg",
        "--save",
        "OUT/picture.png",
    ],
    "surface": ["surface", *DIGITS, "--x=-1:1:3", "--y=-1:1:3"],
    "classify": ["classify", *DIGITS, "--pdf"],
}
LONG = {
    "dream": ["dream", "--model", "vgg-shapes", "--image", "china.jpg", "--size", "400", "--steps", "500"],
    "style": ["style", "--model", "vgg-shapes", "--content", "china.jpg", "--style", "flower.jpg", "--steps", "900"],
    "surface": ["surface", "--model", "lenet5-digits", "--data", "digits:test", "--x=-1:1:301", "--mode", "exact"],
}  # fmt: skip


def limited(name: str, out: Path, size: int) -> subprocess.CompletedProcess[str]:
    """The command `name` where no file may have more than `size` bytes."""
    command = [word.replace("OUT", str(out)) for word in COMMANDS[name]]
    return subprocess.run(
        [sys.executable, "-c", LIMITED, str(size), *command, "--out", str(out / "runs"), "--device", "cpu"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(HOME), "PROBE_CACHE": str(out / "cache")},
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_disk_that_fills_is_one_line_and_leaves_no_file_cut_off(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for size in (200, 3_000, 30_000)[name in ("dream", "style") :]:
        done = limited(name, out, size)
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith(f"probe: {out}"), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        files = [path for path in out.rglob("*") if path.is_file()]
        assert not [path for path in files if path.name.startswith(".part")]
        assert all(path.stat().st_size for path in files)
    again = limited(name, out, 10**8)
    assert again.returncode == 0, again.stderr
    assert len(list(out.glob("runs/*/report.html"))) == 1


def test_a_picture_that_cannot_be_written_whole_leaves_the_earlier_one(tmp_path: Path) -> None:
    tmp_path.joinpath("picture.png").write_bytes(b"the earlier one")
    done = limited("dream", tmp_path, 200)
    assert done.returncode == 2
    assert done.stderr == f"probe: {tmp_path}/picture.png cannot be written: File too large\n"
    assert (tmp_path / "picture.png").read_bytes() == b"the earlier one"


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_once_or_twice_is_one_line_and_leaves_nothing_cut_off(
    name: str, times: int, tmp_path: Path
) -> None:
    process = start(*LONG[name], "--device", "cpu", "--out", str(tmp_path / "runs"), OMP_NUM_THREADS="1")
    while not receives_signals(process):
        time.sleep(0.001)
    time.sleep(6)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    _, err = process.communicate(timeout=60)
    # Where Python has ended already, the second signal is its own: a shell reports 130 for both.
    assert process.returncode in (130, -signal.SIGINT)[:times], err
    assert "Traceback" not in err
    assert len([line for line in err.splitlines() if line.startswith("probe: ")]) == 1, err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert times == 2 or not [path for path in files if path.name.startswith(".part")]


def test_the_checkout_that_probe_runs_from_is_not_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `git status` that writes the index, and is killed meanwhile, leaves a lock that stops the user's git."""
    package = tmp_path / "probe"
    package.mkdir()
    (package / "a.py").write_text("")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@t"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "a"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    monkeypatch.setattr(provenance, "_PACKAGE", package)
    index = tmp_path / ".git" / "index"
    os.utime(package / "a.py", (1, 1))  # a status with locks would refresh the index
    before = index.stat().st_mtime_ns
    assert provenance.commit.__wrapped__()
    assert index.stat().st_mtime_ns == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_printed_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "probe", "list", "analyses"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(HOME)},
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
    assert done.returncode == 2
    assert "no space left" in done.stderr
    assert done.stderr.count("\n") == 1
