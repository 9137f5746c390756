"""Tests of gratings, tuning, Gabor fits and Sobel's operators against closed forms."""

from math import cos, pi, sin

import numpy as np
import pytest
import torch
from torch.nn import functional

from probe.methods.units.gabor import fit_gabor, permutation_p_values
from probe.methods.units.gratings import Tuning, grating, measure_tuning
from probe.methods.units.sobel import edges, sobel_gradient


def gabor(orientation: float, frequency: float, *, size: int = 9, phase: float = 0.4) -> torch.Tensor:
    y, x = torch.meshgrid(
        torch.arange(size) - size / 2 + 0.5, torch.arange(size) - size / 2 + 0.5, indexing="ij"
    )
    angle = orientation * pi / 180
    u = x * sin(angle) + y * cos(angle)
    return torch.exp(-(x**2 + y**2) / (size / 2.5) ** 2) * torch.cos(2 * pi * frequency * u + phase)


def test_gratings_stay_in_range_and_their_bars_have_the_given_orientation() -> None:
    horizontal, vertical = (grating((3, 32, 32), 0.1, angle, 0.3) for angle in (0, 90))
    assert float(horizontal.std(2).max()) < 1e-6, "rows are constant"
    assert float(vertical.std(1).max()) < 1e-6, "columns are constant"
    slanted = grating((1, 33, 33), 0.05, 45, 0)[0]
    assert slanted[10, 20] == pytest.approx(float(slanted[5, 25]), abs=1e-5), "rising from left to right"
    assert float(slanted.min()) >= 0
    assert float(slanted.max()) <= 1


def test_sobels_tuning_is_its_transfer_function() -> None:
    frequencies = torch.tensor([0.02, 0.1, 0.2, 0.4])
    tuning = measure_tuning(sobel_gradient, (1, 33, 33), frequencies=frequencies, orientations=12)
    for i, f in enumerate(frequencies.tolist()):
        for j, angle in enumerate(tuning.orientations.tolist()):
            x, y = f * sin(angle * pi / 180), f * cos(angle * pi / 180)
            expected = abs(2 * sin(2 * pi * x) * (2 + 2 * cos(2 * pi * y))) / 8
            assert float(tuning.response[0, i, j]) == pytest.approx(expected, abs=1e-5)
    low = measure_tuning(sobel_gradient, (1, 33, 33), frequencies=torch.tensor([0.01, 0.02]), orientations=36)
    assert low.preferred_orientation[0] == pytest.approx(90, abs=1e-3)
    assert low.preferred_orientation[1] % 180 == pytest.approx(0, abs=1e-3)
    # At low frequencies a derivative follows the cosine, which is a half at 60 degrees.
    assert low.half_width[0] == pytest.approx(60, abs=0.5)


@pytest.mark.parametrize("angle", [0.0, 25.0, 90.0, 140.0])
def test_the_preferred_orientation_and_frequency_of_a_gabor_kernel_are_its_own(angle: float) -> None:
    kernel = gabor(angle, 0.2)[None, None]
    tuning = measure_tuning(
        lambda x: functional.conv2d(x, kernel, padding=4),
        (1, 32, 32),
        frequencies=0.05 * 2 ** torch.linspace(0, 3, 13),
        orientations=36,
    )
    distance = abs(float(tuning.preferred_orientation[0]) - angle)
    assert min(distance, 180 - distance) < 3
    assert float(tuning.preferred_frequency[0]) == pytest.approx(0.2, rel=0.12)
    assert float(tuning.selectivity[0]) > 0.5
    assert 10 < float(tuning.half_width[0]) < 35
    assert 0.5 < float(tuning.bandwidth[0]) < 2.5


