"""Tests of style transfer: its losses, its layers, colours, masks and scales."""

import pytest
import torch

from probe.methods.synthesis.matching import gram
from probe.methods.synthesis.optimise import Schedule
from probe.methods.synthesis.style import (
    Layers,
    Setting,
    Style,
    Weights,
    default_layers,
    losses,
    luminance,
    matched_luminance,
    measure,
    scales,
    transfer,
    with_colours_of,
)
from probe.model.model import Model
from probe.zoo import build
from tests.conftest import model_of

LAYERS = Layers(("4",), ("0", "4"))


def picture(seed: int, height: int = 36, width: int = 44) -> torch.Tensor:
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")


def test_the_losses_are_those_of_their_formulas(convnet: Model):
    content, style, other = picture(0), picture(1, 30, 30), picture(2)
    terms = losses(convnet, content, [Style(style)], LAYERS)
    got_content, got_style = measure(convnet.at_size(36, 44), terms, other)

    def features(pixels: torch.Tensor, layer: str) -> torch.Tensor:
        return convnet.at_size(*pixels.shape[2:]).features(pixels, layer)[layer]

    target = features(content, "4")
    expected = (features(other, "4") - target).square().sum() / target.square().sum()
    assert got_content["4"] == pytest.approx(float(expected), rel=1e-4)
    for layer in ("0", "4"):
        wanted = gram(features(style, layer))
        expected = (gram(features(other, layer)) - wanted).square().sum() / wanted.square().sum()
        assert got_style[layer] == pytest.approx(float(expected), rel=1e-4)
    same, _ = measure(convnet.at_size(36, 44), terms, content)
    assert same["4"] == 0


def test_the_scale_of_the_paper_divides_by_the_channels(convnet: Model):
    content, style, other = picture(0), picture(1), picture(2)
    layers = Layers(("4",), ("4",), paper=True)
    _, got = measure(convnet.at_size(36, 44), losses(convnet, content, [Style(style)], layers), other)
    maps = [convnet.at_size(36, 44).features(each, "4")["4"] for each in (other, style)]
    channels = maps[0].shape[1]
    difference = (gram(maps[0]) - gram(maps[1])).square().mean() / channels**2
    assert got["4"] == pytest.approx(float(difference), rel=1e-4)


def test_several_styles_count_by_their_weights(convnet: Model):
    first, second, other = picture(1), picture(2), picture(3)
    sized = convnet.at_size(36, 44)

    def loss(*styles: Style) -> float:
        return measure(sized, losses(convnet, picture(0), styles, LAYERS), other)[1]["4"]

    mixed = loss(Style(first, 3.0), Style(second, 1.0))
    assert mixed == pytest.approx(0.75 * loss(Style(first)) + 0.25 * loss(Style(second)), rel=1e-4)


def test_a_transfer_takes_the_style_and_keeps_the_content(convnet: Model):
    content, style = picture(0), picture(1)
    result = transfer(
        convnet,
        content,
        [Style(style)],
        Setting(LAYERS, Weights(1, 50, 0)),
        start=content,
        schedule=Schedule(25, keep_best=True),
    )
    assert all(after < 0.3 * before for before, after in result.style_loss.values())
    assert result.content_loss["4"][1] < 0.5
    assert result.pixels.shape == content.shape
    assert 0 <= float(result.pixels.min()) <= float(result.pixels.max()) <= 1


def test_outside_of_its_mask_a_style_changes_little(convnet: Model):
    content, style = picture(0, 40, 40), picture(1, 40, 40)
    mask = torch.zeros(1, 1, 40, 40)
    mask[..., :16] = 1
    result = transfer(
        convnet,
        content,
        [Style(style, mask=mask)],
        Setting(LAYERS, Weights(0.01, 50, 0)),
        start=content,
        schedule=Schedule(10, keep_best=True),
    )
    change = (result.pixels - content).abs().mean((0, 1, 2))
    assert change[24:].max() < 0.2 * change[:12].mean()


def test_colours_of_the_content_are_kept_exactly():
    content, other = 0.3 + 0.4 * picture(0), 0.3 + 0.4 * picture(1)
    torch.testing.assert_close(with_colours_of(content, content), content, rtol=0, atol=1e-4)
    mixed = with_colours_of(0.5 * luminance(other) + 0.5 * luminance(content), content)
    expected = 0.5 * luminance(other) + 0.5 * luminance(content)
    torch.testing.assert_close(luminance(mixed), expected, rtol=0, atol=1e-4)
    matched = matched_luminance(other, content)
    torch.testing.assert_close(matched.mean(), luminance(content).mean(), rtol=0, atol=1e-3)
    torch.testing.assert_close(matched.std(), luminance(content).std(), rtol=0, atol=1e-2)


def test_layers_are_the_papers_for_vgg_19_and_by_depth_for_others(convnet: Model):
    assert default_layers(convnet).paper is False
    with torch.random.fork_rng():
        resnet = model_of(build("resnet20"), (3, 32, 32), 10)
    layers = default_layers(resnet)
    assert layers.style[0] == "relu"
    assert len(layers.style) == 5
    assert layers.content[0].startswith("layer2")


@pytest.mark.slow
def test_layers_of_torchvisions_vgg_19_are_those_of_the_paper():
    import torchvision

    with torch.random.fork_rng(), torch.device("meta"):
        network = torchvision.models.vgg19(weights=None)
    del network.classifier[1:]
    network.classifier[0] = torch.nn.Linear(25088, 2, device="meta")
    network.to_empty(device="cpu")
    model = model_of(network, (3, 224, 224), 2)
    model.card = model.card.model_copy(update={"architecture": "torchvision:vgg19"})
    layers = default_layers(model)
    assert layers.paper
    assert layers.content == ("features.22",)  # relu4_2
    assert [model.layers.find(address).shape[0] for address in layers.style] == [64, 128, 256, 512, 512]


def test_scales_double_and_end_at_the_size():
    assert scales((300, 400), 3, 50) == [(75, 100), (150, 200), (300, 400)]
    assert scales((300, 400), 3, 100) == [(150, 200), (300, 400)]
    assert scales((30, 40), 3, 100) == [(30, 40)]
