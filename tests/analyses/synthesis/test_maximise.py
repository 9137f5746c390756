"""Do the pictures raise what they should, and do the numbers beside them say so?"""

import numpy as np
import pytest
import torch
from torch import nn

from probe.analyses.synthesis.maximise import Maximise, default_lr
from probe.data.images import Images
from probe.data.sources import open_images
from probe.errors import UserError
from probe.exhibits.checks import check
from probe.exhibits.exhibits import Chart, Exhibit, ImageGrid, Table
from probe.exhibits.result import Result
from probe.methods.synthesis.evaluation import dataset_maxima
from probe.methods.synthesis.objectives import LOGITS
from probe.model.layer_kinds import pre_activation_layer
from probe.model.loading import load
from probe.model.model import Model
from probe.runs.job import RunJob
from probe.zoo import build
from tests.conftest import model_of


def run(model: Model, images: Images, **options: object) -> tuple[Result, dict[str, Exhibit]]:
    result = Maximise(**options).run(model, images, RunJob(3))  # type: ignore[arg-type]
    for exhibit in result.exhibits:
        check(exhibit)
    return result, {exhibit.title: exhibit for exhibit in result.exhibits}


def shown(exhibit: Exhibit) -> torch.Tensor:
    assert isinstance(exhibit, ImageGrid)
    return torch.from_numpy(np.stack(exhibit.images)).permute(0, 3, 1, 2)


def test_every_digit_is_answered_with_certainty_also_when_moved():
    model = load("lenet5-digits", device="cpu")
    images = (
        open_images("digits:test")
        .preprocessed(model.shape, model.card.input.preprocess)
        .matched(model.classes)
    )
    result, exhibits = run(model, images)
    pixels = shown(exhibits["What raises each class"])
    share = model.logits(pixels).softmax(1)
    assert share.argmax(1).tolist() == list(range(10))
    assert float(share.diagonal().min()) >= 0.99
    assert result.numbers["class probability (least)"].value == pytest.approx(
        float(share.diagonal().min()), abs=1e-5
    )
    table = exhibits["How far the pictures go"]
    assert isinstance(table, Table)
    assert np.mean(np.array([row[4] for row in table.rows], dtype=float)) >= 0.9
    # Less than pictures of noise would be: what is drawn is smooth.
    assert (pixels[..., 1:] - pixels[..., :-1]).abs().mean() < 0.15


def test_the_values_beside_channels_are_those_of_the_pictures(convnet: Model, noise_images: Images):
    result, exhibits = run(convnet, noise_images, layer="5", units=("2", "9"), steps=20)
    pixels = shown(exhibits["What raises channels of 4 (which feeds 5)"])
    means = convnet.features(pixels, "4")["4"].mean((2, 3))
    data = convnet.features(noise_images.pixels(), "4")["4"].mean((2, 3))
    table = exhibits["How far the pictures go"]
    assert isinstance(table, Table)
    for row, unit in enumerate((2, 9)):
        assert table.rows[row][1] == pytest.approx(float(means[row, unit]), rel=1e-3)
        assert table.rows[row][2] == pytest.approx(float(data[:, unit].max()), rel=1e-4)
    assert result.numbers["share beyond the data"].value == 1
    nearest = shown(exhibits["What raises the same most in the data"])
    torch.testing.assert_close(nearest, noise_images.pixels()[data[:, [2, 9]].argmax(0)])


def test_a_unit_does_not_depend_on_which_others_are_asked_for(convnet: Model, noise_images: Images):
    title = "What raises each class"
    together = shown(run(convnet, noise_images, units=("1", "6", "8"), steps=8)[1][title])
    alone = shown(run(convnet, noise_images, units=("6",), steps=8)[1][title])
    torch.testing.assert_close(together[1], alone[0], rtol=0, atol=1e-4)


def test_units_that_do_not_fit_into_one_batch_come_out_the_same(
    convnet: Model, noise_images: Images, monkeypatch: pytest.MonkeyPatch
):
    title = "What raises each class"
    whole = shown(run(convnet, noise_images, count=5, steps=6)[1][title])
    monkeypatch.setattr(convnet, "batch", lambda gradient=False: 2)
    torch.testing.assert_close(
        shown(run(convnet, noise_images, count=5, steps=6)[1][title]), whole, rtol=0, atol=1e-4
    )


def test_a_longer_ascent_goes_further(convnet: Model, noise_images: Images):
    chart = run(convnet, noise_images, steps=40, count=3)[1]["The ascent"]
    assert isinstance(chart, Chart)
    assert all(line.y[-5:].mean() > line.y[:5].mean() + 1 for line in chart.lines)