def test_peaks_are_counted_round_the_circle() -> None:
    angle = torch.arange(0, 180, 10.0)
    curves = torch.stack(
        [
            1 + ((angle - 175) * pi / 90).cos(),  # one, over the end of the range
            1 + 0.2 * (angle * pi / 90).cos(),  # one, shallow
            1 + 0.5 * (angle * pi / 45).cos(),  # two, with a dip to a third
            2.2 + (angle * pi / 45).cos() + 0.1 * (angle * pi / 90).cos(),
            torch.ones_like(angle),
        ]
    )
    tuning = Tuning(torch.tensor([0.1]), angle, curves[:, None])
    assert tuning.peaks.tolist() == [1, 1, 2, 2, 0]
    assert tuning.single_peak.tolist() == [True, False, False, False, False]
    shoulders = 0.4 + ((angle - 50) / 25).square().neg().exp() + ((angle - 130) / 25).square().neg().exp()
    assert Tuning(torch.tensor([0.1]), angle, shoulders[None, None]).peaks.tolist() == [2]


def test_a_unit_that_does_not_follow_the_grating_has_no_response() -> None:
    tuning = measure_tuning(
        lambda x: torch.ones(len(x), 2, 3, 3),
        (1, 16, 16),
        frequencies=torch.tensor([0.1, 0.2]),
        orientations=4,
    )
    assert float(tuning.response.max()) < 1e-6


@pytest.mark.parametrize(("angle", "frequency"), [(30.0, 0.2), (0.0, 0.15), (117.0, 0.3)])
def test_a_gabor_function_is_fitted_exactly_in_every_colour(angle: float, frequency: float) -> None:
    kernel = torch.stack(
        [gabor(angle, frequency, phase=p) * a for p, a in ((0.1, 1.0), (0.9, -0.3), (2.0, 0.6))]
    )
    fit = fit_gabor(kernel)
    assert fit.error < 1e-6
    distance = abs(fit.orientation - angle)
    assert min(distance, 180 - distance) < 0.1
    assert fit.frequency == pytest.approx(frequency, abs=1e-3)
    np.testing.assert_allclose(fit.fit, kernel.numpy(), atol=1e-3)


def test_the_error_is_the_energy_that_is_left_over() -> None:
    draw = torch.Generator().manual_seed(0)
    kernel = gabor(60, 0.2)[None] + 0.1 * torch.randn(1, 9, 9, generator=draw)
    fit = fit_gabor(kernel)
    left = float(((kernel - torch.from_numpy(fit.fit)) ** 2).sum() / (kernel**2).sum())
    assert fit.error == pytest.approx(left, rel=1e-4)
    assert 0.02 < fit.error < 0.2
    assert fit_gabor(torch.zeros(3, 5, 5)).error == 0


def test_p_values_of_random_kernels_are_uniform_and_those_of_gabor_kernels_minimal() -> None:
    draw = torch.Generator().manual_seed(5)
    random = permutation_p_values(torch.randn(60, 1, 7, 7, generator=draw), rng=draw, permutations=39)
    assert int((random <= 0.05).sum()) <= 8  # 3 expected; more than 8 once in 300 seeds
    assert 0.35 < float(random.mean()) < 0.65
    kernels = torch.stack(
        [gabor(a, 0.2, size=7)[None] + 0.1 * torch.randn(1, 7, 7, generator=draw) for a in (0.0, 50.0, 100.0)]
    )
    assert permutation_p_values(kernels, rng=draw, permutations=39).tolist() == pytest.approx([1 / 40] * 3)


def test_the_gradient_of_a_ramp_is_its_slope_and_its_edge_runs_across_it() -> None:
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    magnitude, orientation = edges(((3 * x + 4 * y) / 100)[None, None])
    np.testing.assert_allclose(magnitude[0, 2:-2, 2:-2], 0.05, rtol=1e-4)
    # Uphill is right and down; the edge runs across it, rising to the right: atan(3 / 4).
    np.testing.assert_allclose(orientation[0, 2:-2, 2:-2], np.degrees(np.arctan2(3, 4)), rtol=1e-4)
