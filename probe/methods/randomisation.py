"""Does a picture depend on what the network has learnt? Weights are shuffled and the picture is drawn again."""

import copy
import math

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from probe.methods.backward import as_python
from probe.methods.explainers import METHODS, Settings
from probe.methods.targets import Targets
from probe.subject.subject import Subject

FAILS = 0.5
"""A map whose likeness to itself stays above this when every weight is shuffled does not show what was learnt."""

BLIND = 0.9
"""A map that another image gives for the same question, more alike than this, has not looked at the image."""


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
        if units and isinstance(modules[name], _BatchNorm):
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
def shuffle(subject: Subject, names: list[str], pixels: Tensor, rng: torch.Generator) -> None:
    """Shuffle the values within each parameter of the modules `names` of this subject's own network.

    A shuffled tensor keeps its mean, spread and signs but nothing of what training put where. Then batch norm
    measures its statistics anew, on `pixels` (n, c, h, w): with the old ones a deep network's answers explode.
    """
    modules = dict(subject.network.named_modules())
    for name in names:
        for parameter in modules[name].parameters(recurse=False):
            order = torch.randperm(parameter.numel(), generator=rng).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    norms = [m for m in modules.values() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms or len(pixels) < 2:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all that is seen
        norm.train()
    try:
        with as_python():
            subject.logits(pixels)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


def forgetful(subject: Subject, pixels: Tensor, rng: torch.Generator, *, share: float = 1.0) -> Subject:
    """A copy of `subject` in which the last `share` of the layers with weights are shuffled; itself untouched."""
    other = duplicate(subject)
    groups = stages(other, 10_000)
    for names in groups[: max(1, round(share * len(groups)))]:
        shuffle(other, names, pixels, rng)
    return other


def likeness(a: Tensor, b: Tensor) -> np.ndarray:
    """Spearman's rank correlation of every pair of maps (n, h, w), signed where the maps are: (n,) in [-1, 1].

    0 where a map is flat: it has nothing to do with any other. Adebayo et al. 2018, section 3.
    """
    found = np.zeros(len(a))
    for i, (one, other) in enumerate(zip(a.cpu().numpy(), b.cpu().numpy(), strict=True)):
        if np.ptp(one) > 0 and np.ptp(other) > 0:
            found[i] = np.corrcoef(rankdata(one), rankdata(other))[0, 1]
    return found


def all_flat(maps: Tensor) -> bool:
    """Whether no map (n, h, w) tells one pixel from another, as behind a step that lets no gradient through."""
    rows = maps.flatten(1)
    return bool((rows.amax(1) == rows.amin(1)).all())


def memory_test(
    maps: dict[str, Tensor], subject: Subject, pixels: Tensor, targets: Targets, settings: Settings, seed: int
) -> dict[str, float]:
    """How alike each method's maps stay when half of the layers, those nearest the answer, are shuffled, by name.

    maps: what METHODS[name].map gave for `pixels`. Such a network's answer is chance: a map that shows why the
    answer was given cannot stay. Mean over the images, of the first 8; nan where all maps are flat.
    """
    few = slice(8)
    other = forgetful(subject, pixels[few], torch.Generator().manual_seed(seed), share=0.5)
    targets = targets[torch.arange(len(targets), device=pixels.device)[few]]
    return {
        name: float("nan")
        if all_flat(found)
        else float(likeness(found[few], METHODS[name].map(other, pixels[few], targets, settings)).mean())
        for name, found in maps.items()
    }


def verdict(title: str, alike: float) -> str:
    """What the likeness of a method's maps before and after randomisation says of it, in one sentence."""
    if math.isnan(alike):
        return f"{title} says nothing of these images: its maps have one value everywhere, so there is nothing to test."
    if alike > FAILS:
        return (
            f"{title} fails the randomisation test: with half of the layers shuffled its maps stay {alike:.2f} alike, "
            "so it shows what is in the image, such as edges, more than what the network learnt."
        )
    return f"{title} passes the randomisation test: with half of the layers shuffled its maps are {alike:.2f} alike."
