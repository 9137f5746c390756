"""Tests of the step rules: closed forms, torch's own optimisers, and that no image depends on another."""

import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from probe.methods.synthesis.steps import LBFGS, Adam, Momentum, NormalisedGradient

DRAW = torch.Generator().manual_seed(0)


def quadratics(n: int = 4, size: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """(n, d, d) matrices A, (n, d) vectors b, and the maxima A^-1 b of -x A x / 2 + b x."""
    roots = torch.randn(n, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    matrices = roots @ roots.transpose(1, 2) / size + 0.1 * torch.eye(size, dtype=torch.float64)
    b = torch.randn(n, size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return matrices, b, torch.linalg.solve(matrices, b)


def ascend(step: LBFGS, matrices: Tensor, b: Tensor, steps: int) -> Tensor:
    x = torch.zeros_like(b)
    for _ in range(steps):
        along = (matrices @ x[..., None])[..., 0]
        x = x + step(b - along, x, (b * x - 0.5 * x * along).sum(1))
        if step.bounds is not None:
            x = x.clamp(*step.bounds)
    return x


def test_lbfgs_finds_the_maximum_of_a_quadratic_in_closed_form():
    matrices, b, maximum = quadratics()
    torch.testing.assert_close(ascend(LBFGS(), matrices, b, 60), maximum, rtol=0, atol=1e-6)


def test_lbfgs_takes_the_steps_of_torchs_where_none_is_taken_back():
    matrices, b, _ = quadratics(1)
    matrices = (
        torch.eye(12, dtype=torch.float64) + 0.1 * matrices
    )  # so well conditioned that full steps suffice
    x = torch.zeros(12, dtype=torch.float64, requires_grad=True)
    reference = torch.optim.LBFGS([x], lr=1, max_iter=5, max_eval=100, history_size=10)

    def loss() -> Tensor:
        reference.zero_grad()
        value = 0.5 * x @ matrices[0] @ x - b[0] @ x
        value.backward()
        return value

    reference.step(loss)
    torch.testing.assert_close(ascend(LBFGS(), matrices, b, 5)[0], x.detach(), rtol=0, atol=1e-9)


def test_lbfgs_within_bounds_ends_where_scipy_does():
    matrices, b, _ = quadratics(3)
    ours = ascend(LBFGS(bounds=(-0.3, 0.4)), matrices, b, 150)
    for own, a, v in zip(ours, matrices.numpy(), b.numpy(), strict=True):
        theirs = minimize(
            lambda x, a=a, v=v: 0.5 * x @ a @ x - v @ x,
            x0=0 * v,
            jac=lambda x, a=a, v=v: a @ x - v,
            bounds=[(-0.3, 0.4)] * 12,
            options={"ftol": 1e-14, "gtol": 1e-10},
        )
        torch.testing.assert_close(own, torch.from_numpy(theirs.x), rtol=0, atol=1e-4)


def test_lbfgs_takes_back_a_step_that_lowers_the_value():
    """On log cosh, full steps from far away overshoot and diverge; with backtracking the maximum at 0 is reached."""
    x = torch.tensor([[4.0], [0.5]], dtype=torch.float64)
    step, values = LBFGS(), []
    for _ in range(30):
        values.append(-x.cosh().log()[:, 0])
        x = x + step(-x.tanh(), x, values[-1])
    assert x.abs().max() < 1e-6


@pytest.mark.parametrize("rule", [LBFGS, Adam, Momentum, NormalisedGradient, "nadam"])
def test_no_image_depends_on_another(rule: object):
    def make() -> object:
        if rule in (Momentum, NormalisedGradient):
            return rule(0.01)  # type: ignore[operator]
        return Adam(0.1, nesterov=True) if rule == "nadam" else rule()  # type: ignore[operator]

    matrices, b, _ = quadratics(5)
    together = ascend(make(), matrices, b, 20) if rule is LBFGS else _plain(make(), matrices, b)
    for row in range(5):
        alone = (matrices[row : row + 1], b[row : row + 1])
        single = ascend(make(), *alone, 20) if rule is LBFGS else _plain(make(), *alone)
        torch.testing.assert_close(together[row], single[0], rtol=0, atol=1e-9)


def _plain(step: object, matrices: Tensor, b: Tensor) -> Tensor:
    x = torch.zeros_like(b)
    for _ in range(20):
        gradient = b - (matrices @ x[..., None])[..., 0]
        x = x + step(gradient, x, gradient[:, 0])  # type: ignore[operator]
    return x


@pytest.mark.parametrize("nesterov", [False, True])
def test_adam_and_nadam_take_the_steps_of_torchs(nesterov: bool):
    ours, theirs = torch.zeros(4, 5), torch.zeros(4, 5, requires_grad=True)
    step = Adam(0.1, nesterov=nesterov)
    kind = torch.optim.NAdam if nesterov else torch.optim.Adam
    # A momentum that is scheduled this fast is constant from the first step on.
    options = {"momentum_decay": 1e6} if nesterov else {}
    reference = kind([theirs], lr=0.1, **options)
    for _ in range(7):
        gradient = torch.randn(4, 5, generator=DRAW)
        ours = ours + step(gradient, ours, gradient[:, 0])
        theirs.grad = -gradient
        reference.step()
    torch.testing.assert_close(ours, theirs.detach())


def test_a_normalised_gradient_has_the_mean_size_that_is_asked_for():
    gradient = torch.randn(3, 2, 4, 5, generator=DRAW) * torch.tensor([1e-6, 1.0, 1e4])[:, None, None, None]
    change = NormalisedGradient(0.25)(gradient, gradient, gradient[:, 0, 0, 0])
    torch.testing.assert_close(change.abs().mean((1, 2, 3)), torch.full((3,), 0.25))
    assert not NormalisedGradient(0.25)(0 * gradient, gradient, gradient[:, 0, 0, 0]).any()
