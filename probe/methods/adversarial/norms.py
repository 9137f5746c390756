"""Linf, L2 and L1 balls around images: norms, steepest directions, projections and random points.

All tensors are (n, ...) with one image a row; `eps` is a number or (n,), one radius an image, in pixel units:
for Linf the largest change of one value, for L2 and L1 the norm of the whole change.
"""

from typing import Literal

import torch
from torch import Tensor

from probe.errors import UserError

Norm = Literal["linf", "l2", "l1"]

_TINY = 1e-30  # guards divisions by the length of a zero gradient; far below any gradient that float32 holds


def perturbation_norm(change: Tensor, norm: Norm) -> Tensor:
    """The norm of each row of `change`: (n,)."""
    flat = change.flatten(1)
    if norm == "linf":
        return flat.abs().amax(1)
    return flat.norm(dim=1) if norm == "l2" else flat.abs().sum(1)


def validate_radius(eps: float, norm: Norm) -> float:
    """Check a radius: Linf radii lie in [0, 1]. Raises UserError, which says how grey levels are written."""
    if eps >= 0 and (norm != "linf" or eps <= 1):
        return eps
    if norm != "linf":
        raise UserError(f"eps must be 0 or more, got {eps:g}")
    hint = f": for {eps:g} grey levels write {eps:g}/255" if 1 < eps <= 255 else ""
    raise UserError(f"eps must lie in [0, 1], got {eps:g}{hint}")


def in_ball(pixels: Tensor, perturbed: Tensor, eps: float | Tensor | None, norm: Norm = "linf") -> Tensor:
    """(n,) bool: whether `perturbed` are images in [0, 1], no further than `eps` from `pixels` but for rounding (1e-6).

    eps: a number, (n,), or None for no limit.
    """
    valid = ((perturbed >= 0) & (perturbed <= 1)).flatten(1).all(1)
    if eps is None:
        return valid
    limit = radii(eps, pixels).flatten()
    return valid & (perturbation_norm(perturbed - pixels, norm) <= limit * (1 + 1e-6) + 1e-6)


def radii(eps: float | Tensor, like: Tensor) -> Tensor:
    """`eps` as (n, 1, 1, ...), to be multiplied with `like` (n, ...)."""
    if not isinstance(eps, Tensor):
        # Unlike tensor(), full() waits for no device.
        eps = torch.full((), eps, dtype=like.dtype, device=like.device)
    return eps.to(like).expand(len(like)).view(-1, *(1,) * (like.ndim - 1))


def steepest_direction(gradient: Tensor, norm: Norm) -> Tensor:
    """The change of norm 1 along which a linear function of that gradient rises most.

    Linf: the sign, of the tiniest gradient too; L2: the gradient over its length; L1: its largest entry alone.
    A zero gradient gives zero.
    """
    if norm == "linf":
        return gradient.sign()
    flat = gradient.flatten(1)
    if norm == "l2":
        # Scaled first: the squares of gradients below 1e-23 are zero in float32.
        flat = flat / flat.abs().amax(1, keepdim=True).clamp_min(_TINY)
        return (flat / flat.norm(dim=1, keepdim=True).clamp_min(_TINY)).view_as(gradient)
    largest = flat.abs().argmax(1, keepdim=True)
    return torch.zeros_like(flat).scatter_(1, largest, flat.gather(1, largest).sign()).view_as(gradient)


def mask_at_bounds(gradient: Tensor, pixels: Tensor) -> Tensor:
    """`gradient` without what points out of [0, 1] at its bounds, so that a step of given length is not lost there."""
    outward = ((pixels <= 0) & (gradient < 0)) | ((pixels >= 1) & (gradient > 0))
    return gradient.masked_fill(outward, 0)


