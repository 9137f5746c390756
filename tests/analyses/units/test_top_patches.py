"""Tests of `top-patches`: planted patterns, exact crops, reconstructions, and what is reported as missing."""

import numpy as np
import pytest
import torch
from torch import nn

from probe.analyses.units import top_patches_exhibits as captions
from probe.analyses.units.top_patches import TopPatches
from probe.analyses.units.top_patches_exhibits import ChannelFindings, LayerFindings, cut
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import ImageGrid, Table
from probe.methods.units.top_patches import patch_size, receptive_box, top_activations, top_patches
from probe.model.model import Model
from probe.params import validate
from probe.runs.execute import run
from probe.runs.job import RunJob
from tests.conftest import model_of

SIDE, PATCH = 24, 5


def planted() -> tuple[Model, Images, torch.Tensor, list[tuple[int, int]]]:
    """A detector of one 5 x 5 pattern as channel 2, and images of which nine hold the pattern, the clearest first."""
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
    positions = [(0, 0), (19, 19), (7, 3), (0, 19), (10, 10), (12, 5), (3, 14), (19, 0), (8, 8)]
    for k, (top, left) in enumerate(positions):
        blend = 1 - 0.05 * k
        spot = pixels[3 * k, :, top : top + PATCH, left : left + PATCH]
        spot.copy_(blend * pattern + (1 - blend) * spot)
    labels = torch.tensor([1 if i % 3 == 0 and i < 27 else i % 2 * 2 for i in range(30)])
    classes = ("class 0", "class 1", "class 2")
    return (
        model_of(network, (3, SIDE, SIDE), 3),
        Images.from_tensor(pixels, labels, classes=classes),
        pattern,
        positions,
    )


def test_the_planted_patches_are_cut_out_of_their_images_at_their_positions() -> None:
    model, images, pattern, positions = planted()
    layer = model.layers.find("1")
    top = top_activations(model, images.batches(7), ["1"], k=9)["1"]
    assert top.image[2].tolist() == [3 * k for k in range(9)]
    boxes = [
        receptive_box(layer, r, c, (SIDE, SIDE))
        for r, c in zip(top.row[2].tolist(), top.column[2].tolist(), strict=True)
    ]
    assert boxes == [(left, top, left + PATCH, top + PATCH) for top, left in positions]
    tiles = cut(top_patches(model, images, layer, top, 2, rule="deconvnet"), layer, limit=64)
    torch.testing.assert_close(tiles.crops[0], pattern)
    # One ReLU that is on: what comes back is the detector itself, dark where the pattern is dark.
    for part in tiles.reconstructions:
        assert torch.equal(part > 0.5, pattern > 0.5)


def test_a_named_channel_is_shown_patch_by_patch() -> None:
    model, images, _, _ = planted()
    result = validate(TopPatches, {"layers": "1:2"}).run(model, images, RunJob(0))
    first, table = result.exhibits
    assert isinstance(first, ImageGrid)
    assert isinstance(table, Table)
    assert first.title == "Top patches of channel 2 of 1"
    assert (first.facts["patches"], first.facts["receptive_field_height"]) == (9, 5)
    assert first.row_headers == ["patch", "guided", "whole image"]
    assert len(first.images) == 27
    row = table.rows[2]
    assert row[:2] == ["1", 2]
    assert row[-2:] == ["class 1", "9 \u00d7 class 1"]
    assert table.rows[3][2] == 0
    assert result.numbers["inactive_channels"].value == 1


def test_reconstructions_come_from_one_unit_alone_and_vanish_outside_its_field() -> None:
    model, images, _, _ = planted()
    top = top_activations(model, images.batches(30), ["2"], k=4)["2"]
    layer = model.layers.find("2")
    tiles = cut(top_patches(model, images, layer, top, 2, rule="gradient"), layer, limit=64)
    assert patch_size(layer, (SIDE, SIDE)) == (6, 6)
    assert all(part.shape == (3, 6, 6) for part in tiles.reconstructions)
    # The maximum lies in one of four 5 x 5 windows: one row and one column of the 6 x 6 field get nothing.
    for part in tiles.reconstructions[2:3]:
        zero = (part == 0.5).all(0)
        assert int(zero.all(0).sum()) == 1
        assert int(zero.all(1).sum()) == 1


def test_images_without_labels_leave_out_the_classes_and_say_so(convnet: Model, noise_images: Images) -> None:
    bare = Images.from_tensor(noise_images.pixels())
    result = TopPatches(top_k=4, channels=2).run(convnet, bare, RunJob(0))
    assert any("no labels" in warning for warning in result.warnings)
    table = result.exhibits[-1]
    assert isinstance(table, Table)
    assert table.columns == ["layer", "channel", "largest activation", "images above 0"]


def test_constant_images_and_fewer_images_than_patches_are_shown_for_what_they_are(convnet: Model) -> None:
    grey = Images.from_tensor(torch.full((3, 3, 32, 32), 0.5), torch.tensor([0, 1, 2]))
    result = TopPatches().run(convnet, grey, RunJob(0))
    assert "A channel has 9 patches of different images, but there are 3 images." in result.warnings
    assert all(np.isfinite(p).all() for e in result.exhibits if isinstance(e, ImageGrid) for p in e.images)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ("4:12", "12 channels, 0 to 11"),
        ("5x", "no layer '5x'"),
        ("4:1:2,2", "not a layer address|searches all positions"),
    ],
)
def test_a_wrong_layer_or_channel_is_answered_in_one_line(
    convnet: Model, noise_images: Images, layers: str, words: str
) -> None:
    with pytest.raises(UserError, match=words) as error:
        validate(TopPatches, {"layers": layers}).run(convnet, noise_images, RunJob(0))
    assert "\n" not in str(error.value)


