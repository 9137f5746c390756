"""Does `patches` find what was planted, cut it out exactly, and say what it cannot show?"""

import numpy as np
import pytest
import torch
from torch import nn

from probe.analyses.units.top_patches import Patches
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import ImageGrid, Table
from probe.methods.units.crops import figure, seen_by, tile, window
from probe.methods.units.top_patches import top_activations
from probe.model.model import Model
from probe.params import validate
from probe.runs.job import RunJob
from tests.conftest import model_of

SIDE, PATCH = 24, 5


def planted() -> tuple[Model, Images, torch.Tensor, list[tuple[int, int]]]:
    """A detector of one 5 x 5 pattern as channel 2, and images of which nine hold the pattern, strongest first."""
    draw = torch.Generator().manual_seed(2)
    pattern = (torch.rand(3, PATCH, PATCH, generator=draw) > 0.5).float()
    network = nn.Sequential(
        nn.Conv2d(3, 4, PATCH, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(576, 3)
    )
    with torch.no_grad():
        network.get_parameter("0.weight").copy_(torch.randn(4, 3, PATCH, PATCH, generator=draw) / 50)
        network.get_parameter("0.weight")[2] = 2 * pattern - 1
        network.get_parameter("0.bias")[3] = -100
    pixels = 0.5 + 0.1 * (torch.rand(30, 3, SIDE, SIDE, generator=draw) - 0.5)
    places = [(0, 0), (19, 19), (7, 3), (0, 19), (10, 10), (12, 5), (3, 14), (19, 0), (8, 8)]
    for k, (top, left) in enumerate(places):
        blend = 1 - 0.05 * k
        spot = pixels[3 * k, :, top : top + PATCH, left : left + PATCH]
        spot.copy_(blend * pattern + (1 - blend) * spot)
    labels = torch.tensor([1 if i % 3 == 0 and i < 27 else i % 2 * 2 for i in range(30)])
    classes = ("class 0", "class 1", "class 2")
    return (
        model_of(network, (3, SIDE, SIDE), 3),
        Images.from_tensor(pixels, labels, classes=classes),
        pattern,
        places,
    )


def test_the_planted_patch_is_found_in_its_images_at_its_place_with_the_right_crop() -> None:
    model, images, pattern, places = planted()
    layer = model.layers.find("1")
    found = top_activations(model, images.batches(7), ["1"], k=9)["1"]
    assert found.image[2].tolist() == [3 * k for k in range(9)]
    boxes = [
        seen_by(layer, r, c, (SIDE, SIDE))
        for r, c in zip(found.row[2].tolist(), found.column[2].tolist(), strict=True)
    ]
    assert boxes == [(left, top, left + PATCH, top + PATCH) for top, left in places]
    made = figure(model, images, layer, found, 2, rule="deconvnet", limit=64)
    torch.testing.assert_close(made.crops[0], pattern)
    # One ReLU that is on: what comes back is the detector itself, dark where the pattern is dark.
    for part in made.reconstructions:
        assert torch.equal(part > 0.5, pattern > 0.5)


def test_what_a_channel_looks_for_is_answered_for_one_channel() -> None:
    model, images, _, _ = planted()
    result = validate(Patches, {"layers": "1:2"}).run(model, images, RunJob(0))
    first, table = result.exhibits
    assert isinstance(first, ImageGrid)
    assert isinstance(table, Table)
    assert first.title == "What channel 2 of 1 looks for"
    assert "9 \u00d7 class 1" in first.caption
    assert "5 x 5 pixels" in first.caption
    assert first.row_headers == ["patch", "guided", "whole image"]
    assert len(first.images) == 27
    row = table.rows[2]
    assert row[:2] == ["1", 2]
    assert row[-2:] == ["class 1", "9 \u00d7 class 1"]
    assert table.rows[3][2] == 0
    assert "1 of 4 channels never answers above zero" in table.caption


def test_reconstructions_come_from_one_unit_alone_and_vanish_outside_its_field() -> None:
    model, images, _, _ = planted()
    found = top_activations(model, images.batches(30), ["2"], k=4)["2"]
    layer = model.layers.find("2")
    made = figure(model, images, layer, found, 2, rule="gradient", limit=64)
    assert window(layer, (SIDE, SIDE)) == (6, 6)
    assert all(part.shape == (3, 6, 6) for part in made.reconstructions)
    # The maximum lies in one of four 5 x 5 windows: one row and one column of the 6 x 6 field get nothing.
    for part in made.reconstructions[2:3]:
        silent = (part == 0.5).all(0)
        assert int(silent.all(0).sum()) == 1
        assert int(silent.all(1).sum()) == 1


def test_a_crop_at_the_border_stands_at_that_border_of_its_frame() -> None:
    picture = torch.arange(36.0).view(1, 6, 6) / 36
    at = tile(picture, (0, 0, 2, 3), (4, 4), limit=9, blank=-1)
    assert torch.equal(at[:, 1:, 2:], picture[:, :3, :2])
    assert bool((at[:, 0] == -1).all())
    assert bool((at[:, :, :2] == -1).all())
    end = tile(picture, (4, 3, 6, 6), (4, 4), limit=9, blank=-1)
    assert torch.equal(end[:, :3, :2], picture[:, 3:, 4:])
    assert tile(picture, (0, 0, 6, 6), (6, 6), limit=3).shape == (1, 3, 3)


def test_images_without_labels_leave_out_the_classes_and_say_so(convnet: Model, noise_images: Images) -> None:
    bare = Images.from_tensor(noise_images.pixels())
    result = Patches(count=4, channels=2).run(convnet, bare, RunJob(0))
    assert any("no labels" in warning for warning in result.warnings)
    table = result.exhibits[-1]
    assert isinstance(table, Table)
    assert table.columns == ["layer", "channel", "strongest", "images above 0"]


def test_constant_images_and_fewer_images_than_patches_are_shown_for_what_they_are(convnet: Model) -> None:
    grey = Images.from_tensor(torch.full((3, 3, 32, 32), 0.5), torch.tensor([0, 1, 2]))
    result = Patches().run(convnet, grey, RunJob(0))
    assert "Of 3 images there can be no 9 patches of a channel, each from another." in result.warnings
    assert all(np.isfinite(p).all() for e in result.exhibits if isinstance(e, ImageGrid) for p in e.images)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ("4:12", "12 channels, 0 to 11"),
        ("5x", "no layer '5x'"),
        ("4:1:2,2", "not a layer address|looks for the place"),
    ],
)
def test_a_wrong_layer_or_channel_is_answered_in_one_line(
    convnet: Model, noise_images: Images, layers: str, words: str
) -> None:
    with pytest.raises(UserError, match=words) as error:
        validate(Patches, {"layers": layers}).run(convnet, noise_images, RunJob(0))
    assert "\n" not in str(error.value)


