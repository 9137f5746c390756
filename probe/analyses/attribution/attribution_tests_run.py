"""Measurements of one attribution method: randomisation, sensitivity, insertion and deletion, localisation."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import torch
from torch import Tensor

from probe.analyses.attribution.explanations import last_layer_draws
from probe.analyses.attribution.selection import Selection
from probe.analyses.job import Arrays
from probe.errors import UserError
from probe.methods.attribution.faithfulness import (
    auc,
    dilated_boxes,
    insertion_deletion,
    max_sensitivity,
    peak_in_mask,
    pointing_game,
    relevance_mass,
    relevance_rank,
)
from probe.methods.attribution.method import AttributionMethod, reduce_channels
from probe.methods.attribution.sanity_checks import (
    RandomisationResult,
    cascading_randomisation,
    duplicate,
    last_layer_similarity,
    layers_behind,
    randomise,
    rank_correlation,
    varying,
)
from probe.model.model import Model


@dataclass(frozen=True, kw_only=True)
class TestPlan:
    """test_images: through randomisation and noise, in `stages`. curve_points: of insertion and deletion.

    radius: of the noise, in pixel values. seed: of all random draws.
    """

    __test__ = False  # not a class of tests

    test_images: int
    stages: int
    curve_points: int
    radius: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """What is measured of one method on n images, and on m of them that go through randomisation and noise.

    Similarities are rank correlations with the attributions of the trained network: cascade (stages, m), while more
    layers are randomised; last (m,), with the last layer randomised; other_image (m,), for another image and the
    same target; other_class (m,), for the runner-up.
    examples (2 + stages, h, w): maps of the first image, trained, with the last layer randomised, stage by stage.
    usable (n,): whether the map of the trained network is not blank, that is constant over the pixels.
    sensitivity (m,): relative change by noise. insertion, deletion: (n, points) probabilities.
    completeness (n,): errors, for methods that promise it. pointing, peak, mass, rank (n,): with masks.
    What a blank map has no value for is NaN: similarities where either map is blank, the others where the first is.
    """

    cascade: np.ndarray
    last: np.ndarray
    other_image: np.ndarray
    other_class: np.ndarray
    examples: np.ndarray
    usable: np.ndarray
    sensitivity: np.ndarray
    insertion: np.ndarray
    deletion: np.ndarray
    completeness: np.ndarray | None = None
    pointing: np.ndarray | None = None
    peak: np.ndarray | None = None
    mass: np.ndarray | None = None
    rank: np.ndarray | None = None

    def arrays(self) -> Arrays:
        """By name, as chunks keep them; `Measurements(**arrays)` reads them back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def half(self) -> np.ndarray:
        """(m,) similarities with half of the layers randomised."""
        return self.cascade[-(-len(self.cascade) // 2) - 1]

    @property
    def blank(self) -> int:
        """How many of the n maps of the trained network are blank."""
        return int((~self.usable.astype(bool)).sum())

    @property
    def randomisation(self) -> RandomisationResult:
        return RandomisationResult.of(self.last, self.half, self.usable[: len(self.last)].astype(bool))


@dataclass(frozen=True, kw_only=True)
class RandomOrder:
    """What maps of random values measure: insertion and deletion curves (n, points).

    mask, box: (n,) fractions of the image that the mask and its dilated box cover, where masks are known.
    """

    insertion: np.ndarray
    deletion: np.ndarray
    mask: np.ndarray | None = None
    box: np.ndarray | None = None


def run_tests(method: AttributionMethod, model: Model, selection: Selection, plan: TestPlan) -> Measurements:
    """Measure everything about one method, whose parameters are all filled in."""
    pixels, targets = selection.pixels, selection.targets
    tested = torch.arange(plan.test_images, device=pixels.device)
    tested_pixels, tested_targets = pixels[tested], targets[tested]
    method = method.with_references(selection.references)
    attribute = partial(method.attribute, seed=plan.seed)
    attributions = attribute(model, pixels, targets)
    maps = reduce_channels(attributions, method.kind)

    def maps_of(perturbed: Tensor) -> Tensor:
        return method.map(model, perturbed, tested_targets, seed=plan.seed)

    rng = torch.Generator().manual_seed(plan.seed)
    examples, cascade = [maps[0], _without_last_layer(method, model, selection, plan.seed)], []
    for randomised in cascading_randomisation(model, tested_pixels, targets, rng, count=plan.stages):
        changed = attribute(randomised, tested_pixels, tested_targets)
        cascade.append(rank_correlation(attributions[tested], changed))
        examples.append(reduce_channels(changed, method.kind)[0])
    draws = last_layer_draws(method, model, plan.test_images)
    before = attributions[tested]
    last = last_layer_similarity(
        attribute, before, model, tested_pixels, tested_targets, draws=draws, seed=plan.seed
    )
    sensitivity = max_sensitivity(maps_of, tested_pixels, maps[tested], radius=plan.radius, draws=1, rng=rng)
    runner_up = method.map(model, tested_pixels, selection.runner_up[tested], seed=plan.seed)
    completeness = method.completeness_error(model, pixels, targets, maps)
    insertion, deletion = _curves(model, selection, maps, plan.curve_points)
    usable = varying(maps)
    return Measurements(
        cascade=np.stack(cascade),
        last=last,
        other_image=rank_correlation(maps[tested], maps_of(tested_pixels.roll(1, 0))),
        other_class=rank_correlation(maps[tested], runner_up),
        examples=_array(torch.stack(examples)),
        usable=usable,
        sensitivity=_known(_array(sensitivity), usable[: len(tested)]),
        insertion=_known(insertion, usable),
        deletion=_known(deletion, usable),
        completeness=None if completeness is None else _known(_array(completeness), usable),
        **{key: _known(value, usable) for key, value in _localisation(maps, selection.dataset.masks).items()},
    )


def _known(values: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """`values` (n, ...) with NaN in the rows that are not usable."""
    known = values.astype(np.float32)
    known[~usable] = np.nan
    return known


def _localisation(maps: Tensor, masks: Tensor | None) -> Arrays:
    if masks is None:
        return {}
    return {
        "pointing": _array(pointing_game(maps, masks)),
        "peak": _array(peak_in_mask(maps, masks)),
        "mass": _array(relevance_mass(maps, masks)),
        "rank": _array(relevance_rank(maps, masks)),
    }


def _without_last_layer(method: AttributionMethod, model: Model, selection: Selection, seed: int) -> Tensor:
    """The map of the first image with the last layer randomised."""
    first, copied = torch.tensor([0], device=selection.pixels.device), duplicate(model)
    rng = torch.Generator().manual_seed(seed)
    randomise(copied, layers_behind(model, selection.targets)[0], selection.pixels, rng)
    return method.map(copied, selection.pixels[first], selection.targets[first], seed=seed)[0]


def _curves(model: Model, selection: Selection, maps: Tensor, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Insertion and deletion (n, points), against the mean colour of each image."""
    pixels = selection.pixels
    background = pixels.mean((2, 3), keepdim=True).expand_as(pixels)
    insertion, deletion = (
        insertion_deletion(
            model, pixels, selection.prediction, maps, background, points=points, insert=insert
        )
        for insert in (True, False)
    )
    return _array(insertion), _array(deletion)


def _array(values: Tensor) -> np.ndarray:
    return values.float().cpu().numpy()


def random_order(model: Model, selection: Selection, points: int, seed: int) -> RandomOrder:
    """The curves of maps of random values, and what a random pixel would hit."""
    rng = torch.Generator().manual_seed(seed)
    maps = torch.rand(selection.pixels[:, 0].shape, generator=rng).to(selection.pixels)
    insertion, deletion = _curves(model, selection, maps, points)
    masks = selection.dataset.masks
    if masks is None:
        return RandomOrder(insertion=insertion, deletion=deletion)
    return RandomOrder(
        insertion=insertion,
        deletion=deletion,
        mask=masks.float().mean((1, 2)).numpy(),
        box=dilated_boxes(masks).float().mean((1, 2)).numpy(),
    )


def areas(curves: np.ndarray) -> np.ndarray:
    """The area under each of the curves (n, points): (n,)."""
    return auc(torch.from_numpy(curves)).numpy()


def not_applicable(
    methods: Sequence[AttributionMethod], model: Model, selection: Selection, seed: int
) -> dict[AttributionMethod, UserError]:
    """The methods that cannot be applied to this model, with the reason."""
    first = torch.zeros(1, dtype=torch.long, device=selection.pixels.device)
    skipped: dict[AttributionMethod, UserError] = {}
    for method in methods:
        try:
            method.with_references(selection.references).attribute(
                model, selection.pixels[first], selection.targets[first], seed=seed
            )
        except UserError as error:
            skipped[method] = error
    return skipped
