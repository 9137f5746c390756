"""Progress of a training on a terminal and in a pipe."""

import io

import pytest
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from probe.errors import UserError
from probe.training.history import Epoch, StepReport
from probe.training.progress import BarDisplay, open_display
from probe.training.request import TrainingRequest
from probe.training.train import run_training

EPOCH = Epoch(
    epoch=2,
    steps=20,
    loss=0.5,
    accuracy=0.8,
    test_loss=0.4,
    test_accuracy=0.85,
    lr=0.1,
    seconds=3,
    images_per_second=1234.5,
)
LINE = "epoch 2/5: loss 0.5000, accuracy 80.00%, test loss 0.4000, test accuracy 85.00%, 1,234 images/s"


def test_in_a_pipe_an_epoch_is_one_line_and_steps_print_nothing(capsys):
    with open_display(5) as display:
        display.step(StepReport(2, 5, 10, 0.5, 0.8, 1000))
        display.epoch(EPOCH)
    out, err = capsys.readouterr()
    assert (out, err) == ("", LINE + "\n")


def test_on_a_terminal_a_bar_shows_loss_accuracy_and_speed():
    written = io.StringIO()
    screen = Console(file=written, force_terminal=True, width=120)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[metrics]}"))
    with Progress(*columns, console=screen, auto_refresh=False) as progress:
        bar = BarDisplay(progress, 5, done=1)
        bar.step(StepReport(2, 5, 10, 0.5, 0.8, 1000))
        assert progress.tasks[0].completed == pytest.approx(1.5)
        progress.refresh()
        bar.epoch(EPOCH)
    text = written.getvalue()
    assert "epoch 2 of 5" in text
    assert "loss 0.500  accuracy 80.0%  1,000 images/s" in text
    assert LINE in text


def test_a_folder_that_cannot_be_written_is_an_error_before_anything_is_trained(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="cannot be written"):
        run_training(TrainingRequest("lenet5", "digits", tmp_path / "file" / "out"), device="cpu", quiet=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty and contains no training"):
        run_training(TrainingRequest("lenet5", "digits", tmp_path / "full"), device="cpu", quiet=True)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["notes.txt"]
