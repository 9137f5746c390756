"""How `maximise` optimises: objective, parametrisation, transforms and steps of its options and presets."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from probe.analyses.job import Job
from probe.analyses.synthesis.frames import Frames, write_sheets
from probe.analyses.synthesis.maximise_chunks import optimise_in_chunks
from probe.analyses.synthesis.maximise_units import Units, class_means
from probe.data.images import Images
from probe.errors import UserError
from probe.methods.synthesis.depth import layers_by_depth
from probe.methods.synthesis.objectives import (
    Channel,
    Direction,
    Diversity,
    Logit,
    LogProbability,
    Objective,
)
from probe.methods.synthesis.optimise import Optimised, Schedule, optimise
from probe.methods.synthesis.parametrisation import (
    FixedMagnitude,
    Fourier,
    Parametrisation,
    Pixels,
    mean_and_covariance,
    mean_magnitude,
)
from probe.methods.synthesis.precision import in_precision
from probe.methods.synthesis.presets import (
    CHANNEL_SMOOTHNESS,
    CLASS_SMOOTHNESS,
    GREY_CHANNEL_SMOOTHNESS,
    GREY_CLASS_SMOOTHNESS,
    BlurredPixels,
    class_objective,
    simonyan_objective,
)
from probe.methods.synthesis.regularisers import TotalVariation
from probe.methods.synthesis.steps import Adam, NormalisedGradient, Step
from probe.methods.synthesis.transforms import RandomAffine
from probe.model.budget import GRADIENT_COST, forward_seconds
from probe.model.model import Model
from probe.params import UserPath
from probe.precision import Precision

_CHANNEL_DIVERSITY = 0.5
_CLASS_DIVERSITY = 0.1
_GREY_CLASS_DIVERSITY = 0.05
"""Weight of the diversity, times the range of the channel or score over the data.

Chosen by looking at four images each of ten classes and channels of vgg-shapes, ResNet-20 and LeNet-5: all keep the class
with a confidence of at least 0.99. At 2, channels turn into the textures of others.
"""
_SIMONYAN_STEP = 0.005
"""Mean change of a pixel in one step along the gradient; four times as much fills the images with saturated noise. Adam, which
moves all pixels alike, buries ostriches, flamingos and zebras of SqueezeNet in noise; along the gradient they are seen."""
_YOSINSKI_STEP = 0.02  # a fifth of it leaves the images faint
_SIMONYAN_DECAY = 1.0  # times the range of the score over the data
_MACO_LR = 0.3
"""Of Nadam; at the published 1.0, SqueezeNet's scores are half as high.

The paper's crops, of 50 to 5 % of the image, belong to images larger than the input of the network. In images as large
as the input, ostriches, zebras and goldfish of SqueezeNet are not seen (scores of 1 to 4, in the data 10 to 24); with the
transforms of the other parametrisations they are (353 to 525), in an eighth of the time.
"""
_CHUNK_SECONDS = 10.0  # on one core
_NEAR_INPUT = 11  # pixels of the receptive field

Start = Literal["mean", "grey", "noise", "class-mean"]
Preset = Literal["", "simonyan", "yosinski"]
ParametrisationName = Literal["fourier", "pixels", "maco"]


@dataclass(frozen=True)
class OptimisationOptions:
    """The parameters of `maximise` that set how images are optimised, under the same names.

    animation: the file of the frames, or None.
    """

    preset: Preset
    parametrisation: ParametrisationName
    decay_power: float | None
    jitter: float | None
    smoothness: float
    start: Start
    steps: int
    lr: float
    diverse: int
    precision: Precision
    animation: UserPath | None

    @property
    def fourier(self) -> bool:
        """Whether the variables are Fourier coefficients or phases."""
        return not self.preset and self.parametrisation != "pixels"

    @property
    def maco(self) -> bool:
        return not self.preset and self.parametrisation == "maco"

    def unit_seconds(self, model: Model, layer: str) -> float:
        """Seconds of one image on one core, about."""
        return GRADIENT_COST * self.steps * forward_seconds(model, layer)

    @property
    def unregularised(self) -> "OptimisationOptions":
        """The same steps on plain pixels without transforms, as a control."""
        return replace(
            self, preset="", parametrisation="pixels", jitter=0.0, start="mean", diverse=1, animation=None
        )


@dataclass(frozen=True)
class Sheet:
    """The images of `units` of a layer. name: of their chunks. make: the parametrisation of a batch, from its classes or
    channels. spreads: (n,) of the units' values over the data; None for images without a penalty on total variation."""

    name: str
    layer: str
    units: Units
    make: Callable[[Tensor], Parametrisation]
    spreads: Tensor | None = None


