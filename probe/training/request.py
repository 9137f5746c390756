"""The request of a training: architecture, data, output folder and options."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from probe.errors import UserError
from probe.model.importing import absolute
from probe.training.config import TrainingConfig, format_flags
from probe.zoo import Architecture, architecture

_IMAGENET_SHAPE = (3, 224, 224)  # default input of architectures that are not of the zoo


@dataclass(frozen=True)
class TrainingRequest:
    """A training by its names.

    arch: an architecture of the zoo, torchvision:NAME, timm:NAME or FILE.py:FUNCTION. data: a source with a train
    split, such as digits, or folder:PATH. out: the folder to write.
    """

    arch: str
    data: str
    out: Path
    config: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        object.__setattr__(self, "arch", self.arch.removeprefix("zoo:"))

    @property
    def command(self) -> str:
        """The command line of this training; of the folder only its name."""
        flags = format_flags(self.config)
        return f"probe train {self.arch} --data {self.data} --out {self.out.name} {flags}".strip()

    @property
    def card_architecture(self) -> str:
        """The architecture as cards write it: zoo:NAME, torchvision:NAME, timm:NAME or /PATH/FILE.py:FUNCTION."""
        return absolute(self.arch) if ":" in self.arch else f"zoo:{self.arch}"

    def architecture(self) -> Architecture:
        """The architecture with its input shape, of side `config.size` where that is set.

        Raises UserError for an unknown name of the zoo, and for whitening in front of other architectures.
        """
        kind, _, name = self.card_architecture.rpartition(":")
        if kind == "zoo":
            known = architecture(name)
        elif self.config.whiten:
            raise UserError(
                f"whiten works for architectures of the zoo only: it cannot be added to {self.arch}"
            )
        else:
            known = Architecture(self.arch, self.arch, "", _IMAGENET_SHAPE, "")
        side = self.config.size
        if side is None or not known.takes_images:
            return known
        return replace(known, shape=(known.shape[0], side, side))
