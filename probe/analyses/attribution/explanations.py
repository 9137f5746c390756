"""The pictures that each method draws of what is asked, and whether the randomisation test lets them be believed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from probe.analyses.attribution.selection import Selection
from probe.analyses.job import Job
from probe.errors import UserError
from probe.exhibits.result import Number
from probe.exhibits.wording import listed
from probe.methods.attribution.registry import (
    LEVELS,
    METHODS,
    Method,
    Settings,
    cost,
    filled,
    reduce_channels,
)
from probe.methods.attribution.sanity_checks import (
    RandomisationResult,
    half_randomised,
    last_shuffled,
    lively,
    rank_correlation,
    verdict,
)
from probe.model.model import Model
from probe.statistics import mean_interval

_BUDGET = 2.2e12  # multiply-accumulates: a minute on one core, more where it is shared
_STEP = 5e10  # multiply-accumulates between two steps of the progress bar: a second or two
_DRAWS = 1.5e11  # and for the shuffles of the last layer that go beyond one an image


@dataclass
class Explanations:
    """By the name of each method: pictures (n, c, h, w) or (n, h, w) and what they remember; or why there are none."""

    pictures: dict[str, Tensor]
    memory: dict[str, RandomisationResult]
    left_out: dict[str, UserError]

    def map(self, name: str) -> Tensor:
        """One number a pixel: (n, h, w)."""
        return reduce_channels(self.pictures[name], METHODS[name].kind)

    def verdict(self, name: str) -> str:
        return verdict(METHODS[name].title, self.memory[name])

    @property
    def numbers(self) -> dict[str, Number]:
        """The likenesses that the verdicts rest on."""
        found: dict[str, Number] = {}
        for name, memory in self.memory.items():
            found |= likenesses(METHODS[name], memory)
        return found


def without(left_out: Mapping[str, UserError]) -> list[str]:
    """Which methods are left out, by name, and why: a line for each reason."""
    titles: dict[str, list[str]] = {}
    for name, why in left_out.items():
        titles.setdefault(str(why), []).append(METHODS[name].title)
    return [
        f"{listed(named)} {'is' if len(named) == 1 else 'are'} left out: {why}."
        for why, named in titles.items()
    ]


def likenesses(method: Method, memory: RandomisationResult) -> dict[str, Number]:
    """How like a map of shuffled layers is to the network's own; nothing where the maps are flat."""
    if memory.flat:
        return {}
    return {
        f"likeness with the last layer shuffled, {method.title}": mean_likeness(memory.last),
        f"likeness with half of the layers shuffled, {method.title}": mean_likeness(memory.half),
    }


def mean_likeness(values: np.ndarray) -> Number:
    """The mean of likenesses (n,), one an image, with its interval where there are two or more."""
    mean = Number(value=float(values.mean()), n=len(values), format="{:.2f}")
    if len(values) < 2:
        return mean
    low, high = mean_interval(values)
    return replace(mean, low=max(low, -1.0), high=min(high, 1.0))


def within_means(
    methods: list[Method], model: Model, settings: Settings, *, examples: int
) -> tuple[Settings, int]:
    """`settings` with zeros filled in as the network's cost allows, and on how many images to test.

    examples: images whose pictures are wanted. The coarsest plan is taken where even that costs more.
    """
    fine, medium, coarse = LEVELS
    usable, tested = settings, 0
    for level, tested in ((fine, 8), (medium, 8), (medium, 4), (coarse, 4)):
        usable = filled(settings, model, level)
        if (max(examples, tested) + 2 * tested) * cost(methods, model, usable) <= _BUDGET:
            break
    return usable, tested


def explain(
    methods: list[Method],
    model: Model,
    asked: Selection,
    settings: Settings,
    job: Job,
    *,
    tested: int,
    what: str,
    seed: int,
) -> Explanations:
    """Every method's pictures of all of `asked`, and its randomisation test on the first `tested`.

    what: the name of the progress bar, which advances with every image where images are dear.
    Raises UserError, with the reason of the first, where no method can be applied.
    """
    tested = min(tested, len(asked))
    few = torch.arange(tested, device=asked.pixels.device)
    half = half_randomised(model, asked.pixels[few], asked.targets[few], torch.Generator().manual_seed(seed))
    steps = [
        (method, stage, rows)
        for method in methods
        for stage, count in (("trained", len(asked)), ("half", tested), ("last", tested))
        for rows in torch.arange(count, device=asked.pixels.device).split(_at_once(method, model, settings))
    ]
    drawn: dict[str, list[Tensor]] = {}
    alike: dict[tuple[str, str], list[np.ndarray]] = {}
    left_out: dict[str, UserError] = {}
    for method, stage, rows in job.progress(steps, what):
        if method.name in left_out:
            continue
        pixels, targets = asked.pixels[rows], asked.targets[rows]
        try:
            if stage == "trained":
                pictures = method.picture(model, pixels, targets, settings)
                drawn.setdefault(method.name, []).append(pictures)
                continue
            before = torch.cat(drawn[method.name])[rows]
            if stage == "half":
                values = rank_correlation(before, method.picture(half, pixels, targets, settings))
            else:
                draws = last_draws(method, model, settings, tested)
                first = seed + int(rows[0])
                values = last_shuffled(
                    method, before, model, pixels, targets, settings, draws=draws, seed=first
                )
            alike.setdefault((method.name, stage), []).append(values)
        except UserError as error:
            left_out[method.name] = error
    pictures = {name: torch.cat(parts) for name, parts in drawn.items() if name not in left_out}
    if not pictures:
        raise next(iter(left_out.values()), UserError("no attribution method was asked for"))
    memory: dict[str, RandomisationResult] = {}
    for name, found in pictures.items():
        told = lively(found[few])
        last, half_way = (np.concatenate(alike[name, stage])[told] for stage in ("last", "half"))
        memory[name] = RandomisationResult(last, half_way, flat=not told.any())
    return Explanations(pictures, memory, left_out)


def _at_once(method: Method, model: Model, settings: Settings) -> int:
    """Images between two steps of the progress bar."""
    return max(1, int(_STEP / cost([method], model, settings)))


def last_draws(method: Method, model: Model, settings: Settings, images: int) -> int:
    """How often to shuffle the last layer for each image: 1 to 8, as the cost allows."""
    return int(np.clip(_DRAWS / (images * cost([method], model, settings)), 1, 8))
