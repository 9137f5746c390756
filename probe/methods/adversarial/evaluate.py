"""Did an attack succeed? The one place that says so, by asking the network again about what came back."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from time import perf_counter

import torch
from torch import Tensor

from probe.errors import UserError
from probe.methods.adversarial.criteria import Criterion, make_criterion, predict
from probe.methods.adversarial.gradient_attacks import AttackResult
from probe.methods.adversarial.norms import Norm, perturbation_norm, radii
from probe.model.model import Model

Attack = Callable[[Tensor, Tensor, Tensor | None, Tensor], "Tensor | AttackResult"]
"""attack(pixels, labels, targets, index) -> the images that it made, or what its search ended with."""


@dataclass(frozen=True)
class Evaluation:
    """What an attack made of every image; one row an image, on the CPU but for the pixels.

    right: answered rightly before (for a target: and not as the target). fooled: right before and fooled now.
    answer, chance: the class answered now and its probability; clean, clean_chance: before. linf, l2, l1: the size
    of the change. first: the step that fooled first, -1 where none did. queries: forward passes. pixels: (n, c, h, w).
    seconds: of the whole attack, shared out evenly. void: what came back was no image, lay outside the ball, or is
    answered with what is no number, so nothing is known of this image but that it was not fooled.
    """

    right: Tensor
    fooled: Tensor
    clean: Tensor
    clean_chance: Tensor
    answer: Tensor
    chance: Tensor
    linf: Tensor
    l2: Tensor
    l1: Tensor
    first: Tensor
    queries: Tensor
    seconds: Tensor
    void: Tensor
    pixels: Tensor

    def __len__(self) -> int:
        return len(self.right)

    @property
    def accuracy(self) -> float:
        """Share of all images that were answered rightly and still are."""
        return float((self.right & ~self.fooled).float().mean())

    @property
    def success(self) -> float:
        """Share of the images that were answered rightly and are fooled now; nan where none was right."""
        return float(self.fooled.sum()) / int(self.right.sum()) if self.right.any() else float("nan")


def evaluate(
    model: Model,
    pixels: Tensor,
    labels: Tensor,
    attack: Attack,
    *,
    targets: Tensor | int | None = None,
    index: Tensor | None = None,
    eps: float | Tensor | None = None,
    norm: Norm = "linf",
) -> Evaluation:
    """Let `attack` loose on the images that are answered rightly, and ask the network about what it returns.

    An image that was wrong as it stood is left alone and counts as no success. A change that is not finite, leaves
    [0, 1], or is larger than `eps`, a number or (n,), where one is given, is no success either: the image counts as
    it was. Raises UserError as `make_criterion` does, and for a network that answers the images themselves with no numbers.
    """
    aim = make_criterion(model, pixels, labels, targets)
    names = torch.arange(len(pixels)) if index is None else index
    before = predict(model, pixels)
    if not bool(torch.isfinite(before).all()):
        raise UserError(f"{model.name} answers some of the images with NaN or infinite numbers")
    clean_chance, clean = before.softmax(1).max(1)
    right = clean == aim.labels
    rows = right.nonzero()[:, 0]
    made, first = pixels.clone(), torch.full_like(clean, -1)
    queries, void, started = torch.zeros_like(clean), torch.zeros_like(right), perf_counter()
    if len(rows):
        wish = aim.take(rows)
        found = attack(pixels[rows], wish.labels, wish.targets, names[rows.cpu()])
        if isinstance(found, Tensor):
            found = AttackResult(found, torch.zeros_like(rows), torch.ones_like(rows))
        sound = in_ball(pixels[rows], found.pixels, eps[rows] if isinstance(eps, Tensor) else eps, norm)
        made[rows] = torch.where(sound.view(-1, 1, 1, 1), found.pixels, pixels[rows])
        first[rows], queries[rows], void[rows] = found.first, found.queries, ~sound
    seconds = perf_counter() - started
    logits = predict(model, made)
    chance, answer = logits.softmax(1).max(1)
    fooled = Criterion(aim.labels, aim.targets).reached(logits) & right
    change = made - pixels
    return Evaluation(
        right=right.cpu(),
        fooled=fooled.cpu(),
        clean=clean.cpu(),
        clean_chance=clean_chance.cpu(),
        answer=answer.cpu(),
        chance=chance.cpu(),
        linf=perturbation_norm(change, "linf").cpu(),
        l2=perturbation_norm(change, "l2").cpu(),
        l1=perturbation_norm(change, "l1").cpu(),
        first=torch.where(fooled, first, -1).cpu(),
        queries=queries.cpu(),
        seconds=torch.full((len(pixels),), seconds / len(pixels)),
        void=(void | ~torch.isfinite(logits).all(1)).cpu(),
        pixels=made,
    )


def in_ball(pixels: Tensor, moved: Tensor, eps: float | Tensor | None, norm: Norm = "linf") -> Tensor:
    """(n,) bool: whether `moved` are images in [0, 1], no further than `eps` from `pixels` but for rounding (1e-6)."""
    sound = ((moved >= 0) & (moved <= 1)).flatten(1).all(1)
    if eps is None:
        return sound
    limit = radii(eps, pixels).flatten()
    return sound & (perturbation_norm(moved - pixels, norm) <= limit * (1 + 1e-6) + 1e-6)


def invalid_warning(void: Tensor) -> list[str]:
    """The line that says of how many images (n,) an attack left nothing that can be judged, if of any."""
    if not (count := int(void.sum())):
        return []
    return [
        f"{count:,} of {len(void):,} images came back outside their ball or are answered with no numbers after the attack:"
        " they count as not fooled, but that is no robustness."
    ]


def joined(outcomes: list[Evaluation], *, pixels: bool = False) -> Evaluation:
    """The outcomes of several batches as one; without the pixels unless asked, so that memory stays small."""
    parts = {f.name: [getattr(o, f.name) for o in outcomes] for f in fields(Evaluation)}
    if not pixels:
        parts["pixels"] = [o.pixels[:0].cpu() for o in outcomes]
    return Evaluation(**{name: torch.cat(values) for name, values in parts.items()})
