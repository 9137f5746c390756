"""What counts as fooled, and which loss leads there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from probe.errors import UserError
from probe.model.batching import in_batches
from probe.model.model import Model

Loss = Literal["logodds", "ce"]


@dataclass(frozen=True)
class Criterion:
    """Leave the class `labels` (n,), or, where `targets` (n,) are given, be answered as those."""

    labels: Tensor
    targets: Tensor | None = None

    def take(self, rows: Tensor) -> "Criterion":
        """The same goal for some of the images."""
        return Criterion(self.labels[rows], None if self.targets is None else self.targets[rows])

    def reached(self, logits: Tensor) -> Tensor:
        """(n,) bool: whether these answers count as fooled. An answer that is not a number is none."""
        answer = logits.argmax(1)
        fooled = answer != self.labels if self.targets is None else answer == self.targets
        return fooled & torch.isfinite(logits).all(1)

    def loss(self, logits: Tensor, kind: Loss = "logodds") -> Tensor:
        """(n,), to be raised.

        "logodds" is log((1 - p) / p) of the true class, logsumexp(z without y) - z_y (of the target: its
        negative). Its gradient keeps its bits where p is so near to 1 that the cross-entropy's ("ce") are lost.
        """
        if self.targets is None:
            return _loss(logits, self.labels, kind)
        return -_loss(logits, self.targets, kind)


def _loss(logits: Tensor, classes: Tensor, kind: Loss) -> Tensor:
    if kind == "ce":
        return F.cross_entropy(logits, classes, reduction="none")
    here = F.one_hot(classes, logits.shape[1]).bool()
    return logits.masked_fill(here, -torch.inf).logsumexp(1) - logits.gather(1, classes[:, None])[:, 0]


def make_criterion(
    model: Model, pixels: Tensor, labels: Tensor, targets: Tensor | int | None = None
) -> Criterion:
    """Check what an attack was given.

    pixels: (n, c, h, w) in [0, 1]. labels, targets: (n,), or one target for all.
    Raises UserError for pixels outside [0, 1] or NaN, a class that the model does not have, a target that
    equals the label, and a model with fewer than two classes.
    """
    count = len(model.classes)
    if count < 2:
        raise UserError(f"{model.name} has {count} class: there is no other answer to be fooled into")
    if not len(pixels):
        raise UserError("there is no image to attack")
    low, high = (float(v) for v in pixels.detach().aminmax())
    if not (low >= 0 and high <= 1):  # so written that NaN is refused too
        raise UserError(
            f"pixels must lie in [0, 1], got {low:g} to {high:g}: normalisation is the model's own work"
        )
    labels = labels.to(pixels.device)
    if len(labels) != len(pixels):
        raise UserError(f"there are {len(pixels)} images but {len(labels)} labels")
    wanted = None
    if targets is not None:
        wanted = torch.as_tensor(targets, device=pixels.device).expand(len(labels))
    for what, classes in (("label", labels), ("target", wanted)):
        if classes is not None and not (int(classes.min()) >= 0 and int(classes.max()) < count):
            worst = int(classes.max()) if int(classes.min()) >= 0 else int(classes.min())
            raise UserError(f"there is no {what} class {worst}: {model.name} has {count}, 0 to {count - 1}")
    if wanted is not None and bool((same := wanted == labels).any()):
        at = int(same.nonzero()[0])
        raise UserError(
            f"the target class {int(labels[at])} ({model.classes[int(labels[at])]}) is already the class of image {at}"
        )
    return Criterion(labels, wanted)


def validate_radius(eps: float, norm: str) -> float:
    """Check a radius: Linf radii lie in [0, 1]. Raises UserError, which says how grey levels are written."""
    if not eps >= 0 or (norm == "linf" and eps > 1):
        grey = f": for {eps:g} grey levels write {eps:g}/255" if norm == "linf" and 1 < eps <= 255 else ""
        raise UserError(
            f"eps must lie in [0, 1], got {eps:g}{grey}"
            if norm == "linf"
            else f"eps must be 0 or more, got {eps:g}"
        )
    return eps


def input_gradient(model: Model, pixels: Tensor, loss: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """The gradient of `loss(logits)` (n,) for every image, and the logits (n, classes), both detached.

    Rows do not influence each other. Nothing is left on the network.
    """
    with torch.enable_grad():
        at = pixels.detach().requires_grad_(True)
        logits = model.logits(at)
        total = loss(logits).sum()
        if not total.requires_grad:  # an answer that no path leads to: its gradient is zero
            return torch.zeros_like(pixels), logits.detach()
        (found,) = torch.autograd.grad(total, at, allow_unused=True)
    return torch.zeros_like(pixels) if found is None else found, logits.detach()


@torch.no_grad()
def predict(model: Model, pixels: Tensor, batch: int | None = None) -> Tensor:
    """Logits (n, classes) of any number of images, a batch at a time."""
    return in_batches(model.logits, pixels, batch=batch or model.batch())
