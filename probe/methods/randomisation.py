"""Does a picture depend on what the network has learnt? Weights are shuffled and the picture is drawn again."""

import copy

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from probe.subject.subject import Subject

FAILS = 0.5
"""A map whose likeness to itself stays above this when every weight is shuffled does not show what was learnt."""


def stages(subject: Subject, count: int) -> list[list[str]]:
    """The modules with weights from the last to the first, in at most `count` groups of even size.

    A group is shuffled at once; each convolution goes with the batch norm after it.
    """
    owners = [
        name for name, module in _completed(subject) if any(True for _ in module.parameters(recurse=False))
    ]
    modules = dict(subject.network.named_modules())
    units: list[list[str]] = []
    for name in owners:
        if units and isinstance(modules[name], nn.modules.batchnorm._BatchNorm):
            units[-1].append(name)
        else:
            units.append([name])
    units.reverse()
    parts = np.array_split(np.arange(len(units)), min(count, len(units)))
    return [[name for i in part for name in units[i]] for part in parts]


def _completed(subject: Subject) -> list[tuple[str, nn.Module]]:
    """Every module once, in the order in which a forward pass completes them."""
    modules = dict(subject.network.named_modules())
    names = dict.fromkeys(layer.address.partition("#")[0] for layer in subject.layers)
    return [(name, modules[name]) for name in names] + [("", modules[""])]


def duplicate(subject: Subject) -> Subject:
    """A subject of its own network, equal to `subject` in every weight."""
    return Subject(copy.deepcopy(subject.network), subject.card, subject.device)


@torch.no_grad()
def shuffle(subject: Subject, names: list[str], rng: torch.Generator) -> None:
    """Shuffle the values within each parameter of the modules `names` of this subject's own network.

    A shuffled tensor keeps its mean, spread and signs, so that a deep network neither dies nor explodes, but has
    nothing of what training put where. Running statistics of batch norm stay.
    """
    modules = dict(subject.network.named_modules())
    for name in names:
        for parameter in modules[name].parameters(recurse=False):
            order = torch.randperm(parameter.numel(), generator=rng).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))


def randomised(subject: Subject, rng: torch.Generator) -> Subject:
    """A copy of `subject` in which every parameter is shuffled; itself untouched. Adebayo et al. 2018."""
    other = duplicate(subject)
    for names in stages(other, 1):
        shuffle(other, names, rng)
    return other


def likeness(a: Tensor, b: Tensor) -> np.ndarray:
    """Spearman's rank correlation of |a| and |b| for every pair of maps (n, h, w): (n,) in [-1, 1].

    0 where a map is flat: it has nothing to do with any other. Adebayo et al. 2018, section 3.
    """
    found = np.zeros(len(a))
    for i, (one, other) in enumerate(zip(a.abs().cpu().numpy(), b.abs().cpu().numpy(), strict=True)):
        if np.ptp(one) > 0 and np.ptp(other) > 0:
            found[i] = np.corrcoef(rankdata(one), rankdata(other))[0, 1]
    return found
