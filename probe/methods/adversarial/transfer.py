"""Transfer of adversarial images: attacks computed on each of several models, evaluated on all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from probe.data.images import Images
from probe.errors import UserError
from probe.methods.adversarial.attack import Attack
from probe.methods.adversarial.criteria import labels_or_predictions, predict
from probe.model.model import Model


@dataclass(frozen=True)
class View:
    """The images as a model takes them, and their true classes (n,) by its own numbers, on the CPU."""

    model: Model
    images: Images
    labels: Tensor

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels and labels of the images `rows`, on the model's device."""
        return self.images.select(rows).pixels(self.model.device), self.labels[rows].to(self.model.device)

    def convert(self, pixels: Tensor) -> Tensor:
        """Images of another model at the size and in the channels of this one, by its own preprocessing."""
        if tuple(pixels.shape[1:]) == self.model.shape:
            return pixels.to(self.model.device)
        images = Images.from_tensor(pixels).preprocessed(self.model.shape, self.model.card.input.preprocess)
        return images.pixels(self.model.device)


def views(models: Sequence[Model], images: Images) -> list[View]:
    """The images as each model takes them; those without labels have the predictions of the first model.

    images: as the first model takes them. Raises UserError for a model that does not have their classes.
    """
    if images.labels is None:
        images = replace(images, labels=labels_or_predictions(models[0], images), classes=models[0].classes)
    of_models = []
    for model in models:
        own = images
        if model is not models[0]:
            own = images.preprocessed(model.shape, model.card.input.preprocess).matched(model.classes)
        if own.labels is None:
            raise UserError(f"{model.name} does not have the classes of {images.name}")
        of_models.append(View(model, own, own.labels))
    return of_models


@dataclass(frozen=True)
class Transfer:
    """What attacks do to n images on m models; on the CPU.

    correct: (n, models) classified correctly without an attack. misclassified: (n, attacks, sources, targets)
    predicted otherwise by the target after the attack computed on the source. invalid: (n,) a result out of bounds.
    """

    correct: Tensor
    misclassified: Tensor
    invalid: Tensor


def transfer(of_models: Sequence[View], rows: Tensor, attacks: Sequence[Attack], *, seed: int) -> Transfer:
    """Compute each attack on each model for the images `rows`, and predict its result with every model.

    The random numbers of an image come from `seed` and its row. A result out of the attack's bounds is replaced by
    the original image.
    """
    batches = [view.batch(rows) for view in of_models]
    correct = [
        (predict(view.model, pixels).argmax(1) == labels).cpu()
        for view, (pixels, labels) in zip(of_models, batches, strict=True)
    ]
    count = len(of_models)
    misclassified = torch.zeros(len(rows), len(attacks), count, count, dtype=torch.bool)
    invalid = torch.zeros(len(rows), dtype=torch.bool)
    for a, attack in enumerate(attacks):
        for s, (source, (pixels, labels)) in enumerate(zip(of_models, batches, strict=True)):
            perturbed = attack(source.model, pixels, labels, seed=seed, ids=rows).pixels
            valid = attack.in_bounds(pixels, perturbed)
            perturbed, invalid = (
                torch.where(valid[:, None, None, None], perturbed, pixels),
                invalid | ~valid.cpu(),
            )
            for t, (target, (_, truth)) in enumerate(zip(of_models, batches, strict=True)):
                shown = perturbed if s == t else target.convert(perturbed)
                misclassified[:, a, s, t] = (predict(target.model, shown).argmax(1) != truth).cpu()
    return Transfer(torch.stack(correct, 1), misclassified, invalid)
