"""Activation maximisation: images that raise a class, a channel or a direction as far as possible."""

from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import Literal
from zlib import crc32

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.analyses.synthesis import maximise_captions as captions
from probe.analyses.synthesis import maximise_exhibits as show
from probe.analyses.synthesis.frames import ANIMATION_HELP, Frames, write_sheets
from probe.analyses.synthesis.interruption import finished_or_stopped
from probe.analyses.synthesis.maximise_units import (
    Units,
    class_means,
    find_direction,
    find_units,
    is_signed,
)
from probe.data.images import Images
from probe.data.pictures import resized
from probe.errors import UserError
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.files import ANIMATIONS, checked_suffix
from probe.exhibits.result import Result
from probe.exhibits.wording import counted
from probe.methods.synthesis.bf16 import in_bf16
from probe.methods.synthesis.depth import layers_by_depth
from probe.methods.synthesis.evaluation import channel_values, confidence_under_transforms, dataset_maxima
from probe.methods.synthesis.objectives import (
    LOGITS,
    Channel,
    Direction,
    Diversity,
    Logit,
    LogProbability,
    Objective,
)
from probe.methods.synthesis.optimise import Optimised, Schedule, activations, optimise
from probe.methods.synthesis.parametrisation import (
    FixedMagnitude,
    Fourier,
    Parametrisation,
    Pixels,
    mean_and_covariance,
    mean_magnitude,
)
from probe.methods.synthesis.presets import (
    GREY_SMOOTHNESS,
    SMOOTHNESS,
    BlurredPixels,
    class_objective,
    simonyan_objective,
)
from probe.methods.synthesis.steps import Adam, NormalisedGradient, Step
from probe.methods.synthesis.transforms import RandomAffine, RandomCrops
from probe.methods.units.top_patches import top_activations
from probe.model.budget import GRADIENT_COST, forward_seconds
from probe.model.layer_kinds import pre_activation_layer
from probe.model.model import Model
from probe.params import Fraction, Names, UserPath

_SECONDS = 60
_DIVERSITY = 2.0
_TOP_PATCHES = 4
_SIMONYAN_LR = 0.005  # ten times as much fills the images of vgg-shapes with saturated noise
_MACO_LR = 1.0
_MACO_CROPS = 8  # of the paper's 32, which would take four times as long


