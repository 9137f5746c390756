"""Universal perturbations: one change that fools as many images as possible."""

import torch
from pydantic import Field
from torch import Tensor

from probe.methods.adversarial.criteria import input_gradient, make_criterion
from probe.methods.adversarial.norms import Norm, project, steepest_direction, validate_radius
from probe.model.model import Model
from probe.params import Fraction, Parameters


class UniversalPerturbation(Parameters):
    """One change of size at most `eps` for all images, those that it was not fitted on included.

    Signed (or scaled) steps of eps / 5, shrinking, up the summed loss of random batches.
    Moosavi-Dezfooli et al. 2017 for the question, Shafahi et al. 2020, algorithm 2, for the method.
    """

    eps: Fraction = Field(8 / 255, ge=0, description="radius: largest change of a pixel value, in [0, 1]")
    norm: Norm = Field("linf", description="norm of the radius")
    epochs: int = Field(10, ge=1, description="number of passes over the images")
    batch: int = Field(64, ge=1, description="number of images per step")
    max_loss: float = Field(
        5.0,
        description="value at which the loss of an image is clipped, so that no image outweighs all others",
    )

    def fit(
        self,
        model: Model,
        pixels: Tensor,
        labels: Tensor,
        *,
        targets: Tensor | int | None = None,
        seed: int = 0,
    ) -> Tensor:
        """The change (c, h, w) for images (n, c, h, w). Raises UserError as an attack does."""
        criterion = make_criterion(model, pixels, labels, targets)
        validate_radius(self.eps, self.norm)
        rng = torch.Generator().manual_seed(seed)
        change = torch.zeros_like(pixels[:1])
        for epoch in range(self.epochs):
            length = self.eps / 5 * (1 - epoch / self.epochs)
            for rows in torch.randperm(len(pixels), generator=rng).to(pixels.device).split(self.batch):
                own, x = criterion.take(rows), (pixels[rows] + change).clamp(0, 1)
                gradient, _ = input_gradient(
                    model, x, lambda z, own=own: own.loss(z).clamp_max(self.max_loss)
                )
                # Every image counts with the direction of its gradient, not with its length.
                total = steepest_direction(gradient.nan_to_num(), "l2").sum(0, keepdim=True)
                step = length * steepest_direction(total, self.norm)
                change = project(change + step, self.eps, self.norm)
        return change[0]
