"""Whether a network predicts the same for an image alone and in a batch, and each time it is run."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from probe.errors import UserError
from probe.exhibits.wording import sentences

_IMAGES = 4
_TOLERANCE = 0.01  # of the spread of the logits; rounding in float32 gives about 1e-6
_ROUNDING = 8  # units in the last place of the largest logit, for networks in half precision


@dataclass(frozen=True)
class Consistency:
    """by_batch: whether logits differ between an image alone and in a batch; random: from one pass to the next."""

    by_batch: bool
    random: bool

    def warning(self, name: str) -> str:
        """What to know about the predictions of the model `name`; empty where they depend on the image alone."""
        if not self.by_batch and not self.random:
            return ""
        cause = "random draws" if self.random else "the other images in the batch"
        reason = (
            "two forward passes over the same images give different logits, as with dropout that is never switched off"
            if self.random
            else "an image has different logits alone and in a batch, as with batch norm that stays in training mode"
        )
        return sentences(
            f"The predictions of {name} depend on {cause}, although it is in evaluation mode: {reason}.",
            "All numbers here are valid for these batches and random draws only.",
        )


def measure_consistency(
    logits: Callable[[Tensor], Tensor], shape: tuple[int, ...], dtype: torch.dtype, *, classes: int, name: str
) -> Consistency:
    """Compare the logits of a few images in a batch, alone, and in the batch again.

    logits: (n, c, h, w) in [0, 1] -> (n, classes), computed in `dtype`. shape: (c, h, w). name: of the model. Raises
    UserError where the output has another shape, and where a single image cannot be processed but a batch can.
    """
    rng = torch.Generator().manual_seed(0)
    noise = torch.rand(_IMAGES, *shape, generator=rng)
    contrast = torch.linspace(0.2, 1, _IMAGES).view(-1, 1, 1, 1)  # a batch norm must meet images that differ
    pixels = contrast * noise
    with torch.no_grad():
        together = logits(pixels).double()
        if together.shape != (_IMAGES, classes):
            raise UserError(
                f"the output of {name} for {_IMAGES} images must have shape ({_IMAGES}, {classes}), one number per class, got {tuple(together.shape)}"
            )
        try:
            alone = torch.cat([logits(image[None]) for image in pixels]).double()
        except (RuntimeError, ValueError) as error:
            logits(pixels)  # an error that has nothing to do with the size of the batch is raised as it is
            reason = str(error).strip().split("\n")[0]
            raise UserError(
                f"{name} cannot process a single image ({reason}): its predictions depend on the other images in the "
                "batch, but probe analyses each image independently"
            ) from None
        again = logits(pixels).double()
    finite = together.nan_to_num()
    tolerance = max(
        _TOLERANCE * float(finite.std()), _ROUNDING * torch.finfo(dtype).eps * float(finite.abs().amax())
    )

    def differs(other: Tensor) -> bool:
        return float((finite - other.nan_to_num()).abs().amax()) > tolerance

    random = differs(again)
    return Consistency(by_batch=differs(alone) and not random, random=random)