def optimise_sheet(model: Model, sheet: Sheet, options: OptimisationOptions, job: Job) -> Optimised:
    """One image for each unit, in chunks, each as if it were alone (images of one unit that are kept apart excepted)."""
    base, layer, units = job.seed(), sheet.layer, sheet.units
    seeds = [
        base ^ crc32(f"{layer}:{unit}".encode()) ^ (0 if sign > 0 else 1 << 20) ^ (copy << 21)
        for unit, sign, copy in zip(
            units.units.tolist(), units.signs.tolist(), np.arange(len(units)) % options.diverse, strict=True
        )
    ]
    if units.vectors is not None:  # one start for the whole way, so that the direction alone differs
        seeds = [base ^ (int(copy) << 21) for copy in np.arange(len(units)) % options.diverse]
    schedule = _schedule(model, layer, options)
    rows = _chunk_rows(model, layer, len(units), options)
    fast = in_precision(model, _objective(model, sheet, rows[0], options).layers, options.precision)

    def compute(rows: slice) -> tuple[Optimised, np.ndarray | None]:
        frames = None if options.animation is None else Frames(options.steps)
        optimised = optimise(
            fast,
            _objective(model, sheet, rows, options),
            sheet.make(units.units[rows]),
            schedule if frames is None else replace(schedule, frame=frames.keep),
            start=[int(seed) for seed in seeds[rows]],
            step=_step(model, options),
            progress=lambda steps: job.progress(steps, "maximise", options.steps),
        )
        if frames is None:
            return optimised, None
        frames.add(optimised.pixels)
        return optimised, frames.stacked()

    # Named after the precision, so that workers on other processors do not compute some of the images in another one.
    name = sheet.name if fast is model else f"{sheet.name} in bf16"
    optimised, frames = optimise_in_chunks(job, name, rows, compute)
    if options.animation is not None:
        write_sheets(options.animation, frames, columns=ceil(len(optimised.pixels) ** 0.5))
    return replace(optimised, pixels=optimised.pixels.to(model.device))