class Maximise(Analysis):
    """Which image maximises the score of a class, or the activation of a channel?"""

    name = "maximise"
    title = "Activation maximisation"
    takes_compare_to = True
    source = "Olah et al. 2017, Feature Visualization; Simonyan et al. 2014, arXiv 1312.6034"
    quick = {"n_units": 4, "steps": 24}

    layer: str = Field("", description="layer whose channels are maximised (default: the classes)")
    units: Names = Field(
        (), description="classes by name or number, or channels by number (default: evenly spread)"
    )
    n_units: int = Field(
        10,
        ge=1,
        le=512,
        description="number of classes or channels, where none are named; fewer for expensive models",
    )
    between: Names = Field(
        (), description="two classes or channels: maximise n-units directions from one to the other"
    )
    diverse: int = Field(1, ge=1, le=16, description="images of each unit, kept apart by their Gram matrices")
    signs: Literal["auto", "positive", "both"] = Field(
        "auto", description="whether channels are lowered too (auto: before tanh and the like)"
    )
    preset: Literal["", "simonyan", "yosinski"] = Field(
        "",
        description="a published setting: score - L2 on pixels (Simonyan), decay and blur (Yosinski); it sets what is below",
    )
    steps: int = Field(128, ge=1, le=5000, description="optimisation steps")
    lr: float = Field(
        0,
        ge=0,
        le=1,
        description="learning rate of Adam; 0: 0.05, 0.03 for images above 96 pixels, that of the preset, or 1 for MACO",
    )
    parametrisation: Literal["fourier", "pixels", "maco"] = Field(
        "fourier",
        description="variables that are optimised: Fourier coefficients with the spectrum of natural images, pixels, or "
        "Fourier phases with the magnitudes of the data (MACO)",
    )
    decay_power: float | None = Field(
        None,
        ge=0,
        le=3,
        description="Fourier: power of the frequency by which coefficients decay (default: 1.5 for classes of up to 96 pixels, else 1)",
    )
    jitter: Fraction | None = Field(
        None,
        ge=0,
        le=5,
        description="strength of the random transforms; 0: none, 1: 3 pixels and 10 degrees at 32 pixels (default: 1.5 for "
        "classes, 1 for channels)",
    )
    start: Literal["mean", "grey", "noise", "class-mean"] = Field(
        "mean",
        description="where images start: the mean image of the data, grey, noise, or the mean of the class",
    )

    bf16: bool = Field(
        False,
        description="pass the images through the network in bfloat16: 2 to 3 times as fast where the processor has such "
        "instructions; the figures beside the images are computed in full precision",
    )
    animation: UserPath | None = Field(None, description=ANIMATION_HELP)

    def writes(self) -> tuple[UserPath, ...]:
        return () if self.animation is None else (self.animation,)

    def run(self, model: Model, images: Images, job: Job) -> Result:
        if self.animation is not None:
            checked_suffix(self.animation, ANIMATIONS)
        layer = pre_activation_layer(model, self.layer) if self.layer else LOGITS
        units = self._units(model, layer).repeated(self.diverse)
        maxima, positions = dataset_maxima(model, images, layer)
        both = bool((units.signs < 0).any())
        minima = dataset_maxima(model, images, layer, largest=False) if both else (maxima, positions)
        make = self._parametrisation(model, images, layer)
        optimised = self._optimise(model, layer, units, maxima, make, job)
        units = units.first(len(optimised.pixels))
        with torch.inference_mode():
            values = channel_values(activations(model, optimised.pixels, [layer])[layer].float().cpu())
        rows = torch.arange(len(units))
        lowered = units.signs < 0
        largest = torch.where(lowered, -minima[0][units.units], maxima[units.units])
        if units.vectors is not None:
            largest = self._direction_maxima(model, images, layer, units)
        nearest = torch.where(lowered, minima[1][units.units], positions[units.units])
        findings = captions.Findings(
            names=units.names,
            layer=layer,
            activation=self.layer,
            steps=len(optimised.history),
            mean_image=self._mean_image(layer),
            coloured=model.shape[0] > 1 and self._fourier,
            values=units.values(values).numpy(),
            maxima=largest.numpy(),
            dead=optimised.dead.cpu().numpy(),
            diverged=optimised.diverged.cpu().numpy(),
            start=self.start,
            method=self.preset or self.parametrisation,
            diverse=self.diverse,
            direction=units.vectors is not None,
        )
        exhibits: list[Exhibit]
        if layer == LOGITS:
            transforms = RandomAffine.for_side(min(model.shape[1:]))
            transformed = confidence_under_transforms(
                model, optimised.pixels, units.units, transforms, job.rng
            )
            confidence = captions.Confidence(
                plain=values.softmax(1)[rows, units.units].numpy(), transformed=transformed.numpy()
            )
            exhibits = show.classes(findings, confidence, optimised.pixels)
            numbers = show.numbers_of_classes(findings, confidence)
            agreements = [] if optimised.stopped else self._agreements(model, units, optimised.pixels, job)
            if agreements:
                exhibits.append(show.agreement(agreements, len(units)))
                numbers |= show.numbers_of_agreement(agreements)
            warnings = [*captions.warnings(findings), *captions.warnings_of_confidence(findings, confidence)]
        else:
            signed = values * units.signs[:, None]
            top = (signed.argmax(1) == units.units).numpy()
            exhibits = show.channels(findings, top, optimised.pixels)
            if units.vectors is None and not both and not optimised.stopped:
                batches = images.batches(model.batch(), model.device)
                ranked = top_activations(model, batches, [layer], k=_TOP_PATCHES)[layer]
                exhibits.append(
                    show.sheet(
                        findings, optimised.pixels, images, ranked, model.layers.find(layer), units.units
                    )
                )
            numbers, warnings = show.numbers_of_channels(findings, top), captions.warnings(findings)
        unnamed = not self.units and not self.between
        if unnamed and len(set(units.units.tolist())) < min(self.n_units, len(maxima)):
            warnings.append(
                f"{len(set(units.units.tolist()))} instead of {self.n_units} were maximised, since each image takes about "
                f"{self._unit_seconds(model, layer):.0f} s on one core: name others with --units, set fewer --steps, or try "
                "--bf16."
            )
        if units.vectors is None:
            exhibits.append(show.data_maxima(findings, images.select(nearest)))
        exhibits.append(show.history(findings, optimised.history.cpu()))
        return finished_or_stopped(
            Result(exhibits=exhibits, numbers=numbers, warnings=warnings),
            optimised.stopped,
            f"{counted(findings.steps, 'step')} of {self.steps}",
        )

    @property
    def _fourier(self) -> bool:
        return not self.preset and self.parametrisation != "pixels"

    def _mean_image(self, layer: str) -> Literal["", "image", "colour"]:
        """Which mean of the data the images start from."""
        if not self._fourier or self.start in ("grey", "noise"):
            return ""
        return "colour" if layer else "image"

    def _units(self, model: Model, layer: str) -> Units:
        if self.between:
            return find_direction(
                model, self.layer, self.between, min(self.n_units, 5) if not self.units else 5
            )
        both = bool(layer) and (
            self.signs == "both" or (self.signs == "auto" and is_signed(model, self.layer))
        )
        return find_units(
            model, self.layer, self.units, self._affordable_units(model, layer, both), both_signs=both
        )

    def _affordable_units(self, model: Model, layer: str, both: bool) -> int:
        """How many of the requested units fit the budget of a minute on one core."""
        seconds = self._unit_seconds(model, layer) * self.diverse * (2 if both else 1)
        return max(1, min(self.n_units, int(_SECONDS / seconds)))

    def _unit_seconds(self, model: Model, layer: str) -> float:
        """Seconds of one image on one core, about."""
        crops = _MACO_CROPS if self.parametrisation == "maco" and not self.preset else 1
        return GRADIENT_COST * self.steps * crops * forward_seconds(model, layer)

    def _optimise(
        self,
        model: Model,
        layer: str,
        units: Units,
        maxima: Tensor,
        make: Callable[[Tensor], Parametrisation],
        job: Job,
    ) -> Optimised:
        """One image for each unit, in batches, each as if it were alone (images of one unit that are kept apart excepted)."""
        base = job.seed()
        seeds = [
            base ^ crc32(f"{layer}:{unit}".encode()) ^ (0 if sign > 0 else 1 << 20) ^ (copy << 21)
            for unit, sign, copy in zip(
                units.units.tolist(), units.signs.tolist(), np.arange(len(units)) % self.diverse, strict=True
            )
        ]
        if units.vectors is not None:  # one start for the whole way, so that the direction alone differs
            seeds = [base ^ (int(copy) << 21) for copy in np.arange(len(units)) % self.diverse]
        parts: list[Optimised] = []
        frames: list[Frames] = []
        schedule = self._schedule(model, layer)
        size = max(1, model.batch(gradient=True) // self.diverse) * self.diverse
        for begin in range(0, len(units), size):
            rows = slice(begin, begin + size)
            if self.animation is not None:
                frames.append(Frames(self.steps))
                schedule = replace(schedule, frame=frames[-1].keep)
            objective = self._objective(model, layer, units, rows, maxima)
            parts.append(
                optimise(
                    in_bf16(model, objective.layers) if self.bf16 else model,
                    objective,
                    make(units.units[rows]),
                    schedule,
                    start=[int(seed) for seed in seeds[rows]],
                    step=self._step(model),
                    progress=lambda steps: job.progress(steps, "maximise", self.steps),
                )
            )
            if frames:
                frames[-1].add(parts[-1].pixels)
            if parts[-1].stopped is not None:
                break
        if self.animation is not None:
            columns = ceil(sum(len(part.pixels) for part in parts) ** 0.5)
            write_sheets(self.animation, [each.stacked() for each in frames], columns=columns)
        steps = min(len(part.history) for part in parts)
        return Optimised(
            pixels=torch.cat([part.pixels for part in parts]),
            values=torch.cat([part.values for part in parts]),
            history=torch.cat([part.history[:steps] for part in parts], 1),
            dead=torch.cat([part.dead for part in parts]),
            diverged=torch.cat([part.diverged for part in parts]),
            stopped=parts[-1].stopped,
        )

    def _objective(self, model: Model, layer: str, units: Units, rows: slice, maxima: Tensor) -> Objective:
        chosen, objective = units.units[rows], None
        if units.vectors is not None:
            objective = Direction(layer, units.vectors[rows])
        elif layer:
            objective = Channel(layer, chosen, units.signs[rows])
        elif self.preset == "simonyan":
            objective = simonyan_objective(chosen)
        elif self.preset == "yosinski":
            objective = Logit(chosen)
        elif self.parametrisation == "pixels":
            objective = Logit(chosen) + LogProbability(chosen)
        else:
            objective = class_objective(
                chosen, smoothness=SMOOTHNESS if model.shape[0] > 1 else GREY_SMOOTHNESS
            )
        if self.diverse > 1:
            # In proportion to what is maximised, whose scale differs from layer to layer.
            weight = _DIVERSITY * float(maxima.abs().median()) if layer else 5 * _DIVERSITY
            apart = layer if layer and model.layers.find(layer).spatial else layers_by_depth(model)[-1]
            objective = objective + weight * Diversity(apart, self.diverse)
        return objective

    def _schedule(self, model: Model, layer: str) -> Schedule:
        if self.preset:
            return Schedule(self.steps)
        if self.parametrisation == "maco":
            return Schedule(self.steps, RandomCrops.for_side(min(model.shape[1:])), copies=_MACO_CROPS)
        strength = self.jitter if self.jitter is not None else 1.0 if layer else 1.5
        return Schedule(
            self.steps, RandomAffine.for_side(min(model.shape[1:]), strength) if strength else None
        )

    def _step(self, model: Model) -> Step:
        if self.preset == "yosinski":
            return NormalisedGradient(self.lr or 1 / 255)
        if self.preset == "simonyan":
            return Adam(self.lr or _SIMONYAN_LR)
        if self.parametrisation == "maco" and not self.preset:
            return Adam(self.lr or _MACO_LR, nesterov=True)
        return Adam(self.lr or default_lr(model))

    def _parametrisation(
        self, model: Model, images: Images, layer: str
    ) -> Callable[[Tensor], Parametrisation]:
        """What makes the parametrisation of a batch, from the classes or channels of its images."""
        if self.start == "class-mean" and (layer or not self._fourier or self.parametrisation == "maco"):
            raise UserError(
                "--start class-mean is for classes, with --parametrisation fourier and without a preset"
            )
        grey = torch.full((model.shape[0], 1, 1), 0.5)
        if not self._fourier:
            if self.preset == "yosinski":
                return lambda units: BlurredPixels(model.shape, grey)
            return lambda units: Pixels(model.shape, mean_image=grey)
        mean, covariance = mean_and_covariance(
            batch.pixels for batch in images.batches(model.batch(), model.device)
        )
        colours = covariance if model.shape[0] > 1 else None
        # A class has its position in the image, and none where the data are always black; a channel has every position.
        centre = mean.mean((1, 2), keepdim=True) if layer else mean
        if self.start in ("grey", "noise"):
            centre = grey
        if self.parametrisation == "maco":
            magnitude = mean_magnitude(
                (batch.pixels for batch in images.batches(model.batch(), model.device)), covariance=colours
            )
            return lambda units: FixedMagnitude(
                model.shape, magnitude, covariance=colours, mean_image=mean.mean((1, 2), keepdim=True)
            )
        decay = self.decay_power if self.decay_power is not None else default_decay_power(model, layer)
        means = class_means(images, len(model.classes), model.batch()) if self.start == "class-mean" else None
        return lambda units: Fourier(
            model.shape,
            covariance=colours,
            mean_image=centre if means is None else means[units],
            decay_power=decay,
            contrast=10.0 if self.start == "noise" else 1.0,
        )

    def _direction_maxima(self, model: Model, images: Images, layer: str, units: Units) -> Tensor:
        """(n,) the largest value of each direction over the data."""
        assert units.vectors is not None
        largest = torch.full((len(units),), -torch.inf)
        with torch.inference_mode():
            for batch in images.batches(model.batch(), model.device):
                values = channel_values(activations(model, batch.pixels, [layer])[layer].float().cpu())
                largest = torch.maximum(largest, (values @ units.vectors.T).amax(0))
        return largest

    def _agreements(self, model: Model, units: Units, pixels: Tensor, job: Job) -> list[captions.Agreement]:
        """How often further models predict the class of an image, and that of an image without regularisers."""
        others = [
            other
            for other in job.compare_to
            if len(other.classes) == len(model.classes) and other.shape[0] == model.shape[0]
        ]
        if not others or units.vectors is not None:
            return []
        control = Maximise(
            **self.model_dump(
                exclude={"parametrisation", "jitter", "preset", "start", "diverse", "animation"}
            )
            | {"parametrisation": "pixels", "jitter": 0.0}
        )
        plain = control._optimise(
            model, LOGITS, units, torch.zeros(1), lambda each: Pixels(model.shape), job
        ).pixels
        agreements = []
        for other in others:
            shares = []
            for images in (pixels, plain):
                with torch.inference_mode():
                    sized = resized(images, (other.shape[1], other.shape[2])).to(other.device)
                    shares.append(int((other.logits(sized).argmax(1).cpu() == units.units).sum()))
            agreements.append(captions.Agreement(other.name, *shares))
        return agreements


def default_lr(model: Model) -> float:
    """The learning rate for images of this size.

    0.05 drives SqueezeNet's 227 pixels to saturated colours, in which little can be recognised, and to logits 50 times
    those of the data; at 0.03 ostriches, flamingos and zebras can. At 64 pixels 0.02 leaves a class of vgg-shapes below
    the data.
    """
    return 0.05 if _small(model) else 0.03


def default_decay_power(model: Model, layer: str) -> float:
    """The power by which Fourier coefficients decay: 1.5 leaves classes of small images whole, and large ones blurred."""
    return 1.5 if _small(model) and not layer else 1.0


def _small(model: Model) -> bool:
    return max(model.shape[1:]) <= 96
