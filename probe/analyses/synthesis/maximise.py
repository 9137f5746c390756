"""Activation maximisation: images that raise a class, a channel or a direction as far as possible."""

from dataclasses import dataclass, fields
from math import ceil
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.analyses.synthesis import maximise_captions as captions
from probe.analyses.synthesis import maximise_exhibits as show
from probe.analyses.synthesis.frames import ANIMATION_HELP
from probe.analyses.synthesis.interruption import finished_or_stopped
from probe.analyses.synthesis.maximise_chunks import chunked_extremes
from probe.analyses.synthesis.maximise_optimise import (
    OptimisationOptions,
    ParametrisationName,
    Preset,
    Sheet,
    Start,
    optimise_sheet,
    parametrisation_of,
)
from probe.analyses.synthesis.maximise_units import (
    Units,
    direction_maxima,
    find_direction,
    find_units,
    is_signed,
    unit_name,
)
from probe.analyses.units.top_patches_chunks import chunked_top_activations
from probe.data.images import Images
from probe.data.pictures import resized
from probe.exhibits.files import ANIMATIONS, checked_suffix
from probe.exhibits.result import Result
from probe.exhibits.wording import counted
from probe.methods.synthesis.evaluation import Extremes, channel_values, confidence_under_transforms
from probe.methods.synthesis.objectives import LOGITS
from probe.methods.synthesis.optimise import Optimised, activations
from probe.methods.synthesis.parametrisation import Pixels
from probe.methods.synthesis.transforms import RandomAffine
from probe.model.layer_kinds import pre_activation_layer
from probe.model.model import Model
from probe.params import Fraction, Names, UserPath
from probe.precision import Precision

_SECONDS = 60
_TOP_PATCHES = 4


@dataclass(frozen=True, eq=False)
class _Outcome:
    """What `units` were maximised to. values: (n, channels) of all classes or channels for each image."""

    units: Units
    optimised: Optimised
    values: Tensor
    findings: captions.Findings


