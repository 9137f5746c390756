"""Does `neighbours` find what is alike, and say what cannot be told?"""

import pytest
import torch
from torch import nn

from probe.analyses.representation.neighbours import Neighbours
from probe.data.images import Images
from probe.data.sources import open_images
from probe.errors import UserError
from probe.exhibits.exhibits import Chart, ImageGrid
from probe.model.loading import load
from probe.model.model import Model
from probe.runs.job import RunJob
from tests.conftest import model_of


def test_neighbours_in_features_beat_those_in_pixels_where_the_class_is_in_the_features() -> None:
    """The class is the brightness of one corner; the rest of the picture is noise."""
    draw = torch.Generator().manual_seed(0)
    pixels, labels = torch.rand(60, 1, 12, 12, generator=draw), torch.arange(60) % 3
    pixels[:, :, :3, :3] = labels[:, None, None, None] / 8
    network = nn.Sequential(nn.AvgPool2d(3), nn.Flatten(), nn.Linear(16, 2), nn.ReLU(), nn.Linear(2, 3))
    with torch.no_grad():
        network.get_parameter("2.weight").zero_()[:, 0] = -4
    images = Images.from_tensor(pixels, labels, classes=("class 0", "class 1", "class 2"))
    result = Neighbours(layers=("3",)).run(model_of(network, (1, 12, 12), 3), images, RunJob(0))
    assert result.numbers["neighbours of equal class, 3"].value == 1
    assert result.numbers["neighbours of equal class, pixels"].value < 0.6
    chart, pictures = result.exhibits
    assert isinstance(chart, Chart)
    assert isinstance(pictures, ImageGrid)
    assert "by chance it would be 32%" in chart.caption
    assert len(pictures.images) == 8 * 11


def test_too_few_images_for_the_neighbours_are_refused(convnet: Model, noise_images: Images) -> None:
    with pytest.raises(UserError, match="5 neighbours need at least 6 images, got 4"):
        Neighbours().run(convnet, noise_images.take(4), RunJob(0))
    with pytest.raises(UserError, match="whole layers"):
        Neighbours(layers=("4:3",)).run(convnet, noise_images, RunJob(0))


def test_on_real_digits_the_last_features_know_classes_better_than_pixels_do() -> None:
    images = open_images("digits:test", n=300)
    model = load("lenet5-digits", device="cpu")
    images = images.matched(model.classes).preprocessed(model.shape, model.card.input.preprocess)
    numbers = Neighbours().run(model, images, RunJob(0)).numbers
    *_, last = numbers.values()
    first = numbers["neighbours of equal class, pixels"]
    assert last.low is not None
    assert first.high is not None
    assert last.low > first.high


def test_of_images_that_come_twice_the_twin_is_the_nearest(convnet: Model, noise_images: Images) -> None:
    twice = noise_images.select(torch.arange(40).repeat(2))
    result = Neighbours(count=1, examples=5).run(convnet, twice, RunJob(0))
    pictures = result.exhibits[-1]
    assert isinstance(pictures, ImageGrid)
    for row in range(5):
        own, in_features, in_pixels = pictures.images[3 * row : 3 * row + 3]
        assert (own == in_features).all()
        assert (own == in_pixels).all()
    assert all(number.value == 1 for number in result.numbers.values())


def test_the_mean_of_the_last_maps_is_not_shown_twice_when_the_next_layer_is_that_mean(
    noise_images: Images,
) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10)
    )
    chart = Neighbours().run(model_of(network, (3, 32, 32), 10), noise_images, RunJob(0)).exhibits[0]
    assert isinstance(chart, Chart)
    assert chart.ticks == ["pixels", "2"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([0, 10, 20, 30], "The images are of one class: shares"),
        (list(range(10)), "10 images of 10 classes are too few"),
    ],
)
def test_where_classes_cannot_be_compared_their_shares_are_left_out(
    convnet: Model, noise_images: Images, rows: list[int], words: str
) -> None:
    result = Neighbours(count=2).run(convnet, noise_images.select(rows), RunJob(0))
    assert any(words in warning for warning in result.warnings)
    assert not result.numbers
    assert [type(e) for e in result.exhibits] == [ImageGrid]


def test_without_labels_neighbours_are_shown_and_shares_left_out(
    convnet: Model, noise_images: Images
) -> None:
    result = Neighbours(examples=3).run(convnet, Images.from_tensor(noise_images.pixels()), RunJob(0))
    assert not result.numbers
    assert any("no labels" in warning for warning in result.warnings)
    assert "equal class" not in result.exhibits[0].caption


def test_images_that_are_all_the_same_have_arbitrary_neighbours_and_it_is_said(convnet: Model) -> None:
    grey = Images.from_tensor(torch.full((8, 3, 32, 32), 0.5), torch.arange(8) % 2)
    result = Neighbours().run(convnet, grey, RunJob(0))
    assert any("All images are the same in pixels" in warning for warning in result.warnings)
