"""Make the plane of a surface from what the user asks for."""

from dataclasses import dataclass

import torch

from probe.analyses.job import Job
from probe.analyses.landscape.surface_plane import Plane, default_range, with_ranges
from probe.errors import UserError
from probe.methods.landscape.directions import (
    Normalisation,
    cosine,
    count_zero_filters,
    movable_weights,
    random_direction,
)
from probe.model.model import Model

POINTS = 25


@dataclass(frozen=True)
class DirectionOptions:
    """What determines the directions of a surface. statistics: whether running statistics of batch norm move too."""

    dimensions: int
    normalisation: Normalisation
    move_1d: bool
    statistics: bool
    x: str
    y: str
    seed: int


def make_plane(model: Model, options: DirectionOptions, job: Job) -> Plane:
    """The directions and coordinates of a surface; UserError where the model has no such plane."""
    return with_ranges(_random(model, options), options.x, options.y)


def _random(model: Model, options: DirectionOptions) -> Plane:
    weights = movable_weights(model.network, statistics=options.statistics)
    if not any(w.ndim > 1 for w in weights.values()):
        raise UserError(
            f"{model.name} has no weights of two or more dimensions: there is no direction to move in"
        )
    if options.statistics and not options.move_1d:
        raise UserError(
            "batch_norm 'moved' moves running statistics, which have one dimension: set move_1d too, or take the directions "
            "between checkpoints"
        )
    rng = torch.Generator().manual_seed(options.seed)
    directions = tuple(
        random_direction(weights, rng, normalisation=options.normalisation, move_1d=options.move_1d)
        for _ in range(options.dimensions)
    )
    zero = count_zero_filters(weights) if options.normalisation in ("filter", "weight") else 0
    facts = {"zero_filters": float(zero), "seed": float(options.seed)}
    if options.dimensions == 2:
        facts["cosine"] = cosine(*directions)
    scale = {
        "filter": "each filter scaled to the norm of its weights",
        "layer": "each layer scaled to the norm of its weights",
        "weight": "each value multiplied by its weight",
        "none": "not scaled",
    }[options.normalisation]
    note = (
        f"{'Both axes are' if options.dimensions == 2 else 'The axis is a'} Gaussian "
        f"direction{'s' if options.dimensions == 2 else ''}, {scale}; biases and batch norm "
        f"{'move too' if options.move_1d else 'stay'}."
    )
    still = (
        f"{zero} filter{'s' if zero != 1 else ''} of norm 0 {'stay' if zero != 1 else 'stays'} where they are."
        if zero
        else ""
    )
    axis = default_range(-1, 1, POINTS)
    return Plane(
        directions=directions,
        x=axis,
        y=axis if options.dimensions == 2 else torch.zeros(1).numpy().astype(float),
        labels=("first random direction", "second random direction"),
        facts=facts,
        notes=(note, still),
    )