class Maximise(Analysis):
    """Which image maximises the score of a class, or the activation of a channel?"""

    name = "maximise"
    title = "Activation maximisation"
    takes_compare_to = True
    source = "Olah et al. 2017, Feature Visualization; Simonyan et al. 2014, arXiv 1312.6034"
    quick = {"n_units": 4, "steps": 24}

    layer: str = Field("", description="layer whose channels are maximised (default: the class scores)")
    units: Names = Field(
        (),
        description="classes by name or number, or channels by number (default: evenly spaced over all of them)",
    )
    n_units: int = Field(
        10,
        ge=1,
        le=512,
        description="number of classes or channels if none are named; fewer for expensive models",
    )
    between: Names = Field(
        (), description="two classes or channels; n-units directions from the one to the other are maximised"
    )
    diverse: int = Field(
        1,
        ge=1,
        le=16,
        description="number of images per unit, which are optimised to differ in their Gram matrices",
    )
    signs: Literal["auto", "positive", "both"] = Field(
        "auto",
        description="whether channels are maximised only, or also minimised (auto: both before tanh and similar "
        "functions)",
    )
    preset: Preset = Field(
        "",
        description="a published configuration, in place of parametrisation, decay-power, jitter and start: score minus an "
        "L2 penalty on pixels (simonyan), or weight decay and blur (yosinski)",
    )
    steps: int = Field(128, ge=1, le=5000, description="number of optimisation steps")
    lr: float = Field(
        0,
        ge=0,
        le=1,
        description="learning rate of Adam (0: 0.05, or 0.03 for images above 96 pixels, that of the preset, or 0.3 of "
        "Nadam for maco)",
    )
    parametrisation: ParametrisationName = Field(
        "fourier",
        description="variables that are optimised: Fourier coefficients with the spectrum of natural images (fourier), "
        "pixels, or Fourier phases with the magnitudes of the data (maco)",
    )
    decay_power: float | None = Field(
        None,
        ge=0,
        le=3,
        description="Fourier: power of the frequency by which coefficients decay (default: 1.5 for classes in images of up to 96 pixels and "
        "for layers with a receptive field of up to 11 pixels, else 1)",
    )
    jitter: Fraction | None = Field(
        None,
        ge=0,
        le=5,
        description="strength of the random transforms; 0: none, 1: 3 pixels and 10 degrees at 32 pixels (default: 1.5 for "
        "classes, 1 for channels)",
    )
    smoothness: float = Field(
        1,
        ge=0,
        le=100,
        description="Fourier: strength of the penalty on total variation, as a multiple of the default; 0: none",
    )
    start: Start = Field(
        "mean",
        description="where images start: the mean image of the data, grey, noise, or the mean of the class",
    )

    precision: Precision = Field(
        "auto",
        description="precision of the network during the optimisation; auto: bf16 if the processor has bfloat16 instructions and the "
        "activations agree with those in float32 to 5%. The numbers reported with the images are always computed in float32",
    )
    animation: UserPath | None = Field(None, description=ANIMATION_HELP)

    def writes(self) -> tuple[UserPath, ...]:
        return () if self.animation is None else (self.animation,)

    def run(self, model: Model, images: Images, job: Job) -> Result:
        if self.animation is not None:
            checked_suffix(self.animation, ANIMATIONS)
        layer = pre_activation_layer(model, self.layer) if self.layer else LOGITS
        requested = self._units(model, layer)
        units = requested.repeated(self.diverse)
        extremes = chunked_extremes(model, images, layer, job)
        make = parametrisation_of(model, images, layer, self._options)
        sheet = Sheet("images", layer, units, make, units.spreads(extremes.spread))
        optimised = optimise_sheet(model, sheet, self._options, job)
        outcome = self._outcome(model, images, layer, optimised, extremes, units.first(len(optimised.pixels)))
        findings, units = outcome.findings, outcome.units
        if units.ends is not None:
            part = self._of_directions(model, outcome, units.ends)
        elif layer == LOGITS:
            part = self._of_classes(model, outcome, job)
        else:
            part = self._of_channels(model, images, outcome, job)
        exhibits, warnings = [*part.exhibits], [*captions.warnings(findings), *part.warnings]
        kinds = len(set(units.units.tolist()))
        if not self.units and not self.between and kinds < min(self.n_units, extremes.values.shape[1]):
            warnings.append(
                f"{kinds} instead of {self.n_units} were maximised, since each image takes about "
                f"{self._unit_seconds(model, layer):.0f} s on one core: name others with --units or set fewer --steps."
            )
        if units.vectors is None:
            shown = requested.first(ceil(len(units) / self.diverse))
            nearest = torch.where(shown.signs < 0, *extremes.positions[:, shown.units])
            exhibits.append(show.data_maxima(findings, shown.names, images.select(nearest)))
        exhibits.append(show.history(findings, optimised.history.cpu()))
        return finished_or_stopped(
            Result(exhibits=exhibits, numbers=part.numbers, warnings=warnings),
            optimised.stopped,
            f"{counted(findings.steps, 'step')} of {self.steps}",
        )

    def _outcome(
        self, model: Model, images: Images, layer: str, optimised: Optimised, extremes: Extremes, units: Units
    ) -> _Outcome:
        with torch.inference_mode():
            values = channel_values(activations(model, optimised.pixels, [layer])[layer].float().cpu())
        if units.vectors is None:
            smallest, largest = extremes.values[:, units.units]
            maxima = torch.where(units.signs < 0, -smallest, largest)
        else:
            maxima = direction_maxima(model, images, layer, units)
        findings = captions.Findings(
            names=units.names,
            layer=layer,
            activation=self.layer,
            steps=len(optimised.history),
            mean_image=self._mean_image(layer),
            coloured=model.shape[0] > 1 and self._options.fourier,
            values=units.values(values).numpy(),
            maxima=maxima.numpy(),
            dead=optimised.dead.cpu().numpy(),
            diverged=optimised.diverged.cpu().numpy(),
            start=self.start,
            method=self.preset or self.parametrisation,
            diverse=self.diverse,
        )
        return _Outcome(units, optimised, values, findings)

    def _of_classes(self, model: Model, outcome: _Outcome, job: Job) -> Result:
        """The images with their confidences, and what other networks predict."""
        units, pixels, findings = outcome.units, outcome.optimised.pixels, outcome.findings
        transforms = RandomAffine.for_side(min(model.shape[1:]))
        transformed = confidence_under_transforms(model, pixels, units.units, transforms, job.rng)
        plain = outcome.values.softmax(1)[torch.arange(len(units)), units.units]
        confidence = captions.Confidence(plain=plain.numpy(), transformed=transformed.numpy())
        exhibits = show.classes(findings, confidence, pixels)
        numbers = show.numbers_of_classes(findings, confidence)
        agreements = [] if outcome.optimised.stopped else self._agreements(model, units, pixels, job)
        if agreements:
            exhibits.append(show.agreement(agreements, len(units)))
            numbers |= show.numbers_of_agreement(agreements)
        warnings = captions.warnings_of_confidence(findings, confidence)
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)

    def _of_directions(self, model: Model, outcome: _Outcome, ends: tuple[int, int]) -> Result:
        """The images between two units with the confidence in both classes, or the activations of both channels."""
        findings = outcome.findings
        values = outcome.values if findings.layer else outcome.values.softmax(1)
        names = unit_name(model, findings.layer, ends[0]), unit_name(model, findings.layer, ends[1])
        exhibits = show.directions(findings, names, values[:, ends].numpy(), outcome.optimised.pixels)
        return Result(exhibits=exhibits, numbers=show.numbers_of_directions(findings))

    def _of_channels(self, model: Model, images: Images, outcome: _Outcome, job: Job) -> Result:
        """The images with what they reach, and each beside the top patches of its channel."""
        units, pixels, findings = outcome.units, outcome.optimised.pixels, outcome.findings
        top = ((outcome.values * units.signs[:, None]).argmax(1) == units.units).numpy()
        exhibits = show.channels(findings, top, pixels)
        raised = not bool((units.signs < 0).any())
        if raised and not outcome.optimised.stopped:
            layer = findings.layer
            ranked = chunked_top_activations(model, images, [layer], _TOP_PATCHES, job)[layer]
            exhibits.append(
                show.sheet(findings, pixels, images, ranked, model.layers.find(layer), units.units)
            )
        return Result(exhibits=exhibits, numbers=show.numbers_of_channels(findings, top))

    @property
    def _options(self) -> OptimisationOptions:
        names = (each.name for each in fields(OptimisationOptions))
        return OptimisationOptions(**{name: getattr(self, name) for name in names})

    def _mean_image(self, layer: str) -> Literal["", "image", "colour"]:
        """Which mean of the data the images start from."""
        if not self._options.fourier or self.start in ("grey", "noise"):
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
        return self._options.unit_seconds(model, layer)

    def _agreements(self, model: Model, units: Units, pixels: Tensor, job: Job) -> list[captions.Agreement]:
        """How often further models predict the class of an image, and that of an image without regularisers."""
        others = [
            other
            for other in job.compare_to
            if len(other.classes) == len(model.classes) and other.shape[0] == model.shape[0]
        ]
        if not others:
            return []
        plain_pixels = Pixels(model.shape)
        sheet = Sheet("images without regularisers", LOGITS, units, lambda _: plain_pixels)
        plain = optimise_sheet(model, sheet, self._options.unregularised, job).pixels
        agreements = []
        for other in others:
            shares = []
            for images in (pixels, plain):
                with torch.inference_mode():
                    sized = resized(images, (other.shape[1], other.shape[2])).to(other.device)
                    shares.append(int((other.logits(sized).argmax(1).cpu() == units.units).sum()))
            agreements.append(captions.Agreement(other.name, *shares))
        return agreements
