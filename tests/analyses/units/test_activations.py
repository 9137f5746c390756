"""Tests of `activations`: the maps that are shown, and the counts of zeros and dead channels."""

import numpy as np
import pytest
import torch

from probe.analyses.units import activations_exhibits as captions
from probe.analyses.units.activations import Activations
from probe.analyses.units.activations_exhibits import DepthFindings, MapFindings
from probe.data.images import Images
from probe.exhibits.checks import check
from probe.exhibits.exhibits import Exhibit, ImageGrid, Matrix, Table
from probe.exhibits.result import Result
from probe.methods.inspection.responses import Response
from probe.model.model import Model
from probe.runs.job import RunJob


def run(model: Model, images: Images, **options: object) -> tuple[Result, dict[str, Exhibit]]:
    result = Activations(**options).run(model, images, RunJob(0))  # type: ignore[arg-type]
    for exhibit in result.exhibits:
        check(exhibit)
    return result, {exhibit.title: exhibit for exhibit in result.exhibits}


def test_maps_are_the_activations_the_largest_channels_first(convnet: Model, noise_images: Images):
    _, exhibits = run(convnet, noise_images, layers=("4",), examples=2, channels=5)
    shown = exhibits["Maps of 4"]
    assert isinstance(shown, ImageGrid)
    assert shown.scale is not None
    assert shown.scale.kind == "diverging"
    pixels = noise_images.pixels()[:2]
    maps = convnet.features(pixels, "4")["4"]
    order = maps.abs().amax((0, 2, 3)).argsort(descending=True, stable=True)[:5].tolist()
    assert shown.column_headers == ["image", *map(str, order)]
    assert shown.row_headers == ["class 0", "class 1"]
    for row in range(2):
        np.testing.assert_array_equal(shown.images[row * 6], pixels[row].permute(1, 2, 0).numpy())
        for column, channel in enumerate(order):
            np.testing.assert_allclose(
                shown.images[row * 6 + 1 + column], maps[row, channel].numpy(), atol=1e-6
            )


def test_each_layer_has_a_scale_of_its_own(convnet: Model, noise_images: Images):
    _, exhibits = run(convnet, noise_images, layers=("2", "5"))
    highs = []
    for address in ("2", "5"):
        shown = exhibits[f"Maps of {address}"]
        assert isinstance(shown, ImageGrid)
        assert shown.scale is not None
        assert shown.scale.low == 0
        assert shown.scale.high == pytest.approx(max(i.max() for i in shown.images if i.ndim == 2))
        highs.append(shown.scale.high)
    assert highs[0] != highs[1]


def test_a_channel_that_is_off_for_all_images_is_dead(convnet: Model, noise_images: Images):
    convnet.network[1].bias.data[3] = -1e4  # type: ignore[index]
    result, exhibits = run(convnet, noise_images)
    table = exhibits["Responses of each layer"]
    assert isinstance(table, Table)
    assert {row[0]: row[3] for row in table.rows} == {"2": 1, "5": 0}
    assert result.numbers["dead_channels"].value == pytest.approx(1 / 20)
    convnet.network[1].bias.data[:] = -1e4  # type: ignore[index]
    result, _ = run(convnet, noise_images)
    assert any(
        "dead" in line and "in 2 layers: 2 and 5. The largest proportion is 100%, in 2." in line
        for line in result.warnings
    )


def test_dead_channels_of_several_layers_are_one_warning():
    def response(dead: list[bool]) -> Response:
        return Response(
            torch.zeros(len(dead)), torch.tensor([0.0 if each else 1.0 for each in dead]), 0.0, 100
        )

    few = captions.warnings({"a": response([True, True]), "b": response([True, False, False, False])}, 500)
    assert few == ["100% of the channels of a are dead: constant over 500 images."]
    several = captions.warnings(
        {"a": response([True, False]), "b": response([True, True]), "c": response([False])}, 500
    )
    assert several == [
        "More than 30% of the channels are dead, that is, constant over 500 images, in 2 layers: a and b. The largest "
        "proportion is 100%, in b."
    ]


def test_a_dense_layer_is_shown_as_a_matrix(convnet: Model, noise_images: Images):
    _, exhibits = run(convnet, noise_images, layers=("9",), channels=4)
    shown = exhibits["Units of 9"]
    assert isinstance(shown, Matrix)
    logits = convnet.logits(noise_images.pixels()[:3])
    for column, unit in enumerate(shown.column_labels):
        np.testing.assert_allclose(shown.values[:, column], logits[:, int(unit)].numpy(), atol=1e-5)


def test_images_of_different_classes_are_chosen(convnet: Model):
    pixels = torch.rand(30, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([4] * 10 + [7] * 10 + [2] * 10)
    names = tuple(f"class {i}" for i in range(10))
    _, exhibits = run(convnet, Images.from_tensor(pixels, labels, classes=names), layers=("2",), examples=4)
    shown = exhibits["Maps of 2"]
    assert isinstance(shown, ImageGrid)
    assert shown.row_headers == ["class 4", "class 7", "class 2", "class 4"]


def map_findings(**options: object) -> MapFindings:
    setting: dict = {
        "what": "channel",
        "address": "conv2",
        "shown": 10,
        "total": 64,
        "index": 12,
        "largest": 3.21,
        "median": 0.5,
        "zeros": 0.45,
        "dead": 2,
        "size": (14, 7),
    }
    return MapFindings(**{**setting, **options})


def test_captions_of_maps_state_activations_zeros_and_dead_channels():
    assert captions.caption_of_maps(map_findings()) == (
        "10 of 64 channels of conv2, largest activations first. The largest absolute activation on these images is 3.21, "
        "in channel 12; the median over the channels is 0.5. Over the sample 45% of the activations of the layer are 0 and "
        "2 of 64 channels are dead. Maps are 14 x 7, on one scale for the layer."
    )
    single = captions.caption_of_maps(map_findings(what="unit", shown=1, total=1, dead=0, size=None))
    assert single.startswith("The only unit of conv2. ")
    assert single.endswith("are 0 and no unit is dead.")


def test_captions_of_depth_count_dead_channels():
    some_dead = DepthFindings(("conv1", 0.4), ("fc", 0.7), 5, 3, 1200, ("conv2", 0.1), 512)
    assert captions.caption_of_depth(some_dead) == (
        "The proportion of zeros is 40% in conv1 and 70% in fc. Dead channels, constant over 512 images: 3 of 1,200; the "
        "largest proportion is in conv2 (10%)."
    )
    none_dead = DepthFindings(("conv1", 0.4), ("conv1", 0.4), 1, 0, 6, ("conv1", 0.0), 1)
    assert captions.caption_of_dead(none_dead) == "No channel is dead, that is, constant over 1 image."
