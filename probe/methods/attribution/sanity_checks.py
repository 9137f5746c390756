"""Model randomisation: does an attribution change when the weights of the network are randomised?"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from probe.methods.attribution.scores import uncompiled
from probe.model.model import Model
from probe.model.observer import resolve
from probe.model.targets import Targets, UnitTargets
from probe.statistics import mean_interval

MAX_SIMILARITY = 0.5
"""A method whose attributions stay more similar than this when weights are randomised does not show what was learnt.

The papers plot curves and set no limit; half-way is ours.
"""


def layers_behind(model: Model, targets: Targets) -> list[list[str]]:
    """The layers with weights that may contribute to `targets`, the last first, each with the batch norm after it."""
    # What is completed after the layer of the target does not contribute to it.
    last = targets.layer if isinstance(targets, UnitTargets) else ""
    layers: list[list[str]] = []
    for name, module in _completed(model, last):
        if not any(True for _ in module.parameters(recurse=False)):
            continue
        if layers and isinstance(module, _BatchNorm):
            layers[-1].append(name)
        else:
            layers.append([name])
    return layers[::-1]


def stages(layers: list[list[str]], count: int) -> list[list[str]]:
    """`layers` in at most `count` groups of even size, each to be randomised at once."""
    groups = np.array_split(np.arange(len(layers)), min(count, len(layers)))
    return [[name for i in group for name in layers[i]] for group in groups]


def _completed(model: Model, last: str = "") -> list[tuple[str, nn.Module]]:
    """Every module once, in the order in which a forward pass first completes them, up to the layer `last`."""
    modules = dict(model.network.named_modules(remove_duplicate=False))
    addresses = [layer.address for layer in model.layers]
    if last:
        addresses = addresses[: addresses.index(model.layers.find(last).address) + 1]
    owners = [resolve(address, modules) for address in addresses]
    completed = [(name, modules[name]) for name, function, _ in owners if name and not function]
    completed += [] if last else [("", modules[""])]
    first_names: dict[nn.Module, str] = {}
    for name, module in completed:
        first_names.setdefault(module, name)
    return [(name, module) for module, name in first_names.items()]


def duplicate(model: Model) -> Model:
    """A model with a network of its own, equal to `model` in every weight."""
    return Model(copy.deepcopy(model.network), model.card, model.device)


@torch.no_grad()
def randomise(model: Model, names: list[str], pixels: Tensor, rng: torch.Generator) -> None:
    """Permute the values within each parameter of the modules `names`, in place.

    A permuted tensor keeps its mean, spread and signs but not the arrangement that was learnt. Then the batch norms
    behind these modules estimate their statistics anew, on `pixels` (n, c, h, w): with the old ones the activations
    of a deep network explode.
    """
    modules, norms = _affected(model, names)
    _permute(modules, rng)
    _estimate_statistics(norms, model, pixels)


def _affected(model: Model, names: list[str]) -> tuple[list[nn.Module], list[_BatchNorm]]:
    """The modules `names`, and the batch norms with statistics of their own that are completed with or after them."""
    order = _completed(model)
    modules = dict(order)
    first = next((i for i, (name, _) in enumerate(order) if name in names), len(order))
    norms = [m for _, m in order[first:] if isinstance(m, _BatchNorm) and m.track_running_stats]
    return [modules[name] for name in names], norms


def _permute(modules: list[nn.Module], rng: torch.Generator) -> None:
    for module in modules:
        for parameter in module.parameters(recurse=False):
            permutation = torch.randperm(parameter.numel(), generator=rng).to(parameter.device)
            parameter.copy_(parameter.flatten()[permutation].view_as(parameter))


def _estimate_statistics(norms: list[_BatchNorm], model: Model, pixels: Tensor) -> None:
    if not norms or len(pixels) < 2:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
        norm.train()
    try:
        with uncompiled():
            model.logits(pixels)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


def half_randomised(model: Model, pixels: Tensor, targets: Targets, rng: torch.Generator) -> Model:
    """A copy of `model` with the half of the layers behind `targets` randomised that is nearest to them."""
    copied = duplicate(model)
    layers = layers_behind(model, targets)
    names = [name for layer in layers[: -(-len(layers) // 2)] for name in layer]
    randomise(copied, names, pixels, rng)  # at once: the statistics are estimated in one pass
    return copied


def cascading_randomisation(
    model: Model, pixels: Tensor, targets: Targets, rng: torch.Generator, *, count: int
) -> Iterator[Model]:
    """One copy of `model`, randomised further in each of `count` stages, from the layer nearest `targets` to the first.

    Adebayo et al. 2018, section 4.1.
    """
    copied = duplicate(model)
    for names in stages(layers_behind(model, targets), count):
        randomise(copied, names, pixels, rng)
        yield copied


def rank_correlation(a: Tensor, b: Tensor) -> np.ndarray:
    """Spearman's rank correlation of every pair of maps (n, ...), with their signs: (n,) in [-1, 1].

    NaN where one of a pair is constant over the pixels: it has no order. Adebayo et al. 2018, section 3.
    """
    correlations = np.full(len(a), np.nan)
    usable = varying(a) & varying(b)
    for i in np.flatnonzero(usable):
        correlations[i] = np.corrcoef(_ranks(a[i].cpu().numpy()), _ranks(b[i].cpu().numpy()))[0, 1]
    return correlations


def _ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each value; equal ones share their mean rank."""
    _, inverse, count = np.unique(values, return_inverse=True, return_counts=True)
    return (count.cumsum() - (count - 1) / 2)[inverse.ravel()]


