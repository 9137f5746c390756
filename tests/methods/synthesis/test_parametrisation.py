"""Tests of the image parametrisations against their formulas."""

import cmath
import math

import numpy as np
import pytest
import torch

from probe.methods.synthesis.parametrisation import (
    FixedMagnitude,
    Fourier,
    Pixels,
    decorrelation,
    mean_and_covariance,
    mean_magnitude,
)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def covariance() -> torch.Tensor:
    root = random(3, 3, seed=4)
    return root @ root.T


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (6, 5)])
@pytest.mark.parametrize("decay", [0.0, 1.0, 1.5])
def test_fourier_is_the_sum_of_waves_written_out_slowly(size: tuple[int, int], decay: float):
    height, width = size
    mean_image = random(3, height, width, seed=2).sigmoid()
    parametrisation = Fourier(
        (3, height, width), covariance=covariance(), mean_image=mean_image, decay_power=decay
    )
    variables = random(1, 3, height, width // 2 + 1, 2, seed=1)
    pixels = parametrisation.to_pixels(variables)
    colours = decorrelation(covariance()).double()
    for y in range(height):
        for x in range(width):
            waves = []
            for channel in range(3):
                total = 0.0
                for row in range(height):
                    for column in range(width // 2 + 1):
                        vertical = (row if row <= (height - 1) // 2 else row - height) / height
                        frequency = max(math.hypot(vertical, column / width), 1 / max(size))
                        real, imaginary = variables[0, channel, row, column].tolist()
                        value = complex(real, imaginary) * frequency**-decay / 4
                        wave = value * cmath.exp(2j * math.pi * (row * y / height + column * x / width))
                        # The half of the spectrum that is not stored is the mirror image of this one.
                        twice = 1 if column == 0 or 2 * column == width else 2
                        total += twice * wave.real
                waves.append(total / math.sqrt(height * width))
            shade = colours @ torch.tensor(waves, dtype=torch.float64) + mean_image[:, y, x].logit()
            torch.testing.assert_close(pixels[0, :, y, x], shade.sigmoid(), rtol=0, atol=1e-6)


def test_zero_coefficients_are_the_mean_image_kept_off_the_ends_of_the_sigmoid():
    mean_image = torch.tensor([0.0, 0.3, 1.0]).reshape(3, 1, 1).expand(3, 4, 4)
    pixels = Fourier((3, 4, 4), mean_image=mean_image).to_pixels(torch.zeros(1, 3, 4, 3, 2))
    torch.testing.assert_close(pixels[0], mean_image.clamp(0.005, 0.995))
    grey = Fourier((1, 4, 4)).to_pixels(torch.zeros(1, 1, 4, 3, 2))
    assert (grey == 0.5).all()


def test_first_images_are_faint_and_stronger_with_contrast():
    for parametrisation in (Fourier((3, 32, 32)), Pixels((3, 32, 32))):
        faint, strong = (
            parametrisation.to_pixels(
                parametrisation.initialise(torch.Generator().manual_seed(0), contrast)[None]
            ).std()
            for contrast in (1.0, 9.0)
        )
        assert 0.001 < faint < 0.03
        assert strong > 5 * faint


def test_decorrelated_values_become_colours_with_the_covariance_of_the_data():
    matrix = decorrelation(covariance()).double()
    ratio = (matrix @ matrix.T) / covariance()
    torch.testing.assert_close(ratio, ratio[0, 0].expand(3, 3), rtol=1e-4, atol=0)
    assert matrix.norm(dim=0).max().item() == pytest.approx(1)


def test_colours_that_never_vary_in_the_data_stay_within_reach():
    grey = decorrelation(torch.ones(3, 3))
    assert grey.isfinite().all()
    assert torch.linalg.matrix_rank(grey) == 3


def test_mean_and_covariance_are_numpys_over_all_pixels():
    pixels = random(7, 3, 4, 5).sigmoid()
    mean, covariance_ = mean_and_covariance(iter(pixels.split(3)))
    flat = pixels.movedim(1, 0).flatten(1).numpy()
    np.testing.assert_allclose(covariance_.numpy(), np.cov(flat, bias=True), atol=1e-12)
    torch.testing.assert_close(mean, pixels.mean(0).float())
    with pytest.raises(ValueError, match="no images"):
        mean_and_covariance([])


def test_pixels_are_clipped_after_a_step():
    projected = Pixels((1, 1, 3)).project(torch.tensor([[[[-0.5, 0.25, 1.5]]]]))
    assert projected.flatten().tolist() == [0.0, 0.25, 1.0]


def test_images_of_one_flat_colour_leave_all_colours_open_alike():
    matrix = decorrelation(torch.zeros(3, 3, dtype=torch.float64))
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(3))


@pytest.mark.parametrize("size", [(8, 12), (9, 7)])
def test_a_picture_comes_back_from_its_variables(size: tuple[int, int]):
    pixels = 0.05 + 0.9 * torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)).double()
    mean_image = random(3, *size, seed=2).sigmoid()
    for parametrisation in (
        Fourier((3, *size), covariance=covariance(), mean_image=mean_image),
        Fourier((3, *size), decay_power=1.5),
        Pixels((3, *size)),
    ):
        again = parametrisation.to_pixels(parametrisation.to_variables(pixels))
        torch.testing.assert_close(again, pixels, rtol=0, atol=1e-5)


def test_phases_leave_the_magnitude_as_it_is():
    images = torch.rand(6, 3, 8, 10, generator=torch.Generator().manual_seed(1))
    colours = covariance()
    magnitude = mean_magnitude(iter([images[:4], images[4:]]), covariance=colours)
    parametrisation = FixedMagnitude((3, 8, 10), magnitude, covariance=colours)
    for seed in (0, 1):
        variables = parametrisation.initialise(torch.Generator().manual_seed(seed))[None].double()
        logits = parametrisation.to_pixels(variables).logit() / 4
        inverse = torch.linalg.inv(decorrelation(colours).double())
        waves = torch.einsum("dc,nchw->ndhw", inverse, logits)
        reached = torch.fft.rfft2(waves, norm="ortho").abs()[0]
        # In the columns that are their own mirror images, half of the phases are not free.
        torch.testing.assert_close(reached[..., 1:-1], magnitude.double()[..., 1:-1], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="no images"):
        mean_magnitude(iter([]))
