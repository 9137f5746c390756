"""Does a picture depend on what the network has learnt? Weights are shuffled and the picture is drawn again."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from probe.methods.attribution.registry import Method, Settings
from probe.methods.attribution.relu_rules import as_python
from probe.model.model import Model
from probe.model.targets import Targets, UnitTargets
from probe.statistics import mean_interval

MAX_SIMILARITY = 0.5
"""A method whose pictures stay more alike than this while weights are shuffled does not show what was learnt.

The papers plot curves and draw no line; half-way is ours.
"""

BLIND = 0.9
"""A map that another image gives for the same question, more alike than this, has not looked at the image."""


def layers_behind(model: Model, targets: Targets) -> list[list[str]]:
    """The layers with weights that may have a part in `targets`, the last first, each with the batch norm after it."""
    order = _completed(model)
    names = [name for name, _ in order]
    if isinstance(targets, UnitTargets):
        # What is completed after the layer that is asked about has no part in what it answers.
        order = order[: names.index(targets.layer.partition("#")[0]) + 1]
    layers: list[list[str]] = []
    for name, module in order:
        if not any(True for _ in module.parameters(recurse=False)):
            continue
        if layers and isinstance(module, _BatchNorm):
            layers[-1].append(name)
        else:
            layers.append([name])
    return layers[::-1]


def stages(layers: list[list[str]], count: int) -> list[list[str]]:
    """`layers` in at most `count` groups of even size, each to be shuffled at once."""
    parts = np.array_split(np.arange(len(layers)), min(count, len(layers)))
    return [[name for i in part for name in layers[i]] for part in parts]


def _completed(model: Model) -> list[tuple[str, nn.Module]]:
    """Every module once, in the order in which a forward pass completes them."""
    modules = dict(model.network.named_modules())
    names = dict.fromkeys(layer.address.partition("#")[0] for layer in model.layers)
    return [(name, modules[name]) for name in names if name] + [("", modules[""])]


def duplicate(model: Model) -> Model:
    """A model of its own network, equal to `model` in every weight."""
    return Model(copy.deepcopy(model.network), model.card, model.device)


@torch.no_grad()
def shuffle(model: Model, names: list[str], pixels: Tensor, rng: torch.Generator) -> None:
    """Shuffle the values within each parameter of the modules `names` of this model's own network.

    A shuffled tensor keeps its mean, spread and signs but nothing of what training put where. Then the batch norms
    behind them measure their statistics anew, on `pixels` (n, c, h, w): with the old ones a deep network's answers
    explode.
    """
    order = _completed(model)
    modules = dict(order)
    for name in names:
        for parameter in modules[name].parameters(recurse=False):
            mixed = torch.randperm(parameter.numel(), generator=rng).to(parameter.device)
            parameter.copy_(parameter.flatten()[mixed].view_as(parameter))
    first = next((i for i, (name, _) in enumerate(order) if name in names), len(order))
    norms = [m for _, m in order[first:] if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms or len(pixels) < 2:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all that is seen
        norm.train()
    try:
        with as_python():
            model.logits(pixels)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


def half_randomised(model: Model, pixels: Tensor, targets: Targets, rng: torch.Generator) -> Model:
    """A copy of `model` in which the half of the layers behind `targets` that lies nearest them is shuffled."""
    other = duplicate(model)
    layers = layers_behind(model, targets)
    for names in layers[: -(-len(layers) // 2)]:
        shuffle(other, names, pixels, rng)
    return other


def cascading_randomisation(
    model: Model, pixels: Tensor, targets: Targets, rng: torch.Generator, *, count: int
) -> Iterator[Model]:
    """One copy of `model` that forgets in `count` steps, from the layer nearest `targets` to the first."""
    other = duplicate(model)
    for names in stages(layers_behind(model, targets), count):
        shuffle(other, names, pixels, rng)
        yield other


def rank_correlation(a: Tensor, b: Tensor) -> np.ndarray:
    """Spearman's rank correlation of every pair of pictures (n, ...), signed where they are: (n,) in [-1, 1].

    0 where one is flat: it has nothing to do with any other. Adebayo et al. 2018, section 3.
    """
    found = np.zeros(len(a))
    for i, (one, other) in enumerate(zip(a.cpu().numpy(), b.cpu().numpy(), strict=True)):
        if np.ptp(one) > 0 and np.ptp(other) > 0:
            found[i] = np.corrcoef(_ranks(one), _ranks(other))[0, 1]
    return found


def _ranks(values: np.ndarray) -> np.ndarray:
    """The place of each value in their order, equal ones sharing the mean of theirs."""
    _, where, count = np.unique(values, return_inverse=True, return_counts=True)
    return (count.cumsum() - (count - 1) / 2)[where.ravel()]


def lively(pictures: Tensor) -> np.ndarray:
    """Which pictures (n, ...) tell one pixel from another: (n,) bool; none do behind a step that lets no gradient through."""
    rows = pictures.flatten(1)
    return (rows.amax(1) > rows.amin(1)).cpu().numpy()


def all_flat(pictures: Tensor) -> bool:
    """Whether no picture (n, ...) tells one pixel from another."""
    return not lively(pictures).any()


def last_shuffled(
    method: Method,
    pictures: Tensor,
    model: Model,
    pixels: Tensor,
    targets: Targets,
    settings: Settings,
    *,
    draws: int,
    seed: int,
) -> np.ndarray:
    """How alike pictures stay when the one layer nearest `targets` is shuffled: (n,), for each image the mean of `draws`.

    pictures: what the method gives for `pixels` and the trained network. Every image gets shuffles of its own:
    a single one may happen to ask for nearly the same thing, and then for all images.
    Adebayo et al. 2018, figure 2, first step of the cascade; Sixt et al. 2020, section 4: many methods that change
    the backward pass do not depend on the last layers at all.
    """
    other = duplicate(model)
    last = layers_behind(model, targets)[:1]
    found = np.zeros((len(pixels), draws))
    for i in range(len(pixels)):
        row = torch.tensor([i], device=pixels.device)
        rng = torch.Generator().manual_seed(seed + i)
        for draw in range(draws):
            for names in last:
                shuffle(other, names, pixels, rng)
            now = method.picture(other, pixels[row], targets[row], settings)
            found[i, draw] = rank_correlation(pictures[row], now)[0]
    return found.mean(1)


@dataclass(frozen=True)
class RandomisationResult:
    """How alike a method's pictures stay to themselves while the network forgets, signs and colours kept.

    An image whose picture is flat from the start says nothing and is left out.

    last: (n,), an image each, with the one layer nearest the answer shuffled; half: with the nearest half of them.
    Either way the answer is chance: a picture that shows why it was given cannot stay. Their rank correlation is
    Adebayo et al.'s measure without absolute values; with them a gradient too keeps half of its likeness, as
    contrast in the image alone makes it large at the same places (on vgg-shapes 0.7).
    flat: whether all pictures have one value everywhere.
    """

    last: np.ndarray
    half: np.ndarray
    flat: bool = False

    @property
    def outcome(self) -> Literal["fails", "passes", "undecided", "flat"]:
        """By the 95 % intervals of both means: no verdict where too few images leave it open."""
        if self.flat:
            return "flat"
        ranges = [mean_interval(self.last), mean_interval(self.half)]
        if any(low > MAX_SIMILARITY for low, _ in ranges):
            return "fails"
        return "passes" if all(high <= MAX_SIMILARITY for _, high in ranges) else "undecided"


_WHERE = {"last": "the last layer alone", "half": "half of the layers"}


def verdict(title: str, memory: RandomisationResult) -> str:
    """What the randomisation test says of a method, with its figures, in one sentence."""
    if memory.flat:
        return f"{title} says nothing of these images: its maps have one value everywhere, so there is nothing to test."
    n = len(memory.last)
    images = f"{n} images" if n > 1 else "one image"
    both = {"last": memory.last, "half": memory.half}
    if memory.outcome == "fails":
        worst = max(both, key=lambda name: mean_interval(both[name])[0])
        why = (
            "so they do not show why this answer was given"
            if worst == "last"
            else "so it shows what is in the image, such as edges, more than what the network learnt"
        )
        return (
            f"{title} fails the randomisation test: with {_WHERE[worst]} shuffled its pictures stay "
            f"{_mean(both[worst])} alike ({images}), {why}."
        )
    figures = (
        f"its pictures stay {_mean(memory.last)} alike with {_WHERE['last']} shuffled and {_mean(memory.half)} "
        f"with {_WHERE['half']}"
    )
    if memory.outcome == "passes":
        return f"{title} passes the randomisation test: {figures} ({images})."
    return (
        f"{title} has no verdict from the randomisation test: {figures}, and {images} cannot tell whether that is "
        f"more than {MAX_SIMILARITY}."
    )


def _mean(values: np.ndarray) -> str:
    low, high = mean_interval(values)
    return f"{values.mean():.2f}" + (
        f" ({max(low, -1):.2f} to {min(high, 1):.2f})" if len(values) > 1 else ""
    )
