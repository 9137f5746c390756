"""DeepDream: a picture changed step by step, from small to large sizes, so that a layer responds more to it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from probe.data.pictures import resized
from probe.methods.synthesis.objectives import Objective
from probe.methods.synthesis.optimise import Schedule, Start, optimise
from probe.methods.synthesis.parametrisation import Pixels
from probe.methods.synthesis.steps import NormalisedGradient
from probe.methods.synthesis.transforms import RandomRoll
from probe.model.model import Model


@dataclass(frozen=True)
class Octaves:
    """The sizes at which a picture is dreamed on, and the steps at each.

    count: octaves, each `scale` times as large as the one before. step: mean absolute change of a pixel in a step.
    jitter: pixels by which the picture is rolled, at most. smallest: no side of an octave is shorter. tile: as of
    `Schedule`.
    Defaults of Google's DeepDream notebook (2015).
    """

    count: int = 4
    scale: float = 1.4
    steps: int = 10
    step: float = 1.5 / 255
    jitter: int = 32
    smallest: int = 16
    tile: int | None = None

    def sizes(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """(height, width) of each octave, from small to large, the last one `size`, which may be below `smallest`."""
        scales = [self.scale**-power for power in range(self.count)]
        sizes = [(round(size[0] * scale), round(size[1] * scale)) for scale in scales]
        return [each for i, each in enumerate(sizes) if i == 0 or min(each) >= self.smallest][::-1]


@dataclass(frozen=True)
class Dreamed:
    """pixels: (1, c, h, w). history: (octaves, steps) values of the objective. octaves: the picture after each.

    stopped: the signal that ended it early; the pixels are then those of the moment, enlarged.
    """

    pixels: Tensor
    history: list[Tensor]
    octaves: list[Tensor]
    diverged: bool
    stopped: KeyboardInterrupt | None = None


def dream(
    model: Model,
    picture: Tensor,
    objective: Objective,
    octaves: Octaves,
    *,
    seed: int,
    progress: Callable[[Iterable[int], int], Iterable[int]] = lambda steps, octave: steps,
    frame: Callable[[Tensor], None] | None = None,
) -> Dreamed:
    """Raise the objective of a picture at growing sizes; from each size to the next, what has changed is enlarged.

    picture: (1, c, h, w) in [0, 1] on the model's device, of any size.
    progress: wraps the steps of each octave. frame: called with the picture, at its own size, after each octave and
    before each step of the last one. Mordvintsev et al. 2015.
    """
    sizes = octaves.sizes((picture.shape[2], picture.shape[3]))
    detail: Tensor | None = None
    history, stages, diverged = [], [], False
    for index, size in enumerate(sizes):
        base = resized(picture, size)
        start = base
        if detail is not None:
            # Not clamped: a change may be negative.
            start = base + functional.interpolate(detail, size, mode="bilinear", align_corners=False)
            start.clamp_(0, 1)
            detail = None
        sized = model.at_size(*size)
        show = None
        if frame is not None and index == len(sizes) - 1:

            def show(step: int, pixels: Callable[[], Tensor]) -> None:
                frame(pixels())

        schedule = Schedule(octaves.steps, RandomRoll(octaves.jitter), tile=octaves.tile, frame=show)
        optimised = optimise(
            sized,
            objective,
            Pixels(sized.shape),
            schedule,
            start=Start(start, [seed + index]),
            step=NormalisedGradient(octaves.step),
            progress=lambda steps, index=index: progress(steps, index),  # type: ignore[misc]
        )
        del start
        history.append(optimised.history[:, 0].cpu())
        stages.append(optimised.pixels.cpu())
        diverged |= bool(optimised.diverged.any())
        if frame is not None:
            frame(resized(optimised.pixels, (picture.shape[2], picture.shape[3])))
        if index == len(sizes) - 1:
            return Dreamed(optimised.pixels, history, stages, diverged, optimised.stopped)
        if optimised.stopped is not None:
            whole = (picture.shape[2], picture.shape[3])
            change = functional.interpolate(
                optimised.pixels - base, whole, mode="bilinear", align_corners=False
            )
            return Dreamed((picture + change).clamp(0, 1), history, stages, diverged, optimised.stopped)
        detail = optimised.pixels - base
        del optimised, base
    raise ValueError("there is no octave")


def zoom(
    dreamt: Tensor,
    step: Callable[[Tensor, int], Tensor],
    frames: int,
    *,
    factor: float = 1.05,
) -> list[Tensor]:
    """Frames of a dream that is entered: each is the centre of the one before, enlarged, and dreamed on by `step`.

    dreamt: (1, c, h, w). step(picture, number of the frame) -> picture. factor: by which each frame enlarges.
    """
    pictures, (height, width) = [dreamt], dreamt.shape[2:]
    for number in range(1, frames):
        rows, columns = round(height * (1 - 1 / factor) / 2), round(width * (1 - 1 / factor) / 2)
        rows, columns = max(1, rows), max(1, columns)
        centre = pictures[-1][:, :, rows : height - rows, columns : width - columns]
        pictures.append(step(resized(centre, (height, width)), number))
    return pictures
