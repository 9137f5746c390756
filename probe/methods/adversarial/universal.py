"""One change for all images."""

import torch
from torch import Tensor

from probe.methods.adversarial.criteria import input_gradient, make_criterion, validate_radius
from probe.methods.adversarial.norms import Norm, project, steepest_direction
from probe.model.model import Model


def universal(
    model: Model,
    pixels: Tensor,
    labels: Tensor,
    *,
    eps: float,
    norm: Norm = "linf",
    epochs: int = 10,
    batch: int = 64,
    clip: float = 5.0,
    targets: Tensor | int | None = None,
    seed: int = 0,
) -> Tensor:
    """The change (c, h, w) of size at most `eps` that fools as many images as it can, those unseen included.

    Signed (or scaled) steps of eps / 5, shrinking, up the summed loss of random batches. clip: where the loss of
    an image stops to count, so that one image that is fooled already does not lead all others.
    Moosavi-Dezfooli et al. 2017 for the question, Shafahi et al. 2020, algorithm 2, for the method.
    """
    aim = make_criterion(model, pixels, labels, targets)
    validate_radius(eps, norm)
    rng = torch.Generator().manual_seed(seed)
    change = torch.zeros_like(pixels[:1])
    for epoch in range(epochs):
        stride = eps / 5 * (1 - epoch / epochs)
        for rows in torch.randperm(len(pixels), generator=rng).to(pixels.device).split(batch):
            wish = aim.take(rows)
            moved = (pixels[rows] + change).clamp(0, 1)
            slope, _ = input_gradient(model, moved, lambda z, wish=wish: wish.loss(z).clamp_max(clip))
            # One step for all: images vote with the direction of their gradient, not with its length.
            vote = steepest_direction(slope.nan_to_num(), "l2").sum(0, keepdim=True)
            change = project(change + stride * steepest_direction(vote, norm), eps, norm)
    return change[0]