def _chunk_rows(model: Model, layer: str, count: int, options: OptimisationOptions) -> list[slice]:
    """The rows that are optimised together, with all images of a unit: a batch, or ten seconds of it."""
    groups = max(1, model.batch(gradient=True) // options.diverse)
    seconds = options.unit_seconds(model, layer)
    if seconds * count > 2 * _CHUNK_SECONDS:
        groups = min(groups, max(1, int(_CHUNK_SECONDS / (seconds * options.diverse))))
    size = groups * options.diverse
    return [slice(begin, begin + size) for begin in range(0, count, size)]


def parametrisation_of(
    model: Model, images: Images, layer: str, options: OptimisationOptions
) -> Callable[[Tensor], Parametrisation]:
    """What makes the parametrisation of a batch, from the classes or channels of its images."""
    if options.start == "class-mean" and (layer or not options.fourier or options.maco):
        raise UserError(
            "--start class-mean is for classes, with --parametrisation fourier and without a preset"
        )
    grey = torch.full((model.shape[0], 1, 1), 0.5)
    if not options.fourier:
        if options.preset == "yosinski":
            return lambda units: BlurredPixels(model.shape, grey)
        return lambda units: Pixels(model.shape, mean_image=grey)
    mean, covariance = mean_and_covariance(
        batch.pixels for batch in images.batches(model.batch(), model.device)
    )
    colours = covariance if model.shape[0] > 1 else None
    # A class has its position in the image, and none where the data are always black; a channel has every position.
    centre = mean.mean((1, 2), keepdim=True) if layer else mean
    if options.start in ("grey", "noise"):
        centre = grey
    if options.maco:
        magnitude = mean_magnitude(
            (batch.pixels for batch in images.batches(model.batch(), model.device)), covariance=colours
        )
        return lambda units: FixedMagnitude(
            model.shape, magnitude, covariance=colours, mean_image=mean.mean((1, 2), keepdim=True)
        )
    decay = options.decay_power if options.decay_power is not None else default_decay_power(model, layer)
    means = class_means(images, len(model.classes), model.batch()) if options.start == "class-mean" else None
    return lambda units: Fourier(
        model.shape,
        covariance=colours,
        mean_image=centre if means is None else means[units],
        decay_power=decay,
        contrast=10.0 if options.start == "noise" else 1.0,
    )


def _objective(model: Model, sheet: Sheet, rows: slice, options: OptimisationOptions) -> Objective:
    layer, units, smoothness = sheet.layer, sheet.units, options.smoothness if options.fourier else 0.0
    chosen = units.units[rows]
    grey = model.shape[0] == 1
    if layer or units.vectors is not None:
        vectors = None if units.vectors is None else units.vectors[rows]
        objective: Objective = (
            Channel(layer, chosen, units.signs[rows]) if vectors is None else Direction(layer, vectors)
        )
        if smoothness and sheet.spreads is not None:
            weight = smoothness * (GREY_CHANNEL_SMOOTHNESS if grey else CHANNEL_SMOOTHNESS)
            objective = objective + TotalVariation() * (weight * sheet.spreads[rows])
    elif options.preset == "simonyan":
        assert sheet.spreads is not None
        objective = simonyan_objective(chosen, decay=_SIMONYAN_DECAY * sheet.spreads[rows])
    elif options.preset == "yosinski":
        objective = Logit(chosen)
    elif options.parametrisation == "pixels":
        objective = Logit(chosen) + LogProbability(chosen)
    else:
        objective = class_objective(
            chosen, smoothness=smoothness * (GREY_CLASS_SMOOTHNESS if grey else CLASS_SMOOTHNESS)
        )
    if options.diverse > 1:
        assert sheet.spreads is not None
        of_classes = _GREY_CLASS_DIVERSITY if grey else _CLASS_DIVERSITY
        weight = _CHANNEL_DIVERSITY if layer else of_classes
        apart = Diversity(_diverse_layer(model, layer), options.diverse)
        objective = objective + apart * (weight * sheet.spreads[rows])
    return objective


def _diverse_layer(model: Model, layer: str) -> str:
    """The layer in whose maps the images of a unit differ: that of a channel, or a middle one of the network.

    Not the last one, which decides on the class: there all but one of the images of a class would lose it.
    """
    if layer and model.layers.find(layer).spatial:
        return layer
    depths = layers_by_depth(model)
    return depths[(len(depths) - 1) // 2]


def _schedule(model: Model, layer: str, options: OptimisationOptions) -> Schedule:
    if options.preset:
        return Schedule(options.steps)
    strength = options.jitter if options.jitter is not None else 1.0 if layer else 1.5
    return Schedule(
        options.steps, RandomAffine.for_side(min(model.shape[1:]), strength) if strength else None
    )


def _step(model: Model, options: OptimisationOptions) -> Step:
    if options.preset == "yosinski":
        return NormalisedGradient(options.lr or _YOSINSKI_STEP)
    if options.preset == "simonyan":
        return NormalisedGradient(options.lr or _SIMONYAN_STEP)
    if options.maco:
        return Adam(options.lr or _MACO_LR, nesterov=True)
    return Adam(options.lr or default_lr(model))


def default_lr(model: Model) -> float:
    """The learning rate for images of this size.

    0.05 drives SqueezeNet's 227 pixels to saturated colours, in which little can be recognised, and to logits 50 times
    those of the data; at 0.03 ostriches, flamingos and zebras can. At 64 pixels 0.02 leaves a class of vgg-shapes below
    the data.
    """
    return 0.05 if _small(model) else 0.03


def default_decay_power(model: Model, layer: str) -> float:
    """The power by which Fourier coefficients decay: 1.5 leaves classes of small images whole, and large ones blurred.

    It is 1.5 in layers near the input too. Their units respond to a colour or to the side of an edge, which fill the image,
    and such low frequencies grow too slowly at 1: of the channels of the first block of vgg-shapes 59 % exceed the data after
    128 steps, at 1.5 all; of the first layer of ResNet-56 4 and 16 of 16. Later layers become saturated at 1.5.
    """
    if not layer:
        return 1.5 if _small(model) else 1.0
    field = model.layers.find(layer).receptive_field
    return 1.5 if field is not None and max(field.size) <= _NEAR_INPUT else 1.0


def _small(model: Model) -> bool:
    return max(model.shape[1:]) <= 96
