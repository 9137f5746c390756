"""Model cards: read and write card.toml, the description of a trained model beside its weights."""

from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from probe.errors import UserError
from probe.params import error_message
from probe.regular_files import read_toml

FILE = "card.toml"


class Input(BaseModel):
    """Input of a network. shape: channels, height, width. mean, std: of each channel, for pixels in [0, 1]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    preprocess: str = Field(
        description="preprocessing that brings any image to the shape, such as 'resize 32, centre crop 32'"
    )


class Weights(BaseModel):
    """The weights file beside the card, and its SHA-256."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = "weights.safetensors"
    sha256: str = ""


class Card(BaseModel):
    """A model card: architecture, classes, input, weights, how it was trained and what was measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    architecture: str = Field(description="zoo:NAME, torchvision:NAME, timm:NAME or FILE.py:FUNCTION")
    options: dict[str, Any] = Field(default_factory=dict, description="arguments of the architecture")
    classes: tuple[str, ...]
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
    temporary = folder / (FILE + ".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(folder / FILE)
