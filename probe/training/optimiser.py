"""How do the weights move? The optimiser, and the course of its learning rate."""

import math

import torch
from torch import nn

from probe.training.config import TrainingConfig

_NORMS = nn.modules.batchnorm._BatchNorm  # SyncBatchNorm, which torchrun on CUDA makes of them, too
_WARM = 0.25
_START, _END = 1 / 25, 1e-4


def peak_rate(recipe: TrainingConfig, network: nn.Module) -> float:
    """The recipe's learning rate, or the default of its optimiser for this batch and network.

    Linear in the batch for sgd (Goyal et al. 2017), by its root for adam.
    """
    if recipe.lr is not None:
        return recipe.lr
    if recipe.optimiser != "sgd":
        return 1e-3 * math.sqrt(recipe.batch / 128)
    normalised = any(isinstance(module, _NORMS) for module in network.modules())
    return (0.1 if normalised else 0.02) * recipe.batch / 128


def make_optimiser(recipe: TrainingConfig, network: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimiser over all parameters that are not frozen, fused into one pass over memory."""
    weights = [p for p in network.parameters() if p.requires_grad]
    rate, decay = peak_rate(recipe, network), recipe.weight_decay
    if recipe.optimiser == "sgd":
        nesterov = recipe.momentum > 0
        return torch.optim.SGD(
            weights, rate, recipe.momentum, weight_decay=decay, nesterov=nesterov, fused=True
        )
    kind = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
    return kind(weights, rate, weight_decay=decay, fused=True)


def lr_factor(schedule: str, progress: float) -> float:
    """The learning rate after `progress` in [0, 1] of the training, as a share of its peak.

    one-cycle: up in a line over the first quarter, down along a cosine (Smith & Topin 2017).
    step: a tenth after one half and again after three quarters (He et al. 2016, section 4.2).
    """
    if schedule == "one-cycle":
        if progress < _WARM:
            return _START + (1 - _START) * progress / _WARM
        down = (progress - _WARM) / (1 - _WARM)
        return _END + (1 - _END) * (1 + math.cos(math.pi * down)) / 2
    if schedule == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    if schedule == "step":
        return 0.01 if progress >= 0.75 else 0.1 if progress >= 0.5 else 1.0
    return 1.0
