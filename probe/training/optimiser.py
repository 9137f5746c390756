"""The optimiser of a training, its default learning rate and its schedules."""

import math

import torch
from torch import nn

from probe.training.config import TrainingConfig

_BATCH_NORM = (
    nn.modules.batchnorm._BatchNorm
)  # the base of SyncBatchNorm too, which replaces it under torchrun
_WARMUP = 0.25
_START_FACTOR, _END_FACTOR = 1 / 25, 1e-4


def peak_lr(config: TrainingConfig, network: nn.Module) -> float:
    """The learning rate of `config`, or the default of its optimiser for this batch size and network.

    Linear in the batch size for sgd (Goyal et al. 2017), proportional to its square root for adam.
    """
    if config.lr is not None:
        return config.lr
    if config.optimiser != "sgd":
        return 1e-3 * math.sqrt(config.batch_size / 128)
    normalised = any(isinstance(module, _BATCH_NORM) for module in network.modules())
    return (0.1 if normalised else 0.02) * config.batch_size / 128


def make_optimiser(config: TrainingConfig, network: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of `config` over all parameters that are not frozen, as one fused kernel."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    lr, decay = peak_lr(config, network), config.weight_decay
    if config.optimiser == "sgd":
        nesterov = config.momentum > 0
        return torch.optim.SGD(
            weights, lr, config.momentum, weight_decay=decay, nesterov=nesterov, fused=True
        )
    kind = torch.optim.Adam if config.optimiser == "adam" else torch.optim.AdamW
    return kind(weights, lr, weight_decay=decay, fused=True)


def lr_factor(schedule: str, progress: float) -> float:
    """The learning rate after `progress` in [0, 1] of the training, as a fraction of its peak.

    one-cycle: linear warm-up over the first quarter, then cosine annealing (Smith & Topin 2017).
    step: divided by ten after one half and again after three quarters (He et al. 2016, section 4.2).
    """
    if schedule == "one-cycle":
        if progress < _WARMUP:
            return _START_FACTOR + (1 - _START_FACTOR) * progress / _WARMUP
        annealed = (progress - _WARMUP) / (1 - _WARMUP)
        return _END_FACTOR + (1 - _END_FACTOR) * (1 + math.cos(math.pi * annealed)) / 2
    if schedule == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    if schedule == "step":
        return 0.01 if progress >= 0.75 else 0.1 if progress >= 0.5 else 1.0
    return 1.0
