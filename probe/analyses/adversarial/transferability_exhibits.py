"""Exhibits, numbers and captions of transferability."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe.exhibits.exhibits import Array, Matrix, Scale, Table
from probe.exhibits.result import Number, proportion
from probe.exhibits.wording import capitalised, counted, format_eps, listed, selected, sentences
from probe.methods.adversarial.attack import Attack, BoundedAttack
from probe.methods.adversarial.blackbox import Noise
from probe.methods.adversarial.norms import Norm
from probe.model.model import Model
from probe.registry import keys

_NORMS: dict[Norm, str] = {"linf": "eps", "l2": "an L2 radius of", "l1": "an L1 radius of"}


@dataclass(frozen=True)
class TransferFindings:
    """How often images that an attack computed on one of `models` fool each of them.

    title: of the attack. eps: its radius, None where it has none. baseline: whether it is noise, which depends on no
    model. rates: (models, models) proportions, a row for each model attacked. hits: successes on the other models,
    summed over all pairs. n: images.
    """

    title: str
    eps: float | None
    norm: Norm
    baseline: bool
    models: tuple[str, ...]
    rates: Array
    hits: int
    n: int

    @classmethod
    def of(
        cls, attack: Attack, title: str, models: Sequence[str], misclassified: Array
    ) -> "TransferFindings":
        """misclassified: (n, models, models) bool, of images that all models classify correctly."""
        eps, norm = (attack.eps, attack.norm) if isinstance(attack, BoundedAttack) else (None, "linf")
        others = ~np.eye(len(models), dtype=bool)
        return cls(
            title=title,
            eps=eps,
            norm=norm,
            baseline=isinstance(attack, Noise),
            models=tuple(models),
            rates=misclassified.mean(0),
            hits=int(misclassified[:, others].sum()),
            n=len(misclassified),
        )

    @property
    def pairs(self) -> int:
        """Pairs of two different models."""
        return len(self.models) * (len(self.models) - 1)

    @property
    def own_rate(self) -> float:
        """Proportion of images that fool the model attacked, mean over the models."""
        return float(np.diag(self.rates).mean())

    @property
    def transfer_rate(self) -> float:
        """Proportion of images that fool another model, mean over the pairs."""
        return self.hits / (self.pairs * self.n)

    @property
    def highest(self) -> tuple[str, str, float]:
        """The model attacked and the other model with the highest rate, and that rate."""
        others = np.where(np.eye(len(self.models), dtype=bool), -1, self.rates)
        row, column = np.unravel_index(int(others.argmax()), others.shape)
        return self.models[row], self.models[column], float(others[row, column])


def transfer_caption(f: TransferFindings) -> str:
    """What an attack on one model does to the others."""
    radius = f" at {_NORMS[f.norm]} {format_eps(f.eps)}" if f.eps is not None else ""
    if f.baseline:
        return sentences(
            f"Random noise{radius} fools the models in {f.rates.mean():.0%} of {counted(f.n)} on average.",
            "Only what an attack achieves beyond this is due to its direction.",
        )
    attacked, other, rate = f.highest
    return sentences(
        f"{f.title}{radius} fools the model that it attacks in {f.own_rate:.0%} of {counted(f.n)}"
        f" and {'the other model' if len(f.models) == 2 else 'the other models'} in {f.transfer_rate:.0%}.",
        f"The highest transfer rate is that of attacks on {attacked} to {other}, {rate:.0%}."
        if rate > 0
        else "",
    )


def transfer_matrix(f: TransferFindings) -> Matrix:
    """Success rates for every pair of models."""
    return Matrix(
        title=f"{f.title}: success rates between models",
        caption=transfer_caption(f),
        values=f.rates.astype(np.float32),
        row_labels=list(f.models),
        column_labels=list(f.models),
        row_title="attack computed on",
        column_title="evaluated on",
        format="{:.0%}",
        scale=Scale(low=0, high=1, kind="sequential", label="success rate"),
        facts={"own_rate": f.own_rate, "transfer_rate": f.transfer_rate, "mean_rate": float(f.rates.mean()), "n": f.n},
    )  # fmt: skip


def model_table(
    models: Sequence[Model], names: Sequence[str], correct: Array, available: int | None = None
) -> Table:
    """The models with their clean accuracy.

    correct: (n, models) bool. available: images from which these were drawn because more would take too long.
    """
    common = int(correct.all(1).sum())
    every = "both models" if len(models) == 2 else f"all {len(models)} models"
    return Table(
        title="Models",
        caption=f"{capitalised(selected(common, len(correct), 'image'))} {'is' if common == 1 else 'are'} classified"
        f" correctly by {every}: success is counted on {'it' if common == 1 else 'these'}."
        + (
            f" They are drawn from {available:,}, as many as a minute on two cores allows."
            if available
            else ""
        ),
        columns=["model", "architecture", "clean accuracy"],
        rows=[
            [name, model.card.architecture, float(accuracy)]
            for name, model, accuracy in zip(names, models, correct.mean(0), strict=True)
        ],
        formats={"clean accuracy": "{:.1%}"},
        facts={"correct_by_all": common, "images": len(correct), "available": available or len(correct)},
    )


def numbers(attacks: Sequence[Attack], findings: Sequence[TransferFindings]) -> dict[str, Number]:
    """The transfer rate of every attack but noise."""
    return {
        f"transfer_rate_{key}": proportion(
            f.hits / f.pairs, f.n, label=f"transfer rate of {f.title} to other models"
        )
        for key, f in zip(keys(attacks), findings, strict=True)
        if not f.baseline
    }


def resize_warning(models: Sequence[Model], names: Sequence[str]) -> list[str]:
    """A warning of models that take images of another size than the first, if any."""
    resized = [name for name, model in zip(names, models, strict=True) if model.shape != models[0].shape]
    if not resized:
        return []
    return [
        f"{listed(resized)} {'takes' if len(resized) == 1 else 'take'} images of another size than {names[0]}: attacked"
        " images are converted by the preprocessing of the model that they are evaluated on, which blurs them."
    ]
