"""Does what fools one network fool the others?"""

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from probe.analyses.adversarial.masking_report import masking_warnings
from probe.analyses.adversarial.warnings import UNLABELLED, invalid_warning
from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Matrix, Scale, Table
from probe.exhibits.result import Number, Result
from probe.exhibits.wording import format_eps
from probe.methods.adversarial.blackbox import Noise
from probe.methods.adversarial.criteria import labels_or_predictions, predict
from probe.methods.adversarial.gradient_attacks import FGSM, PGD
from probe.methods.adversarial.masking import SAMPLE, quick_checks
from probe.methods.adversarial.norms import in_ball
from probe.model.model import Model
from probe.params import Fraction
from probe.statistics import wilson_interval

ATTACKS = ("noise", "FGSM", "PGD")


def attacked(
    source: Model,
    pixels: Tensor,
    labels: Tensor,
    index: Tensor,
    attack: str,
    *,
    eps: float,
    steps: int,
    seed: int,
) -> Tensor:
    """The images (n, c, h, w) after an attack that sees `source` alone and uses up its whole radius.

    PGD goes on after its first success here: an image that has just crossed the boundary of one network hardly
    fools another. Noise sees nobody.
    """
    if attack == "noise":
        return Noise(eps=eps)(source, pixels, labels, seed=seed, ids=index).pixels
    if attack == "FGSM":
        return FGSM(eps=eps)(source, pixels, labels).pixels
    return PGD(eps=eps, steps=steps, early_stop=False)(source, pixels, labels, seed=seed, ids=index).pixels


