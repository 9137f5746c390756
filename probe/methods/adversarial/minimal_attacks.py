"""Attacks that look for the smallest change instead of using up a radius: DeepFool, and Carlini and Wagner's L2."""

import torch
from torch import Tensor

from probe.methods.adversarial.criteria import input_gradient, make_criterion
from probe.methods.adversarial.gradient_attacks import AttackResult
from probe.methods.adversarial.norms import Norm, perturbation_norm, radii, steepest_direction
from probe.model.model import Model

_TINY = 1e-12


def deepfool(
    model: Model,
    pixels: Tensor,
    labels: Tensor,
    *,
    norm: Norm = "l2",
    steps: int = 50,
    candidates: int = 10,
    overshoot: float = 0.02,
) -> AttackResult:
    """Step to the nearest boundary of the network made linear, until the answer turns.

    norm: "l2" or "linf". candidates: how many of the likeliest classes are tried.
    overshoot: how much further than the boundary, as a share.
    Moosavi-Dezfooli et al. 2016, algorithm 2.
    """
    aim = make_criterion(model, pixels, labels)
    labels = aim.labels
    made, first, queries = pixels.clone(), torch.full_like(labels, -1), torch.zeros_like(labels)
    rows, total = torch.arange(len(pixels), device=pixels.device), torch.zeros_like(pixels)
    at, base, own = pixels, pixels, labels
    for k in range(steps + 1):
        with torch.enable_grad():
            leaf = at.detach().requires_grad_(True)
            logits = model.logits(leaf)
            fooled = (logits.detach().argmax(1) != own) & (_lead(logits.detach(), own) < 0)
            queries[rows] += 1
            made[rows] = at
            first[rows] = torch.where(fooled, k, -1)
            if k == steps:
                break
            move = _to_boundary(logits, leaf, own, min(candidates, logits.shape[1]), norm)
        go_on = (~fooled).nonzero()[:, 0]
        if not len(go_on):
            break
        rows, base, own, total = rows[go_on], base[go_on], own[go_on], (total + move)[go_on]
        at = (base + (1 + overshoot) * total).clamp(0, 1)
    return AttackResult(made, first, queries)


def _rounding(logits: Tensor) -> Tensor:
    """(n,) a lead below this may be gone when the same image is classified in a batch of another size."""
    return 32 * torch.finfo(logits.dtype).eps * logits.abs().amax(1)


def _lead(logits: Tensor, own: Tensor) -> Tensor:
    """(n,) how far the logit of `own` is ahead of the best other one; a lead within rounding counts as none: 0."""
    best = logits.scatter(1, own[:, None], -torch.inf).amax(1)
    lead = logits.gather(1, own[:, None])[:, 0] - best
    return torch.where(lead.abs() <= _rounding(logits), 0, lead)


def _to_boundary(logits: Tensor, leaf: Tensor, own: Tensor, candidates: int, norm: Norm) -> Tensor:
    """The least step that makes another class equal to `own`, if the network were linear."""
    order = logits.detach().scatter(1, own[:, None], torch.inf).argsort(dim=1, descending=True)
    nearest = torch.full_like(own, torch.inf, dtype=leaf.dtype)
    best = torch.zeros_like(leaf)
    here = logits.gather(1, own[:, None])[:, 0]
    for k in range(1, candidates):
        behind = logits.gather(1, order[:, k : k + 1])[:, 0] - here
        (slope,) = torch.autograd.grad(behind.sum(), leaf, retain_graph=k < candidates - 1)
        slope = slope.nan_to_num()
        steep = perturbation_norm(
            slope, "l2" if norm == "l2" else "l1"
        )  # the dual norm: what a step of size 1 gains
        distance = (behind.detach().abs() + 1e-6) / steep.clamp_min(_TINY)
        closer = (distance < nearest) & (steep > 0)
        nearest = torch.where(closer, distance, nearest)
        step = radii(distance, leaf) * steepest_direction(slope, norm)
        best = torch.where(radii(closer.to(leaf.dtype), leaf).bool(), step, best)
    return best


