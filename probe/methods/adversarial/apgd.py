"""APGD, and its targeted version on the difference of logits ratio."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from probe.errors import UserError
from probe.methods.adversarial.attack import COMPACT, AttackResult, BoundedAttack
from probe.methods.adversarial.criteria import Criterion, input_gradient, predict
from probe.methods.adversarial.norms import project_to_ball, radii
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.model.model import Model

LogitLoss = Callable[[Tensor], Tensor]
"""loss(logits (n, classes)) -> (n,), to be maximised."""

PAPER = "Croce and Hein 2020, arXiv 2003.01690"
FEWEST_CLASSES = 4
"""Of the targeted DLR loss, whose scale takes the third and fourth largest logit."""


def dlr_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Difference of logits ratio: -(z_y - max z_other) / (z_(1) - z_(3)), (n,). Needs three classes.

    Invariant to shifts and scales of the logits, so that a large temperature does not hide its gradient.
    Croce and Hein 2020, equation 6.
    """
    ordered = logits.sort(dim=1, descending=True).values
    own = logits.gather(1, labels[:, None])[:, 0]
    other = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    return -(own - other) / (ordered[:, 0] - ordered[:, 2] + 1e-12)


def targeted_dlr_loss(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """-(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2), (n,). Needs four classes. Croce and Hein 2020, equation 7."""
    ordered = logits.sort(dim=1, descending=True).values
    own, target = (logits.gather(1, c[:, None])[:, 0] for c in (labels, targets))
    return -(own - target) / (ordered[:, 0] - (ordered[:, 2] + ordered[:, 3]) / 2 + 1e-12)


Rho = Annotated[
    float,
    Field(gt=0, lt=1, description="fraction of the steps that must raise the loss, or the step is halved"),
]


class LinfAttack(BoundedAttack):
    """An attack that searches the whole Linf ball for any class but the label."""

    has_targets = False
    searches_ball = True

    norm: Literal["linf"] = Field("linf", description="norm of the radius")


class APGD(LinfAttack):
    """PGD with momentum that halves its step and returns to the best point wherever the loss stops increasing.

    Croce and Hein 2020, algorithm 1.
    """

    name = "apgd"
    title = "APGD"
    source = PAPER

    steps: int = Field(100, ge=4, le=10_000, description="number of gradient steps")
    loss: Literal["cross-entropy", "dlr"] = Field(
        "cross-entropy", description="loss to maximise; dlr needs 3 classes"
    )
    restarts: int = Field(
        1, ge=1, le=100, description="number of runs, each on the images that the earlier runs did not fool"
    )
    rho: Rho = 0.75

    def perturb(self, model: Model, pixels: Tensor, criterion: Criterion, rng: PerImageRng) -> AttackResult:
        if self.loss == "dlr" and len(model.classes) < 3:
            raise UserError(f"the DLR loss needs 3 classes, {model.name} has {len(model.classes)}")
        result = nothing_fooled(pixels)
        for _ in range(self.restarts):
            rows = (result.success_step < 0).nonzero()[:, 0]
            if len(rows):
                self._run(model, _begin(pixels, criterion, rows, rng, self.eps), result)
        return result

    def _loss(self, logits: Tensor, criterion: Criterion) -> Tensor:
        if self.loss == "dlr":
            return dlr_loss(logits, criterion.labels)
        return F.cross_entropy(logits, criterion.labels, reduction="none")

    def _run(self, model: Model, state: "_State", result: AttackResult) -> None:
        maximise(model, state, result, self._loss, eps=self.eps, steps=self.steps, rho=self.rho)


class TargetedAPGD(LinfAttack):
    """APGD on the targeted DLR loss, towards each of the classes with the largest logits in turn.

    Croce and Hein 2020, section 4 and equation 7.
    """

    name = "apgd-t"
    title = "APGD-T"
    source = PAPER

    steps: int = Field(100, ge=4, le=10_000, description="number of gradient steps towards each class")
    classes: int = Field(
        9, ge=1, le=1000, description="number of target classes to try, those with the largest logits"
    )
    rho: Rho = 0.75

    def perturb(self, model: Model, pixels: Tensor, criterion: Criterion, rng: PerImageRng) -> AttackResult:
        _require_classes(model)
        result = nothing_fooled(pixels)
        for targets in likely_targets(model, pixels, criterion, self.classes):
            rows = (result.success_step < 0).nonzero()[:, 0]
            if not len(rows):
                break
            state = _begin(pixels, criterion, rows, rng, self.eps, targets)
            maximise(model, state, result, _targeted_loss, eps=self.eps, steps=self.steps, rho=self.rho)
        return result


def _targeted_loss(logits: Tensor, criterion: Criterion) -> Tensor:
    assert criterion.targets is not None
    return targeted_dlr_loss(logits, criterion.labels, criterion.targets)


def _require_classes(model: Model) -> None:
    if len(model.classes) < FEWEST_CLASSES:
        raise UserError(
            f"the targeted DLR loss needs {FEWEST_CLASSES} classes, {model.name} has {len(model.classes)}"
        )


def likely_targets(model: Model, pixels: Tensor, criterion: Criterion, count: int) -> list[Tensor]:
    """The target classes to try in turn, `count` at most: (n,) for each rank among the logits without the label's."""
    logits = predict(model, pixels).scatter(1, criterion.labels[:, None], -torch.inf)
    order = logits.argsort(dim=1, descending=True)
    return list(order[:, : min(count, logits.shape[1] - 1)].T)


def nothing_fooled(pixels: Tensor) -> AttackResult:
    """The result before the first query: the images themselves, none of which is fooled."""
    success_step = torch.full((len(pixels),), -1, dtype=torch.long, device=pixels.device)
    return AttackResult(pixels.clone(), success_step, torch.zeros_like(success_step))


@dataclass
class _State:
    """One row for each image of a run of APGD. rows: positions in the batch. step: length of the next step.

    x, previous: this iterate and the one before. best: where the loss was largest; best_gradient, best_loss: there.
    rises: steps since the last checkpoint that raised the loss. checked_loss, halved: as of that checkpoint.
    """

    rows: Tensor
    pixels: Tensor
    labels: Tensor
    targets: Tensor | None
    x: Tensor
    previous: Tensor
    step: Tensor
    gradient: Tensor
    loss: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    rises: Tensor
    checked_loss: Tensor
    halved: Tensor

    @property
    def criterion(self) -> Criterion:
        return Criterion(self.labels, self.targets)

    def take(self, rows: Tensor) -> "_State":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: v[rows] for name, v in values.items() if v is not None})


