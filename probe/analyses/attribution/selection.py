"""The images that are explained, the predictions for them, and the targets of the explanations."""

from dataclasses import dataclass

import torch
from torch import Tensor

from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Array
from probe.model.model import Model
from probe.model.targets import Targets, contrast, describe, parse_target, units

TARGET_HELP = (
    "what is explained: predicted, true, contrast (the predicted class minus the runner-up), a class by name or "
    "number, or a channel or unit as in features.7:12 or features.7:12:3,4"
)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Images with their predictions and targets.

    pixels: (n, c, h, w). prediction, runner_up: (n,) classes of the largest and second largest logit. confidence:
    (n, 1 or 2) probabilities of these. targets: the scores to explain, one per image; description: these in words.
    """

    dataset: Images
    pixels: Tensor
    prediction: Tensor
    runner_up: Tensor
    confidence: Tensor
    targets: Targets
    description: str

    def __len__(self) -> int:
        return len(self.pixels)

    def first(self, count: int) -> "Selection":
        """The first `count` images."""
        rows = torch.arange(min(count, len(self)), device=self.pixels.device)
        return Selection(
            dataset=self.dataset.select(rows.tolist()),
            pixels=self.pixels[rows],
            prediction=self.prediction[rows],
            runner_up=self.runner_up[rows],
            confidence=self.confidence[rows],
            targets=self.targets[rows],
            description=self.description,
        )

    @property
    def images(self) -> list[Array]:
        """The images as (h, w, 1 or 3) arrays."""
        return [image.permute(1, 2, 0).cpu().numpy() for image in self.pixels]

    @property
    def correct(self) -> int | None:
        """How many predictions are correct; None where the true classes are not known."""
        labels = self.dataset.labels
        return None if labels is None else int((labels == self.prediction.cpu()).sum())

    def headers(self, model: Model) -> list[str]:
        """The true and the predicted class of each image, in one short line each."""
        names = model.classes
        labels = self.dataset.labels
        lines = []
        for i, (predicted, confidence) in enumerate(
            zip(self.prediction.tolist(), self.confidence[:, 0].tolist(), strict=True)
        ):
            prediction = f"{names[predicted]} {confidence:.0%}"
            if labels is None:
                lines.append(f"predicted {prediction}")
            elif int(labels[i]) == predicted:
                lines.append(f"{prediction}, correct")
            else:
                lines.append(f"{names[int(labels[i])]}, predicted {prediction}")
        return lines


def select(model: Model, images: Images, count: int, target: str, seed: int) -> Selection:
    """Draw `count` images, evenly over the classes, and read the target of each from `target` (TARGET_HELP).

    Raises UserError for a target that does not exist, "true" without labels, "contrast" with one class, and logits
    that are not finite.
    """
    drawn = images.take(count, seed)
    pixels = drawn.pixels(model.device)
    with torch.inference_mode():
        logits = torch.cat([model.logits(part) for part in pixels.split(model.batch())]).float()
    if not bool(torch.isfinite(logits).all()):
        raise UserError(f"{model.name} produces NaN or infinity for some of {images.name}")
    logits = logits.clone()
    best = logits.topk(min(2, logits.shape[1]), dim=1).indices
    prediction, runner_up = best[:, 0], best[:, -1]
    targets, description = _targets(model, drawn, target, prediction, runner_up)
    return Selection(
        dataset=drawn,
        pixels=pixels,
        prediction=prediction,
        runner_up=runner_up,
        confidence=logits.softmax(1).gather(1, best),
        targets=targets,
        description=description,
    )


def _targets(
    model: Model, images: Images, target: str, prediction: Tensor, runner_up: Tensor
) -> tuple[Targets, str]:
    if target == "predicted":
        return prediction, "the score of the predicted class"
    if target == "true":
        if images.labels is None:
            raise UserError(
                f"target=true needs the true classes, but {images.name} has no labels: use target=predicted"
            )
        return images.labels.to(prediction.device), "the score of the true class"
    if target == "contrast":
        if len(model.classes) < 2:
            raise UserError(
                f"target=contrast needs two classes, but {model.name} has one: use target=predicted"
            )
        weights = contrast(prediction, runner_up, len(model.classes)).to(prediction.device)
        return weights, "the score of the predicted class minus that of the runner-up"
    parsed = parse_target(model, target)
    if isinstance(parsed, int):
        return torch.full_like(prediction, parsed), describe(model, parsed)
    return units(parsed, len(prediction)), describe(model, parsed)
