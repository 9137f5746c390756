"""Tests of `maximise`: what the images reach, the numbers beside them, and what is refused."""

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import nn

from probe.analyses.synthesis import maximise_captions as captions
from probe.analyses.synthesis import maximise_exhibits as show
from probe.analyses.synthesis.maximise import Maximise
from probe.analyses.synthesis.maximise_captions import Confidence, Findings
from probe.analyses.synthesis.maximise_optimise import default_lr
from probe.data.images import Images
from probe.data.sources import open_images
from probe.errors import UserError
from probe.exhibits.checks import check
from probe.exhibits.exhibits import Chart, Exhibit, ImageGrid, Table
from probe.exhibits.result import Result
from probe.methods.synthesis.evaluation import dataset_extremes
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


def test_every_digit_is_predicted_with_confidence_under_transforms_too():
    model = load("lenet5-digits", device="cpu")
    images = (
        open_images("digits:test")
        .preprocessed(model.shape, model.card.input.preprocess)
        .matched(model.classes)
    )
    result, exhibits = run(model, images)
    pixels = shown(exhibits["Images that maximise each class"])
    confidence = model.logits(pixels).softmax(1)
    assert confidence.argmax(1).tolist() == list(range(10))
    assert float(confidence.diagonal().min()) >= 0.99
    assert result.numbers["min_confidence"].value == pytest.approx(
        float(confidence.diagonal().min()), abs=1e-5
    )
    table = exhibits["Values of the images"]
    assert isinstance(table, Table)
    assert np.mean(np.array([row[4] for row in table.rows], dtype=float)) >= 0.9
    # Less than images of noise would have: the images are smooth.
    assert (pixels[..., 1:] - pixels[..., :-1]).abs().mean() < 0.15


def test_the_values_beside_channels_are_those_of_the_images(convnet: Model, noise_images: Images):
    result, exhibits = run(convnet, noise_images, layer="5", units=("2", "9"), steps=20)
    pixels = shown(exhibits["Images that maximise channels of 4 (the input of 5)"])
    means = convnet.features(pixels, "4")["4"].mean((2, 3))
    data = convnet.features(noise_images.pixels(), "4")["4"].mean((2, 3))
    table = exhibits["Values of the images"]
    assert isinstance(table, Table)
    for row, unit in enumerate((2, 9)):
        assert table.rows[row][1] == pytest.approx(float(means[row, unit]), rel=1e-3)
        assert table.rows[row][2] == pytest.approx(float(data[:, unit].max()), rel=1e-4)
    assert result.numbers["proportion_exceeding_data"].value == 1
    nearest = shown(exhibits["Images of the data with the largest values"])
    torch.testing.assert_close(nearest, noise_images.pixels()[data[:, [2, 9]].argmax(0)])


def test_a_unit_does_not_depend_on_which_others_are_requested(convnet: Model, noise_images: Images):
    title = "Images that maximise each class"
    together = shown(run(convnet, noise_images, units=("1", "6", "8"), steps=8)[1][title])
    alone = shown(run(convnet, noise_images, units=("6",), steps=8)[1][title])
    torch.testing.assert_close(together[1], alone[0], rtol=0, atol=1e-4)


def test_units_that_do_not_fit_into_one_batch_come_out_the_same(
    convnet: Model, noise_images: Images, monkeypatch: pytest.MonkeyPatch
):
    title = "Images that maximise each class"
    whole = shown(run(convnet, noise_images, n_units=5, steps=6)[1][title])
    monkeypatch.setattr(convnet, "batch", lambda gradient=False: 2)
    torch.testing.assert_close(
        shown(run(convnet, noise_images, n_units=5, steps=6)[1][title]), whole, rtol=0, atol=1e-4
    )


def test_the_objective_rises_over_the_steps(convnet: Model, noise_images: Images):
    chart = run(convnet, noise_images, steps=40, n_units=3)[1]["Objective over the steps"]
    assert isinstance(chart, Chart)
    assert all(line.y[-5:].mean() > line.y[:5].mean() + 1 for line in chart.lines)


def test_classes_go_by_name_or_number_and_wrong_ones_are_refused_in_one_line(
    convnet: Model, noise_images: Images
):
    _, exhibits = run(convnet, noise_images, units=("class 7", "2"), steps=2)
    grid = exhibits["Images that maximise each class"]
    assert isinstance(grid, ImageGrid)
    assert [label.split("\n")[0] for label in grid.labels] == ["class 7", "class 2"]
    with pytest.raises(UserError, match="no class 'clas 7'"):
        run(convnet, noise_images, units=("clas 7",))
    with pytest.raises(UserError, match="the network has 10 classes, 0 to 9: there is no '10'"):
        run(convnet, noise_images, units=("10",))
    with pytest.raises(UserError, match="layer 4 has 12 channels, 0 to 11: there is no '12'"):
        run(convnet, noise_images, layer="4", units=("12",))
    with pytest.raises(UserError, match="no layer '44'"):
        run(convnet, noise_images, layer="44")


