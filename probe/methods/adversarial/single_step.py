"""One step of FGSM at several radii, from one gradient an image, beside noise of the same size."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from probe.errors import UserError
from probe.methods.adversarial.blackbox import random_direction
from probe.methods.adversarial.criteria import Criterion, Loss, predict
from probe.methods.adversarial.gradient_attacks import ray, sweep
from probe.methods.adversarial.min_radius import min_radius_on_ray
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.model.model import Model


@dataclass(frozen=True)
class SingleStep:
    """What one step does to each image, one row an image; (n, radii) where it depends on the radius.

    ids, labels: (n,). prediction, confidence: the predicted class and its probability. adversarial, noise_adversarial:
    whether the criterion is met after the step, and under random signs of the same size. min_eps: (n,) the smallest
    radius on the ray, up to 1, that is adversarial; inf where none is. zero_gradient: (n,) the gradient is zero or NaN,
    so the step does not change the image. invalid: (n,) the logits are NaN or infinite at some radius.
    """

    ids: Tensor
    labels: Tensor
    prediction: Tensor
    confidence: Tensor
    adversarial: Tensor
    noise_adversarial: Tensor
    min_eps: Tensor
    zero_gradient: Tensor
    invalid: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def joined(cls, parts: Sequence["SingleStep"]) -> Self:
        """The rows of several batches as one, on the CPU."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: torch.cat([getattr(part, name).cpu() for part in parts]) for name in names})

    @property
    def correct(self) -> Tensor:
        """(n,) bool: classified correctly at the first radius."""
        return self.prediction[:, 0] == self.labels


def single_step(
    model: Model, pixels: Tensor, criterion: Criterion, rng: PerImageRng, *, eps: Tensor, loss: Loss
) -> SingleStep:
    """Attack images (n, c, h, w) at every radius of `eps` (r,), Linf, the first of which is 0.

    rng: of the noise; its ids are those of the images. Raises UserError for logits that are NaN or infinite without
    an attack. Goodfellow et al. 2015, section 4.
    """
    rays = ray(model, pixels, criterion, loss=loss)
    if not bool(torch.isfinite(rays.logits).all()):
        raise UserError(f"{model.name} gives NaN or infinite logits for some of the images")
    logits = sweep(model, rays, eps)
    confidence, prediction = logits.softmax(2).max(2)
    signs = random_direction(pixels, rng)
    noise = [predict(model, (pixels + e * signs).clamp(0, 1), len(pixels)) for e in eps.tolist()]
    return SingleStep(
        ids=rng.ids,
        labels=criterion.labels,
        prediction=prediction.T,
        confidence=confidence.T,
        adversarial=torch.stack([criterion.is_adversarial(z) for z in logits], 1),
        noise_adversarial=torch.stack([criterion.is_adversarial(z) for z in noise], 1),
        min_eps=min_radius_on_ray(model, rays, criterion),
        zero_gradient=~rays.direction.flatten(1).any(1),
        invalid=~torch.isfinite(logits).all(2).all(0),
    )
