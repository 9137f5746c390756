"""The picture that a synthesis starts from: a file, the first image of the data, or a photograph of scikit-learn."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from probe.data.images import Images
from probe.data.pictures import SAMPLES, fitted_size, read_picture, resized
from probe.errors import UserError
from probe.model.model import Model
from probe.terminal import escaped

IMAGE_HELP = f"a picture file, or scikit-learn's {' or '.join(SAMPLES)}"


@dataclass(frozen=True)
class Picture:
    """A picture at the size at which it is worked on. pixels: (1, c, h, w). original: (height, width) of the file."""

    name: str
    pixels: Tensor
    original: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[2], self.pixels.shape[3]


def open_picture(
    model: Model, images: Images, name: str, longer: Callable[[tuple[int, int]], int]
) -> Picture:
    """The picture called `name`; if that is empty the first of `images`, or the first of SAMPLES if there are none.

    longer: the longer side at which a picture of a size is worked on. On the model's device.
    """
    if name or not len(images):
        name = name or SAMPLES[0]
        pixels, shown = read_picture(name, model.shape[0]), shown_name(name)
    else:
        pixels, shown = images.select([0]).pixels(), str(images.ids[0])
    original = (pixels.shape[2], pixels.shape[3])
    size = fitted_size(original, longer(original))
    return Picture(shown, resized(pixels, size).to(model.device), original)


def shown_name(name: str) -> str:
    """What a picture that is given by a path or a name is called in captions; "" for none."""
    return escaped(Path(name).name)


def affordable_longer(
    size: tuple[int, int], model: Model, *, seconds: float, budget: float, smallest: int
) -> int:
    """The longer side for a picture of `size`: its own, or smaller where that would take more than `budget` seconds.

    seconds: what the work takes on a picture of the model's own size; it grows with the area. smallest: the shorter
    side is enlarged to this, which the network needs.
    """
    own = model.shape[1] * model.shape[2]
    area = size[0] * size[1] * min(1.0, budget / max(seconds * size[0] * size[1] / own, 1e-9))
    longer = min(max(size), (area * max(size) / min(size)) ** 0.5)
    return round(max(longer, smallest * max(size) / min(size)))


def check_layer_at(model: Model, addresses: list[str], size: tuple[int, int], what: str) -> None:
    """Raise UserError where a layer cannot be computed at a picture's size, or is flat where maps are needed."""
    for address in addresses:
        layer = model.layers.find(address)
        if not layer.spatial:
            maps = next((each.address for each in reversed(list(model.layers)) if each.spatial), None)
            hint = f": {maps} is the last layer with maps" if maps else ""
            raise UserError(f"{address} is flat, but {what} needs a layer with maps{hint}")
    reason = _failure(model, addresses, size)
    if reason is not None:
        failure = str(reason).strip().split("\n")[0]
        raise UserError(
            f"{model.name} cannot compute {', '.join(addresses)} for a picture of {size_text(size)} pixels ({failure}): "
            "choose another layer or a larger picture"
        )


def smallest_side(model: Model, addresses: list[str]) -> int:
    """The side of the smallest pictures that are worked on: half of the model's, or all of it if the layers need that."""
    half = max(16, min(model.shape[1:]) // 2)
    return half if _failure(model, addresses, (half, half)) is None else min(model.shape[1:])


def _failure(model: Model, addresses: list[str], size: tuple[int, int]) -> RuntimeError | None:
    """Why the layers cannot be computed at a size; None if they can. Raises what the model's own size raises too."""
    blank = torch.full((1, model.shape[0], *size), 0.5, device=model.device)
    try:
        with torch.inference_mode():
            model.at_size(*size).features(blank, *addresses)
    except RuntimeError as error:
        with torch.inference_mode():
            model.features(blank.new_full((1, *model.shape), 0.5), *addresses)
        return error
    return None


def size_text(size: tuple[int, int]) -> str:
    """A size (height, width) as people write it: width x height."""
    return f"{size[1]} x {size[0]}"