def test_a_dead_unit_is_reported(convnet: Model, noise_images: Images):
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
    assert [w for w in result.warnings if "channel 1" in w and "was zero at all 6 starting images" in w]
    assert result.numbers["proportion_exceeding_data"].n == 3


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


def test_the_extremes_over_batches_are_those_over_all(
    convnet: Model, noise_images: Images, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(convnet, "batch", lambda gradient=False: 7)
    for layer, values in (
        ("4", convnet.features(noise_images.pixels(), "4")["4"].mean((2, 3))),
        (LOGITS, convnet.logits(noise_images.pixels())),
    ):
        extremes = dataset_extremes(convnet, noise_images.batches(7), layer)
        torch.testing.assert_close(extremes.values, torch.stack([values.amin(0), values.amax(0)]))
        assert extremes.positions.tolist() == [values.argmin(0).tolist(), values.argmax(0).tolist()]


def test_pixels_without_jitter_end_in_noise_where_fourier_does_not(convnet: Model, noise_images: Images):
    rough = {}
    for parametrisation in ("pixels", "fourier"):
        pixels = shown(
            run(convnet, noise_images, parametrisation=parametrisation, jitter=0, n_units=2, steps=30)[1][
                "Images that maximise each class"
            ]
        )
        rough[parametrisation] = float((pixels[..., 1:] - pixels[..., :-1]).pow(2).mean() / pixels.var())
    assert rough["pixels"] > 1.5 * rough["fourier"]


def test_the_penalty_on_total_variation_keeps_single_pixels_together():
    """LeNet-5's images are chequered without it, which costs none of what they reach."""
    model, images = load("lenet5-digits", device="cpu"), open_images("digits:test", n=100)
    images = images.preprocessed(model.shape, model.card.input.preprocess)
    rough, reached = [], []
    for smoothness in (0, 1):
        exhibits = run(model, images, layer="conv2", n_units=8, smoothness=smoothness, precision="float32")[1]
        pixels = shown(next(e for title, e in exhibits.items() if title.startswith("Images that maximise")))
        rough.append(float((pixels[..., 1:] - pixels[..., :-1]).pow(2).mean() / pixels.var()))
        reached.append(sum(row[1] for row in exhibits["Values of the images"].rows))
    assert rough[1] < 0.7 * rough[0]
    assert reached[1] > 0.9 * reached[0]


def test_an_image_below_the_data_is_reported(convnet: Model, noise_images: Images):
    """One small step from a random start reaches less than the largest value of the data."""
    result, _ = run(convnet, noise_images, units=("2", "5"), steps=1, lr=0.001)
    assert result.numbers["proportion_exceeding_data"].value == 0
    assert [w for w in result.warnings if "images of class 2 and class 5 stay below" in w]


def findings(n: int, layer: str = "", **options: object) -> Findings:
    setting: dict = {
        "names": [f"unit {i}" for i in range(n)],
        "layer": layer,
        "activation": layer,
        "steps": 128,
        "mean_image": "image",
        "coloured": True,
        "values": np.linspace(5, 9, n),
        "maxima": np.full(n, 6.0),
        "dead": np.zeros(n, dtype=bool),
        "diverged": np.zeros(n, dtype=bool),
    }
    return Findings(**{**setting, **options})


def test_captions_state_confidence_and_values():
    confidence = Confidence(plain=np.array([1, 0.98, 0.999]), transformed=np.array([0.9, 0.6, 0.99998]))
    assert captions.caption_of_classes(findings(3), confidence) == (
        "Images optimised to maximise the score of one class each, in 128 steps from the mean image of the data with "
        "low-contrast noise, with the colour covariance of the data. The lowest confidence in the class is 98%. The mean confidence over 32 "
        "random shifts, rotations and zooms of each image is 83%; it is lowest for unit 1 (60%). "
        "Below each image: its confidence and, in brackets, the mean confidence under the transforms. The images show what is "
        "sufficient for a prediction, not what the class looks like to a person."
    )
    certain = Confidence(plain=np.full(3, 0.99999), transformed=np.full(3, 0.998))
    assert "is more than 99% for every image, and also on average over 32" in captions.caption_of_classes(
        findings(3), certain
    )
    text = captions.caption_of_channels(findings(3, "4", activation="5", mean_image=""), 3)
    assert (
        "the mean of one channel of 4 (the input of 5) each, in 128 steps from grey with low-contrast noise."
        in text
    )
    assert "2 of 3 images exceed this maximum." in text
    assert "In 3 of 3 images, the channel is the most active one of its layer." in text


def test_captions_of_a_single_image_are_in_the_singular():
    confidence = Confidence(plain=np.array([0.99999]), transformed=np.array([0.5]))
    text = captions.caption_of_classes(findings(1), confidence)
    assert text.startswith("An image optimised to maximise the score of one class, in 128 steps")
    assert "The confidence in the class is more than 99%, and 50% on average over 32 random" in text
    text = captions.caption_of_channels(findings(1, "4"), 0)
    assert (
        "The image does not exceed this maximum. The channel is not the most active one of the layer." in text
    )
    assert captions.caption_of_data_maxima(findings(1), -1.0) == (
        "The image of the data with the largest logit. The optimised image falls short of this value by 1."
    )


def test_the_caption_of_the_steps_says_whether_more_would_help():
    text = captions.caption_of_history(1.0, 2.5, rising=True, drawn=10, n=12)
    assert "rises from 1 to 2.5; more steps would raise it further. The first 10 of 12 are plotted." in text
    text = captions.caption_of_history(2.0, 1.5, rising=False, drawn=2, n=2)
    assert "its mean no longer rises (2 half-way, 1.5 at the end)." in text


@pytest.mark.parametrize(("slope", "rises"), [(1.0, True), (0.0, False)])
def test_the_history_tells_a_rise_from_noise(slope: float, rises: bool):
    noise = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    values = slope * torch.arange(100.0)[:, None] + noise
    exhibit = show.history(findings(3), values)
    assert ("more steps would raise it further" in exhibit.caption) == rises


def test_warnings_name_dead_units_those_below_the_data_and_low_confidence():
    few = findings(4, values=np.array([1, 7, 5, 8.0]), dead=np.array([True, False, False, False]))
    dead, below = captions.warnings(few)
    assert "gradient for unit 0 was zero at all 6" in dead
    assert below == (
        "The optimised image of unit 2 stays below the maximum of the data: a logit of 5, against 6 for an image of the "
        "data. It is not what the unit responds to most strongly."
    )
    (several,) = captions.warnings(findings(4, values=np.array([1, 7, 5, 8.0])))
    assert (
        "images of unit 0 and unit 2 stay below the maximum of the data. The largest gap is that of unit 0: a"
        in several
    )
    confidence = Confidence(plain=np.array([0.1, 0.5, 0.2, 1.0]), transformed=np.ones(4))
    (low,) = captions.warnings_of_confidence(few, confidence)
    assert "below 99% for unit 1. " in low


def test_large_images_are_changed_in_shorter_steps(convnet: Model):
    large = nn.Sequential(nn.Conv2d(3, 2, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert default_lr(convnet) == 0.05
    assert default_lr(model_of(large, (3, 128, 128), 2)) == 0.03


TITLE = "Images that maximise each class"


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "simonyan"},
        {"preset": "yosinski"},
        {"parametrisation": "maco"},
        {"start": "grey"},
        {"start": "noise"},
        {"start": "class-mean"},
    ],
)
def test_presets_and_starts_raise_the_class(convnet: Model, noise_images: Images, options: dict[str, str]):
    result, exhibits = run(convnet, noise_images, n_units=2, steps=20, **options)
    chart = exhibits["Objective over the steps"]
    assert isinstance(chart, Chart)
    assert all(line.y[-1] > line.y[0] for line in chart.lines)
    assert exhibits[TITLE].caption
    assert not [warning for warning in result.warnings if "NaN" in warning]


