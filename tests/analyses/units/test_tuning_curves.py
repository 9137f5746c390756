"""Tests of `tuning-curves`: trained and random networks, what is shown, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from probe.analyses.units import tuning_curves_exhibits as captions
from probe.analyses.units.tuning_curves import TuningCurves
from probe.analyses.units.tuning_curves_exhibits import Counts, orientation_image
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


def test_a_trained_network_has_tuned_channels() -> None:
    model = load("lenet5-mnist", device="cpu")
    images = grey_images().preprocessed(model.shape, model.card.input.preprocess)
    result = quick().run(model, images, RunJob(0))
    assert result.numbers["tuned_channels"].value >= 0.5
    first = result.exhibits[0]
    assert isinstance(first, Chart)
    assert first.lines[-1].dashed, "Sobel's operator beside the channels"
    assert all(float(np.max(line.y)) == pytest.approx(1) for line in first.lines)


def test_a_random_network_has_no_more_than_expected_by_chance() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = nn.Sequential(nn.Conv2d(3, 24, 7, 2), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 81, 4))
    result = quick().run(model_of(network, (3, 23, 23), 4), grey_images(23, 3), RunJob(1))
    tuned = result.numbers["tuned_channels"]
    assert tuned.value * 24 <= 4  # 1.2 expected; more than 4 once in 150 seeds
    assert tuned.low is not None
    assert tuned.low < 0.05
    assert result.numbers["median_gabor_error"].value > 0.5
    table = result.exhibits[-1]
    assert isinstance(table, Table)
    assert len(table.rows) == 24


def test_small_kernels_and_unresponsive_channels_are_reported() -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(300, 2))
    with torch.no_grad():
        network.get_parameter("0.weight")[1] = 0
    result = quick().run(model_of(network, (1, 12, 12), 2), grey_images(12), RunJob(0))
    assert any("3 x 3 pixels are too small" in w for w in result.warnings)
    assert any("Channels of 0 that respond to no grating: 1." in w for w in result.warnings)


def test_a_network_without_a_first_convolution_is_refused_in_one_line() -> None:
    dense = model_of(nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 2)), (1, 8, 8), 2)
    with pytest.raises(UserError, match="tuning-curves needs a convolution with maps, and net has none"):
        quick().run(dense, grey_images(8), RunJob(0))


def test_a_network_of_which_no_channel_is_tuned_shows_no_preferred_orientations() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 5), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2))
    with torch.no_grad():
        network.get_parameter("0.weight").zero_()[:, :, 2, 2] = 1  # a single pixel has no orientation
    result = quick().run(model_of(network, (1, 12, 12), 2), grey_images(12).take(1), RunJob(0))
    assert result.numbers["tuned_channels"].value == 0
    assert "Preferred orientations" not in [e.title for e in result.exhibits]


def test_hues_of_edges_are_red_for_horizontal_and_cyan_for_vertical() -> None:
    image = orientation_image(torch.ones(1, 2), torch.tensor([[0.0, 90.0]]))
    np.testing.assert_allclose(image[0], [[1, 0, 0], [0, 1, 1]], atol=1e-6)


def test_captions_count_tuned_channels_and_those_expected_by_chance() -> None:
    assert captions.caption_of_orientation(Counts("conv1", 12, 32, 1.6), 22.4, 60.0) == (
        "Tuned channels of conv1: 12 of 32; 1.6 are expected by chance. In a tuned channel a Gabor function describes the "
        "kernel better than 95% of its permutations, and the orientation curve has a single peak and falls to half of its "
        "maximum. The median half width at half height is 22\u00b0, that of Sobel's operator 60\u00b0. Each curve is at the preferred frequency of its "
        "channel."
    )
    none = captions.caption_of_orientation(Counts("conv1", 0, 32, 1.6), float("nan"), 60.0)
    assert "0 of 32" in none
    assert "nan" not in none
    assert captions.caption_of_table(Counts("conv1", 12, 32, 1.6), 0).startswith(
        "Tuned channels of conv1: 12 of 32. Orientation:"
    )
    assert (
        "In 2 of them the preferred orientation and that of the Gabor fit differ by more than 30°."
        in captions.caption_of_table(Counts("conv1", 12, 32, 1.6), 2)
    )


def test_captions_of_fits_say_of_which_channels_these_are_the_best() -> None:
    some = captions.caption_of_kernels(Counts("conv1", 12, 32, 1.6), [0.03, 0.2, 0.1])
    assert some == (
        "Of the 12 tuned channels of conv1, the 3 with the smallest error of the Gabor fit. The fit leaves 3% to 20% of the "
        "energy unexplained (last row). Grey is zero, each kernel scaled separately."
    )
    single = captions.caption_of_kernels(Counts("conv1", 1, 8, 0.4), [0.031])
    assert single.startswith("The only tuned channel of conv1. The fit leaves 3% of")
    assert captions.caption_of_kernels(Counts("conv1", 2, 8, 0.4), [0.1, 0.2]).startswith(
        "All 2 tuned channels of conv1."
    )
    none = captions.caption_of_kernels(Counts("conv1", 0, 8, 0.4), [0.1])
    assert none.startswith(
        "No channel of conv1 is tuned. Of the 8 channels of conv1, the one with the smallest"
    )


def test_the_caption_of_frequencies_says_where_the_range_ends() -> None:
    counts = Counts("conv1", 5, 16, 0.8)
    assert "9 of 16 prefer the highest that was tested, 0.45" in captions.caption_of_frequency(
        counts, 0.4, 9, 0.45
    )
    assert "tested" not in captions.caption_of_frequency(counts, 0.2, 0, 0.45)


def test_the_caption_of_preferred_orientations_names_ties() -> None:
    caption = captions.caption_of_orientations
    assert caption(["90°"], 5, 12).endswith("orientation is near 90°: 5 of 12 tuned channels.")
    assert caption(["0°", "90°"], 3, 12).endswith(
        "orientations are near 0° and 90°: 3 of 12 tuned channels each."
    )
    assert caption(["90°"], 1, 1) == "The only tuned channel prefers an orientation near 90°."


def test_a_channel_with_two_peaks_is_not_tuned_and_has_no_preferred_orientation() -> None:
    """A soft checkerboard responds to both diagonals; its mean direction would lie between them, and is not one of them."""
    position = torch.arange(7.0) - 3
    envelope, wave = torch.exp(-(position**2) / 6), (1.6 * position).cos()
    board, bars = wave * wave[:, None], wave.repeat(7, 1)
    network = nn.Sequential(nn.Conv2d(1, 2, 7), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 36, 2))
    with torch.no_grad():
        network.get_parameter("0.weight")[:, 0] = torch.stack([board, bars]) * envelope * envelope[:, None]
    result = TuningCurves(orientations=36).run(model_of(network, (1, 12, 12), 2), grey_images(12), RunJob(0))
    table = result.exhibits[-1]
    assert isinstance(table, Table)
    columns = dict(zip(table.columns, zip(*table.rows, strict=True), strict=True))
    assert columns["peaks"] == (2, 1)
    assert columns["orientation"][0] is None
    assert columns["orientation"][1] == pytest.approx(90, abs=2)
    assert columns["tuned"] == ("", "yes")
    orientations = next(e for e in result.exhibits if e.title == "Preferred orientations")
    assert isinstance(orientations, Chart)
    assert orientations.lines[0].y.dtype.kind == "i", "the axis has whole channels"
    kernels = next(e for e in result.exhibits if e.title == "Kernels and their Gabor fits")
    assert kernels.caption.startswith("The only tuned channel of 0.")


def test_warnings_name_small_kernels_and_unresponsive_channels() -> None:
    assert captions.warnings("conv1", 7, 0) == []
    assert len(captions.warnings("conv1", 3, 2)) == 2
