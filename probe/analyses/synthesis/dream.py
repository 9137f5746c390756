"""DeepDream: what a layer sees in a picture, exaggerated."""

from dataclasses import replace
from math import prod

import torch
from pydantic import Field
from torch import Tensor

from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.analyses.synthesis import dream_exhibits as show
from probe.analyses.synthesis.interruption import finished_or_stopped
from probe.analyses.synthesis.picture_input import (
    IMAGE_HELP,
    affordable_longer,
    check_layer_at,
    open_picture,
    shown_name,
    smallest_side,
)
from probe.data.images import Images
from probe.data.pictures import fitted_size, read_picture, resized
from probe.errors import UserError
from probe.exhibits.files import ANIMATIONS, PICTURES, checked_suffix, write_animation, write_picture
from probe.exhibits.result import Result
from probe.exhibits.tiles import to_image
from probe.exhibits.wording import counted
from probe.methods.synthesis.depth import layers_by_depth
from probe.methods.synthesis.dream import Dreamed, Octaves, dream, zoom
from probe.methods.synthesis.matching import GuideMatch
from probe.methods.synthesis.objectives import LayerEnergy, Objective, Weighted
from probe.methods.synthesis.optimise import Problem
from probe.methods.synthesis.parametrisation import Pixels
from probe.model.budget import GRADIENT_COST, forward_seconds
from probe.model.layers import Address
from probe.model.model import Model
from probe.params import Fraction, Names, UserPath

_SECONDS = 40
_DEPTH = 0.7  # of the layers: parts of objects, where deeper ones give whole ones and earlier ones textures


