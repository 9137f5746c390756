"""Layer conductance: how much of a score passes through each unit of a layer."""

from collections.abc import Sequence

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
    address = model.layers.find(layer).address
    return layer_conductances(model, pixels, targets, [address], steps=steps, baseline=baseline)[address]


def layer_conductances(
    model: Model,
    pixels: Tensor,
    targets: Targets,
    layers: Sequence[str],
    *,
    steps: int = 64,
    baseline: float = 0.0,
) -> dict[str, Tensor]:
    """`layer_conductance` of several layers by the same passes: {address: (n, ...)}."""
    pixels, targets = expanded(model, pixels, targets)
    addresses = [model.layers.find(layer).address for layer in layers]
    batch = max(2, model.batch(gradient=True) // 2)
    fractions = torch.linspace(0, 1, steps + 1, device=pixels.device, dtype=pixels.dtype)
    totals: dict[str, list[Tensor]] = {address: [] for address in addresses}
    with torch.inference_mode(False):
        for i in range(len(pixels)):
            difference = pixels[i : i + 1] - baseline
            parts: dict[str, list[Tensor]] = {address: [] for address in addresses}
            for first in range(0, steps, batch):
                part = fractions[first : first + batch + 1]  # one more: the activation after the last step
                points = baseline + part[:, None, None, None] * difference
                row = torch.full((len(part),), i, device=pixels.device)
                for address, (activations, gradient) in _at_layers(
                    model, points, targets[row], addresses
                ).items():
                    # The trapezium of both ends of a step: errors of the two halves cancel.
                    mean = (gradient[:-1] + gradient[1:]) / 2
                    parts[address].append((mean * activations.diff(dim=0)).sum(0))
            for address in addresses:
                totals[address].append(torch.stack(parts[address]).sum(0))
    return {address: torch.stack(total) for address, total in totals.items()}


def _at_layers(
    model: Model, points: Tensor, targets: Targets, addresses: list[str]
) -> dict[str, tuple[Tensor, Tensor]]:
    """The activations of each layer and the gradient of the scores with respect to them, both (b, ...)."""
    with differentiable(points) as leaf, uncompiled(), recording(model.network, addresses) as recorded:
        score = scores(model, leaf, targets)
        for address in addresses:
            if address not in recorded:
                raise UserError(f"layer {address} comes after the target: name an earlier one")
        outputs = [recorded[address] for address in addresses]
        gradients = torch.autograd.grad(score.sum(), outputs, allow_unused=True)
    pairs = {}
    for address, output, gradient in zip(addresses, outputs, gradients, strict=True):
        if gradient is None:
            raise UserError(f"the target does not depend on layer {address}: name another")
        pairs[address] = (model.as_pixels(output.detach(), points), model.as_pixels(gradient, points))
    return pairs