class Transferability(Analysis):
    """Does what fools one network fool the others?"""

    name = "transferability"
    title = "Transferability of attacks"
    source = "Szegedy et al. 2014, arXiv 1312.6199; Liu et al. 2017, arXiv 1611.02770"
    needs_labels = False
    needs_compare_to = 1

    eps: Fraction = Field(8 / 255, gt=0, le=1, description="largest change of a pixel, of [0, 1]")
    steps: int = Field(20, ge=1, le=1000, description="gradient steps of PGD")
    at_most: int = Field(256, ge=2, le=100_000, description="images to attack; drawn evenly over the classes")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        seed = job.seed()
        models = [model, *job.compare_to]
        names = _names(models)
        images = images.take(self.at_most, seed=seed)
        sets = [images if s is model else _seen_by(s, images) for s in models]
        if images.labels is None:
            labels = labels_or_predictions(model, images)
            sets = [
                _relabelled(s, labels, model.classes, victim) for s, victim in zip(sets, models, strict=True)
            ]
        truths = [s.labels for s in sets if s.labels is not None]
        size = min(s.batch(gradient=True) for s in models)
        few = torch.arange(min(SAMPLE, len(images)))
        doubted = [
            f"{name}: {line}"
            for name, s, seen, truth in zip(names, models, sets, truths, strict=True)
            for line in masking_warnings(quick_checks(s, seen.select(few).pixels(s.device), truth[few]))
        ]

        def compute(rows: Tensor, _: torch.Generator) -> dict[str, np.ndarray]:
            """right: (n, victims). wrong: (n, attacks, sources, victims). void: (n,) made outside the ball, or no image."""
            batch = [s.select(rows).pixels(v.device) for s, v in zip(sets, models, strict=True)]
            truth = [t[rows].to(v.device) for t, v in zip(truths, models, strict=True)]
            right = torch.stack(
                [(predict(v, x).argmax(1) == y).cpu() for v, x, y in zip(models, batch, truth, strict=True)],
                1,
            )
            wrong = torch.zeros(len(rows), len(ATTACKS), len(models), len(models), dtype=torch.bool)
            void = torch.zeros(len(rows), dtype=torch.bool)
            for a, attack in enumerate(ATTACKS):
                for i, source in enumerate(models):
                    made = attacked(
                        source, batch[i], truth[i], rows, attack, eps=self.eps, steps=self.steps, seed=seed
                    )
                    sound = in_ball(batch[i], made, self.eps)
                    made, void = torch.where(sound[:, None, None, None], made, batch[i]), void | ~sound.cpu()
                    for j, victim in enumerate(models):
                        shown = made if i == j else _shown_to(victim, made)
                        wrong[:, a, i, j] = (predict(victim, shown).argmax(1) != truth[j]).cpu()
            return {"right": right.numpy(), "wrong": wrong.numpy(), "void": void.numpy()}

        parts = job.chunks("attacks", torch.arange(len(images)).split(size), compute)
        right, wrong, void = (np.concatenate([p[k] for p in parts]) for k in ("right", "wrong", "void"))
        doubted += invalid_warning(torch.from_numpy(void))
        # Only images that all networks answer rightly: success must not be counted where there was none to win.
        common = right.all(1)
        if not common.any():
            raise UserError(
                f"{', '.join(names)} answer no image of {images.name} rightly together: nothing can transfer"
            )
        return self._result(models, names, right, wrong[common], images, doubted)

    def _result(
        self, models: list[Model], names: list[str], right: np.ndarray, wrong: np.ndarray, images: Images,
        doubted: list[str],
    ) -> Result:  # fmt: skip
        shares, n = wrong.mean(0), len(wrong)
        away = ~np.eye(len(names), dtype=bool)
        numbers, exhibits = {}, []
        for a, attack in enumerate(ATTACKS):
            mean = float(shares[a][away].mean())
            hits = int(wrong[:, a][:, away].sum())
            low, high = wilson_interval(hits / away.sum(), n)
            if attack != "noise":
                numbers[f"{attack}: fooled by another's attack"] = Number(
                    value=mean, low=low, high=high, n=n, format="{:.1%}"
                )
            i, j = np.unravel_index(int(np.where(away, shares[a], -1).argmax()), away.shape)
            own = float(np.diag(shares[a]).mean())
            exhibits.append(
                Matrix(
                    title=f"{attack}: who fools whom" if attack != "noise" else "Noise of the same size",
                    caption=(
                        f"At eps {format_eps(self.eps)} {attack} fools the network that it was made for in {own:.0%} of {n} images and the others in "
                        f"{mean:.0%}; most often what was made for {names[i]} fools {names[j]} ({shares[a, i, j]:.0%})."
                        if attack != "noise"
                        else f"Random signs at eps {format_eps(self.eps)} fool {shares[a].mean():.0%} on average: what an attack does beyond that it owes "
                        "to the gradient."
                    ),
                    values=shares[a].astype(np.float32),
                    row_labels=names,
                    column_labels=names,
                    row_title="made for",
                    column_title="shown to",
                    format="{:.0%}",
                    scale=Scale(low=0, high=1, kind="sequential", label="fooled"),
                )
            )
        clean = right.mean(0)
        exhibits.append(
            Table(
                title="The networks",
                caption=f"{n} of {len(right)} images are answered rightly by all {len(names)} networks; the figures above are of those.",
                columns=["network", "architecture", "clean accuracy"],
                rows=[
                    [name, s.card.architecture, float(c)]
                    for name, s, c in zip(names, models, clean, strict=True)
                ],
                formats={"clean accuracy": "{:.1%}"},
            )
        )
        order = [ATTACKS.index("PGD"), ATTACKS.index("FGSM"), ATTACKS.index("noise"), len(ATTACKS)]
        warnings = [UNLABELLED] if images.labels is None else []
        resized = [name for name, s in zip(names, models, strict=True) if s.shape != models[0].shape]
        if resized:
            warnings.append(
                f"{', '.join(resized)} see images of another size: attacked images were brought there by the victim's own rule, which blurs them."
            )
        return Result(exhibits=[exhibits[k] for k in order], numbers=numbers, warnings=[*warnings, *doubted])


def _names(models: list[Model]) -> list[str]:
    """Their names; numbered where two are called alike."""
    names = [s.name for s in models]
    return [f"{name} ({k + 1})" if names.count(name) > 1 else name for k, name in enumerate(names)]


def _seen_by(victim: Model, images: Images) -> Images:
    """The images as another network sees them; a UserError where it does not know their classes."""
    seen = images.preprocessed(victim.shape, victim.card.input.preprocess).matched(victim.classes)
    if images.labels is not None and seen.labels is None:
        raise UserError(
            f"{victim.name} does not know the classes of {images.name}: what fools it cannot be counted"
        )
    return seen


def _relabelled(images: Images, labels: Tensor, classes: tuple[str, ...], victim: Model) -> Images:
    named = Images.from_tensor(images.pixels(), labels, classes=classes, name=images.name).matched(
        victim.classes
    )
    if named.labels is None:
        raise UserError(f"{victim.name} does not know the classes that the first network answers")
    return named


def _shown_to(victim: Model, pixels: Tensor) -> Tensor:
    """Attacked images at the size and in the channels of another network."""
    if tuple(pixels.shape[1:]) == victim.shape:
        return pixels.to(victim.device)
    return (
        Images.from_tensor(pixels)
        .preprocessed(victim.shape, victim.card.input.preprocess)
        .pixels(victim.device)
    )
