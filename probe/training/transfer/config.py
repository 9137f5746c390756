"""The options and the request of a transfer."""

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field

from probe.params import Fraction, Parameters
from probe.training.config import Augmentations, format_flags


class TransferConfig(Parameters):
    """How a trained network is transferred to other classes."""

    n: int = Field(
        200, ge=0, description="number of training images to sample, the same number from each class (0: all)"
    )
    epochs: int = Field(
        40, ge=1, le=1000, description="number of passes over the training images, for every strategy"
    )
    unfreeze: int = Field(
        2,
        ge=1,
        le=100,
        description="number of layers with weights that are fine-tuned, including the new head",
    )
    hidden_units: int = Field(
        0,
        ge=0,
        le=65_536,
        description="width of the hidden layer in the head on stored features (0: no hidden layer)",
    )
    augment: Augmentations = Field(
        ("crop",), description="augmentations, for the strategies that train on images"
    )
    lr: Fraction = Field(
        1e-2,
        gt=0,
        le=1,
        description="peak learning rate of the new head; fine-tuned layers use a tenth of it",
    )
    batch_size: int = Field(32, ge=4, le=4096, description="number of images per step")
    seed: int = Field(
        0,
        ge=0,
        lt=2**31,
        description="seed of the sampled images, of the initial weights and of the augmentation",
    )

    @property
    def fine_tuning(self) -> str:
        """The name of the strategy that trains the last layers."""
        return f"fine-tuned, last {self.unfreeze} layers" if self.unfreeze > 1 else "fine-tuned, last layer"


@dataclass(frozen=True)
class TransferRequest:
    """A transfer by its names.

    model: a pretrained name, a folder with a card, or torchvision:NAME. data: a source with a train split, such as
    digits, or folder:PATH. out: the folder to write.
    """

    model: str
    data: str
    out: Path
    config: TransferConfig = field(default_factory=TransferConfig)

    @property
    def command(self) -> str:
        """The command line of this transfer; of the folder only its name."""
        flags = format_flags(self.config)
        return f"probe transfer {self.model} --data {self.data} --out {self.out.name} {flags}".strip()