def test_a_class_mean_needs_labels_and_classes(convnet: Model, noise_images: Images):
    bare = Images.from_tensor(noise_images.pixels())
    with pytest.raises(UserError, match="needs the true classes"):
        run(convnet, bare, start="class-mean", steps=1)
    with pytest.raises(UserError, match="class-mean is for classes"):
        run(convnet, noise_images, start="class-mean", layer="4", steps=1)


def test_the_first_of_a_class_mean_is_that_mean(convnet: Model, noise_images: Images):
    from probe.analyses.synthesis.maximise_units import class_means

    means = class_means(noise_images, 10, 7)
    assert noise_images.labels is not None
    expected = noise_images.pixels()[noise_images.labels == 4].mean(0)
    torch.testing.assert_close(means[4], expected)


def test_several_images_of_a_unit_are_further_apart_with_diversity(convnet: Model, noise_images: Images):
    _, exhibits = run(convnet, noise_images, layer="4", units=("2", "5"), diverse=3, steps=25)
    title = "Images that maximise channels of 4"
    grid = exhibits[title]
    assert isinstance(grid, ImageGrid)
    assert [label.split("\n")[0] for label in grid.labels[:3]] == [f"channel 2 ({i})" for i in (1, 2, 3)]
    pixels = shown(grid)
    assert (pixels[0] - pixels[1]).abs().mean() > 0.02


