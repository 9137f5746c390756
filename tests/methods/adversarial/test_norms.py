"""Balls of three norms: steepest directions, projections, random points."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from probe.methods.adversarial.norms import (
    Norm,
    mask_at_bounds,
    perturbation_norm,
    project,
    project_to_ball,
    sample_ball,
    spend_l1_budget,
    steepest_direction,
)

NORMS: tuple[Norm, ...] = ("linf", "l2", "l1")
DUAL = {"linf": 1, "l2": 2, "l1": np.inf}


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("norm", NORMS)
def test_the_steepest_change_has_size_one_and_gains_the_dual_norm(norm: Norm) -> None:
    gradient = normal(5, 3, 4, 4)
    step = steepest_direction(gradient, norm)
    assert perturbation_norm(step, norm).numpy() == pytest.approx(np.ones(5), abs=1e-12)
    gained = (step * gradient).flatten(1).sum(1)
    assert gained.numpy() == pytest.approx(
        np.linalg.norm(gradient.flatten(1).numpy(), ord=DUAL[norm], axis=1)
    )


def test_the_sign_of_the_tiniest_gradient_counts() -> None:
    assert steepest_direction(torch.tensor([[1e-38, -1e-38, 0.0]]), "linf").tolist() == [[1.0, -1.0, 0.0]]
    assert perturbation_norm(
        steepest_direction(torch.full((1, 4), 1e-30), "l2"), "l2"
    ).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_a_zero_gradient_gives_no_change_and_no_nan(norm: Norm) -> None:
    assert torch.equal(steepest_direction(torch.zeros(2, 1, 3, 3), norm), torch.zeros(2, 1, 3, 3))


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), eps=st.floats(0.01, 5))
def test_a_projection_is_the_nearest_point_of_the_ball(norm: Norm, seed: int, eps: float) -> None:
    change = 2 * normal(4, 1, 3, 3, seed=seed)
    nearest = project(change, eps, norm)
    assert (perturbation_norm(nearest, norm) <= eps + 1e-9).all()
    # Of a convex set: no point of it lies on the far side of the nearest one.
    others = project(3 * normal(50, 4, 1, 3, 3, seed=seed + 1).flatten(0, 1), eps, norm).view(50, 4, 9)
    angle = ((others - nearest.view(1, 4, 9)) * (change - nearest).view(1, 4, 9)).sum(2)
    assert float(angle.max()) <= 1e-9


@pytest.mark.parametrize("norm", NORMS)
def test_a_change_inside_is_returned_unchanged(norm: Norm) -> None:
    change = 0.01 * normal(3, 1, 4, 4)
    assert torch.equal(project(change, 10.0, norm), change)


@pytest.mark.parametrize("norm", NORMS)
def test_each_image_may_have_a_radius_of_its_own(norm: Norm) -> None:
    eps = torch.tensor([0.1, 1.0, 0.0], dtype=torch.float64)
    change = project(normal(3, 2, 4, 4) * 9, eps, norm)
    assert perturbation_norm(change, norm).numpy() == pytest.approx(eps.numpy(), abs=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("count", [1, 28, 30])
def test_random_starts_lie_in_the_ball_and_are_uniform_in_it(norm: Norm, count: int) -> None:
    shape, eps = (3, 28, 28), 0.5
    numbers = torch.rand(count, 3 * 28 * 28 + 1, generator=torch.Generator().manual_seed(3))
    start = sample_ball(numbers, eps, norm, shape)
    assert start.shape == (count, *shape)
    assert (perturbation_norm(start, norm) <= eps + 1e-6).all()


@pytest.mark.parametrize("norm", NORMS)
def test_the_radius_is_distributed_as_in_a_ball_not_uniformly(norm: Norm) -> None:
    dimensions = 4
    numbers = torch.rand(
        4000, dimensions + 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )
    radius = perturbation_norm(sample_ball(numbers, 1.0, norm, (1, 2, 2)), norm).numpy()
    assert kstest(radius, lambda r: r**dimensions).pvalue > 0.01
    assert kstest(radius, "uniform").pvalue < 1e-6


def test_the_l1_step_is_the_best_of_a_linear_function_in_ball_and_box() -> None:
    gradient, pixels = (
        normal(1, 1, 2, 3),
        torch.rand(1, 1, 2, 3, generator=torch.Generator().manual_seed(1)).double(),
    )
    from scipy.optimize import linprog

    g, x, eps = gradient.flatten().numpy(), pixels.flatten().numpy(), 1.3
    # change = up - down, both at least 0, their sum at most eps.
    best = linprog(
        np.r_[-g, g], A_ub=[np.ones(12)], b_ub=[eps], bounds=[(0, 1 - v) for v in x] + [(0, v) for v in x]
    )
    change = spend_l1_budget(gradient, pixels, eps)
    assert float((change * gradient).sum()) == pytest.approx(-best.fun, abs=1e-9)
    assert ((pixels + change >= -1e-12) & (pixels + change <= 1 + 1e-12)).all()


@pytest.mark.parametrize("norm", NORMS)
def test_a_projection_keeps_ball_and_box(norm: Norm) -> None:
    pixels = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    inside = project_to_ball(pixels, pixels + normal(20, 3, 8, 8).float(), 0.3, norm)
    assert inside.min() >= 0
    assert inside.max() <= 1
    assert (perturbation_norm(inside - pixels, norm) <= 0.3 + 1e-6).all()


def test_gradients_out_of_the_box_do_not_count_in_the_length_of_a_step() -> None:
    pixels = torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.5]])
    gradient = torch.tensor([[-1.0, 1.0, 1.0, -1.0, -1.0]])
    assert mask_at_bounds(gradient, pixels).tolist() == [[0.0, 1.0, 0.0, -1.0, -1.0]]
