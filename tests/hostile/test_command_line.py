"""Odd arguments, names that would steer the terminal, and signals at any moment: one line and the right exit code."""

import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import probe
from probe.cli import main
from probe.data.sources import MOST_SHAPES
from probe.errors import UserError
from probe.model.checkpoints import read_state
from probe.training.progress import LineDisplay

HOME = Path(probe.__file__).parents[1]
ESCAPE = "\x1b[31m\x1b]0;title\x07"
FORGED = f"{ESCAPE}\nreport: /etc/passwd\r\u202e\x9b2J"


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "probe", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=os.environ | {"PYTHONPATH": str(HOME)} | environment,
        # A shell starts what it puts into the background with SIGINT ignored, and children inherit that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["fgsm", "--model", "a" * 300],
        ["fgsm", "--model", "b/" * 3000],
        ["fgsm", "--model", "~nouser/model"],
        ["fgsm", "--model", FORGED],
        [FORGED],
        ["fgsm", "--data", "folder:" + "a" * 300],
        ["fgsm", "--data", "folder:~nouser/x"],
        ["fgsm", "--data", FORGED],
        ["fgsm", "--out", "a" * 300],
        ["fgsm", "--out", "~nouser/x"],
        ["fgsm", "--seed", str(2**64)],
        ["fgsm", "--seed", "9" * 5000],
        ["fgsm", "--eps", "1" * 400 + "/" + "9" * 399],
        ["fgsm", "--eps", "1" * 5000 + "/3"],
        ["fgsm", "--eps", FORGED],
        ["fgsm", "--n", str(MOST_SHAPES + 1)],
        ["fgsm", "--n", "9" * 400],
        ["fgsm", "--data-root", "~nouser", "--data", "mnist"],
        ["fgsm", "--labels", "a" * 300, "--data", "folder:probe"],
        ["report", "--recipe", "a" * 300],
        ["report", "--recipe", "~nouser/r.toml"],
        ["adopt", "a" * 300, "--arch", "zoo:lenet5", "--out", "new"],
        ["adopt", "x.pth", "--arch", "zoo:lenet5", "--out", "a" * 300],
        ["adopt", "x.pth", "--arch", FORGED, "--out", "new"],
        ["train", "lenet5", "--out", "a" * 300],
        ["train", "lenet5", "--out", "~nouser/x"],
        ["train", "lenet5", "--data", "folder:~nouser", "--out", "new"],
        ["train", "lenet5", "--seed", str(2**64), "--out", "new"],
        ["train", FORGED, "--out", "new"],
        ["layers", FORGED],
    ],
)
def test_an_odd_argument_is_one_line_before_the_work(
    arguments: list[str], capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.endswith("\n")
    assert err[:-1].isprintable(), "a newline, an escape or another control character"
    assert len(err) < 1500
    assert not list(tmp_path.iterdir())


def test_names_in_a_checkpoint_cannot_steer_the_terminal(tmp_path: Path) -> None:
    save_file({FORGED: torch.zeros(3)}, tmp_path / "net.safetensors")
    arguments = ["adopt", str(tmp_path / "net.safetensors"), "--arch", "zoo:lenet5", "--out"]
    done = start(*arguments, str(tmp_path / "out"))
    out, err = done.communicate(timeout=120)
    assert done.returncode == 2
    assert (out + err).strip().isprintable()
    assert "\\x1b[31m" in err
    assert set(read_state(tmp_path / "net.safetensors")) == {FORGED}


def test_an_error_and_a_line_of_progress_hold_no_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert str(UserError(FORGED)).isprintable()
    LineDisplay(1).message(FORGED)
    assert capsys.readouterr().err.strip().isprintable()


def test_a_name_that_the_terminal_cannot_encode_is_escaped_in_the_end(tmp_path: Path) -> None:
    out = tmp_path / "é中"
    done = start("filters", "--model", "lenet5-digits", "--out", str(out), PYTHONIOENCODING="ascii")
    printed, err = done.communicate(timeout=120)
    assert done.returncode == 0, err
    assert "\\xe9\\u4e2d" in printed
    assert len(list(out.glob("*/report.html"))) == 1


def receives_signals(process: subprocess.Popen[str]) -> bool:
    """Whether the process has installed its handlers, or ended."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return True
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "arguments",
    [("robustness", "--n", "64"), ("train", "lenet5", "--epochs", "200"), ("layers", "vgg-shapes")],
)
def test_a_signal_at_any_moment_is_one_line(
    number: signal.Signals, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    rng = random.Random(f"{number} {arguments}")
    for delay in (0.0, rng.uniform(0, 0.3), rng.uniform(0, 1), rng.uniform(1, 4)):
        out = () if arguments[0] == "layers" else ("--out", str(tmp_path / f"{delay}"))
        process = start(*arguments, *out, OMP_NUM_THREADS="1")
        while not receives_signals(process):
            time.sleep(0.001)
        time.sleep(delay)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        if process.returncode == 0:  # it had finished before
            continue
        assert process.returncode == 128 + number, (delay, err)
        assert "Traceback" not in err
        stopped = [line for line in err.splitlines() if line.startswith("probe: ")]
        assert len(stopped) == 1, (delay, err)


def test_a_second_signal_ends_at_once_without_a_traceback(tmp_path: Path) -> None:
    process = start("train", "lenet5", "--epochs", "200", "--out", str(tmp_path / "out"))
    while not receives_signals(process):
        time.sleep(0.001)
    time.sleep(1.5)
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        time.sleep(0.002)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
