"""Tests of feature inversion and of the figures by which its images are compared."""

from collections.abc import Iterable

import numpy as np
import pytest
import torch
from torch import nn

from probe.data.sources import open_images
from probe.methods.synthesis.depth import first_of_each_size, layers_by_depth, spread
from probe.methods.synthesis.image_quality import psnr, ssim
from probe.methods.synthesis.invert import invert
from probe.methods.synthesis.optimise import Schedule
from probe.model.loading import load
from probe.model.model import Model
from probe.zoo import build
from tests.conftest import model_of

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def smooth(n: int) -> torch.Tensor:
    coarse = torch.rand(n, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(0.1 + 0.8 * coarse, (32, 32), mode="bilinear")


def test_the_features_of_an_invertible_layer_give_the_image_back():
    network = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = model_of(network, (3, 32, 32), 2)
    model.network[0].weight.data = torch.eye(3)[:, :, None, None]  # type: ignore[index]
    result = invert(model, smooth(2), "0", smoothness=0, schedule=Schedule(60), seeds=[[1, 2]])
    assert result.error.max() < 0.02
    assert psnr(result.pixels[0], smooth(2)).min() > 25


def test_features_come_nearer_and_restarts_differ(convnet: Model):
    model, images = convnet.double(), smooth(2).double()
    few, many = (
        invert(model, images, "4", smoothness=0.1, schedule=Schedule(steps), seeds=[[1, 2], [3, 4]])
        for steps in (2, 25)
    )
    assert few.error.shape == (2, 2)
    assert (many.error < 0.5 * few.error).all()
    assert (many.pixels[0] - many.pixels[1]).abs().mean() > 1e-3
    alone = invert(model, images[1:], "4", smoothness=0.1, schedule=Schedule(25), seeds=[[4]])
    torch.testing.assert_close(alone.pixels[0, 0], many.pixels[1, 1], rtol=0, atol=1e-5)


def test_black_and_white_digits_are_found_from_every_start():
    model = load("lenet5-digits", device="cpu")
    images = open_images("digits:test").take(8, 0).preprocessed(model.shape, model.card.input.preprocess)
    seeds = [list(range(8)), list(range(50, 58))]
    result = invert(model, images.pixels(), "act1", smoothness=0.1, schedule=Schedule(100), seeds=seeds)
    assert result.error.max() < 0.01
    assert len(result.history) == 100


@pytest.mark.parametrize("after", [3, 7, 8, 9])
def test_an_interrupted_inversion_of_grey_images_keeps_its_images(after: int):
    model = load("lenet5-digits", device="cpu")
    images = open_images("digits:test").take(2, 0).preprocessed(model.shape, model.card.input.preprocess)
    ended = []

    def progress(steps: Iterable[int]) -> Iterable[int]:
        for step in steps:
            if step == after:
                raise KeyboardInterrupt
            yield step
        ended.append(True)

    arguments = {"smoothness": 0.1, "schedule": Schedule(10), "seeds": [[1, 2]]}
    result = invert(model, images.pixels(), "act1", progress=progress, **arguments)
    assert result.stopped is not None
    assert result.error.isfinite().all()
    assert len(result.history) == after
    after = 10
    assert invert(model, images.pixels(), "act1", progress=progress, **arguments).stopped is None
    assert ended == [True]


def test_psnr_and_ssim_are_their_formulas_written_out():
    noisy = (IMAGES + 0.1 * torch.randn(IMAGES.shape, generator=torch.Generator().manual_seed(2))).clamp(0, 1)
    expected = -10 * np.log10(((noisy - IMAGES) ** 2).numpy().mean((1, 2, 3)))
    np.testing.assert_allclose(psnr(noisy, IMAGES).numpy(), expected, rtol=1e-5)
    assert psnr(IMAGES, IMAGES).tolist() == [100, 100]
    torch.testing.assert_close(ssim(IMAGES, IMAGES), torch.ones(2))
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / 4.5)
    window /= window.sum()
    a, b = noisy[0].double().numpy(), IMAGES[0].double().numpy()
    values = []
    for channel in range(3):
        for y in range(22):
            for x in range(22):
                p, q = (each[channel, y : y + 11, x : x + 11] for each in (a, b))
                mp, mq = (window * p).sum(), (window * q).sum()
                vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
                cov = (window * (p - mp) * (q - mq)).sum()
                top = (2 * mp * mq + 1e-4) * (2 * cov + 9e-4)
                values.append(top / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4)))
    assert float(ssim(noisy, IMAGES)[0]) == pytest.approx(np.mean(values), abs=1e-4)


def test_unrelated_images_are_not_similar_and_small_ones_are_compared_too():
    assert abs(float(ssim(IMAGES[:1], IMAGES[1:]))) < 0.1
    assert ssim(IMAGES[..., :4, :4], IMAGES[..., :4, :4]).tolist() == pytest.approx([1, 1])


def test_layers_by_depth_are_one_of_each_block(convnet: Model):
    assert layers_by_depth(convnet) == ["2", "5"]
    with torch.random.fork_rng():
        resnet = model_of(build("resnet20"), (3, 32, 32), 10)
    layers = layers_by_depth(resnet)
    assert len(layers) == 10
    assert layers[0] == "relu"
    assert all(address.endswith("relu2") for address in layers[1:])
    assert first_of_each_size(resnet, layers) == ["relu", "layer2.0.relu2", "layer3.0.relu2"]
    assert spread(layers, 3) == ["relu", layers[4], layers[9]]
    assert spread(layers, 1) == layers[-1:]
    assert spread(layers, 30) == layers
