"""Does `statistics` show what images have in common, and leave out what has no meaning?"""

import pytest
import torch

from probe.analyses.inspection.image_statistics import Statistics
from probe.data.images import Images
from probe.exhibits.exhibits import Chart, Exhibit, ImageGrid, Table
from probe.model.model import Model
from probe.runs.job import RunJob


def means(exhibits: list[Exhibit]) -> ImageGrid:
    (found,) = [e for e in exhibits if isinstance(e, ImageGrid)]
    return found


def test_statistics_show_colours_distances_and_the_spectrum(convnet: Model, noise_images: Images) -> None:
    result = Statistics().run(convnet, noise_images, RunJob(0))
    assert [e.title for e in result.exhibits] == [
        "Mean and covariance of colour",
        "Correlation of colours",
        "Mean images",
        "Similarity of pixels against their distance",
        "Spectrum",
    ]
    assert abs(result.numbers["correlation of adjacent pixels"].value) < 0.02
    assert abs(result.numbers["spectral exponent"].value) < 0.15
    assert not result.warnings


@pytest.mark.parametrize("value", [0.0, 0.5, 128 / 255, 1.0])
def test_statistics_of_constant_images_leave_out_what_has_no_meaning_and_say_so(
    convnet: Model, value: float
) -> None:
    images = Images.from_tensor(torch.full((6, 3, 16, 16), value), torch.zeros(6, dtype=torch.long))
    result = Statistics().run(convnet, images, RunJob(0))
    assert len(result.warnings) == 2
    assert "spectral exponent" not in result.numbers
    assert {type(e) for e in result.exhibits} == {Table, ImageGrid, Chart}
    assert "nan" not in " ".join(e.caption for e in result.exhibits)


def test_without_labels_no_class_has_a_mean_and_it_is_said(convnet: Model, noise_images: Images) -> None:
    result = Statistics().run(convnet, Images.from_tensor(noise_images.pixels()), RunJob(0))
    assert result.warnings == ["The images have no labels: mean images of classes are left out."]


def test_the_mean_image_of_each_class_is_the_mean_of_its_images(convnet: Model, noise_images: Images) -> None:
    images = noise_images.select([i for i in range(40) if i % 10 != 7]).select(list(range(36)) * 2)
    assert images.labels is not None
    found = means(Statistics().run(convnet, images, RunJob(0)).exhibits)
    assert found.labels == ["all", *(f"class {c}" for c in range(10) if c != 7)]
    wanted = images.pixels()[images.labels == 3].mean(0).permute(1, 2, 0)
    torch.testing.assert_close(torch.from_numpy(found.images[4]), wanted)
    assert "of each class" in found.caption


def test_classes_of_few_images_have_no_mean_image_and_the_caption_counts_the_others(
    convnet: Model, noise_images: Images
) -> None:
    images = noise_images.select([0, 10, 20, 30, 0, 1, 11, 21, 31, 1, 2])
    found = means(Statistics().run(convnet, images, RunJob(0)).exhibits)
    assert found.labels == ["all", "class 0", "class 1"]
    assert "of 2 of 3 classes" in found.caption


def test_one_class_or_one_image_has_one_mean(convnet: Model, noise_images: Images) -> None:
    alike = noise_images.select([3, 13, 23, 33, 3, 13])
    assert means(Statistics().run(convnet, alike, RunJob(0)).exhibits).labels == ["all"]
    single = Statistics().run(convnet, noise_images.take(1), RunJob(0))
    assert "1 images" not in " ".join(e.caption for e in single.exhibits)


def test_grey_images_have_one_channel_and_no_correlation_of_colours(convnet: Model) -> None:
    draw = torch.Generator().manual_seed(0)
    result = Statistics().run(
        convnet, Images.from_tensor(torch.rand(4, 1, 16, 16, generator=draw)), RunJob(0)
    )
    assert "mean grey" in result.numbers
    assert "Correlation of colours" not in [e.title for e in result.exhibits]
