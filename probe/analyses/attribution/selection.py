"""The images that are explained, the predictions for them, and the targets of the explanations."""

import textwrap
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from probe.analyses.single_images import SingleImages
from probe.data.images import Images
from probe.data.subsample import stratified_sample
from probe.errors import UserError
from probe.exhibits.exhibits import Array
from probe.methods.attribution.references import REFERENCES
from probe.model.model import Model
from probe.model.targets import Targets, contrast, describe, parse_target, units

TARGET_HELP = (
    "score to explain: that of the predicted or the true class, contrast (the predicted class minus the runner-up), a "
    "class by name or number, or a channel or unit such as features.7:12 or features.7:12:3,4"
)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Images with their predictions and targets.

    pixels: (n, c, h, w). prediction, runner_up: (n,) classes of the largest and second largest logit. confidence:
    (n, 1 or 2) probabilities of these. targets: the scores to explain, one per image; description: these in words.
    examples: how many of the first images are to be shown. references: up to 16 images of the data (m, c, h, w), for
    methods that compare with others; m may be 0.
    """

    dataset: Images
    pixels: Tensor
    prediction: Tensor
    runner_up: Tensor
    confidence: Tensor
    targets: Targets
    description: str
    examples: int
    references: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def first(self, count: int) -> "Selection":
        """The first `count` images."""
        rows = torch.arange(min(count, len(self)), device=self.pixels.device)
        return replace(
            self,
            dataset=self.dataset.select(rows.tolist()),
            pixels=self.pixels[rows],
            prediction=self.prediction[rows],
            runner_up=self.runner_up[rows],
            confidence=self.confidence[rows],
            targets=self.targets[rows],
            examples=min(self.examples, len(rows)),
        )

    @property
    def shown(self) -> "Selection":
        """The images that are to be shown."""
        return self.first(self.examples)

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
        """The true and the predicted class of each image, a short line for each."""
        names = model.classes
        labels = self.dataset.labels
        headers = []
        for i, (predicted, confidence) in enumerate(
            zip(self.prediction.tolist(), self.confidence[:, 0].tolist(), strict=True)
        ):
            prediction = f"{wrapped(names[predicted])} {confidence:.0%}"
            if labels is None:
                headers.append(f"predicted\n{prediction}")
            elif int(labels[i]) == predicted:
                headers.append(f"{prediction}\ncorrect")
            else:
                headers.append(f"{wrapped(names[int(labels[i])])},\npredicted\n{prediction}")
        return headers


def wrapped(name: str, width: int = 18) -> str:
    """A class name in lines of at most about `width` characters."""
    return "\n".join(textwrap.wrap(name, width, break_long_words=False)) or name


def single_line(header: str) -> str:
    """A header of `Selection.headers` as part of a sentence.

    >>> single_line("digital clock,\\npredicted\\nscale 56%")
    'digital clock, predicted scale 56%'
    """
    return " ".join(header.split())


def select(
    analysis: SingleImages, model: Model, images: Images, *, count: int, tests: int, target: str, seed: int
) -> Selection:
    """The images that `analysis` explains, and those that it is tested on, with their targets (TARGET_HELP).

    What the user chose comes first, else `count` drawn images, evenly over the classes; drawn ones follow until there
    are `tests`.
    Raises UserError for a target that does not exist, "true" without labels, "contrast" with one class, and logits
    that are not finite.
    """
    pictures = analysis.pictures(model)
    if pictures is not None:
        more = images.take(tests - len(pictures), seed) if tests > len(pictures) and len(images) else None
        dataset, examples = _joined(pictures, more), len(pictures)
    elif analysis.ids:
        first = analysis.positions(images)
        rest = [i for i in range(len(images)) if i not in set(first)]
        others = images.select(rest)
        drawn = stratified_sample(others.labels, len(rest), min(len(rest), max(0, tests - len(first))), seed)
        dataset = images.select([*first, *(rest[i] for i in drawn.tolist())])
        examples = len(first)
    else:
        dataset, examples = images.take(max(count, tests), seed), count
    return _predicted(model, dataset, images, target, examples)


def draw(model: Model, images: Images, count: int, target: str, seed: int) -> Selection:
    """`count` images, drawn evenly over the classes, with their targets; raises UserError as `select` does."""
    return _predicted(model, images.take(count, seed), images, target, count)


def _joined(pictures: Images, more: Images | None) -> Images:
    """Pictures and images of the data in one set, without what is not known of all: labels, masks and boxes."""
    if more is None:
        return pictures
    pixels = torch.cat([pictures.pixels(), more.pixels()])
    return Images.from_tensor(pixels, name=more.name, ids=[*pictures.ids, *map(str, more.ids)])


def _predicted(model: Model, dataset: Images, images: Images, target: str, examples: int) -> Selection:
    pixels = dataset.pixels(model.device)
    with torch.inference_mode():
        logits = torch.cat([model.logits(part) for part in pixels.split(model.batch())]).float()
    if not bool(torch.isfinite(logits).all()):
        raise UserError(f"{model.name} produces NaN or infinity for some of {images.name}")
    logits = logits.clone()
    best = logits.topk(min(2, logits.shape[1]), dim=1).indices
    prediction, runner_up = best[:, 0], best[:, -1]
    targets, description = _targets(model, dataset, target, prediction, runner_up)
    return Selection(
        dataset=dataset,
        pixels=pixels,
        prediction=prediction,
        runner_up=runner_up,
        confidence=logits.softmax(1).gather(1, best),
        targets=targets,
        description=description,
        examples=min(examples, len(dataset)),
        references=images.take(REFERENCES).pixels(model.device) if len(images) else pixels[:0],
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
