"""Coarse-to-fine refinement: smooth surfaces are mostly interpolated within the limits, chaotic ones are computed."""

import numpy as np
import pytest

from probe.methods.landscape.convexity import negative_curvature
from probe.methods.landscape.refinement import refine

N = 25
AXIS = np.linspace(-1, 1, N)


def refined(surface: np.ndarray, tolerance: float = 0.02, seed: int = 0):
    calls: list[tuple[int, int]] = []

    def evaluate(points: list[tuple[int, int]], stage: str) -> np.ndarray:
        calls.extend(points)
        return surface[tuple(np.array(points).T)]

    result = refine(surface.shape, evaluate, tolerance=tolerance, rng=np.random.default_rng(seed))
    assert len(set(calls)) == len(calls), "no point is computed twice"
    assert {tuple(p) for p in np.argwhere(result.computed)} == set(calls)
    return result


def bowl() -> np.ndarray:
    return np.exp(1.5 * (AXIS[None] ** 2 + 0.5 * AXIS[:, None] ** 2) + 0.3 * AXIS[None] * AXIS[:, None]) - 0.7


def test_a_smooth_surface_is_mostly_interpolated_and_within_its_limits() -> None:
    surface = bowl()
    result = refined(surface)
    assert result.computed.mean() < 0.4
    true = np.abs(np.log(result.values / surface))
    assert (true <= result.error + 1e-12).mean() >= 0.95
    assert result.error.max() <= np.log(1.02)


def test_noise_falls_through_to_the_full_grid() -> None:
    surface = np.random.default_rng(0).lognormal(size=(N, N))
    result = refined(surface)
    assert result.computed.all()
    assert np.array_equal(result.values, surface)


@pytest.mark.parametrize("shape", [(2, 2), (3, 40), (9, 26), (14, 5)])
def test_any_shape_works(shape: tuple[int, int]) -> None:
    surface = 1 + np.add.outer(np.linspace(0, 1, shape[0]), np.linspace(0, 2, shape[1]))
    result = refined(surface)
    np.testing.assert_allclose(result.values, surface, rtol=0.02)


def test_nothing_is_interpolated_across_values_that_are_not_finite_or_zero() -> None:
    surface = bowl()
    surface[10:14, 3:6], surface[20, 20] = np.nan, 0.0
    result = refined(surface)
    assert np.array_equal(np.isnan(result.values), np.isnan(surface))
    assert result.values[20, 20] == 0


def test_limits_hold_at_held_out_points_of_many_surfaces() -> None:
    draw, inside = np.random.default_rng(1), []
    for seed in range(30):
        waves = sum(
            draw.normal()
            * np.sin(
                draw.uniform(1, 5) * AXIS[None] + draw.uniform(1, 5) * AXIS[:, None] + draw.uniform(0, 6)
            )
            for _ in range(4)
        )
        surface = np.exp(waves)
        result = refined(surface, seed=seed)
        interpolated = ~result.computed
        true = np.abs(np.log(result.values / surface))[interpolated]
        inside += (true <= result.error[interpolated]).tolist()
    assert np.mean(inside) >= 0.93


def test_negative_curvature_of_a_bowl_a_dome_and_a_saddle() -> None:
    x, y = np.meshgrid(AXIS, AXIS)
    assert negative_curvature(x**2 + y**2, AXIS, AXIS) == 0
    assert negative_curvature(-(x**2) - y**2, AXIS, AXIS) == 1
    assert negative_curvature(x**2 - y**2, AXIS, AXIS) == 1
    assert np.isnan(negative_curvature(np.zeros((2, 5)), AXIS[:5], AXIS[:2]))