def varying(attributions: Tensor) -> np.ndarray:
    """Which attributions (n, ...) are not constant over the pixels, up to rounding: (n,) bool."""
    rows = attributions.flatten(1)
    low, high = rows.amin(1), rows.amax(1)
    rounding = 8 * torch.finfo(rows.dtype).eps * torch.maximum(low.abs(), high.abs())
    return (high - low > rounding).cpu().numpy()


def last_layer_similarity(
    attribute: Callable[[Model, Tensor, Targets], Tensor],
    attributions: Tensor,
    model: Model,
    pixels: Tensor,
    targets: Targets,
    *,
    draws: int,
    seed: int,
) -> np.ndarray:
    """Similarity of attributions when the one layer nearest `targets` is randomised: (n,), the mean of `draws` each.

    Draws whose attribution is constant are left out; NaN where all are, and where that of the trained network is.

    attribute: (model, pixels, targets) -> attributions; attributions: those of the trained network. Every image gets
    permutations of its own: one permutation may happen to keep nearly the same target, and then for all images. seed:
    of the first image, the next has the next. Adebayo et al. 2018, figure 2, first step of the cascade; Sixt et al.
    2020, section 4: many methods that change the backward pass do not depend on the last layers at all.
    """
    copied = duplicate(model)
    last = [name for layer in layers_behind(model, targets)[:1] for name in layer]
    modules, norms = _affected(copied, last)
    similarity = np.zeros((len(pixels), draws))
    for i in range(len(pixels)):
        row = torch.tensor([i], device=pixels.device)
        rng = torch.Generator().manual_seed(seed + i)
        for draw in range(draws):
            with torch.no_grad():
                _permute(modules, rng)
                _estimate_statistics(norms, copied, pixels)
            randomised = attribute(copied, pixels[row], targets[row])
            similarity[i, draw] = rank_correlation(attributions[row], randomised)[0]
    return means(similarity)


def means(values: np.ndarray) -> np.ndarray:
    """The mean of each row of (n, m) without its NaN: (n,), NaN where nothing else is in the row."""
    known = ~np.isnan(values)
    return np.where(known, values, 0).sum(1) / np.where(known.any(1), known.sum(1), np.nan)


Outcome = Literal["fails", "passes", "undecided", "constant", "blank", "not tested"]


@dataclass(frozen=True)
class RandomisationResult:
    """Similarity (rank correlation) of a method's attributions before and after randomisation, one value per image.

    last: with the one layer nearest the target randomised. half: with the nearest half of the layers. Either way the
    prediction is at chance level: an attribution that explains it cannot stay. The rank correlation is
    that of Adebayo et al. without absolute values; with them a gradient too keeps part of its similarity, as contrast
    in the image alone makes it large at the same positions (0.33 on vgg-shapes with the half, summed over channels).
    A map that is constant over the pixels (blank) has no order: `last` and `half` (shorter than `images`) leave out
    images with a blank one before or after. images: how many were tested. blank, blank_last, blank_half: on how many of
    them the map of the trained network is blank, and that of a randomised one where that of the trained is not.
    """

    last: np.ndarray
    half: np.ndarray
    images: int
    blank: int = 0
    blank_last: int = 0
    blank_half: int = 0

    @classmethod
    def of(cls, last: np.ndarray, half: np.ndarray, usable: np.ndarray) -> "RandomisationResult":
        """last, half: (n,) similarities, NaN where a map is blank. usable: (n,) whether that of the trained one is not."""
        counts = [int((usable & np.isnan(values)).sum()) for values in (last, half)]
        known = [values[~np.isnan(values)] for values in (last, half)]
        return cls(
            *known, images=len(usable), blank=int((~usable).sum()), blank_last=counts[0], blank_half=counts[1]
        )

    @property
    def outcome(self) -> Outcome:
        """By the 95% intervals of both means: undecided where there are too few images to tell.

        blank: withheld, because more than half of the maps are blank once layers are randomised, which is no sign that
        they depend on the weights of those layers in particular.
        """
        if not self.images:
            return "not tested"
        if self.blank == self.images:
            return "constant"
        intervals = [mean_interval(self.last), mean_interval(self.half)]
        if any(low > MAX_SIMILARITY for low, _ in intervals):
            return "fails"
        if 2 * max(self.blank_last, self.blank_half) > self.images - self.blank:
            return "blank"
        return "passes" if all(high <= MAX_SIMILARITY for _, high in intervals) else "undecided"


NOT_TESTED = RandomisationResult(np.zeros(0), np.zeros(0), images=0)
