"""Model cards: read and write card.toml, the description of a trained model beside its weights."""

import math
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from probe.atomic_files import write_whole
from probe.data.images import MOST_CLASSES
from probe.data.preprocess import Preprocess
from probe.errors import UserError
from probe.params import error_message
from probe.regular_files import read_toml

FILE = "card.toml"
MOST_VALUES = 3 * 2048 * 2048  # of an input
_SMALLEST_STD, _LARGEST_MEAN = 1e-6, 1e6  # beyond these, pixels in [0, 1] are no longer told apart in float32


class Input(BaseModel):
    """Input of a network. shape: channels, height, width. mean, std: of each channel, for pixels in [0, 1]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    preprocess: str = Field(
        description="preprocessing that brings any image to the shape, such as 'resize 32, centre crop 32'"
    )

    @field_validator("preprocess")
    @classmethod
    def _parses(cls, rule: str) -> str:
        Preprocess.parse(rule)
        return rule

    @model_validator(mode="after")
    def _agrees(self) -> "Input":
        if min(self.shape) < 1 or math.prod(self.shape) > MOST_VALUES:
            raise ValueError(f"shape must hold 1 to {MOST_VALUES:,} values, got {_product(self.shape)}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.shape[0]:
                raise ValueError(
                    f"{name} must have {self.shape[0]} numbers, one per channel, got {len(values)}"
                )
            if not all(math.isfinite(value) and abs(value) <= _LARGEST_MEAN for value in values):
                raise ValueError(f"{name} must be finite and at most {_LARGEST_MEAN:g}, got {values[:3]}")
        if min(self.std) < _SMALLEST_STD:
            raise ValueError(f"std must be above 0, got {min(self.std):g}")
        return self


class Weights(BaseModel):
    """The weights file beside the card, and its SHA-256."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field("weights.safetensors", max_length=200, pattern=r"^[^\x00]+$")
    sha256: str = ""


class Card(BaseModel):
    """A model card: architecture, classes, input, weights, how it was trained and what was measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    architecture: str = Field(description="zoo:NAME, torchvision:NAME, timm:NAME or FILE.py:FUNCTION")
    options: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the architecture")
    classes: tuple[str, ...] = Field(min_length=1, max_length=MOST_CLASSES)
    input: Input
    weights: Weights = Weights()
    training: dict[str, Any] = Field(default_factory=dict)
    results: dict[str, Any] = Field(default_factory=dict)
    limits: dict[str, Any] = Field(default_factory=dict)


def read_card(folder: Path) -> Card:
    """Read `folder`/card.toml. Raises UserError if it is missing, not TOML or invalid."""
    path = folder / FILE
    try:
        return Card(**read_toml(path, what="a card"))
    except FileNotFoundError:
        raise UserError(f"{folder} has no {FILE}: `probe adopt CHECKPOINT --out DIR` writes one") from None
    except ValidationError as error:
        raise UserError(f"{path}: {error_message(Card, error)}") from None


def write_card(card: Card, folder: Path) -> None:
    """Write `folder`/card.toml atomically."""
    values = card.model_dump(mode="json", exclude_none=True)
    text = tomli_w.dumps({key: value for key, value in values.items() if value not in ({}, None)})
    write_whole(folder / FILE, text.encode())


def _product(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{side:,}" if abs(side) < 10**12 else "..." for side in shape)
