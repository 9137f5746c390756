"""Which edges do the first filters answer to? Orientation and frequency tuning, measured with gratings."""

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.analyses.units import tuning_curves_exhibits as parts
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Number, Result
from probe.methods.units.gabor import better_than_shuffled, fit_gabor
from probe.methods.units.gratings import tuning
from probe.methods.units.sobel import gradient
from probe.model.layers import Layer
from probe.model.model import Model
from probe.statistics import wilson_interval

_CHANCE = 0.05
_HIGHEST = 0.45  # cycles per pixel: at 0.5 a grating's contrast depends on its phase


def first_layer(model: Model) -> tuple[Layer, nn.Conv2d]:
    """The first convolution; a UserError where something else comes first."""
    found = model.layers.convolutions
    if not found or found[0].shape[1] * found[0].shape[2] < 2:
        raise UserError(f"tuning needs a convolution, and {model.name} has none with maps")
    module = model.network.get_submodule(found[0].address)
    if not isinstance(module, nn.Conv2d) or module.weight.shape[1] != model.shape[0]:
        raise UserError(
            f"the first convolution of {model.name}, {found[0].address}, does not see the image itself"
        )
    return found[0], module


class TuningCurves(Analysis):
    """Which edges do the first filters answer to?"""

    name = "tuning"
    title = "Orientation and frequency tuning of the first layer"
    source = "Hubel and Wiesel 1962; Jones and Palmer 1987; Ringach et al. 2002"
    quick = {"orientations": 8, "frequencies": 4}

    orientations: int = Field(
        18, ge=4, le=90, description="orientations of the gratings between 0 and 180 degrees"
    )
    frequencies: int = Field(8, ge=3, le=32, description="spatial frequencies of the gratings")
    shown: int = Field(6, ge=1, le=24, description="channels to draw, the best described ones")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        layer, module = first_layer(model)
        kernels = module.weight.detach().cpu().float()
        size = max(kernels.shape[2:])
        low = max(1 / max(model.shape[1:]), 0.25 / size)
        steps = torch.linspace(0, 1, self.frequencies)
        frequencies = low * (_HIGHEST / low) ** steps
        shots = iter(
            job.progress(
                range(self.frequencies * self.orientations), "gratings", self.frequencies * self.orientations
            )
        )

        def respond(pixels: Tensor) -> Tensor:
            next(shots, None)
            return model.features(pixels, layer.address)[layer.address]

        setting = {"frequencies": frequencies, "orientations": self.orientations}
        curves = tuning(respond, model.shape, **setting, device=model.device)
        sobel = tuning(gradient, (1, 33, 33), **setting)
        fits = [fit_gabor(kernel) for kernel in job.progress(kernels, "Gabor fits", len(kernels))]
        luck = better_than_shuffled(kernels, rng=job.rng)
        alive = curves.response.flatten(1).amax(1) > 1e-6 * curves.response.amax()
        tuned = (luck <= _CHANCE) & curves.half_width.isfinite() & alive
        count, n = int(tuned.sum()), len(tuned)
        order = torch.tensor(
            [fit.error + (0 if t else 10) for fit, t in zip(fits, tuned.tolist(), strict=True)]
        ).argsort()
        drawn = order[: self.shown].tolist()
        low_end, high_end = wilson_interval(count, n)
        numbers = {
            "tuned channels": Number(value=count / n, low=low_end, high=high_end, n=n, format="{:.0%}")
        }
        said = (
            f"{count} of the {n} channels of {layer.address} have a clear peak (their kernel is more like a Gabor function"
            f" than 95 % of its own shuffles, and the curve falls to half); at random it would be {_CHANCE * n:.1f}."
        )
        if count:
            width = float(curves.half_width[tuned].median())
            numbers["median half width"] = Number(value=width, n=count, format="{:.0f}°")
            said += f" Their median half width at half height is {width:.0f}°, Sobel's {float(sobel.half_width[0]):.0f}°."
        numbers["median Gabor error"] = Number(
            value=float(np.median([f.error for f in fits])), n=n, format="{:.2f}"
        )
        warnings = []
        if size < 5:
            warnings.append(
                f"Kernels of {size} x {size} pixels are too small to tell a Gabor function from a few random weights."
            )
        if not bool(alive.all()):
            mute = int((~alive).sum())
            answer = "channel of {} answers" if mute == 1 else "channels of {} answer"
            warnings.append(f"{mute} {answer.format(layer.address)} to no grating at all.")
        exhibits: list[Exhibit] = [
            *parts.curves(layer, curves, sobel, drawn, said),
            parts.kernels(layer, kernels, fits, drawn),
            *([parts.compass(curves, tuned)] if count else []),
            parts.sobel(images, job),
            parts.table(layer, curves, fits, luck, tuned),
        ]
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)
