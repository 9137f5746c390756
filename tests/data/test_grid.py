"""Grids of tensors, with attributions reduced to one value per pixel."""

import numpy as np
import pytest
import torch

import probe
from probe.errors import UserError

PIXELS = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def test_images_are_shown_as_they_are() -> None:
    grid = probe.grid(PIXELS, labels=["a", "b"])
    assert np.allclose(grid.images[1], PIXELS[1].permute(1, 2, 0))
    assert "data:image/webp" in grid._repr_html_()


def test_signed_maps_are_summed_over_channels_and_magnitudes_take_the_largest() -> None:
    signed = PIXELS - 0.5
    grid = probe.grid(PIXELS, signed)
    assert np.allclose(grid.images[1], signed.sum(1)[0], atol=1e-6)
    assert grid.scale is not None
    assert grid.scale.kind == "diverging"
    assert np.allclose(probe.grid(PIXELS, PIXELS).images[1], PIXELS.amax(1)[0])


@pytest.mark.parametrize(
    ("pixels", "more", "message"),
    [
        (PIXELS[0], {}, r"pixels must be \(n, c, h, w\)"),
        (PIXELS, {"maps": PIXELS[:1]}, "maps must have the shape .* to match the pixels"),
        (PIXELS, {"labels": ["a"]}, "2 images, but 1 labels"),
        (PIXELS, {"maps": PIXELS * float("nan")}, "maps contain NaN"),
        (PIXELS.repeat(60, 1, 1, 1), {}, "at most 100 images, got 120"),
    ],
)
def test_what_does_not_fit_is_one_line(pixels: torch.Tensor, more: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        probe.grid(pixels, **more)


def test_images_show_themselves_whatever_their_size(convnet: probe.Model, noise_images: probe.Images) -> None:
    html = noise_images._repr_html_()
    assert "The first 24 of 40 images." in html
    from PIL import Image

    sizes = probe.images([Image.new("RGB", (40, 20)), Image.new("L", (9, 9))])
    assert "<img" in sizes._repr_html_()
    assert "n=0" in noise_images.select([])._repr_html_()
