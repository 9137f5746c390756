"""`image-statistics` measures what images have in common, and leaves out what has no meaning."""

import pytest
import torch

from probe.analyses.inspection import image_statistics_captions as captions
from probe.analyses.inspection.image_statistics import ImageStatistics
from probe.analyses.inspection.image_statistics_chunks import class_means
from probe.data.images import Images
from probe.exhibits.exhibits import Chart, Exhibit, ImageGrid, Table
from probe.model.model import Model
from probe.runs.job import RunJob


def mean_images(exhibits: list[Exhibit]) -> ImageGrid:
    (grid,) = [e for e in exhibits if isinstance(e, ImageGrid)]
    return grid


def test_colours_distances_and_the_spectrum_are_shown(convnet: Model, noise_images: Images) -> None:
    result = ImageStatistics().run(convnet, noise_images, RunJob(0))
    assert [e.title for e in result.exhibits] == [
        "Mean and covariance of colour",
        "Correlation between channels",
        "Mean images",
        "Similarity of pixels by distance",
        "Power spectrum",
    ]
    assert list(result.numbers) == [
        "mean_red",
        "mean_green",
        "mean_blue",
        "adjacent_pixel_correlation",
        "spectral_exponent",
    ]
    assert abs(result.numbers["adjacent_pixel_correlation"].value) < 0.02
    assert abs(result.numbers["spectral_exponent"].value) < 0.15
    assert not result.warnings


def test_the_first_axis_of_grey_images_is_brightness_and_holds_all_variance(convnet: Model) -> None:
    draw = torch.Generator().manual_seed(0)
    grey = torch.rand(6, 1, 16, 16, generator=draw).expand(-1, 3, -1, -1)
    table = ImageStatistics().run(convnet, Images.from_tensor(grey), RunJob(0)).exhibits[0]
    assert table.facts["axis_fraction"] == pytest.approx(1)
    assert "a change of brightness" in table.caption


@pytest.mark.parametrize("value", [0.0, 0.5, 128 / 255, 1.0])
def test_constant_images_have_neither_correlations_nor_a_spectrum(convnet: Model, value: float) -> None:
    images = Images.from_tensor(torch.full((6, 3, 16, 16), value), torch.zeros(6, dtype=torch.long))
    result = ImageStatistics().run(convnet, images, RunJob(0))
    assert len(result.warnings) == 2
    assert "spectral_exponent" not in result.numbers
    assert {type(e) for e in result.exhibits} == {Table, ImageGrid, Chart}
    assert "nan" not in " ".join(e.caption for e in result.exhibits)


def test_without_labels_a_warning_says_that_mean_images_of_classes_are_left_out(
    convnet: Model, noise_images: Images
) -> None:
    result = ImageStatistics().run(convnet, Images.from_tensor(noise_images.pixels()), RunJob(0))
    assert result.warnings == ["The images have no labels: the mean images of the classes are omitted."]


def test_the_mean_image_of_each_class_is_the_mean_of_its_images(convnet: Model, noise_images: Images) -> None:
    images = noise_images.select([i for i in range(40) if i % 10 != 7]).select(list(range(36)) * 2)
    assert images.labels is not None
    grid = mean_images(ImageStatistics().run(convnet, images, RunJob(0)).exhibits)
    assert grid.labels == ["all", *(f"class {c}" for c in range(10) if c != 7)]
    expected = images.pixels()[images.labels == 3].mean(0).permute(1, 2, 0)
    torch.testing.assert_close(torch.from_numpy(grid.images[4]), expected)
    assert grid.facts["shown"] == grid.facts["classes"] == 9


def test_classes_of_few_images_have_no_mean_image(convnet: Model, noise_images: Images) -> None:
    images = noise_images.select([0, 10, 20, 30, 0, 1, 11, 21, 31, 1, 2])
    grid = mean_images(ImageStatistics().run(convnet, images, RunJob(0)).exhibits)
    assert grid.labels == ["all", "class 0", "class 1"]
    assert (grid.facts["shown"], grid.facts["classes"]) == (2, 3)


def test_one_class_or_one_image_has_one_mean(convnet: Model, noise_images: Images) -> None:
    one_class = noise_images.select([3, 13, 23, 33, 3, 13])
    for images in (one_class, noise_images.take(1)):
        assert mean_images(ImageStatistics().run(convnet, images, RunJob(0)).exhibits).labels == ["all"]


def test_grey_images_have_one_channel_and_no_correlation_between_channels(convnet: Model) -> None:
    draw = torch.Generator().manual_seed(0)
    result = ImageStatistics().run(
        convnet, Images.from_tensor(torch.rand(4, 1, 16, 16, generator=draw)), RunJob(0)
    )
    assert "mean_grey" in result.numbers
    assert "Correlation between channels" not in [e.title for e in result.exhibits]


def test_the_caption_of_the_mean_images_counts_the_classes_unless_all_are_shown() -> None:
    def caption(shown: int, spread: float | None) -> str:
        return captions.mean_image_caption(captions.MeanImageFindings(shown=shown, classes=3, spread=spread))

    assert caption(3, 0.25).startswith("The mean of all images and of each class. ")
    assert caption(2, 0.25).startswith("The mean of all images and of 2 of 3 classes. ")
    assert "differ by 0.250" in caption(2, 0.25)
    assert caption(0, None) == "The mean of all images."


def test_the_caption_of_the_distances_says_where_the_correlation_falls_below_one_half() -> None:
    def caption(adjacent: float | None, half: int | None) -> str:
        return captions.distance_caption(
            captions.DistanceFindings(
                adjacent=adjacent, farthest=adjacent, largest_distance=8, half_distance=half, euclidean=0.2
            )
        )

    assert "It falls below one half at a distance of 3 pixels." in caption(0.9, 3)
    assert "It falls below one half at a distance of 1 pixel." in caption(0.1, 1)
    assert "It stays above one half." in caption(0.9, None)
    assert caption(-0.00001, 1).startswith(
        "Adjacent pixels have a correlation of 0.000, those 8 apart 0.000."
    )
    assert caption(None, None) == "All pixels are equal."


def test_the_first_classes_with_five_images_have_a_mean_image() -> None:
    pixels = torch.rand(23, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0] * 5 + [1] * 4 + [2] * 6 + [3] * 8)
    images = Images.from_tensor(pixels, labels)
    for most, classes in ((9, [0, 2, 3]), (2, [0, 2]), (1, []), (0, [])):
        means = class_means(RunJob(0), images, most)
        assert list(means) == classes
        for c, mean in means.items():
            torch.testing.assert_close(mean, images.pixels()[labels == c].double().mean(0))
