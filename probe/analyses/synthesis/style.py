"""Style transfer: a picture with the textures and colours of others."""

import torch
from pydantic import Field
from torch import Tensor

from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.analyses.synthesis import style_exhibits as show
from probe.analyses.synthesis.interruption import finished_or_stopped
from probe.analyses.synthesis.picture_input import (
    IMAGE_HELP,
    Picture,
    affordable_longer,
    check_layer_at,
    open_picture,
    smallest_side,
)
from probe.data.images import Images
from probe.data.pictures import SAMPLES, fitted_size, read_picture, resized
from probe.errors import UserError
from probe.exhibits.files import ANIMATIONS, PICTURES, checked_suffix, write_animation, write_picture
from probe.exhibits.result import Result
from probe.exhibits.tiles import to_image
from probe.exhibits.wording import counted
from probe.methods.synthesis.optimise import Schedule
from probe.methods.synthesis.style import (
    Layers,
    Setting,
    Style,
    Transferred,
    Weights,
    default_layers,
    mask_of,
    matched_luminance,
    scales,
    transfer,
    with_colours_of,
)
from probe.model.budget import GRADIENT_COST, forward_seconds
from probe.model.model import Model
from probe.params import Fractions, Names, UserPath

_SECONDS = 45
_FRAMES = 40
_WEIGHTS = Weights()
_WEIGHTS_FROM_NOISE = Weights(style=5.0)
"""At 50, which a start from the content needs to change at all, nothing of the content of a photograph appears in noise."""
_PAPER = Weights(content=1.0, style=1000.0, total_variation=0.0)


