"""Layer conductance: how much of a score passes through each unit of a layer."""

import torch
from torch import Tensor

from probe.errors import UserError
from probe.methods.attribution.scores import differentiable, uncompiled
from probe.model.model import Model
from probe.model.observer import recording
from probe.model.targets import Targets, expanded, scores


def layer_conductance(
    model: Model, pixels: Tensor, targets: Targets, layer: str, *, steps: int = 64, baseline: float = 0.0
) -> Tensor:
    """The part of the difference of scores, from a baseline to the image, that passes through each unit of `layer`.

    pixels: (n, c, h, w) in [0, 1]. layer: an address, of a module or function. steps: of the straight path from
    the baseline, of which every pixel has the value `baseline`. Returns (n, ...), the shape of the layer, in units of
    the score; where all paths lead through the layer, its sum is the difference of scores, up to the error of the steps.
    Raises UserError for a layer that does not exist or that the score does not depend on.
    Dhamdhere et al. 2019, equation 3, by differences of activations (Shrikumar et al. 2018).
    """
    pixels, targets = expanded(model, pixels, targets)
    address = model.layers.find(layer).address
    batch = max(2, model.batch(gradient=True) // 2)
    shares = torch.linspace(0, 1, steps + 1, device=pixels.device, dtype=pixels.dtype)
    results = []
    with torch.inference_mode(False):
        for i in range(len(pixels)):
            difference, total = pixels[i : i + 1] - baseline, torch.zeros(())
            for first in range(0, steps, batch):
                part = shares[first : first + batch + 1]  # one more: the activation after the last step
                points = baseline + part[:, None, None, None] * difference
                row = torch.full((len(part),), i, device=pixels.device)
                activations, gradient = _at_layer(model, points, targets[row], address)
                # The trapezium of both ends of a step: errors of the two halves cancel.
                mean = (gradient[:-1] + gradient[1:]) / 2
                total = total.to(pixels) + (mean * activations.diff(dim=0)).sum(0)
            results.append(total)
    return torch.stack(results)


def _at_layer(model: Model, points: Tensor, targets: Targets, address: str) -> tuple[Tensor, Tensor]:
    """The activations of a layer and the gradient of the scores with respect to them, both (b, ...)."""
    with differentiable(points) as leaf, uncompiled(), recording(model.network, [address]) as recorded:
        score = scores(model, leaf, targets)
        if address not in recorded:
            raise UserError(f"layer {address} comes after the target: name an earlier one")
        (gradient,) = torch.autograd.grad(score.sum(), recorded[address], allow_unused=True)
    if gradient is None:
        raise UserError(f"the target does not depend on layer {address}: name another")
    return model.as_pixels(recorded[address].detach(), points), model.as_pixels(gradient, points)