def test_before_a_tanh_channels_are_raised_and_lowered(noise_images: Images):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 10)
        )
    model = model_of(network, (3, 32, 32), 10)
    _, exhibits = run(model, noise_images, layer="1", units=("2",), steps=15)
    grid = exhibits["Images that maximise channels of 0 (the input of 1)"]
    assert isinstance(grid, ImageGrid)
    assert [label.split("\n")[0] for label in grid.labels] == ["channel 2, positive", "channel 2, negative"]
    raised, lowered = model.features(shown(grid), "0")["0"][:, 2].mean((1, 2))
    data = model.features(noise_images.pixels(), "0")["0"][:, 2].mean((1, 2))
    assert raised > data.max()
    assert lowered < data.min()
    _, exhibits = run(model, noise_images, layer="1", units=("2",), steps=2, signs="positive")
    assert len(exhibits["Images that maximise channels of 0 (the input of 1)"].images) == 1  # type: ignore[attr-defined]


def test_directions_lead_from_one_class_to_another(convnet: Model, noise_images: Images):
    result, exhibits = run(convnet, noise_images, between=("class 2", "7"), n_units=3, steps=20)
    grid = exhibits["Images that maximise directions between class 2 and class 7"]
    table = exhibits["Values of the images"]
    assert isinstance(grid, ImageGrid)
    assert isinstance(table, Table)
    logits = convnet.logits(shown(grid))
    assert logits[0, 2] > logits[2, 2]
    assert logits[2, 7] > logits[0, 7]
    # A mixture of two classes has no class of its own, whose confidence could be stated.
    assert "min_confidence" not in result.numbers
    assert table.columns[3:] == ["confidence in class 2", "confidence in class 7"]
    for row, confidence in zip(table.rows, logits.softmax(1), strict=True):
        assert row[3:] == pytest.approx([float(confidence[2]), float(confidence[7])], rel=1e-3)
    with pytest.raises(UserError, match="--between takes two classes or channels, got 1"):
        run(convnet, noise_images, between=("1",), steps=1)
    with pytest.raises(UserError, match="two different classes or channels, got class 3 twice"):
        run(convnet, noise_images, between=("3", "class 3"), steps=1)


def test_directions_between_channels_state_the_activations_of_both(convnet: Model, noise_images: Images):
    _, exhibits = run(convnet, noise_images, layer="4", between=("2", "5"), n_units=2, steps=5)
    grid = exhibits["Images that maximise directions between channel 2 and channel 5"]
    table = exhibits["Values of the images"]
    assert isinstance(grid, ImageGrid)
    assert isinstance(table, Table)
    means = convnet.features(shown(grid), "4")["4"].mean((2, 3))[:, [2, 5]]
    for row, both in zip(table.rows, means, strict=True):
        assert row[3:] == pytest.approx(both.tolist(), rel=1e-3)


@pytest.mark.parametrize(("name", "data"), [("vgg-shapes", "shapes:test"), ("lenet5-digits", "digits:test")])
def test_diverse_images_of_a_class_differ_and_remain_the_class(name: str, data: str):
    model = load(name, device="cpu")
    images = open_images(data).take(100, 0).preprocessed(model.shape, model.card.input.preprocess)
    result, exhibits = run(model, images, units=("0", "3"), diverse=4)
    assert result.numbers["min_confidence"].value >= 0.99
    pixels = shown(exhibits["Images that maximise each class"]).view(2, 4, *model.shape)
    for first, second in combinations(range(4), 2):
        assert (pixels[:, first] - pixels[:, second]).abs().mean((1, 2, 3)).min() > 0.03
    maxima = exhibits["Images of the data with the largest values"]
    assert isinstance(maxima, ImageGrid)
    assert len(maxima.images) == 2  # one a class


def test_a_sheet_shows_each_channel_beside_its_top_patches(convnet: Model, noise_images: Images):
    _, exhibits = run(convnet, noise_images, layer="4", n_units=3, steps=10)
    grid = exhibits["Optimised images and top patches"]
    assert isinstance(grid, ImageGrid)
    assert len(grid.images) == 6
    assert grid.labels[1] == "top patches"


def test_other_networks_say_whether_they_agree(convnet: Model, noise_images: Images):
    other = Model(nn.Sequential(*convnet.network), convnet.card.model_copy(update={"name": "other"}))
    result = Maximise(n_units=3, steps=15).run(convnet, noise_images, RunJob(3, compare_to=[other]))
    assert result.numbers["agreement_other"].value == 3
    assert result.numbers["control_agreement_other"].value == 3
    (table,) = [each for each in result.exhibits if each.title == "Agreement of other networks"]
    assert "other agrees on 3 of 3 images, and on 3 of the control." in table.caption
