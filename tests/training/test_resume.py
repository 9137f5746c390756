"""A training that is stopped is resumed by the same command to the same bytes, and no other one continues it."""

import os
import signal
import subprocess
import sys
from functools import partial

import pytest

from probe.errors import UserError
from probe.training.request import TrainingRequest
from probe.training.resume import TRAINING_CHECKPOINT
from probe.training.train import run_training
from probe.training.trainer import Trainer
from tests.training.quick import QUICK, train, untimed_epochs


@pytest.fixture
def interrupt_after(monkeypatch):
    """A training that is interrupted in the middle of an epoch."""

    def interrupt(after: int):
        steps = 0
        real = Trainer._logits

        def logits(self, network, pixels):
            nonlocal steps
            steps += network.training
            if steps > after:
                raise KeyboardInterrupt
            return real(self, network, pixels)

        monkeypatch.setattr(Trainer, "_logits", logits)

    yield interrupt
    monkeypatch.undo()


@pytest.mark.parametrize("steps", [4, 15, 30])
def test_an_interrupted_training_is_resumed_to_the_same_bytes(
    tmp_path, finished, interrupt_after, monkeypatch, steps
):
    out = tmp_path / "whole"
    interrupt_after(steps)
    with pytest.raises(
        KeyboardInterrupt, match=rf"stopped in epoch {steps // 11 + 1} of 3: the same command resumes"
    ):
        train(out)
    monkeypatch.undo()
    train(out)
    assert (out / "weights.safetensors").read_bytes() == (finished[0] / "weights.safetensors").read_bytes()
    assert untimed_epochs(out) == untimed_epochs(finished[0])
    assert not (out / TRAINING_CHECKPOINT).exists()


def test_a_finished_folder_is_left_as_it_is(finished, capsys):
    out, card, _ = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    config = QUICK.model_copy(update={"save_epochs": True})
    again = run_training(TrainingRequest("lenet5", "digits", out, config), device="cpu")
    assert again == card
    assert "already holds the finished result of this command" in capsys.readouterr().err
    with pytest.raises(UserError, match="already holds whole: choose another --out"):
        train(out, QUICK.model_copy(update={"seed": 1}))
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arch": "lenet5-relu"}, "architecture 'lenet5', not 'lenet5-relu'"),
        ({"config": QUICK.model_copy(update={"seed": 7})}, "seed 0, not 7"),
        ({"config": QUICK.model_copy(update={"lr": 0.1})}, "lr 0.05, not 0.1"),
    ],
)
def test_another_training_is_not_resumed(tmp_path, interrupt_after, monkeypatch, change, words):
    interrupt_after(12)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "out")
    monkeypatch.undo()
    before = (tmp_path / "out" / TRAINING_CHECKPOINT).read_bytes()
    with pytest.raises(UserError, match=f"unfinished training with {words}: resume it with the same"):
        train(tmp_path / "out", **change)
    assert (tmp_path / "out" / TRAINING_CHECKPOINT).read_bytes() == before


COMMAND = [sys.executable, "-m", "probe", "train", "lenet5", "--epochs", "12", "--device", "cpu", "--out"]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory):
    """The folder of the whole training."""
    whole = tmp_path_factory.mktemp("whole") / "net"
    subprocess.run([*COMMAND, str(whole)], env=ONE_THREAD, check=True, capture_output=True)
    return whole


@pytest.mark.slow
@pytest.mark.parametrize("signal_sent", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_process_is_resumed_by_the_same_command_to_the_same_bytes(
    tmp_path, never_stopped, signal_sent
):
    out = tmp_path / "net"
    first = subprocess.Popen(
        [*COMMAND, str(out)],
        env=ONE_THREAD,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a background job ignores SIGINT
    )
    assert first.stderr is not None
    while not first.stderr.readline().startswith("epoch 2/12"):
        assert first.poll() is None
    first.send_signal(signal_sent)
    last = first.communicate()[1].splitlines()[-1:]
    assert not (out / "card.toml").exists()
    assert first.returncode == (130 if signal_sent == signal.SIGINT else -signal.SIGKILL)
    if signal_sent == signal.SIGINT:
        assert "the same command resumes after epoch" in last[0]
    done = subprocess.run([*COMMAND, str(out)], env=ONE_THREAD, check=True, capture_output=True, text=True)
    assert "resuming the unfinished training" in done.stderr
    assert (out / "weights.safetensors").read_bytes() == (never_stopped / "weights.safetensors").read_bytes()
    assert untimed_epochs(out) == untimed_epochs(never_stopped)