def _begin(
    pixels: Tensor,
    criterion: Criterion,
    rows: Tensor,
    rng: PerImageRng,
    eps: float,
    targets: Tensor | None = None,
) -> _State:
    """A random start on the surface of the ball for the images `rows` of a batch."""
    base = pixels[rows]
    noise = 2 * rng.uniform(rows, base[0].numel()).to(base.dtype).view_as(base) - 1
    x = (base + eps * noise / radii(noise.flatten(1).abs().amax(1), noise)).clamp(0, 1)
    zeros = base.new_zeros(len(rows))
    return _State(
        rows, base, criterion.labels[rows], None if targets is None else targets[rows], x, x, zeros + 2 * eps,
        torch.zeros_like(x), zeros, x, torch.zeros_like(x), zeros - torch.inf, zeros, zeros - torch.inf, zeros + 1,
    )  # fmt: skip


def maximise(
    model: Model,
    state: _State,
    result: AttackResult,
    loss: Callable[[Tensor, Criterion], Tensor],
    *,
    eps: float,
    steps: int,
    rho: float,
) -> None:
    """One run of APGD, written into `result`; an image leaves at its first success."""
    period, shortest, shorter = (
        max(int(0.22 * steps), 1),
        max(int(0.06 * steps), 1),
        max(int(0.03 * steps), 1),
    )
    since = 0
    for k in range(steps + 1):
        criterion = state.criterion
        gradient, logits = input_gradient(model, state.x, lambda z, criterion=criterion: loss(z, criterion))
        values = loss(logits, criterion)
        # Any misclassification ends the search, the target's or another.
        success = Criterion(state.labels).is_adversarial(logits)
        result.queries[state.rows] += 1
        result.success_step[state.rows[success]] = k
        result.pixels[state.rows[success]] = state.x[success]
        state.rises = state.rises + (values > state.loss) * (k > 0)
        state.gradient, state.loss = gradient.nan_to_num(), values
        _remember_best(state)
        if k == steps:
            return
        if k == 0:
            state.checked_loss = state.best_loss
        if since == period:
            _halve_where_stuck(state, rho * period)
            period, since = max(period - shorter, shortest), 0
        if k % COMPACT == COMPACT - 1:
            active = (result.success_step[state.rows] < 0).nonzero()[:, 0]
            if not len(active):
                return
            if len(active) < len(state.rows):
                state = state.take(active)
        _step(state, eps, momentum=0.75 if k else 1.0)
        since += 1


def _remember_best(state: _State) -> None:
    better = state.loss > state.best_loss
    wide = better[:, None, None, None]
    state.best = torch.where(wide, state.x, state.best)
    state.best_gradient = torch.where(wide, state.gradient, state.best_gradient)
    state.best_loss = torch.where(better, state.loss, state.best_loss)


def _halve_where_stuck(state: _State, enough: float) -> None:
    """At a checkpoint: too few steps raised the loss, or neither the step nor the best loss changed since the last one."""
    stuck = (state.rises <= enough) | ((state.halved == 0) & (state.checked_loss >= state.best_loss))
    state.halved, state.checked_loss = stuck.to(state.step.dtype), state.best_loss
    state.rises = torch.zeros_like(state.rises)
    state.step = torch.where(stuck, state.step / 2, state.step)
    wide = stuck[:, None, None, None]
    state.x = torch.where(wide, state.best, state.x)
    state.gradient = torch.where(wide, state.best_gradient, state.gradient)


def _step(state: _State, eps: float, momentum: float) -> None:
    ahead = state.x + radii(state.step, state.x) * state.gradient.sign()
    ahead = project_to_ball(state.pixels, ahead, eps, "linf")
    mixed = state.x + momentum * (ahead - state.x) + (1 - momentum) * (state.x - state.previous)
    state.previous, state.x = state.x, project_to_ball(state.pixels, mixed, eps, "linf")
