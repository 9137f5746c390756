"""Analyses that explain single images: which ones, by the user's choice or drawn from the data."""

from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import Field

from probe.analyses.analysis import Analysis
from probe.data.images import Images
from probe.data.pictures import SAMPLES, read_picture
from probe.errors import UserError, unknown
from probe.model.model import Model
from probe.params import Names
from probe.terminal import escaped


class SingleImages(Analysis):
    """An analysis that explains images one by one: picture files, images of the data by their ids, or drawn ones."""

    image: Names = Field(
        (),
        description=f"picture files to explain, or scikit-learn's {' or '.join(SAMPLES)}; if --data is given too, the tests "
        "use that data",
    )
    ids: Names = Field(
        (), description="images of the data to explain, by file name or id (default: a random sample)"
    )

    def reads(self) -> tuple[str, ...]:
        return self.image

    def images_needed(self) -> int:
        return 0 if self.image else self.needs_images

    def check(self, model: Model, images: Images, compare_to: Sequence[Model] = ()) -> None:
        super().check(model, images, compare_to)
        if self.image and self.ids:
            raise UserError("--image and --ids both choose the images to explain: give one of them")

    def count(self, examples: int) -> int:
        """How many images are explained: those that are chosen, else `examples`."""
        return len(self.image) or len(self.ids) or examples

    def pictures(self, model: Model) -> Images | None:
        """The picture files, preprocessed for `model` by the rule on its card; None where none are named."""
        if not self.image:
            return None
        fitted = [
            Images.from_tensor(read_picture(name, model.shape[0]), name=name)
            .preprocessed(model.shape, model.card.input.preprocess)
            .pixels()
            for name in self.image
        ]
        return Images.from_tensor(
            torch.cat(fitted), name="pictures", ids=[escaped(Path(name).name) for name in self.image]
        )

    def positions(self, images: Images) -> list[int]:
        """The positions in `images` of `ids`, each a whole id, or a file name with or without its ending.

        Raises UserError for an id that none or several images have.
        """
        return [_position(images, each) for each in self.ids]


def _position(images: Images, wanted: str) -> int:
    ids = [str(each) for each in images.ids]
    if wanted in ids:
        return ids.index(wanted)
    matching = [i for i, each in enumerate(ids) if wanted in (Path(each).name, Path(each).stem)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise UserError(
            f"{len(matching)} images of {images.name} are called {wanted}: write {ids[matching[0]]} or another"
        )
    raise unknown(f"image of {images.name}", wanted, ids)