class StyleTransfer(Analysis):
    """What does a picture look like in the style of another one?"""

    name = "style"
    title = "Style transfer"
    source = "Gatys et al. 2016, CVPR; arXiv 1606.05897 (colours)"
    needs_images = 0
    uses_predictions = False
    quick = {"steps": 4}

    content: str = Field(
        "", description=f"{IMAGE_HELP} (default: the first image of the data, otherwise china.jpg)"
    )
    style: Names = Field(
        (),
        description="pictures whose style is transferred, given like --content (default: the last image of the data, "
        "otherwise flower.jpg)",
    )
    style_mix: Fractions = Field(
        (), description="weights of several styles, such as 3,1 (default: equal weights)"
    )
    masks: Names = Field(
        (), description="one mask per style: a picture that is white where the style applies"
    )
    content_layers: Names = Field(
        (), description="layers for the content (default: chosen by depth; for VGG-19 those of the paper)"
    )
    style_layers: Names = Field(
        (), description="layers for the style (default: chosen by depth; for VGG-19 those of the paper)"
    )
    style_weight: float = Field(
        0,
        ge=0,
        le=1e9,
        description="weight of the style relative to the content (0: 50, or 5 from noise, or 1000 as in the paper for VGG-19)",
    )
    total_variation: float = Field(
        -1, ge=-1, le=1e6, description="weight of the total variation penalty (-1: 10, or 0 for VGG-19)"
    )
    start: str = Field("content", pattern="^(content|noise)$", description="starting image: content or noise")
    size: int = Field(
        0,
        ge=0,
        le=8192,
        description="longer side of the result in pixels (0: that of the picture, or the largest that fits into about a "
        "minute)",
    )
    scales: int = Field(
        2,
        ge=1,
        le=8,
        description="number of sizes; each is twice the previous one and starts from its result",
    )
    steps: int = Field(
        0, ge=0, le=10_000, description="number of L-BFGS steps at each size (0: 60, or 200 from noise)"
    )
    keep_colours: bool = Field(
        False, description="transfer the luminance only, and keep the colours of the content"
    )
    save: UserPath | None = Field(
        None, description="file to which the picture is written at full size (png, jpg, webp)"
    )
    animation: UserPath | None = Field(
        None, description="file to which an animation of the steps is written (gif, webp)"
    )

    @property
    def _steps(self) -> int:
        return self.steps or (200 if self.start == "noise" else 60)

    def reads(self) -> tuple[str, ...]:
        return (*((self.content,) if self.content else ()), *self.style, *self.masks)

    def writes(self) -> tuple[UserPath, ...]:
        return tuple(path for path in (self.save, self.animation) if path is not None)

    def run(self, model: Model, images: Images, job: Job) -> Result:
        for path, endings in ((self.save, PICTURES), (self.animation, ANIMATIONS)):
            if path is not None:
                checked_suffix(path, endings)
        setting = self._setting(model)
        layers = setting.layers
        check_layer_at(model, layers.all, (model.shape[1], model.shape[2]), self.name)
        smallest = smallest_side(model, layers.all)
        content = self._content(model, images, layers, smallest)
        check_layer_at(model, layers.all, content.size, self.name)
        styles, names = self._styles(model, images)
        frames: list[Tensor] = []
        parts: list[Transferred] = []
        sizes = scales(content.size, self.scales, smallest)
        whole = content.pixels
        for index, size in enumerate(sizes):
            small = resized(whole, size)
            fitted = [self._fitted(style, size, small, smallest) for style in styles]
            target = small if not self.keep_colours else matched_luminance(small, small)
            start = resized(parts[-1].pixels, size) if parts else self._start(target, job)
            every = max(1, len(sizes) * self._steps // _FRAMES)

            def frame(step: int, pixels: object, every: int = every) -> None:
                if self.animation is not None and step % every == 0:
                    frames.append(resized(pixels(), content.size).cpu())  # type: ignore[operator]

            parts.append(
                transfer(
                    model,
                    target,
                    fitted,
                    setting,
                    start=start,
                    schedule=Schedule(self._steps, keep_best=True, frame=frame),
                    progress=lambda steps, index=index: job.progress(  # type: ignore[misc]
                        steps, f"size {index + 1} of {len(sizes)}", self._steps
                    ),
                )
            )
            if parts[-1].stopped is not None:
                break
        last = resized(parts[-1].pixels, content.size)
        result = with_colours_of(last, whole) if self.keep_colours else last
        findings = show.Findings(
            content=content.name,
            styles=names,
            size=content.size,
            original=content.original,
            content_layers=list(layers.content),
            style_layers=list(layers.style),
            steps=self._steps,
            sizes=sizes[: len(parts)],
            paper=layers.paper,
            start=self.start,
            keep_colours=self.keep_colours,
            style_weight=setting.weights.style,
            diverged=any(part.diverged for part in parts),
        )
        if self.save is not None:
            write_picture(self.save, to_image(result[0]))
        if self.animation is not None:
            write_animation(self.animation, [to_image(picture[0]) for picture in (*frames, result)])
        return finished_or_stopped(
            Result(
                exhibits=show.exhibits(findings, whole, [style.pixels for style in styles], parts, result),
                numbers=show.numbers(findings, parts),
                warnings=show.warnings(findings, parts),
            ),
            parts[-1].stopped,
            f"{counted(len(parts[-1].history), 'step')} of {self._steps} at size {len(parts)} of {len(sizes)}",
        )

    def _setting(self, model: Model) -> Setting:
        defaults = default_layers(model)
        named = [
            [model.layers.find(a).address for a in names]
            for names in (self.content_layers, self.style_layers)
        ]
        layers = Layers(
            tuple(named[0]) or defaults.content, tuple(named[1]) or defaults.style, paper=defaults.paper
        )
        own = _WEIGHTS_FROM_NOISE if self.start == "noise" else _WEIGHTS
        usual = _PAPER if layers.paper else own
        return Setting(
            layers,
            Weights(
                usual.content,
                self.style_weight or usual.style,
                usual.total_variation if self.total_variation < 0 else self.total_variation,
            ),
        )

    def _content(self, model: Model, images: Images, layers: Layers, smallest: int) -> Picture:
        order = [layer.address for layer in model.layers]
        deepest = max(layers.all, key=order.index)
        areas = sum(4.0**-power for power in range(self.scales))
        seconds = GRADIENT_COST * self._steps * areas * forward_seconds(model, deepest)

        def longer(size: tuple[int, int]) -> int:
            return self.size or affordable_longer(
                size, model, seconds=seconds, budget=_SECONDS, smallest=smallest
            )

        content = open_picture(model, images, self.content, longer)
        if min(content.size) < smallest:
            raise UserError(
                f"--size {self.size} leaves {min(content.size)} pixels for the shorter side of {content.name}, "
                f"but {model.name} needs {smallest}"
            )
        return content

    def _styles(self, model: Model, images: Images) -> tuple[list[Style], list[str]]:
        """The style pictures at their own sizes, with weights and masks, and their names."""
        if self.style_mix and len(self.style_mix) != max(1, len(self.style)):
            raise UserError(
                f"--style-mix has {len(self.style_mix)} weights for {max(1, len(self.style))} styles"
            )
        if any(weight < 0 for weight in self.style_mix) or (self.style_mix and not sum(self.style_mix)):
            raise UserError("--style-mix: weights are not negative, and one at least is above 0")
        if self.masks and len(self.masks) != max(1, len(self.style)):
            raise UserError(
                f"--masks has {len(self.masks)} pictures for {max(1, len(self.style))} styles: one for each"
            )
        if not self.style and len(images):
            pixels, names = [images.select([len(images) - 1]).pixels()], [str(images.ids[-1])]
        else:
            files = self.style or (SAMPLES[1],)
            pixels = [read_picture(name, model.shape[0]) for name in files]
            names = [name.rpartition("/")[2] for name in files]
        weights = self.style_mix or (1.0,) * len(pixels)
        masks = [read_picture(name, 1).to(model.device) for name in self.masks] or [None] * len(pixels)
        return [
            Style(each.to(model.device), weight, mask)
            for each, weight, mask in zip(pixels, weights, masks, strict=True)
        ], names

    def _fitted(self, style: Style, size: tuple[int, int], content: Tensor, smallest: int) -> Style:
        """A style for a content of `size`: with a longer side as long, so that its strokes have that scale."""
        own = (style.pixels.shape[2], style.pixels.shape[3])
        longer = max(max(size), round(smallest * max(own) / min(own)))
        pixels = resized(style.pixels, fitted_size(own, longer))
        if self.keep_colours:
            pixels = matched_luminance(pixels, content)
        return Style(pixels, style.weight, None if style.mask is None else mask_of(style.mask, size))

    def _start(self, content: Tensor, job: Job) -> Tensor:
        if self.start == "content":
            return content
        noise = torch.rand(content.shape, generator=torch.Generator().manual_seed(job.seed()))
        return noise.to(content)