def spend_l1_budget(gradient: Tensor, pixels: Tensor, eps: float | Tensor) -> Tensor:
    """The change of L1 norm at most `eps` that raises a linear function most and stays inside [0, 1].

    The value with the largest gradient changes to its bound, then the next one, until `eps` is spent: one value
    alone, as in `steepest_direction`, could spend no more than 1.
    """
    flat = gradient.flatten(1)
    order = flat.abs().argsort(dim=1, descending=True, stable=True)
    sign = flat.gather(1, order).sign()
    x = pixels.flatten(1).gather(1, order)
    slack = torch.where(sign > 0, 1 - x, x) * sign.abs()
    budget = radii(eps, flat) - (slack.cumsum(1) - slack)
    change = torch.minimum(budget.clamp_min(0), slack) * sign
    return torch.zeros_like(flat).scatter_(1, order, change).view_as(gradient)


def project(change: Tensor, eps: float | Tensor, norm: Norm) -> Tensor:
    """The nearest point of the ball to each row of `change`; rows inside are returned as they are.

    L1: Duchi et al. 2008, figure 1.
    """
    limit = radii(eps, change)
    if norm == "linf":
        return torch.maximum(torch.minimum(change, limit), -limit)
    flat, limit = change.flatten(1), limit.flatten(1)
    if norm == "l2":
        length = flat.norm(dim=1, keepdim=True)
        shrunk = torch.where(length > limit, flat * (limit / length.clamp_min(_TINY)), flat)
        return shrunk.view_as(change)
    amounts = flat.abs()
    ordered = amounts.sort(1, descending=True).values
    excess = ordered.cumsum(1) - limit
    count = torch.arange(1, flat.shape[1] + 1, device=flat.device)
    last = (ordered * count > excess).sum(1, keepdim=True).clamp_min(1)
    threshold = excess.gather(1, last - 1) / last
    inside = amounts.sum(1, keepdim=True) <= limit
    shrunk = torch.where(inside, flat, flat.sign() * (amounts - threshold).clamp_min(0))
    return shrunk.view_as(change)


def project_to_ball(pixels: Tensor, perturbed: Tensor, eps: float | Tensor, norm: Norm) -> Tensor:
    """The nearest image to `perturbed` in the ball around `pixels`, clamped to [0, 1].

    Clamping brings every value nearer to `pixels`, so the ball is not left again.
    """
    if norm == "linf":  # directly, so that no rounding of x + (y - x) is added
        limit = radii(eps, pixels)
        return torch.minimum(torch.maximum(perturbed, pixels - limit), pixels + limit).clamp(0, 1)
    return (pixels + project(perturbed - pixels, eps, norm)).clamp(0, 1)


def sample_ball(numbers: Tensor, eps: float | Tensor, norm: Norm, shape: tuple[int, ...]) -> Tensor:
    """Changes drawn uniformly from the ball, (n, *shape), out of `numbers`: (n, values + 1) uniform in [0, 1).

    L2: a Gaussian direction at radius eps u^(1/d); L1: exponential lengths with random signs, the last of
    them dropped. The radius itself is not uniform: almost all of a ball of many dimensions lies near its surface.
    """
    dimensions = numbers.shape[1] - 1
    drawn = numbers[:, :dimensions]
    if norm == "linf":
        change = 2 * drawn - 1
    elif norm == "l2":
        # Uniform in (0, 1), never at its ends, where the inverse of the normal distribution is infinite.
        normal = torch.special.ndtri(drawn.double().clamp(1e-9, 1 - 1e-9)).to(numbers.dtype)
        radius = numbers[:, dimensions:] ** (1 / dimensions)
        change = normal / normal.norm(dim=1, keepdim=True).clamp_min(_TINY) * radius
    else:
        signed = 2 * numbers - 1
        lengths = -torch.log1p(-signed.abs().double().clamp_max(1 - 1e-9)).to(numbers.dtype)
        change = lengths[:, :dimensions] * signed[:, :dimensions].sign() / lengths.sum(1, keepdim=True)
    return change.view(-1, *shape) * radii(eps, change.view(-1, *shape))
