"""A copy of a model that computes in bfloat16, for optimisations that need many passes."""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from probe.errors import UserError, first_line
from probe.methods.synthesis.optimise import activations
from probe.model.folding import find_folds, fold
from probe.model.model import Model
from probe.precision import Precision, choose_precision

_TOLERANCE = 0.05  # relative error of the activations; four layers of 28 networks have 0.033 at most


def in_precision(model: Model, layers: Collection[str], precision: Precision) -> Model:
    """`model`, or its copy in bfloat16 if `precision` asks for it.

    layers: those whose activations are used. With "auto" the copy is taken where the hardware computes in bfloat16, the
    model is in float32, the copy has gradients, and its activations agree with the model's to 5 %.
    Raises UserError for "bf16" if the network cannot compute in it.
    """
    if choose_precision(precision, model.device) == "float32":
        return model
    if precision == "auto" and model.dtype != torch.float32:
        return model
    try:
        fast = in_bf16(model, layers)
        error = _relative_error(model, fast, layers)
    except Exception as failure:  # a network's own code may raise anything in another precision
        if precision == "auto":
            return model
        raise UserError(
            f"{model.name} cannot compute in bfloat16 ({first_line(failure)}): use --precision float32"
        ) from failure
    return fast if precision == "bf16" or error <= _TOLERANCE else model


def in_bf16(model: Model, layers: Collection[str]) -> Model:
    """The model in bfloat16 and channels-last, batch norm folded where no layer of `layers` is before it.

    It takes and returns what the model does. A folded batch norm passes on what it did before.
    """
    network = model.network
    pixels = torch.full((1, *model.shape), 0.5, device=model.device)
    folds = find_folds(network, lambda each: each(model.normalise(pixels)))
    folded, _ = fold(network, [pair for pair in folds if pair.layer not in layers])
    folded = folded.to(torch.bfloat16).to(memory_format=torch.channels_last)
    for module in folded.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.float()  # whose statistics need it
    return Model(folded.requires_grad_(False), model.card, model.device)


def _relative_error(model: Model, fast: Model, layers: Collection[str]) -> float:
    """The largest of the layers' relative errors on two images of noise, in the Euclidean norm; inf for NaN."""
    noise = torch.rand(2, *model.shape, generator=torch.Generator().manual_seed(0)).to(model.device)

    def values(of: Model) -> dict[str, Tensor]:
        with torch.inference_mode(False), torch.enable_grad():
            pixels = noise.clone().requires_grad_(True)
            read = activations(of, pixels, layers)
            torch.autograd.grad(torch.stack([each.sum() for each in read.values()]).sum(), pixels)
        return {layer: each.detach() for layer, each in read.items()}

    exact, approximate = values(model), values(fast)
    errors = [
        float((approximate[layer] - exact[layer]).norm() / exact[layer].norm().clamp_min(1e-30))
        for layer in layers
    ]
    return max(error if error == error else torch.inf for error in errors)