def test_classes_go_by_name_or_number_and_wrong_ones_are_refused_in_one_line(
    convnet: Model, noise_images: Images
):
    _, exhibits = run(convnet, noise_images, units=("class 7", "2"), steps=2)
    found = exhibits["What raises each class"]
    assert isinstance(found, ImageGrid)
    assert [label.split("\n")[0] for label in found.labels] == ["class 7", "class 2"]
    with pytest.raises(UserError, match="no class 'clas 7'"):
        run(convnet, noise_images, units=("clas 7",))
    with pytest.raises(UserError, match="the network has 10 classes, 0 to 9: there is no '10'"):
        run(convnet, noise_images, units=("10",))
    with pytest.raises(UserError, match="layer 4 has 12 channels, 0 to 11: there is no '12'"):
        run(convnet, noise_images, layer="4", units=("12",))
    with pytest.raises(UserError, match="no layer '44'"):
        run(convnet, noise_images, layer="44")


def test_a_dead_unit_is_said_to_be_dead(convnet: Model, noise_images: Images):
    class Hidden(nn.Module):
        """A ReLU that has no address."""

        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 4, 3)
            self.convolution.bias = nn.Parameter(torch.tensor([5.0, -100.0, 5.0, 5.0]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.convolution(x))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(Hidden(), nn.Flatten(), nn.Linear(4 * 900, 10))
    result, _ = run(model_of(network, (3, 32, 32), 10), noise_images, layer="0", steps=3)
    assert [w for w in result.warnings if "channel 1" in w and "No start gave a gradient" in w]
    assert result.numbers["share beyond the data"].n == 3


def test_of_an_activation_the_layer_that_feeds_it_is_raised(convnet: Model):
    assert [pre_activation_layer(convnet, address) for address in ("2", "5", "4", "9")] == [
        "1",
        "4",
        "4",
        "9",
    ]
    with torch.random.fork_rng():
        resnet = model_of(build("resnet20"), (3, 32, 32), 10)
    assert pre_activation_layer(resnet, "layer2.0.relu1") == "layer2.0.bn1"
    assert pre_activation_layer(resnet, "layer2.0.relu2") == "layer2.0.add"


def test_the_largest_over_batches_is_the_largest_over_all(
    convnet: Model, noise_images: Images, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(convnet, "batch", lambda gradient=False: 7)
    for layer, values in (
        ("4", convnet.features(noise_images.pixels(), "4")["4"].mean((2, 3))),
        (LOGITS, convnet.logits(noise_images.pixels())),
    ):
        best, where = dataset_maxima(convnet, noise_images, layer)
        torch.testing.assert_close(best, values.max(0).values)
        assert where.tolist() == values.argmax(0).tolist()


def test_bare_pixels_without_moves_end_in_noise_where_fourier_does_not(convnet: Model, noise_images: Images):
    rough = {}
    for canvas in ("pixels", "fourier"):
        pixels = shown(
            run(convnet, noise_images, canvas=canvas, moves=0, count=2, steps=30)[1]["What raises each class"]
        )
        rough[canvas] = float((pixels[..., 1:] - pixels[..., :-1]).pow(2).mean() / pixels.var())
    assert rough["pixels"] > 1.5 * rough["fourier"]


def test_a_picture_that_the_data_surpass_is_warned_of(convnet: Model, noise_images: Images):
    """One timid step from a faint start reaches less than the best of the data."""
    result, _ = run(convnet, noise_images, units=("2", "5"), steps=1, rate=0.001)
    assert result.numbers["share beyond the data"].value == 0
    assert any(
        "The ascent fell short for class 2, class 5: an image of the data" in warning
        for warning in result.warnings
    )


def test_a_single_picture_is_spoken_of_as_one(convnet: Model, noise_images: Images):
    for options in ({"units": ("2",)}, {"units": ("2",), "layer": "4"}):
        result, exhibits = run(convnet, noise_images.take(1), steps=4, **options)
        assert next(iter(exhibits.values())).caption.startswith("A picture made to raise")
        assert "1 images" not in " ".join(e.caption for e in result.exhibits)


def test_large_images_are_changed_in_shorter_steps(convnet: Model):
    large = nn.Sequential(nn.Conv2d(3, 2, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert default_lr(convnet) == 0.05
    assert default_lr(model_of(large, (3, 128, 128), 2)) == 0.02
