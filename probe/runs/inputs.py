"""What an analysis runs on."""

from dataclasses import dataclass

from probe.data.images import Images
from probe.model.model import Model


@dataclass(frozen=True)
class Inputs:
    """What an analysis runs on. images: preprocessed for `model` (`prepare`). compare_to: further models."""

    model: Model
    images: Images
    seed: int = 0
    compare_to: tuple[Model, ...] = ()
