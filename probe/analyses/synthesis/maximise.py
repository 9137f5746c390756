"""Activation maximisation: images that raise a class or a channel as far as possible."""

from typing import Literal
from zlib import crc32

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.analyses.synthesis import maximise_exhibits as show
from probe.data.images import Images
from probe.errors import UserError, unknown
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Result
from probe.methods.synthesis.evaluation import channel_values, confidence_under_transforms, dataset_maxima
from probe.methods.synthesis.objectives import LOGITS, Channel, Logit, LogProbability
from probe.methods.synthesis.optimise import Optimised, Schedule, activations, optimise
from probe.methods.synthesis.parametrisation import Fourier, Parametrisation, Pixels, mean_and_covariance
from probe.methods.synthesis.steps import Adam
from probe.methods.synthesis.transforms import RandomAffine
from probe.model.layer_kinds import pre_activation_layer
from probe.model.model import Model
from probe.params import Fraction, Names


class Maximise(Analysis):
    """Which image maximises the score of a class, or the activation of a channel?"""

    name = "maximise"
    title = "Activation maximisation"
    source = "Olah et al. 2017, Feature Visualization; Simonyan et al. 2014, arXiv 1312.6034"
    quick = {"n_units": 4, "steps": 24}

    layer: str = Field("", description="layer whose channels are maximised (default: the classes)")
    units: Names = Field(
        (), description="classes by name or number, or channels by number (default: evenly spread)"
    )
    n_units: int = Field(10, ge=1, le=512, description="number of classes or channels, where none are named")
    steps: int = Field(128, ge=1, le=5000, description="optimisation steps")
    lr: float = Field(
        0, ge=0, le=1, description="learning rate of Adam; 0: 0.05, and 0.02 for images above 96 pixels"
    )
    parametrisation: Literal["fourier", "pixels"] = Field(
        "fourier",
        description="variables that are optimised: Fourier coefficients with the spectrum of natural images, or pixels",
    )
    decay_power: float = Field(
        1.0,
        ge=0,
        le=3,
        description="Fourier: power of the frequency by which coefficients decay (larger: smoother)",
    )
    jitter: Fraction = Field(
        1.0,
        ge=0,
        le=5,
        description="strength of the random transforms at each step; 0: none, 1: 3 pixels and 10 degrees at 32 pixels",
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        layer = pre_activation_layer(model, self.layer) if self.layer else LOGITS
        units, names = self._units(model)
        maxima, positions = dataset_maxima(model, images, layer)
        optimised = self._optimise(model, layer, units, self._parametrisation(model, images), job)
        with torch.inference_mode():
            values = channel_values(activations(model, optimised.pixels, [layer])[layer].float().cpu())
        rows = torch.arange(len(units))
        findings = show.Findings(
            names=names,
            layer=layer,
            activation=self.layer,
            steps=self.steps,
            mean_image="" if self.parametrisation == "pixels" else "colour" if self.layer else "image",
            coloured=model.shape[0] > 1,
            values=values[rows, units].numpy(),
            maxima=maxima[units].numpy(),
            dead=optimised.dead.cpu().numpy(),
        )
        exhibits: list[Exhibit]
        if layer == LOGITS:
            transforms = RandomAffine.for_side(min(model.shape[1:]))
            confidence = show.Confidence(
                plain=values.softmax(1)[rows, units].numpy(),
                transformed=confidence_under_transforms(
                    model, optimised.pixels, units, transforms, job.rng
                ).numpy(),
            )
            exhibits = show.classes(findings, confidence, optimised.pixels)
            numbers = show.numbers_of_classes(findings, confidence)
            warnings = [*show.warnings(findings), *show.warnings_of_confidence(findings, confidence)]
        else:
            top = (values.argmax(1) == units).numpy()
            exhibits = show.channels(findings, top, optimised.pixels)
            numbers, warnings = show.numbers_of_channels(findings, top), show.warnings(findings)
        exhibits += [
            show.data_maxima(findings, images.select(positions[units])),
            show.history(findings, optimised.history.cpu()),
        ]
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)

    def _optimise(
        self, model: Model, layer: str, units: Tensor, parametrisation: Parametrisation, job: Job
    ) -> Optimised:
        """One image for each unit, in batches, each as if it were alone."""
        transforms = RandomAffine.for_side(min(model.shape[1:]), self.jitter) if self.jitter else None
        base = job.seed()
        seeds = [base ^ crc32(f"{layer}:{unit}".encode()) for unit in units.tolist()]
        parts: list[Optimised] = []
        size = model.batch(gradient=True)
        for start in range(0, len(units), size):
            batch = units[start : start + size]
            parts.append(
                optimise(
                    model,
                    Channel(layer, batch) if layer else Logit(batch) + LogProbability(batch),
                    parametrisation,
                    Schedule(self.steps, transforms),
                    start=seeds[start : start + size],
                    step=Adam(self.lr or default_lr(model)),
                    progress=lambda steps: job.progress(steps, "maximise", self.steps),
                )
            )
        return Optimised(
            pixels=torch.cat([part.pixels for part in parts]),
            values=torch.cat([part.values for part in parts]),
            history=torch.cat([part.history for part in parts], 1),
            dead=torch.cat([part.dead for part in parts]),
            diverged=torch.cat([part.diverged for part in parts]),
        )

    def _units(self, model: Model) -> tuple[Tensor, list[str]]:
        """The indices of the classes or channels, and their names."""
        if self.layer:
            total, names = model.layers.find(self.layer).channels, None
        else:
            total, names = len(model.classes), model.classes
        if self.units:
            indices = [_index(text, total, names, self.layer) for text in self.units]
        else:
            spread = np.linspace(0, total - 1, min(self.n_units, total))
            indices = np.unique(spread.round().astype(int)).tolist()
        return torch.tensor(indices), [names[i] if names else f"channel {i}" for i in indices]

    def _parametrisation(self, model: Model, images: Images) -> Parametrisation:
        if self.parametrisation == "pixels":
            return Pixels(model.shape)
        mean, covariance = mean_and_covariance(
            batch.pixels for batch in images.batches(model.batch(), model.device)
        )
        # A class has its position in the image, and none where the data are always black; a channel has every position.
        return Fourier(
            model.shape,
            covariance=covariance if model.shape[0] > 1 else None,
            mean_image=mean.mean((1, 2), keepdim=True) if self.layer else mean,
            decay_power=self.decay_power,
        )


def default_lr(model: Model) -> float:
    """The learning rate for images of this size.

    0.05 drives SqueezeNet's 227 pixels to saturated colours, in which little can be recognised, and to logits 50 times
    those of the data; at 0.02 dogs and arches can be seen. At 64 pixels 0.02 leaves a class of vgg-shapes below the data.
    """
    return 0.05 if max(model.shape[1:]) <= 96 else 0.02


def _index(text: str, total: int, names: tuple[str, ...] | None, layer: str) -> int:
    """The class or channel that `text` names."""
    if names and text in names:
        return names.index(text)
    if text.isdigit() and int(text) < total:
        return int(text)
    if names and not text.isdigit():
        raise unknown("class", text, names)
    owner = f"layer {layer} has {total} channels" if layer else f"the network has {total} classes"
    raise UserError(f"{owner}, 0 to {total - 1}: there is no {text!r}")
