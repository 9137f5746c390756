"""Records of a training: downsampled losses, and files that are read as they were written."""

import pytest

from probe.errors import UserError
from probe.training.history import Epoch, History, downsample, read_history, write_history


def test_downsampled_losses_keep_their_mean_and_their_last_step():
    losses = [float(value) for value in range(2500)]
    steps = downsample(losses, max_points=1000)
    assert (steps.every, steps.step[-1], len(steps.loss)) == (3, 2500, 834)
    weights = [b - a for a, b in zip([0, *steps.step], steps.step, strict=False)]
    mean = sum(w * value for w, value in zip(weights, steps.loss, strict=True)) / 2500
    assert mean == pytest.approx(sum(losses) / 2500, abs=1e-4)


def test_a_history_is_read_as_it_was_written(tmp_path):
    epoch = Epoch(
        epoch=1,
        steps=2,
        loss=0.5,
        accuracy=0.25,
        test_loss=1,
        test_accuracy=0.5,
        lr=0.1,
        seconds=2,
        images_per_second=9,
    )
    history = History(epochs=[epoch], steps=downsample([0.25, 0.75]))
    write_history(history, tmp_path)
    assert read_history(tmp_path) == history
    assert (tmp_path / "history.csv").read_text().splitlines()[1].startswith("1,2,0.5,0.25")
    (tmp_path / "history.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        read_history(tmp_path)
