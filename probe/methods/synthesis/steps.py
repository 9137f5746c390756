"""Step rules of image optimisation: Adam, Nadam, momentum, normalised gradients, L-BFGS; each image by itself."""

from typing import Protocol

import torch
from torch import Tensor


class Step(Protocol):
    """A step rule: the change of the variables for their gradient. No row may depend on another."""

    def __call__(self, gradient: Tensor, variables: Tensor, values: Tensor) -> Tensor:
        """(n, ...) gradient of (n,) values at (n, ...) variables -> (n, ...) change, to be added."""
        ...


class Adam:
    """Adam (Kingma & Ba 2015) on a tensor that holds all images: elementwise, so no image depends on another.

    nesterov: Nadam (Dozat 2016) with a constant momentum.
    """

    def __init__(
        self, lr: float = 0.05, betas: tuple[float, float] = (0.9, 0.999), *, nesterov: bool = False
    ) -> None:
        self.lr, self.betas, self.nesterov, self.steps = lr, betas, nesterov, 0
        self.mean: Tensor | None = None
        self.square: Tensor | None = None

    def __call__(self, gradient: Tensor, variables: Tensor, values: Tensor) -> Tensor:
        if self.mean is None or self.square is None:
            self.mean, self.square = torch.zeros_like(gradient), torch.zeros_like(gradient)
        self.steps += 1
        first, second = self.betas
        self.mean.lerp_(gradient, 1 - first)
        self.square.lerp_(gradient * gradient, 1 - second)
        square = self.square / (1 - second**self.steps)
        if self.nesterov:
            ahead = first * self.mean / (1 - first ** (self.steps + 1))
            mean = ahead + (1 - first) * gradient / (1 - first**self.steps)
        else:
            mean = self.mean / (1 - first**self.steps)
        return self.lr * mean / (square.sqrt() + 1e-8)


class Momentum:
    """Gradient ascent with momentum (Polyak 1964): each step is `momentum` times the last plus lr times the gradient."""

    def __init__(self, lr: float, momentum: float = 0.9) -> None:
        self.lr, self.momentum = lr, momentum
        self.velocity: Tensor | None = None

    def __call__(self, gradient: Tensor, variables: Tensor, values: Tensor) -> Tensor:
        velocity = torch.zeros_like(gradient) if self.velocity is None else self.velocity
        self.velocity = self.momentum * velocity + self.lr * gradient
        return self.velocity


class NormalisedGradient:
    """The gradient, scaled to a mean absolute change of `size` for each image (Google's DeepDream notebook)."""

    def __init__(self, size: float) -> None:
        self.size = size

    def __call__(self, gradient: Tensor, variables: Tensor, values: Tensor) -> Tensor:
        means = torch.linalg.vector_norm(gradient.flatten(1), 1, dim=1) / gradient[0].numel()
        return gradient * (self.size / means.clamp_min(1e-30)).view(-1, *[1] * (gradient.ndim - 1))


class LBFGS:
    """L-BFGS with a backtracking line search, for each image of a batch by itself.

    One evaluation a call: a step after which the value has not risen enough (Armijo's condition) is taken back to the
    maximum of the parabola through what is known, but to a tenth of it at least and a half at most. Steps that are
    accepted at once are those of torch.optim.LBFGS. Not for objectives that change from step to step.

    history: pairs that are rows. bounds: limits of the variables, at which a component that points outwards is left
    out of the direction. Nocedal & Wright 2006, algorithms 7.4 and 3.1.
    """

    def __init__(self, *, history: int = 10, bounds: tuple[float, float] | None = None) -> None:
        self.history, self.bounds = history, bounds
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []
        # Variables, gradient and loss of the points that were accepted last.
        self.accepted: tuple[Tensor, Tensor, Tensor] | None = None
        self.direction = self.length = self.scale = torch.tensor(())

    def __call__(self, gradient: Tensor, variables: Tensor, values: Tensor) -> Tensor:
        x, g, loss = variables.flatten(1), -gradient.flatten(1), -values
        if self.accepted is None:
            rose = torch.ones_like(loss, dtype=torch.bool)
            self.scale = 1 / g.abs().sum(1).clamp_min(1e-30)
            self.scale = self.scale.clamp_max(1)
            self.direction = self._inside(x, g, -self.scale[:, None] * g)
        else:
            rose = self._accept(x, g, loss)
            fresh = self._inside(x, g, self._two_loops(self._inside(x, g, g)))
            self.direction = torch.where(rose[:, None], fresh, self.direction)
        if self.accepted is None:
            self.accepted, self.length = (x, g, loss), torch.ones_like(loss)
        else:
            before = self.accepted
            self.accepted = (
                torch.where(rose[:, None], x, before[0]),
                torch.where(rose[:, None], g, before[1]),
                torch.where(rose, loss, before[2]),
            )
        end = self.accepted[0] + self.length[:, None] * self.direction
        return (end - x).view_as(variables)

    def _accept(self, x: Tensor, g: Tensor, loss: Tensor) -> Tensor:
        """(n,) which trials are accepted; stores their pairs, and sets the length of the next trials."""
        assert self.accepted is not None
        old_x, old_g, old_loss = self.accepted
        s, y = x - old_x, g - old_g
        directional = (old_g * s).sum(1)
        slack = 4 * torch.finfo(loss.dtype).eps * old_loss.abs()
        rose = (loss <= old_loss + 1e-4 * directional + slack) | (self.length < 1e-8)
        ys, yy = (s * y).sum(1), (y * y).sum(1)
        curved = rose & (ys > 1e-10 * yy.clamp_min(1e-30))
        rows = curved[:, None]
        zero = torch.zeros((), dtype=x.dtype, device=x.device)
        self.pairs.append(
            (
                torch.where(rows, s, zero),
                torch.where(rows, y, zero),
                torch.where(curved, 1 / ys.clamp_min(1e-30), zero),
            )
        )
        del self.pairs[: -self.history]
        self.scale = torch.where(curved, ys / yy.clamp_min(1e-30), self.scale)
        curvature = 2 * (loss - old_loss - directional)
        best = (-directional / torch.where(curvature > 0, curvature, 1.0)).clamp(0.1, 0.5)
        shorter = torch.where((curvature > 0) & torch.isfinite(loss), best, 0.25)
        self.length = torch.where(rose, torch.ones_like(loss), self.length * shorter)
        return rose

    def _two_loops(self, g: Tensor) -> Tensor:
        """The descent direction for the gradient g: minus the inverse Hessian times g."""
        q, factors = -g, []
        for s, y, rho in reversed(self.pairs):
            factor = rho * (s * q).sum(1)
            q = q - factor[:, None] * y
            factors.append(factor)
        q = self.scale[:, None] * q
        for (s, y, rho), factor in zip(self.pairs, reversed(factors), strict=True):
            q = q + (factor - rho * (y * q).sum(1))[:, None] * s
        return q

    def _inside(self, x: Tensor, g: Tensor, vector: Tensor) -> Tensor:
        """`vector` without the components of variables at a bound whose descent leads out of it."""
        if self.bounds is None:
            return vector
        low, high = self.bounds
        outwards = ((x <= low) & (g > 0)) | ((x >= high) & (g < 0))
        return vector.masked_fill(outwards, 0)
