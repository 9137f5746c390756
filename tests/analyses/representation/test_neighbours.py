"""`neighbours` finds similar images, and leaves out what cannot be compared."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from probe.analyses.representation.neighbours import Neighbours
from probe.analyses.representation.neighbours_exhibits import (
    NeighbourFindings,
    neighbour_caption,
    same_class_caption,
)
from probe.data.images import Images
from probe.data.sources import open_images
from probe.errors import UserError
from probe.exhibits.exhibits import Chart, ImageGrid
from probe.model.loading import load
from probe.model.model import Model
from probe.runs.job import RunJob
from tests.conftest import model_of


def test_neighbours_in_features_share_the_class_more_often_where_the_features_hold_it() -> None:
    """The class is the brightness of one corner; the rest of the picture is noise."""
    draw = torch.Generator().manual_seed(0)
    pixels, labels = torch.rand(60, 1, 12, 12, generator=draw), torch.arange(60) % 3
    pixels[:, :, :3, :3] = labels[:, None, None, None] / 8
    network = nn.Sequential(nn.AvgPool2d(3), nn.Flatten(), nn.Linear(16, 2), nn.ReLU(), nn.Linear(2, 3))
    with torch.no_grad():
        network.get_parameter("2.weight").zero_()[:, 0] = -4
    images = Images.from_tensor(pixels, labels, classes=("class 0", "class 1", "class 2"))
    result = Neighbours(layers=("3",)).run(model_of(network, (1, 12, 12), 3), images, RunJob(0))
    assert result.numbers["same_class_3"].value == 1
    assert result.numbers["same_class_pixels"].value < 0.6
    chart, grid = result.exhibits
    assert isinstance(chart, Chart)
    assert isinstance(grid, ImageGrid)
    assert chart.facts["chance_level"] == pytest.approx(19 / 59)
    assert chart.ticks == ["pixels", "3"]
    assert len(grid.images) == 8 * 11


def test_too_few_images_for_the_neighbours_are_refused(convnet: Model, noise_images: Images) -> None:
    with pytest.raises(UserError, match="5 neighbours need at least 6 images, got 4"):
        Neighbours().run(convnet, noise_images.take(4), RunJob(0))
    with pytest.raises(UserError, match="whole layers"):
        Neighbours(layers=("4:3",)).run(convnet, noise_images, RunJob(0))


def test_on_real_digits_neighbours_share_the_class_more_often_in_the_last_layer_than_in_pixels() -> None:
    images = open_images("digits:test", n=300)
    model = load("lenet5-digits", device="cpu")
    images = images.matched(model.classes).preprocessed(model.shape, model.card.input.preprocess)
    numbers = Neighbours().run(model, images, RunJob(0)).numbers
    *_, last = numbers.values()
    first = numbers["same_class_pixels"]
    assert last.low is not None
    assert first.high is not None
    assert last.low > first.high


def test_the_nearest_neighbour_of_a_duplicated_image_is_its_copy(
    convnet: Model, noise_images: Images
) -> None:
    twice = noise_images.select(torch.arange(40).repeat(2))
    result = Neighbours(k=1, examples=5).run(convnet, twice, RunJob(0))
    grid = result.exhibits[-1]
    assert isinstance(grid, ImageGrid)
    for row in range(5):
        own, in_features, in_pixels = grid.images[3 * row : 3 * row + 3]
        assert (own == in_features).all()
        assert (own == in_pixels).all()
    assert all(number.value == 1 for number in result.numbers.values())


def test_a_layer_whose_pooled_features_equal_those_of_the_last_is_left_out(
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
        ([0, 10, 20, 30], "All images belong to one class: the fractions"),
        (list(range(10)), "10 images of 10 classes are too few"),
    ],
)
def test_where_classes_cannot_be_compared_their_fractions_are_omitted(
    convnet: Model, noise_images: Images, rows: list[int], words: str
) -> None:
    result = Neighbours(k=2).run(convnet, noise_images.select(rows), RunJob(0))
    assert any(words in warning for warning in result.warnings)
    assert not result.numbers
    assert [type(e) for e in result.exhibits] == [ImageGrid]


def test_without_labels_neighbours_are_shown_and_fractions_left_out(
    convnet: Model, noise_images: Images
) -> None:
    result = Neighbours(examples=3).run(convnet, Images.from_tensor(noise_images.pixels()), RunJob(0))
    assert not result.numbers
    assert any("no labels" in warning for warning in result.warnings)
    assert "same class" not in result.exhibits[0].caption


def test_equal_images_are_warned_of(convnet: Model) -> None:
    grey = Images.from_tensor(torch.full((8, 3, 32, 32), 0.5), torch.arange(8) % 2)
    result = Neighbours().run(convnet, grey, RunJob(0))
    assert any("All images are equal in pixels" in warning for warning in result.warnings)


FINDINGS = NeighbourFindings(
    n=60, k=5, layer="conv5", examples=8, in_layer=0.9, in_pixels=0.5, chance_level=0.32
)


def test_the_caption_of_the_chart_compares_features_with_pixels_and_chance() -> None:
    assert same_class_caption(FINDINGS) == (
        "Of the 5 nearest neighbours of an image, 90.0% are of its class in conv5 and 50.0% in pixels;"
        " the chance level is 32%. Over 60 images, with 95% intervals."
    )
    assert same_class_caption(replace(FINDINGS, k=1)).startswith(
        "The nearest neighbour is of the same class for 90.0% of the images in conv5 and 50.0% in pixels;"
    )


def test_the_caption_of_the_images_says_which_they_are() -> None:
    assert neighbour_caption(FINDINGS) == (
        "8 of 60 images, drawn at random, with their 5 nearest neighbours in conv5 (Euclidean distance), then in pixels."
        " Over all images, 90.0% and 50.0% of the neighbours are of the same class."
    )
    assert neighbour_caption(replace(FINDINGS, examples=1, k=1, cosine=True, in_layer=None)) == (
        "A random image with its nearest neighbour in conv5 (cosine distance), then in pixels."
    )
    assert neighbour_caption(replace(FINDINGS, examples=60)).startswith("All 60 images with their 5")
