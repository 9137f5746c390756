"""Feature inversion: what the features of a layer still tell of an image."""

from math import ceil

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.analyses.synthesis import invert_exhibits as show
from probe.analyses.synthesis.frames import ANIMATION_HELP, Frames, write_sheets
from probe.analyses.synthesis.interruption import finished_or_stopped
from probe.analyses.synthesis.picture_input import IMAGE_HELP
from probe.data.images import Images
from probe.data.pictures import read_picture
from probe.data.subsample import stratified_sample
from probe.exhibits.files import ANIMATIONS, checked_suffix
from probe.exhibits.result import Result
from probe.exhibits.wording import counted
from probe.methods.synthesis.depth import layers_by_depth, spread
from probe.methods.synthesis.image_quality import psnr, ssim
from probe.methods.synthesis.invert import Inverted, invert
from probe.methods.synthesis.optimise import Schedule
from probe.model.budget import GRADIENT_COST, affordable
from probe.model.model import Model
from probe.params import Fraction, Names, UserPath

_SECONDS = 60
_FEWEST_STEPS = 40


class Invert(Analysis):
    """What do the features of each layer still say about an image, and what is lost?"""

    name = "invert"
    title = "Feature inversion"
    source = "Mahendran and Vedaldi 2015, arXiv 1412.0035"
    needs_images = 0
    quick = {"max_images": 1, "n_layers": 2, "steps": 6}

    image: Names = Field(
        (), description=f"{IMAGE_HELP}, or several of them (default: images of the data, otherwise china.jpg)"
    )
    layers: Names = Field(
        (),
        description="layers to invert, with or without feature maps (default: evenly spaced over the depth)",
    )
    n_layers: int = Field(5, ge=1, le=64, description="number of layers if none are named")
    max_images: int = Field(
        4, ge=1, le=64, description="maximum number of images of the data; fewer for expensive models"
    )
    restarts: int = Field(2, ge=1, le=16, description="number of random starts per inversion")
    steps: int = Field(
        100,
        ge=1,
        le=10_000,
        description="number of L-BFGS steps; fewer for expensive models, but at least 40",
    )
    smoothness: Fraction = Field(
        0.1,
        ge=0,
        le=1000,
        description="weight of the regularisers, as a multiple of the weight in the paper for shallow layers",
    )

    animation: UserPath | None = Field(
        None, description=f"{ANIMATION_HELP}, with a row for each layer and a column for each image"
    )

    def writes(self) -> tuple[UserPath, ...]:
        return () if self.animation is None else (self.animation,)

    def reads(self) -> tuple[str, ...]:
        return self.image

    def run(self, model: Model, images: Images, job: Job) -> Result:
        if self.animation is not None:
            checked_suffix(self.animation, ANIMATIONS)
        layers = [model.layers.find(address).address for address in self.layers]
        layers = layers or spread(layers_by_depth(model), self.n_layers)
        passes = GRADIENT_COST * len(layers) * self.restarts
        rows = affordable(_SECONDS / self.steps, model, passes=passes, low=1, high=64)
        pixels, names = self._pictures(model, images, min(rows, self.max_images), job)
        steps = min(
            self.steps,
            affordable(
                _SECONDS,
                model,
                passes=passes * len(pixels),
                low=min(_FEWEST_STEPS, self.steps),
                high=self.steps,
            ),
        )
        with torch.inference_mode():
            classes = model.logits(pixels).argmax(1).cpu().numpy()
        records, stopped = self._records(model, pixels, layers, steps, job)
        requested, layers = len(layers), layers[: len(records)]
        findings = show.Findings(
            names=names,
            layers=layers,
            kinds=["maps" if model.layers.find(layer).spatial else "values" for layer in layers],
            steps=steps,
            requested_steps=self.steps,
            restarts=self.restarts,
            error=np.stack([record["error"] for record in records]),
            psnr=np.stack([record["psnr"] for record in records]),
            ssim=np.stack([record["ssim"] for record in records]),
            agreement=np.stack([record["classes"] == classes for record in records]),
            spread=np.stack([record["spread"] for record in records]),
            diverged=np.stack([record["diverged"] for record in records]),
        )
        best = [record["best"] for record in records]
        if self.animation is not None:
            write_sheets(self.animation, [record["frames"] for record in records], columns=len(pixels))
        return finished_or_stopped(
            Result(
                exhibits=show.exhibits(findings, pixels, best),
                numbers=show.numbers(findings),
                warnings=show.warnings(findings),
            ),
            stopped,
            f"{counted(len(records), 'layer')} of {requested}",
        )

    def _records(
        self, model: Model, pixels: Tensor, layers: list[str], steps: int, job: Job
    ) -> tuple[list[dict[str, np.ndarray]], KeyboardInterrupt | None]:
        """The inversions of each layer; after an interruption those of the layers up to there, and the signal."""
        records: list[dict[str, np.ndarray]] = []
        for layer in job.progress(layers, "layers"):
            unfinished: list[dict[str, np.ndarray]] = []

            def compute(
                each: str, rng: torch.Generator, unfinished: list[dict[str, np.ndarray]] = unfinished
            ) -> dict[str, np.ndarray]:
                record, stopped = self._invert(model, pixels, each, steps, job, rng)
                if stopped is not None:
                    unfinished.append(record)
                    raise stopped  # so that it is not stored as finished
                return record

            try:
                records += job.chunks(f"invert {layer}", [layer], compute)
            except KeyboardInterrupt as stop:
                records += unfinished
                if not records:
                    raise
                return records, stop
        return records, None

    def _invert(
        self, model: Model, pixels: Tensor, layer: str, steps: int, job: Job, rng: torch.Generator
    ) -> tuple[dict[str, np.ndarray], KeyboardInterrupt | None]:
        """The inversions of one layer: their figures (restarts, n), and of each image that with the least error.

        The second value is the signal that ended them early, in which case the images are those of that moment.
        """
        seeds = torch.randint(2**31, (self.restarts, len(pixels)), generator=rng).tolist()
        size = max(1, model.batch(gradient=True) // self.restarts)
        parts: list[Inverted] = []
        frames: list[np.ndarray] = []
        for part in range(ceil(len(pixels) / size)):
            rows = slice(part * size, (part + 1) * size)
            shown = Frames(steps, first=len(pixels[rows]))  # of the first restart
            parts.append(
                invert(
                    model,
                    pixels[rows],
                    layer,
                    smoothness=self.smoothness,
                    schedule=Schedule(steps, frame=None if self.animation is None else shown.keep),
                    seeds=[restart[rows] for restart in seeds],
                    progress=lambda each: job.progress(each, layer, steps),
                )
            )
            if self.animation is not None:
                shown.add(parts[-1].pixels[0])
                frames.append(shown.stacked())
            if parts[-1].stopped is not None and len(parts) * size < len(pixels):
                raise parts[-1].stopped  # some images of this layer have no inversion
        inverted = torch.cat([part.pixels for part in parts], 1)
        error = torch.cat([part.error for part in parts], 1)
        flat = inverted.flatten(0, 1)
        originals = pixels.repeat(self.restarts, 1, 1, 1)
        with torch.inference_mode():
            predicted = torch.cat([model.logits(each).argmax(1) for each in flat.split(size)])
        shape = error.shape
        figures = {
            "error": error,
            "psnr": psnr(flat, originals).view(shape),
            "ssim": ssim(flat, originals).view(shape),
            "classes": predicted.view(shape),
            "spread": inverted.std(0, correction=0).flatten(1).mean(1),
            "diverged": torch.cat([part.diverged for part in parts], 1),
            "best": inverted[error.argmin(0), torch.arange(len(pixels), device=error.device)],
        }
        arrays = {name: value.cpu().numpy() for name, value in figures.items()}
        if frames:
            arrays["frames"] = np.concatenate([each[: min(map(len, frames))] for each in frames], 1)
        return arrays, parts[-1].stopped

    def _pictures(self, model: Model, images: Images, most: int, job: Job) -> tuple[Tensor, list[str]]:
        """(n, c, h, w) pictures in the model's size, and their names; the named ones all, of the data at most `most`."""
        if self.image or not len(images):
            names = self.image or ("china.jpg",)
            pictures = [Images.from_tensor(read_picture(name, model.shape[0])) for name in names]
            rule = model.card.input.preprocess
            pixels = torch.cat(
                [each.preprocessed(model.shape, rule).pixels(model.device) for each in pictures]
            )
            return pixels, [name.rpartition("/")[2] for name in names]
        chosen = stratified_sample(images.labels, len(images), min(most, len(images)), job.seed())
        selected = images.select(chosen)
        if images.labels is None or images.classes is None or selected.labels is None:
            return selected.pixels(model.device), [str(name) for name in selected.ids]
        return selected.pixels(model.device), [images.classes[label] for label in selected.labels.tolist()]
