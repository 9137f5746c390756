"""The base class of analyses: their parameters, what they need, and `run`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from probe.errors import UserError
from probe.exhibits.result import Result
from probe.params import Parameters

if TYPE_CHECKING:
    from pathlib import Path

    from probe.analyses.job import Job
    from probe.data.images import Images
    from probe.model.model import Model


class Analysis(Parameters):
    """A question about a model, as a class: its fields are the parameters, `run` returns a Result.

    A subclass sets `name`, `title` and `source`; its docstring starts with the question. The registry finds it in any
    file of a room of this folder.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    source: ClassVar[str] = ""
    needs_labels: ClassVar[bool] = False
    needs_masks: ClassVar[bool] = False
    needs_colour: ClassVar[bool] = False
    needs_images: ClassVar[int] = 1
    """The minimal number of images; 0 if it examines the network alone."""
    uses_predictions: ClassVar[bool] = True
    """Whether its figures depend on what the network predicts, and not on the images or the weights alone."""
    needs_compare_to: ClassVar[int] = 0
    """The minimal number of further models (`--compare-to`)."""
    takes_compare_to: ClassVar[bool] = False
    """Whether it uses further models where they are given, beyond those that it needs."""
    headlines: ClassVar[tuple[str, ...]] = ()
    """Keys of those of its numbers that stand at the top of a report of several analyses; `*` stands for names."""
    failures: ClassVar[str] = ""
    """What its image grids with `failures` show, such as "misclassified images"; empty if it looks for no failures."""
    quick: ClassVar[dict[str, Any]] = {}
    """Parameters for a quick run of a few seconds, if the defaults take longer."""

    def run(self, model: "Model", images: "Images", job: "Job") -> Result:
        raise TypeError(f"{type(self).__name__} has no run")

    def reads(self) -> tuple[str, ...]:
        """The pictures that its parameters name: their content is part of what determines its result."""
        return ()

    def writes(self) -> tuple[Path, ...]:
        """The files that it writes beside its result: if one is missing, a stored result is not reused."""
        return ()

    def images_needed(self) -> int:
        """`needs_images`, less what its parameters name."""
        return self.needs_images

    @classmethod
    def question(cls) -> str:
        """The first line of its docstring."""
        return (cls.__doc__ or "").strip().split("\n")[0]

    def files(self) -> "Sequence[Path]":
        """Files and folders that its parameters name: a stored result is of their contents."""
        return ()

    def check(self, model: "Model", images: "Images", compare_to: "Sequence[Model]" = ()) -> None:
        """Raise UserError if the analysis cannot run on this model, these images and further models."""
        channels = model.shape[0]
        reads_pictures = type(self).reads is not Analysis.reads
        if channels not in (1, 3) and (self.uses_predictions or self.needs_images or reads_pictures):
            raise UserError(
                f"{self.name} shows images of 1 or 3 channels, but {model.name} takes {channels}: "
                "architecture, filters and training-history need no images"
            )
        if len(images) < self.images_needed():
            count = f"{self.needs_images} image{'s' if self.needs_images > 1 else ''}"
            raise UserError(f"{self.name} needs at least {count}, got {len(images)}")
        if self.needs_labels and images.labels is None:
            raise UserError(
                f"{self.name} needs the true classes of the images, but {images.name} has no labels for {model.name}"
            )
        if self.needs_masks and images.masks is None:
            raise UserError(
                f"{self.name} needs the true masks of the objects, but {images.name} has none: try shapes"
            )
        if self.needs_colour and channels != 3:
            raise UserError(
                f"{self.name} needs a network that sees colour, but {model.name} takes {channels} channel"
            )
        if len(compare_to) < self.needs_compare_to:
            raise UserError(f"{self.name} needs another model to compare with: add --compare-to NAME")

    @classmethod
    def parameters(cls) -> dict[str, Any]:
        """Its fields by name, as pydantic describes them."""
        return dict(cls.model_fields)
