"""What an attack is: a frozen class with its parameters, callable on a model and a batch of images."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from probe.errors import UserError
from probe.methods.adversarial.criteria import Criterion, make_criterion
from probe.methods.adversarial.norms import Norm, in_ball, validate_radius
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.model.model import Model
from probe.model.state import preserved_once
from probe.params import Fraction
from probe.registry import Declared

COMPACT = (
    4  # steps after which successful images leave the batch: the only time the host waits for the device
)


@dataclass(frozen=True)
class AttackResult:
    """What an attack returns, one row an image.

    pixels: (n, c, h, w) in [0, 1]. success_step: (n,) the step whose result met the criterion first, -1 where none did;
    0 for attacks of one step, which do not look at the predictions for it. queries: (n,) forward passes.
    Whether an image is misclassified in the end is for `evaluate` to decide.
    """

    pixels: Tensor
    success_step: Tensor
    queries: Tensor

    @classmethod
    def single_step(cls, pixels: Tensor) -> Self:
        """The result of an attack that does not look at the predictions for it."""
        zeros = torch.zeros(len(pixels), dtype=torch.long, device=pixels.device)
        return cls(pixels, zeros, zeros + 1)


class Attack(Declared):
    """A way to change images so that a model misclassifies them; its fields are its parameters.

    A subclass sets `name`, `title` and `source` and implements `perturb`; `ATTACKS` finds it in any file of this folder.
    """

    has_targets: ClassVar[bool] = True
    """Whether it can be targeted."""

    def __call__(
        self,
        model: Model,
        pixels: Tensor,
        labels: Tensor,
        *,
        targets: Tensor | int | None = None,
        seed: int = 0,
        ids: Tensor | None = None,
    ) -> AttackResult:
        """Attack a batch of images.

        pixels: (n, c, h, w) in [0, 1]. labels: (n,) true classes. targets: (n,) or one target class, for a targeted attack.
        ids: (n,) whole numbers that identify the images (default 0, 1, ...). The random numbers of an image come from
        `seed` and its id, so that its result is the same in any batch.
        Afterwards the buffers of a network that ignores `eval()` are as before.
        Raises UserError as `make_criterion` does, and for targets of an attack that is never targeted.
        """
        with preserved_once(model.network):
            criterion = self.criterion(model, pixels, labels, targets)
            return self.perturb(model, pixels, criterion, PerImageRng(seed, ids, like=pixels))

    @abstractmethod
    def perturb(self, model: Model, pixels: Tensor, criterion: Criterion, rng: PerImageRng) -> AttackResult:
        """Perturb the images (n, c, h, w), which are validated, to meet the criterion; no row may depend on another."""

    def criterion(
        self, model: Model, pixels: Tensor, labels: Tensor, targets: Tensor | int | None = None
    ) -> Criterion:
        """The validated criterion of a call; UserError as `__call__` raises it."""
        if targets is not None and not self.has_targets:
            raise UserError(f"{self.name} cannot be targeted")
        return make_criterion(model, pixels, labels, targets)

    def in_bounds(self, pixels: Tensor, perturbed: Tensor) -> Tensor:
        """(n,) bool: whether `perturbed` are images that this attack may make of `pixels`; NaN is none."""
        return in_ball(pixels, perturbed, None)

    def written(self) -> list[str]:
        """Every parameter that was given: what is not may be filled in by `with_defaults`."""
        return [name for name in type(self).model_fields if name in self.model_fields_set]

    def with_defaults(self, **parameters: Any) -> Self:
        """The same attack with those of `parameters` that it has and that were not given."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        more = {name: value for name, value in parameters.items() if name in type(self).model_fields}
        return type(self)(**more | given)


class BoundedAttack(Attack):
    """An attack whose result lies within a radius of the image."""

    eps: Fraction = Field(
        8 / 255,
        description="radius in [0, 1]: largest change of a pixel (l2, l1: norm of the change, any size)",
    )
    norm: Norm = Field("linf", description="norm of the radius")

    searches_ball: ClassVar[bool] = False
    """Whether it searches the whole ball, so that an image it does not fool need not be tried at smaller radii."""

    @model_validator(mode="after")
    def _validate_radius(self) -> Self:
        validate_radius(self.eps, self.norm)
        return self

    def in_bounds(self, pixels: Tensor, perturbed: Tensor) -> Tensor:
        return in_ball(pixels, perturbed, self.eps, self.norm)
