"""Orientation and frequency tuning of the first layer, measured with gratings and compared with Gabor functions."""

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.analyses.units import tuning_curves_exhibits as show
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Number, Result, proportion
from probe.methods.units.gabor import fit_gabor, permutation_p_values
from probe.methods.units.gratings import Tuning, measure_tuning
from probe.methods.units.sobel import sobel_gradient
from probe.model.layers import Layer
from probe.model.model import Model

_MAX_FREQUENCY = 0.45  # cycles per pixel: at 0.5 the contrast of a grating depends on its phase
_SOBEL_IMAGES = 3


class TuningCurves(Analysis):
    """Which orientations and spatial frequencies do the filters of the first layer respond to?"""

    name = "tuning-curves"
    title = "Orientation and frequency tuning of the first layer"
    source = "Hubel and Wiesel 1962; Jones and Palmer 1987; Ringach et al. 2002"
    quick = {"orientations": 8, "frequencies": 4}

    orientations: int = Field(
        18, ge=4, le=90, description="number of orientations of the gratings, between 0 and 180 degrees"
    )
    frequencies: int = Field(8, ge=3, le=32, description="number of spatial frequencies of the gratings")
    channels: int = Field(
        6,
        ge=1,
        le=24,
        description="number of tuned channels to show, those with the smallest error of the Gabor fit",
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        layer, module = first_layer(model)
        kernels = module.weight.detach().cpu().float()
        tuning, sobel = self._measure(model, layer, max(kernels.shape[2:]), job)
        fits = [fit_gabor(kernel) for kernel in job.progress(kernels, "Gabor fits", len(kernels))]
        p = permutation_p_values(kernels, rng=job.rng)
        responsive = tuning.response.flatten(1).amax(1) > 1e-6 * tuning.response.amax()
        tuned = (p <= show.SIGNIFICANCE_LEVEL) & tuning.single_peak & responsive
        measured = show.Measurements(layer.address, tuning, sobel, fits, p, tuned)
        candidates = tuned.nonzero().flatten().tolist() or range(len(fits))
        shown = sorted(candidates, key=lambda channel: fits[channel].error)[: self.channels]
        chosen = torch.randperm(len(images), generator=job.rng)[:_SOBEL_IMAGES].sort().values
        exhibits: list[Exhibit] = [
            show.orientation_chart(measured, shown),
            show.frequency_chart(measured, shown),
            show.kernels(measured, kernels, shown),
            *([show.preferred_orientations(measured)] if tuned.any() else []),
            show.sobel_edges(images.select(chosen).pixels()),
            show.table(measured),
        ]
        return Result(
            exhibits=exhibits,
            numbers=_numbers(measured),
            warnings=show.warnings(layer.address, max(kernels.shape[2:]), int((~responsive).sum())),
        )

    def _measure(self, model: Model, layer: Layer, side: int, job: Job) -> tuple[Tuning, Tuning]:
        """The tuning of the layer, whose kernels are `side` pixels wide, and that of Sobel's operators."""
        low = max(1 / max(model.shape[1:]), 0.25 / side)
        frequencies = low * (_MAX_FREQUENCY / low) ** torch.linspace(0, 1, self.frequencies)
        total = self.frequencies * self.orientations
        progress = iter(job.progress(range(total), "gratings", total))

        def respond(pixels: Tensor) -> Tensor:
            next(progress, None)
            return model.features(pixels, layer.address)[layer.address]

        options = {"frequencies": frequencies, "orientations": self.orientations}
        tuning = measure_tuning(respond, model.shape, **options, device=model.device)
        return tuning, measure_tuning(sobel_gradient, (1, 33, 33), **options)


def first_layer(model: Model) -> tuple[Layer, nn.Conv2d]:
    """The first convolution. Raises UserError where there is none or it does not read the image."""
    convolutions = model.layers.convolutions
    if not convolutions or convolutions[0].shape[1] * convolutions[0].shape[2] < 2:
        raise UserError(f"{TuningCurves.name} needs a convolution with maps, and {model.name} has none")
    first = convolutions[0]
    module = model.module(first.address)
    if not isinstance(module, nn.Conv2d) or module.weight.shape[1] != model.shape[0]:
        raise UserError(
            f"the first convolution of {model.name}, {first.address}, does not read the image itself"
        )
    return first, module


def _numbers(measured: show.Measurements) -> dict[str, Number]:
    tuned, n = int(measured.tuned.sum()), len(measured.tuned)
    numbers = {"tuned_channels": proportion(tuned, n, label="tuned channels", format="{:.0%}")}
    if tuned:
        numbers["median_half_width"] = Number(
            value=measured.median_half_width,
            label="median half width of the orientation curves",
            n=tuned,
            format="{:.0f}°",
        )
    return numbers | {
        "median_gabor_error": Number(
            value=float(np.median([fit.error for fit in measured.fits])),
            label="median error of the Gabor fits",
            n=n,
            format="{:.2f}",
        )
    }
