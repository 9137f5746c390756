"""Warnings that the analyses of attacks share."""

from torch import Tensor

UNLABELLED = (
    "The images have no labels: the model's own predictions are taken as the true classes, so its accuracy is 100 %"
    " before the attack."
)


def invalid_warning(invalid: Tensor) -> list[str]:
    """A warning of how many images (n,) bool an attack left without a valid result, if any."""
    if not (count := int(invalid.sum())):
        return []
    return [
        f"{count:,} of {len(invalid):,} attacked images are invalid: they lie outside their ball, or the model gives NaN"
        " or infinite logits for them. They count as not fooled, which must not be taken for robustness."
    ]
