"""Does `tuning` find clear peaks where they are, none in random networks, and say what it cannot?"""

import numpy as np
import pytest
import torch
from torch import nn

from probe.analyses.units.tuning_curves import TuningCurves
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Chart, Table
from probe.model.loading import load
from probe.runs.job import RunJob
from tests.conftest import model_of


def quick(**more: int) -> TuningCurves:
    return TuningCurves(orientations=12, frequencies=5, **more)


def grey_images(side: int = 28, channels: int = 1) -> Images:
    return Images.from_tensor(torch.rand(4, channels, side, side, generator=torch.Generator().manual_seed(0)))


def test_a_trained_network_has_clear_peaks() -> None:
    model = load("lenet5-mnist", device="cpu")
    images = grey_images().preprocessed(model.shape, model.card.input.preprocess)
    result = quick().run(model, images, RunJob(0))
    assert result.numbers["tuned channels"].value >= 0.5
    first = result.exhibits[0]
    assert isinstance(first, Chart)
    assert first.lines[-1].dashed, "Sobel's operator beside the channels"
    assert all(float(np.max(line.y)) == pytest.approx(1) for line in first.lines)


def test_a_random_network_has_none_beyond_chance() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = nn.Sequential(nn.Conv2d(3, 24, 7, 2), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 81, 4))
    result = quick().run(model_of(network, (3, 23, 23), 4), grey_images(23, 3), RunJob(1))
    tuned = result.numbers["tuned channels"]
    assert tuned.value * 24 <= 4  # 1.2 expected; more than 4 once in 150 seeds
    assert tuned.low is not None
    assert tuned.low < 0.05
    assert result.numbers["median Gabor error"].value > 0.5
    table = result.exhibits[-1]
    assert isinstance(table, Table)
    assert len(table.rows) == 24


def test_small_kernels_and_channels_without_an_answer_are_said() -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(300, 2))
    with torch.no_grad():
        network.get_parameter("0.weight")[1] = 0
    result = quick().run(model_of(network, (1, 12, 12), 2), grey_images(12), RunJob(0))
    assert any("3 x 3 pixels are too small" in w for w in result.warnings)
    assert any("1 channel of 0 answers to no grating" in w for w in result.warnings)


def test_a_network_without_a_first_convolution_is_refused_in_one_line() -> None:
    dense = model_of(nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 2)), (1, 8, 8), 2)
    with pytest.raises(UserError, match="tuning needs a convolution, and net has none"):
        quick().run(dense, grey_images(8), RunJob(0))


def test_a_network_of_which_no_channel_is_tuned_shows_no_preferred_orientations() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 5), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2))
    with torch.no_grad():
        network.get_parameter("0.weight").zero_()[:, :, 2, 2] = 1  # a single pixel has no orientation
    result = quick().run(model_of(network, (1, 12, 12), 2), grey_images(12).take(1), RunJob(0))
    assert result.numbers["tuned channels"].value == 0
    assert "Preferred orientations" not in [e.title for e in result.exhibits]
    assert "1 images" not in " ".join(e.caption for e in result.exhibits)
