"""What is measured of an attribution method, and what of it is found wanting?"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probe.analyses.attribution.explanations import last_draws
from probe.analyses.attribution.selection import Selection
from probe.analyses.job import Arrays
from probe.methods.attribution.faithfulness import (
    auc,
    insertion_deletion,
    max_sensitivity,
    near,
    peak_on,
    pointing,
    relevance_mass,
    relevance_rank,
)
from probe.methods.attribution.gradients import completeness_error
from probe.methods.attribution.registry import Method, Settings, reduce_channels
from probe.methods.attribution.sanity_checks import (
    BLIND,
    RandomisationResult,
    all_flat,
    cascading_randomisation,
    duplicate,
    last_shuffled,
    layers_behind,
    lively,
    rank_correlation,
    shuffle,
)
from probe.model.model import Model
from probe.statistics import mean_interval, wilson_interval

UNSTABLE = 1.0
"""A map that noise changes by more than its own size."""

ENOUGH = 16
"""Images from which on it counts against a method that it is not shown to beat chance."""


@dataclass(frozen=True, kw_only=True)
class TestPlan:
    """How a method is examined: `tested` images forget in `stages` steps, curves have `points`, noise the size `radius`."""

    tested: int
    stages: int
    points: int
    radius: float


def run_tests(method: Method, model: Model, asked: Selection, settings: Settings, trial: TestPlan) -> Arrays:
    """Everything that is measured of one method: arrays by name, n being the images and m those of the trial.

    lively (m,): whether a picture tells one pixel from another.
    alike (stages, m), last (m,): likeness of the pictures to themselves while the network forgets.
    examples (2 + stages, h, w): maps of the first image, trained, with the last layer shuffled, and stage by stage.
    blind, classless (m,): likeness to the map that another image gives for the same question, and that the
    runner-up gives. noise (m,): change by noise. insertion, deletion (n, points). flat (): 1 where no map tells
    one pixel from another. complete (n,): for integrated gradients. pointing, peak, mass, rank (n,): with masks.
    """
    pixels, targets = asked.pixels, asked.targets
    few = torch.arange(trial.tested, device=pixels.device)
    some, their = pixels[few], targets[few]
    pictures = method.picture(model, pixels, targets, settings)
    maps = reduce_channels(pictures, method.kind)

    def explain(moved: Tensor) -> Tensor:
        return method.map(model, moved, their, settings)

    rng = torch.Generator().manual_seed(settings.seed)
    examples, alike = [maps[0], _without_last(method, model, asked, settings)], []
    for other in cascading_randomisation(model, some, targets, rng, count=trial.stages):
        now = method.picture(other, some, their, settings)
        alike.append(rank_correlation(pictures[few], now))
        examples.append(reduce_channels(now, method.kind)[0])
    draws = last_draws(method, model, settings, trial.tested)
    last = last_shuffled(method, pictures[few], model, some, their, settings, draws=draws, seed=settings.seed)
    noise = max_sensitivity(explain, some, maps[few], radius=trial.radius, draws=1, rng=rng)
    otherwise = method.map(model, some, asked.second[few], settings)
    found = {
        "examples": torch.stack(examples),
        "noise": noise,
        "flat": torch.tensor(all_flat(maps)),
        **_curves(model, asked, maps, trial.points),
    }
    if asked.images.masks is not None:
        masks = asked.images.masks
        found |= {
            "pointing": pointing(maps, masks),
            "peak": peak_on(maps, masks),
            "mass": relevance_mass(maps, masks),
            "rank": relevance_rank(maps, masks),
        }
    if method.name == "integrated_gradients":
        found["complete"] = completeness_error(model, pixels, targets, maps, baseline=settings.baseline)
    arrays = {name: values.float().cpu().numpy() for name, values in found.items()}
    return arrays | {
        "alike": np.stack(alike),
        "last": last,
        "lively": lively(pictures[few]),
        "blind": rank_correlation(maps[few], explain(some.roll(1, 0))),
        "classless": rank_correlation(maps[few], otherwise),
    }


def _without_last(method: Method, model: Model, asked: Selection, settings: Settings) -> Tensor:
    """The map of the first image with the last layer shuffled."""
    one, other = torch.tensor([0], device=asked.pixels.device), duplicate(model)
    rng = torch.Generator().manual_seed(settings.seed)
    shuffle(other, layers_behind(model, asked.targets)[0], asked.pixels, rng)
    return method.map(other, asked.pixels[one], asked.targets[one], settings)[0]


def _curves(model: Model, asked: Selection, maps: Tensor, points: int) -> dict[str, Tensor]:
    background = asked.pixels.mean((2, 3), keepdim=True).expand_as(asked.pixels)
    return {
        name: insertion_deletion(
            model, asked.pixels, asked.answer, maps, background, points=points, insert=insert
        )
        for name, insert in (("insertion", True), ("deletion", False))
    }


def chance(model: Model, asked: Selection, points: int, seed: int) -> Arrays:
    """What maps of noise would get: curves for a random order (n, points), and the objects' share of the images (n,)."""
    rng = torch.Generator().manual_seed(seed)
    heat = torch.rand(asked.pixels[:, 0].shape, generator=rng).to(asked.pixels)
    found = {name: curve.float().cpu().numpy() for name, curve in _curves(model, asked, heat, points).items()}
    if asked.images.masks is not None:
        found["object"] = asked.images.masks.float().mean((1, 2)).numpy()
        found["object near"] = near(asked.images.masks).float().mean((1, 2)).numpy()
    return found


