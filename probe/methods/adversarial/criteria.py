"""The criterion of an attack: misclassification or a target class, its loss, and the gradient of that loss."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from probe.data.images import Images
from probe.errors import NoGradientError, UserError
from probe.model.batching import in_batches
from probe.model.model import Model

Loss = Literal["log-odds", "cross-entropy"]


@dataclass(frozen=True)
class Criterion:
    """What makes an image adversarial: a prediction other than `labels` (n,) or, where given, `targets` (n,)."""

    labels: Tensor
    targets: Tensor | None = None

    def take(self, rows: Tensor) -> "Criterion":
        """The criterion of the images `rows`."""
        return Criterion(self.labels[rows], None if self.targets is None else self.targets[rows])

    def is_adversarial(self, logits: Tensor) -> Tensor:
        """(n,) bool: whether these logits meet the criterion; logits with NaN or infinity do not."""
        prediction = logits.argmax(1)
        met = prediction != self.labels if self.targets is None else prediction == self.targets
        return met & torch.isfinite(logits).all(1)

    def loss(self, logits: Tensor, kind: Loss = "log-odds") -> Tensor:
        """(n,), to be maximised.

        "log-odds" is log((1 - p) / p) of the true class, logsumexp(z without y) - z_y (of the target: its
        negative). Its gradient keeps its bits where p is so near to 1 that the cross-entropy's are lost.
        """
        if self.targets is None:
            return _loss(logits, self.labels, kind)
        return -_loss(logits, self.targets, kind)

    def margin(self, logits: Tensor) -> Tensor:
        """(n,) by how much the logits miss the criterion: z_y - max z_other (of the target: its negative)."""
        classes = self.labels if self.targets is None else self.targets
        lead = logit_lead(logits, classes)
        return lead if self.targets is None else -lead


def logit_lead(logits: Tensor, classes: Tensor) -> Tensor:
    """(n,) the logit of `classes` minus the largest other logit."""
    other = logits.scatter(1, classes[:, None], -torch.inf).amax(1)
    return logits.gather(1, classes[:, None])[:, 0] - other


def _loss(logits: Tensor, classes: Tensor, kind: Loss) -> Tensor:
    if kind == "cross-entropy":
        return F.cross_entropy(logits, classes, reduction="none")
    own = F.one_hot(classes, logits.shape[1]).bool()
    return logits.masked_fill(own, -torch.inf).logsumexp(1) - logits.gather(1, classes[:, None])[:, 0]


def make_criterion(
    model: Model, pixels: Tensor, labels: Tensor, targets: Tensor | int | None = None
) -> Criterion:
    """The validated criterion of an attack on these images.

    pixels: (n, c, h, w) in [0, 1]. labels, targets: (n,), or one target for all.
    Raises UserError for pixels outside [0, 1] or NaN, a class that the model does not have, a target that
    equals the label, and a model with fewer than two classes.
    """
    count = len(model.classes)
    if count < 2:
        raise UserError(f"{model.name} has {count} class: there is no other class to be misclassified as")
    if not len(pixels):
        raise UserError("there is no image to attack")
    low, high = (float(v) for v in pixels.detach().aminmax())
    if not (low >= 0 and high <= 1):  # so written that NaN is refused too
        raise UserError(
            f"pixels must lie in [0, 1], got {low:g} to {high:g}: the model normalises them itself"
        )
    labels = labels.to(pixels.device)
    if len(labels) != len(pixels):
        raise UserError(f"there are {len(pixels)} images but {len(labels)} labels")
    _validate_classes(model, "label", labels)
    if targets is None:
        return Criterion(labels)
    targets = torch.as_tensor(targets, device=pixels.device).expand(len(labels))
    _validate_classes(model, "target", targets)
    if bool((same := targets == labels).any()):
        row = int(same.nonzero()[0])
        own = int(labels[row])
        raise UserError(f"the target class {own} ({model.classes[own]}) is already the class of image {row}")
    return Criterion(labels, targets)


def _validate_classes(model: Model, what: str, classes: Tensor) -> None:
    count, low, high = len(model.classes), int(classes.min()), int(classes.max())
    if low < 0 or high >= count:
        wrong = low if low < 0 else high
        raise UserError(f"there is no {what} class {wrong}: {model.name} has {count}, 0 to {count - 1}")


def input_gradient(model: Model, pixels: Tensor, loss: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """The gradient of `loss(logits)` (n,) for every image, and the logits (n, classes), both detached.

    Rows do not influence each other. Nothing is left on the network.
    """
    with torch.enable_grad():
        x = pixels.detach().requires_grad_(True)
        logits = differentiable_logits(model, x)
        (gradient,) = torch.autograd.grad(loss(logits).sum(), x, allow_unused=True)
    return torch.zeros_like(pixels) if gradient is None else gradient, logits.detach()


def differentiable_logits(model: Model, pixels: Tensor) -> Tensor:
    """Logits (n, classes) of `pixels`, which require a gradient; it is zero where the network gives none."""
    try:
        return model.logits(pixels)
    except NoGradientError:
        return model.logits(pixels.detach()) + 0 * pixels.flatten(1).sum(1, keepdim=True)


@torch.no_grad()
def predict(model: Model, pixels: Tensor, batch: int | None = None) -> Tensor:
    """Logits (n, classes) of any number of images, a batch at a time."""
    return in_batches(model.logits, pixels, batch=batch or model.batch())


def labels_or_predictions(model: Model, images: Images) -> Tensor:
    """The true classes (n,) of the images or, where they have none, the predicted ones; on the CPU."""
    if images.labels is not None:
        return images.labels
    batches = images.batches(model.batch(), model.device)
    return torch.cat([predict(model, batch.pixels).argmax(1).cpu() for batch in batches])
