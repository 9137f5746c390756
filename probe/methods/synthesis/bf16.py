"""A copy of a model that computes in bfloat16, for optimisations that need many passes."""

from collections.abc import Collection

import torch
from torch import nn

from probe.model.folding import find_folds, fold
from probe.model.model import Model


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
    return Model(folded.requires_grad_(False), model.card)