def memory(measured: Arrays) -> RandomisationResult:
    """The randomisation test in what was measured."""
    told = measured["lively"]
    return RandomisationResult(
        measured["last"][told], measured["alike"][halfway(measured)][told], flat=not told.any()
    )


def halfway(measured: Arrays) -> int:
    """The stage at which half of the layers are shuffled."""
    return -(-len(measured["alike"]) // 2) - 1


def areas(curves: np.ndarray) -> np.ndarray:
    """The area under each of the curves (n, points): (n,)."""
    return auc(torch.from_numpy(curves)).numpy()


@dataclass(frozen=True)
class Findings:
    """What a method fails, and what the images are too few to tell."""

    failed: tuple[str, ...]
    undecided: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"fails: {', '.join(self.failed)}"] if self.failed else []
        parts += [f"too few images: {', '.join(self.undecided)}"] if self.undecided else []
        return "; ".join(parts) or "passes"


def decide(measured: Arrays, by_chance: Arrays, *, runner_up: bool) -> Findings:
    """Hold a method against every test, by 95 % intervals over the images. runner_up: whether there is one to ask about."""
    if measured["flat"]:
        return Findings(("maps have one value everywhere",), ())
    tests = {"randomisation": _RANDOMISED[memory(measured).outcome]}
    tests["blind to the image"] = _above(measured["blind"], BLIND)
    if runner_up:
        tests["blind to the class"] = _above(measured["classless"], BLIND)
    tests["noise"] = _above(measured["noise"], UNSTABLE)
    n = len(measured["insertion"])
    if "pointing" in measured:
        low, _ = wilson_interval(int(measured["pointing"].sum()), n)
        tests["pointing"] = _shown(low > float(by_chance["object near"].mean()), n)
    gained = mean_interval(areas(measured["insertion"]) - areas(by_chance["insertion"]))[0] > 0
    spared = mean_interval(areas(measured["deletion"]) - areas(by_chance["deletion"]))[1] < 0
    tests["insertion and deletion"] = _shown(gained or spared, n)
    return Findings(
        tuple(name for name, failed in tests.items() if failed),
        tuple(name for name, failed in tests.items() if failed is None),
    )


# Whether a test is failed; None where the images are too few to tell.
_RANDOMISED = {"fails": True, "passes": False, "undecided": None, "flat": True}


def _above(values: np.ndarray, limit: float) -> bool | None:
    """Whether the mean lies above what is allowed."""
    low, high = mean_interval(values)
    return True if low > limit else False if high <= limit else None


def _shown(better: bool, n: int) -> bool | None:
    """A method must beat chance; that it is not shown to says little on few images."""
    return False if better else True if n >= ENOUGH else None
