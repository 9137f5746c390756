"""One step of FGSM at several radii, from one gradient an image, beside noise of the same size."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
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

    def arrays(self) -> dict[str, np.ndarray]:
        """The columns, as they are stored."""
        return {field.name: getattr(self, field.name).cpu().numpy() for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """What `arrays` gave, on the CPU."""
        return cls(**{name: torch.from_numpy(values) for name, values in arrays.items()})

    @property
    def correct(self) -> Tensor:
        """(n,) bool: classified correctly at the first radius."""
        return self.prediction[:, 0] == self.labels


def radii_of_the_fall(min_eps: np.ndarray, eps: float, steps: int) -> np.ndarray:
    """0 and `steps` radii up to `eps`, between two of which about equally many images become adversarial: (steps + 1,).

    min_eps: (n,) smallest radii of a sample, inf where none is known. Where too few lie below `eps` the widest gaps are
    halved. Radii have two significant digits, but for `eps` itself.

    >>> radii_of_the_fall(np.array([0.002, 0.004, 0.006, 0.5]), 0.03, 4).tolist()
    [0.0, 0.002, 0.006, 0.018, 0.03]
    """
    inside = np.sort(min_eps[(min_eps > 0) & (min_eps < eps)])
    radii = {0.0, eps}
    count = round((steps - 1) * len(inside) / max(1, int((min_eps > 0).sum())))
    for k in range(count):
        radius = float(f"{inside[round((k + 0.5) / count * len(inside) - 0.5)]:.2g}")
        radii |= {radius} if radius < eps else set()
    while len(radii) < steps + 1:
        ordered = sorted(radii)
        widths = np.diff(ordered)
        at = int(widths.argmax())
        middle = (ordered[at] + ordered[at + 1]) / 2
        rounded = float(f"{middle:.2g}")
        radii.add(rounded if ordered[at] < rounded < ordered[at + 1] else middle)
    return np.array(sorted(radii))


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