def carlini_wagner(
    model: Model,
    pixels: Tensor,
    labels: Tensor,
    *,
    rounds: int = 4,
    steps: int = 60,
    rate: float | None = None,
    confidence: float = 0.0,
    targets: Tensor | int | None = None,
    begin: Tensor | None = None,
) -> AttackResult:
    """The smallest L2 change that fools: Adam on size^2 + c max(z_y - max z_other + confidence, 0).

    Pixels are clamped to [0, 1] after every step, the paper's first way (V.B), and not written as tanh: black and
    white ones would hardly move. Each image searches its own c over `rounds` rounds: the first is what would be right
    if the network were linear, then half way where it succeeded and tenfold where it did not; each round goes on from
    the best so far. rate: of Adam, falling to zero in each round; by default so that a step is as long as the change
    that is looked for. begin: (n, c, h, w) images to start from, such as those of `deepfool` (default: `pixels`).
    Returns for each image the smallest success, or the image itself where there was none (first = -1).

    Carlini & Wagner 2017, section VI.A.
    """
    aim = make_criterion(model, pixels, labels, targets)
    wanted = aim.labels if aim.targets is None else aim.targets

    def short(logits: Tensor) -> Tensor:
        """How far the answer is from what is wanted: below 0 where it is there."""
        own = logits.gather(1, wanted[:, None])[:, 0]
        other = logits.scatter(1, wanted[:, None], -torch.inf).amax(1)
        return own - other if aim.targets is None else other - own

    slope, logits = input_gradient(model, pixels, short)
    steep = slope.nan_to_num().flatten(1).norm(dim=1)
    reach = (short(logits) + confidence).abs() / steep.clamp_min(
        _TINY
    )  # to the boundary of the linear network
    c = torch.where(steep > 0, 2 * reach / steep.clamp_min(_TINY), 1.0)
    at = pixels if begin is None else begin
    moved = perturbation_norm(at - pixels, "l2")
    scale = torch.where(moved > 0, moved, reach) / pixels[0].numel() ** 0.5
    stride = radii(scale.clamp(1e-4, 0.1) if rate is None else rate, pixels)
    least = torch.full((len(pixels),), torch.inf, dtype=pixels.dtype, device=pixels.device)
    made, first, queries = pixels.clone(), torch.full_like(wanted, -1), torch.ones_like(wanted)
    low, high = torch.zeros_like(least), torch.full_like(least, torch.inf)
    for round_ in range(rounds):
        mean, square = torch.zeros_like(pixels), torch.zeros_like(pixels)
        hit = torch.zeros_like(first, dtype=torch.bool)
        for k in range(steps):
            with torch.enable_grad():
                leaf = at.detach().requires_grad_(True)
                logits = model.logits(leaf)
                behind = short(logits)
                distance = (leaf - pixels).flatten(1).square().sum(1)
                total = (distance + c * (behind + confidence).clamp_min(0)).sum()
                (slope,) = torch.autograd.grad(total, leaf)
            certain = behind.detach() <= -_rounding(logits.detach())
            success = aim.reached(logits.detach()) & certain & (behind.detach() <= -confidence)
            better = success & (distance.detach() < least)
            made = torch.where(radii(better.to(at.dtype), at).bool(), at, made)
            least = torch.where(better, distance.detach(), least)
            first = torch.where(success & (first < 0), round_ * steps + k, first)
            hit |= success
            slope = slope.nan_to_num()
            mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope * slope
            step = stride * (1 - k / steps) / (1 - 0.9 ** (k + 1))
            at = (at - step * mean / ((square / (1 - 0.999 ** (k + 1))).sqrt() + 1e-8)).clamp(0, 1)
        queries += steps
        at = torch.where(radii((first >= 0).to(at.dtype), at).bool(), made, at)
        high = torch.where(hit, torch.minimum(high, c), high)
        low = torch.where(hit, low, torch.maximum(low, c))
        c = torch.where(torch.isfinite(high), (low + high) / 2, c * 10)
    return AttackResult(made, first, queries)