class Dream(Analysis):
    """What does a layer see in a picture?"""

    name = "dream"
    title = "DeepDream"
    source = "Mordvintsev et al. 2015, Inceptionism; Google's DeepDream notebook"
    needs_images = 0
    uses_predictions = False
    quick = {"octaves": 2, "steps": 3}

    image: str = Field(
        "", description=f"{IMAGE_HELP} (default: the first image of the data, otherwise china.jpg)"
    )
    layers: Names = Field(
        (),
        description="layers whose response is amplified, or channels such as features.9:12 (default: one layer at 70% of "
        "the depth)",
    )
    guide: str = Field(
        "",
        description="a picture whose features are amplified instead of the layer's own response, given like --image",
    )
    size: int = Field(
        0,
        ge=0,
        le=8192,
        description="longer side of the result in pixels (0: that of the picture, or the largest that fits into about a "
        "minute)",
    )
    octaves: int = Field(4, ge=1, le=12, description="number of sizes, from small to large")
    octave_scale: float = Field(1.4, gt=1, le=4, description="ratio of each size to the previous one")
    steps: int = Field(10, ge=1, le=1000, description="number of steps at each size")
    step: Fraction = Field(
        1.5 / 255, gt=0, le=1, description="mean change of a pixel value per step, in [0, 1]"
    )
    jitter: int = Field(32, ge=0, le=1024, description="maximum shift of the picture at each step, in pixels")
    tile: int = Field(
        512,
        ge=32,
        le=8192,
        description="side length of the tiles in which larger pictures are computed, in pixels",
    )
    zoom_frames: int = Field(
        0,
        ge=0,
        le=2000,
        description="number of frames of an animation that zooms into the dream (0: the animation shows the steps)",
    )
    save: UserPath | None = Field(
        None, description="file to which the picture is written at full size (png, jpg, webp)"
    )
    animation: UserPath | None = Field(None, description="file to which an animation is written (gif, webp)")

    def reads(self) -> tuple[str, ...]:
        return tuple(name for name in (self.image, self.guide) if name)

    def writes(self) -> tuple[UserPath, ...]:
        return tuple(path for path in (self.save, self.animation) if path is not None)

    def run(self, model: Model, images: Images, job: Job) -> Result:
        for path, endings in ((self.save, PICTURES), (self.animation, ANIMATIONS)):
            if path is not None:
                checked_suffix(path, endings)
        chosen = self._layers(model)
        addresses = [address.layer for address in chosen]
        check_layer_at(model, addresses, (model.shape[1], model.shape[2]), self.name)
        smallest = smallest_side(model, addresses)
        deepest = max(addresses, key=[layer.address for layer in model.layers].index)
        octave_areas = sum(self.octave_scale ** (-2 * power) for power in range(self.octaves))
        passes = GRADIENT_COST * self.steps * octave_areas
        seconds = passes * forward_seconds(model, deepest)
        picture = open_picture(
            model,
            images,
            self.image,
            lambda size: (
                self.size
                or affordable_longer(size, model, seconds=seconds, budget=_SECONDS, smallest=smallest)
            ),
        )
        if min(picture.size) < smallest:
            raise UserError(
                f"--size {self.size} leaves {min(picture.size)} pixels for the shorter side of {picture.name}, "
                f"but {model.name} needs {smallest}"
            )
        tiled = (min(picture.size[0], self.tile), min(picture.size[1], self.tile))
        check_layer_at(model, addresses, tiled, self.name)
        objective = self._objective(model, chosen)
        frames: list[Tensor] = []
        octaves = Octaves(
            self.octaves,
            self.octave_scale,
            self.steps,
            self.step,
            self.jitter,
            smallest=smallest,
            tile=self.tile,
        )
        dreamt = self._dream(model, picture.pixels, objective, octaves, job, frames)
        problem = Problem(model, objective, Pixels(model.shape), self.tile)
        with torch.inference_mode(False), torch.no_grad():
            before, after = (
                float(problem.evaluate(pixels)[1][0]) for pixels in (picture.pixels, dreamt.pixels)
            )
        findings = show.Findings(
            picture=picture.name,
            size=picture.size,
            original=picture.original,
            layers=[str(address) for address in chosen],
            guide=shown_name(self.guide),
            octaves=len(dreamt.history),
            steps=self.steps,
            before=before,
            after=after,
            change=float((dreamt.pixels - picture.pixels).abs().mean()),
            diverged=dreamt.diverged,
            tiles=max(picture.size) > self.tile,
        )
        if self.save is not None:
            write_picture(self.save, to_image(dreamt.pixels[0]))
        if self.animation is not None:
            if self.zoom_frames and dreamt.stopped is None:
                once = replace(octaves, count=1, steps=max(1, self.steps // 2))
                frames = zoom(
                    dreamt.pixels,
                    lambda now, number: self._dream(model, now, objective, once, job).pixels,
                    self.zoom_frames,
                )
            write_animation(self.animation, [to_image(frame[0]) for frame in frames or [dreamt.pixels.cpu()]])
        return finished_or_stopped(
            Result(
                exhibits=show.exhibits(findings, picture.pixels, dreamt),
                numbers=show.numbers(findings),
                warnings=show.warnings(findings),
            ),
            dreamt.stopped,
            f"{counted(len(dreamt.history), 'octave')} of {self.octaves}",
        )

    def _dream(
        self,
        model: Model,
        pixels: Tensor,
        objective: Objective,
        octaves: Octaves,
        job: Job,
        frames: list[Tensor] | None = None,
    ) -> Dreamed:
        keep = self.animation is not None and not self.zoom_frames and frames is not None
        total = octaves.count
        return dream(
            model,
            pixels,
            objective,
            octaves,
            seed=job.seed(),
            progress=lambda steps, octave: job.progress(
                steps, f"octave {octave + 1} of {total}" if total > 1 else "dream", octaves.steps
            ),
            frame=(lambda pixels: frames.append(pixels.cpu())) if keep and frames is not None else None,
        )

    def _layers(self, model: Model) -> list[Address]:
        if not self.layers:
            candidates = layers_by_depth(model)
            return [Address(candidates[round(_DEPTH * (len(candidates) - 1))])]
        addresses = [model.layers.parse(text) for text in self.layers]
        for text, address in zip(self.layers, addresses, strict=True):
            if address.position is not None:
                raise UserError(
                    f"{self.name} responds over the whole picture: write {address.layer}:{address.channel}, got {text}"
                )
        return addresses

    def _objective(self, model: Model, chosen: list[Address]) -> Objective:
        """The energies of the layers, each divided by its number of values; or the match with the guide."""
        terms: list[tuple[float, Objective]] = []
        guides: dict[str, Tensor] = {}
        if self.guide:
            guide = read_picture(self.guide, model.shape[0]).to(model.device)
            guide = resized(guide, fitted_size((guide.shape[2], guide.shape[3]), max(model.shape[1:])))
            with torch.no_grad():
                sized = model.at_size(guide.shape[2], guide.shape[3])
                guides = sized.features(guide, *{address.layer for address in chosen})
        for address in chosen:
            weight = 1 / prod(model.layers.find(address.layer).shape)
            if address.layer in guides:
                terms.append((weight, GuideMatch(address.layer, guides[address.layer][0])))
            else:
                channels = None if address.channel is None else torch.tensor([address.channel])
                terms.append((weight, LayerEnergy(address.layer, channels)))
        return Weighted(tuple(terms))
