"""Did an attack succeed? The one place that says so, by asking the network again about what came back."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from time import perf_counter

import torch
from torch import Tensor

from probe.methods.attacks import Found
from probe.methods.balls import size
from probe.methods.goals import Goal, answers, goal
from probe.subject.subject import Subject

Attack = Callable[[Tensor, Tensor, Tensor | None, Tensor], "Tensor | Found"]
"""attack(pixels, labels, targets, index) -> the images that it made, or what its search ended with."""


@dataclass(frozen=True)
class Outcome:
    """What an attack made of every image; one row an image, on the CPU but for the pixels.

    right: answered rightly before (for a target: and not as the target). fooled: right before and fooled now.
    answer, chance: the class answered now and its probability; clean, clean_chance: before. linf, l2, l1: the size
    of the change. first: the step that fooled first, -1 where none did. queries: forward passes. pixels: (n, c, h, w).
    seconds: of the whole attack, shared out evenly.
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


def judge(
    subject: Subject,
    pixels: Tensor,
    labels: Tensor,
    attack: Attack,
    *,
    targets: Tensor | int | None = None,
    index: Tensor | None = None,
) -> Outcome:
    """Let `attack` loose on the images that are answered rightly, and ask the network about what it returns.

    An image that was wrong as it stood is left alone and counts as no success. A change that is not finite, or
    leaves [0, 1], is no success either: the image counts as it was.
    """
    aim = goal(subject, pixels, labels, targets)
    names = torch.arange(len(pixels)) if index is None else index
    before = answers(subject, pixels).softmax(1)
    clean_chance, clean = before.max(1)
    right = clean == aim.labels
    rows = right.nonzero()[:, 0]
    made, first = pixels.clone(), torch.full_like(clean, -1)
    queries, started = torch.zeros_like(clean), perf_counter()
    if len(rows):
        wish = aim.take(rows)
        found = attack(pixels[rows], wish.labels, wish.targets, names[rows.cpu()])
        if isinstance(found, Tensor):
            found = Found(found, torch.zeros_like(rows), torch.ones_like(rows))
        sound = ((found.pixels >= 0) & (found.pixels <= 1)).flatten(1).all(1)
        made[rows] = torch.where(sound.view(-1, 1, 1, 1), found.pixels, pixels[rows])
        first[rows], queries[rows] = found.first, found.queries
    seconds = perf_counter() - started
    logits = answers(subject, made)
    chance, answer = logits.softmax(1).max(1)
    fooled = Goal(aim.labels, aim.targets).reached(logits) & right
    change = made - pixels
    return Outcome(
        right=right.cpu(),
        fooled=fooled.cpu(),
        clean=clean.cpu(),
        clean_chance=clean_chance.cpu(),
        answer=answer.cpu(),
        chance=chance.cpu(),
        linf=size(change, "linf").cpu(),
        l2=size(change, "l2").cpu(),
        l1=size(change, "l1").cpu(),
        first=torch.where(fooled, first, -1).cpu(),
        queries=queries.cpu(),
        seconds=torch.full((len(pixels),), seconds / len(pixels)),
        pixels=made,
    )


def joined(outcomes: list[Outcome], *, pixels: bool = False) -> Outcome:
    """The outcomes of several batches as one; without the pixels unless asked, so that memory stays small."""
    parts = {f.name: [getattr(o, f.name) for o in outcomes] for f in fields(Outcome)}
    if not pixels:
        parts["pixels"] = [o.pixels[:0].cpu() for o in outcomes]
    return Outcome(**{name: torch.cat(values) for name, values in parts.items()})
