"""Which images are explained, and what about each of them is asked?"""

from dataclasses import dataclass

import torch
from torch import Tensor

from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Array
from probe.model.model import Model
from probe.model.targets import Targets, contrast, describe, parse_target, units

HELP = (
    "what is explained: predicted, true, contrast (the answer minus the runner-up), a class by name or number, "
    "or a channel or unit as in features.7:12 or features.7:12:3,4"
)


@dataclass(frozen=True)
class Selection:
    """Images with what the model answers to them. answer, second: (n,) first and second class, chance: of both.

    targets: what is asked of each image; what: the same in words.
    """

    images: Images
    pixels: Tensor
    answer: Tensor
    second: Tensor
    chance: Tensor
    targets: Targets
    what: str

    def __len__(self) -> int:
        return len(self.pixels)

    def first(self, count: int) -> "Selection":
        """The first `count` of them."""
        few = torch.arange(min(count, len(self)), device=self.pixels.device)
        picked = (self.pixels[few], self.answer[few], self.second[few], self.chance[few], self.targets[few])
        return Selection(self.images.select(few.tolist()), *picked, self.what)

    @property
    def faces(self) -> list[Array]:
        """The images as (h, w, 1 or 3) arrays."""
        return [one.permute(1, 2, 0).cpu().numpy() for one in self.pixels]

    def heads(self, model: Model) -> list[str]:
        """What each image is and is taken for, in one short line each."""
        names = model.classes
        labels = self.images.labels
        lines = []
        for i, (answer, chance) in enumerate(
            zip(self.answer.tolist(), self.chance[:, 0].tolist(), strict=True)
        ):
            said = f"{names[answer]} {chance:.0%}"
            if labels is None:
                lines.append(f"said {said}")
            elif int(labels[i]) == answer:
                lines.append(f"{said}, right")
            else:
                lines.append(f"{names[int(labels[i])]}, said {said}")
        return lines


def select(model: Model, images: Images, count: int, target: str, seed: int) -> Selection:
    """Take `count` images, as even over the classes as can be, and read what `target` asks of them (HELP).

    Raises UserError for a target that does not exist, "true" without labels, "contrast" with one class, and an
    answer that is not finite.
    """
    chosen = images.take(count, seed)
    pixels = chosen.pixels(model.device)
    with torch.inference_mode():
        logits = torch.cat([model.logits(part) for part in pixels.split(model.batch())]).float()
    if not bool(torch.isfinite(logits).all()):
        raise UserError(
            f"{model.name} answers some of {images.name} with NaN or infinity: nothing can be explained"
        )
    logits = logits.clone()
    best = logits.topk(min(2, logits.shape[1]), dim=1).indices
    answer, second = best[:, 0], best[:, -1]
    targets, what = _targets(model, chosen, target, answer, second)
    return Selection(chosen, pixels, answer, second, logits.softmax(1).gather(1, best), targets, what)


def _targets(
    model: Model, images: Images, target: str, answer: Tensor, second: Tensor
) -> tuple[Targets, str]:
    if target == "predicted":
        return answer, "the score of the predicted class"
    if target == "true":
        if images.labels is None:
            raise UserError(
                f"target=true needs the true classes, but {images.name} has no labels: ask for predicted"
            )
        return images.labels.to(answer.device), "the score of the true class"
    if target == "contrast":
        if len(model.classes) < 2:
            raise UserError(f"{model.name} has one class, so there is no runner-up: ask for predicted")
        weights = contrast(answer, second, len(model.classes)).to(answer.device)
        return weights, "the score of the predicted class minus that of the runner-up"
    found = parse_target(model, target)
    if isinstance(found, int):
        return torch.full_like(answer, found), describe(model, found)
    return units(found, len(answer)), describe(model, found)