def test_a_network_without_relu_rule_shows_the_gradient_and_says_so(noise_images: Images) -> None:
    smooth = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Conv2d(4, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(3136, 10)
    )
    result = Patches(layers=("3",), count=4, channels=1).run(
        model_of(smooth, (3, 32, 32), 10), noise_images, RunJob(0)
    )
    assert any("SiLU" in warning for warning in result.warnings)
    first = result.exhibits[0]
    assert isinstance(first, ImageGrid)
    assert first.column_headers == ["strongest patches", "gradient"]


def test_behind_a_ceiling_channels_are_compared_by_what_comes_before_it() -> None:
    """A steep tanh: all strong patches are 1 behind it, and only before it is the strongest known."""
    network = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        network.get_parameter("0.weight").fill_(100)
    pixels = torch.linspace(0, 1, 6)[:, None, None, None].expand(6, 1, 4, 4).contiguous()
    images = Images.from_tensor(pixels, torch.arange(6) % 2, classes=("class 0", "class 1"))
    result = Patches(layers=("1",), count=2).run(model_of(network, (1, 4, 4), 2), images, RunJob(0))
    table = result.exhibits[-1]
    assert isinstance(table, Table)
    assert table.rows[0][:2] == ["0", 0]
    assert table.rows[0][2] == pytest.approx(100)
    assert "1 has a ceiling: its channels are compared by what 0 gives it." in result.warnings
    first = result.exhibits[0]
    assert isinstance(first, ImageGrid)
    whitest, gap, next_to_it = first.images[0].flatten().tolist()
    assert (whitest, gap) == (1, 1)
    assert next_to_it == pytest.approx(0.8)


def test_one_class_or_one_image_a_class_says_nothing_of_selectivity(
    convnet: Model, noise_images: Images
) -> None:
    for some, words in (([0, 10, 20], "of one class"), (range(10), "10 images of 10 classes are too few")):
        result = Patches(count=2, channels=1).run(convnet, noise_images.select(list(some)), RunJob(0))
        assert any(words in warning for warning in result.warnings)
        assert not [name for name in result.numbers if "selectivity" in name]
        assert "electivity" not in result.exhibits[-1].caption


def test_one_image_is_spoken_of_as_one(convnet: Model, noise_images: Images) -> None:
    result = Patches(layers=("2:1",)).run(convnet, noise_images.take(1), RunJob(0))
    said = " ".join([*result.warnings, *(e.caption for e in result.exhibits)])
    assert "1 images" not in said
    assert "these 1" not in said