def test_a_network_without_relu_rule_shows_the_gradient_and_says_so(noise_images: Images) -> None:
    smooth = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Conv2d(4, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(3136, 10)
    )
    result = TopPatches(layers=("3",), top_k=4, channels=1).run(
        model_of(smooth, (3, 32, 32), 10), noise_images, RunJob(0)
    )
    assert any("SiLU" in warning for warning in result.warnings)
    first = result.exhibits[0]
    assert isinstance(first, ImageGrid)
    assert first.column_headers == ["top patches", "gradient"]


def test_channels_of_a_saturating_layer_are_ranked_by_its_input() -> None:
    """A steep tanh: its output is 1 for many patches, and only its input tells which activates it most."""
    network = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        network.get_parameter("0.weight").fill_(100)
    pixels = torch.linspace(0, 1, 6)[:, None, None, None].expand(6, 1, 4, 4).contiguous()
    images = Images.from_tensor(pixels, torch.arange(6) % 2, classes=("class 0", "class 1"))
    result = TopPatches(layers=("1",), top_k=2).run(model_of(network, (1, 4, 4), 2), images, RunJob(0))
    table = result.exhibits[-1]
    assert isinstance(table, Table)
    assert table.rows[0][:2] == ["0", 0]
    assert table.rows[0][2] == pytest.approx(100)
    assert "1 saturates: its channels are ranked by its input, 0." in result.warnings
    first = result.exhibits[0]
    assert isinstance(first, ImageGrid)
    whitest, gap, next_to_it = first.images[0].flatten().tolist()
    assert (whitest, gap) == (1, 1)
    assert next_to_it == pytest.approx(0.8)


def test_one_class_or_one_image_a_class_has_no_selectivity(convnet: Model, noise_images: Images) -> None:
    for positions, words in (
        ([0, 10, 20], "All images belong to one class"),
        (range(10), "10 images of 10 classes are too few"),
    ):
        images = noise_images.select(list(positions))
        result = TopPatches(top_k=2, channels=1).run(convnet, images, RunJob(0))
        assert any(words in warning for warning in result.warnings)
        assert not [name for name in result.numbers if "selectivity" in name]
        table = result.exhibits[-1]
        assert isinstance(table, Table)
        assert "selectivity" not in table.columns


def layer_findings(**options: object) -> LayerFindings:
    setting: dict = {
        "address": "conv2",
        "shown": 6,
        "total": 64,
        "inactive": 3,
        "n": 512,
        "patches": 9,
        "field": "the receptive field of one unit (5 x 7 pixels)",
        "rules": ("guided",),
    }
    return LayerFindings(**{**setting, **options})


def test_captions_of_layers_state_what_is_shown_and_how_it_was_reconstructed() -> None:
    assert captions.caption_of_layer(layer_findings()) == (
        "6 of 64 channels of conv2, drawn at random from the active ones. Left of each pair: the 9 patches of different images "
        "that activate it most, each the receptive field of one unit (5 x 7 pixels). Right: the pixels of each patch that activate that unit, "
        "reconstructed by guided backprop from this unit only, each scaled separately. Channels never above zero on "
        "512 images: 3 of 64. Guided backprop barely changes when later weights are randomised: it sharpens edges and "
        "does not explain the activation."
    )
    single = captions.caption_of_layer(
        layer_findings(shown=2, total=2, inactive=0, patches=1, n=1, rules=("gradient",))
    )
    assert single.startswith(
        "Both channels of conv2. Left of each pair: the patch that activates it most, the receptive"
    )
    assert "reconstructed by the gradient" in single
    assert "on 1 image: 0 of 2." in single
    assert "randomised" not in single


def channel_findings(**options: object) -> ChannelFindings:
    setting: dict = {
        "largest": 5.3,
        "smallest": 4.1,
        "patches": 9,
        "active": 0.3,
        "composition": "9 \u00d7 cat",
        "selectivity": 0.85,
        "n": 512,
        "field": "the whole image",
        "rule": "deconvnet",
    }
    return ChannelFindings(**{**setting, **options})


def test_captions_of_a_channel_state_its_activations_and_classes() -> None:
    text = captions.caption_of_channel(channel_findings())
    assert text.startswith(
        "The 9 largest activations of the channel range from 5.3 to 4.1. Classes of the patches: 9 \u00d7 cat. The channel "
        "is above zero in 30% of the images. Class selectivity is 0.85. Rows: the patch, the whole image;"
    )
    assert "reconstructed by deconvnet" in text
    assert "Deconvnet barely changes" in text
    single = captions.caption_of_channel(channel_findings(patches=1, selectivity=None, composition=""))
    assert single.startswith("The largest activation of the channel is 5.3. The channel is above zero in 30%")
    assert "electivity" not in single
    inactive = captions.caption_of_channel(channel_findings(largest=-0.5, n=1))
    assert inactive.startswith(
        "The channel is never above zero on 1 image; its largest activations are shown."
    )
    assert "selectivity" not in captions.caption_of_table(1, 4, 20, selective=False).lower()
    assert "on 20 images: 1 of 4." in captions.caption_of_table(1, 4, 20, selective=True)


def test_a_receptive_field_that_is_not_known_is_said_beside_the_patches() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(4, 4, 3),
        nn.Flatten(),
        nn.Linear(4 * 26 * 26, 2),
    )
    model = model_of(network, (3, 16, 16), 2, "upsampled")
    images = Images.from_tensor(torch.rand(12, 3, 16, 16), name="noise")
    result = run("top-patches", model, images, layers="2:1", top_k=2)
    assert "the receptive field of a unit is not known here" in result.exhibits[0].caption
