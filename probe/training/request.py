"""What is to be trained, on what, into which folder?"""

from dataclasses import dataclass, replace
from pathlib import Path

from probe.errors import UserError
from probe.model.importing import absolute
from probe.training.config import TrainingConfig, flags
from probe.zoo import Architecture, architecture

_ELSEWHERE = (3, 224, 224)  # the input of networks that are not the zoo's, unless a size is asked for


@dataclass(frozen=True)
class TrainingRequest:
    """A training by its names. arch: a network of the zoo, torchvision:NAME, timm:NAME or FILE.py:FUNCTION."""

    arch: str
    data: str
    out: Path
    recipe: TrainingConfig

    @property
    def command(self) -> str:
        """As a user types it; the folder by its name alone."""
        return (
            f"probe train {self.arch} --data {self.data} --out {self.out.name} {flags(self.recipe)}".strip()
        )

    @property
    def named(self) -> str:
        """The architecture as a card names it; the user's own file by its full path."""
        return absolute(self.arch) if ":" in self.arch else f"zoo:{self.arch}"

    def architecture(self) -> Architecture:
        """What it takes: the zoo's own size, or the recipe's. Raises UserError for an unknown name of the zoo."""
        kind, _, name = self.named.rpartition(":")
        found = (
            architecture(name) if kind == "zoo" else Architecture(self.arch, self.arch, "", _ELSEWHERE, "")
        )
        if kind != "zoo" and self.recipe.whiten:
            raise UserError(f"whiten puts a layer before networks of the zoo, not before {self.arch}")
        side = self.recipe.size
        return (
            found
            if side is None or not found.reads_images
            else replace(found, shape=(found.shape[0], side, side))
        )
