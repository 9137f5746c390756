"""Pixel statistics agree with a slow count, and with the law by which images were made."""

import numpy as np
import pytest
import torch

from probe.data.images import Images
from probe.methods.inspection.image_statistics import PixelStatistics, pixel_statistics, pixel_sums


def statistics(pixels: torch.Tensor, size: int = 4) -> PixelStatistics:
    images = Images.from_tensor(pixels)
    return pixel_statistics(pixel_sums(images.batches(size), images.shape))


@pytest.fixture
def pixels() -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.avg_pool2d(torch.rand(7, 3, 16, 20, generator=draw), 3, 1)
    return smooth * torch.tensor([0.9, 0.5, 0.7]).view(1, 3, 1, 1)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_colours_and_pairs_are_those_of_a_slow_count(pixels: torch.Tensor, size: int) -> None:
    measured = statistics(pixels, size)
    colours = pixels.double().permute(0, 2, 3, 1).reshape(-1, 3).numpy()
    np.testing.assert_allclose(measured.mean, colours.mean(0), rtol=1e-10)
    np.testing.assert_allclose(measured.covariance, np.cov(colours.T, bias=True), rtol=1e-8)
    np.testing.assert_allclose(measured.correlation, np.corrcoef(colours.T), rtol=1e-8)
    np.testing.assert_allclose(measured.mean_image, pixels.double().mean(0), rtol=1e-10)
    x = pixels.double().numpy()
    for k, d in enumerate(measured.distances.int().tolist()):
        a = np.concatenate(
            [
                x[:, :, : 14 - d].transpose(1, 0, 2, 3).reshape(3, -1),
                x[..., : 18 - d].transpose(1, 0, 2, 3).reshape(3, -1),
            ],
            1,
        )
        b = np.concatenate(
            [
                x[:, :, d:].transpose(1, 0, 2, 3).reshape(3, -1),
                x[..., d:].transpose(1, 0, 2, 3).reshape(3, -1),
            ],
            1,
        )
        assert measured.euclidean[k] == pytest.approx(np.sqrt(((a - b) ** 2).sum(0).mean()), abs=1e-7)
        assert measured.cosine[k] == pytest.approx((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))
        a, b = a - colours.mean(0)[:, None], b - colours.mean(0)[:, None]
        assert measured.centred_cosine[k] == pytest.approx(
            (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
        )


def test_a_pixel_correlates_with_itself_and_noise_with_nothing_else() -> None:
    measured = statistics(torch.rand(60, 1, 24, 24, generator=torch.Generator().manual_seed(1)))
    assert measured.euclidean[0] == pytest.approx(0, abs=1e-6)
    assert measured.centred_cosine[0] == pytest.approx(1)
    assert float(measured.centred_cosine[1:].abs().max()) < 0.02
    assert measured.euclidean[5] == pytest.approx((2 / 12) ** 0.5, rel=0.02)
    assert abs(measured.spectral_exponent) < 0.1


@pytest.mark.parametrize("exponent", [1.0, 2.0])
def test_the_spectral_exponent_of_noise_with_a_known_exponent_is_recovered(exponent: float) -> None:
    draw = torch.Generator().manual_seed(2)
    radius = torch.hypot(torch.fft.fftfreq(96)[:, None], torch.fft.fftfreq(96)).clamp(min=1 / 96)
    noise = torch.fft.fft2(torch.randn(40, 1, 96, 96, generator=draw)) * radius ** (-exponent / 2)
    waves = torch.fft.ifft2(noise).real[..., :64, :64]  # a piece, so that borders do not fit together
    assert statistics(0.5 + 0.5 * waves / waves.abs().max()).spectral_exponent == pytest.approx(
        exponent, abs=0.15
    )


def test_images_of_one_colour_have_neither_correlation_nor_spectrum() -> None:
    measured = statistics(torch.full((3, 3, 8, 8), 0.25))
    assert bool(measured.centred_cosine.isnan().all())
    assert bool(measured.correlation.isnan().all())
    assert np.isnan(measured.spectral_exponent)
    np.testing.assert_allclose(measured.cosine, 1)
    assert not bool(statistics(torch.zeros(2, 1, 8, 8)).cosine.isfinite().any())
