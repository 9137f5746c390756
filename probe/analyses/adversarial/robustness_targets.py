"""Targeted attacks, and gradient ascent on the score of a class."""

import numpy as np
import torch

from probe.analyses.adversarial.robustness_data import LabelledImages
from probe.analyses.adversarial.robustness_image_captions import (
    AscentFindings,
    TargetFindings,
    ascent_caption,
    target_caption,
)
from probe.analyses.adversarial.robustness_plan import ASCENT, Spending
from probe.analyses.job import Arrays
from probe.exhibits.exhibits import Exhibit, ImageGrid, Matrix, Scale, facts_of
from probe.exhibits.wording import listed
from probe.methods.adversarial.budget import Budget
from probe.methods.adversarial.criteria import predict
from probe.methods.adversarial.norms import perturbation_norm
from probe.methods.adversarial.score_ascent import ascend_class_score
from probe.methods.adversarial.suite_searches import TargetedSuccess, targeted_steps
from probe.model.budget import GRADIENT_COST

_ASCENTS = 5
_CONFIDENCE = 0.95


def target_matrix(
    outcomes: list[TargetedSuccess], targets: list[int], classes: tuple[str, ...], budget: Budget
) -> list[Exhibit]:
    """Success rate of targeted attacks by true class and target class; empty where nothing was attempted."""
    values = np.full((len(targets), len(targets)), np.nan, dtype=np.float32)
    for column, outcome in enumerate(outcomes):
        for row, label in enumerate(targets):
            success = outcome.success[outcome.labels == label]
            if len(success):
                values[row, column] = success.mean()
    if not np.isfinite(values).any():
        return []
    attempts = sum(len(outcome.labels) for outcome in outcomes)
    names = [classes[c] for c in targets]
    by_target = np.array([c[np.isfinite(c)].mean() if np.isfinite(c).any() else np.nan for c in values.T])
    row, column = divmod(int(np.nanargmax(values)), len(targets))
    varied, hardest = bool(np.nanmin(values) < np.nanmax(values)), np.nanmin(by_target)
    unique = int((values == values[row, column]).sum()) == 1
    findings = TargetFindings(
        steps=targeted_steps(budget),
        eps=budget.eps[-1],
        attempts=attempts,
        proportion=sum(int(outcome.success.sum()) for outcome in outcomes) / attempts,
        easiest=(names[row], names[column], float(values[row, column])) if varied and unique else None,
        hardest=(
            listed([name for name, rate in zip(names, by_target, strict=True) if rate == hardest], 3),
            float(hardest),
        )
        if varied
        else None,
    )
    return [
        Matrix(
            title="Success rate of targeted attacks",
            caption=target_caption(findings),
            facts=facts_of(findings) | {"hardest": float(hardest)},
            values=values,
            row_labels=names,
            column_labels=names,
            row_title="true class",
            column_title="target class",
            format="{:.0%}",
            scale=Scale(low=0, high=1, kind="sequential", label="success rate"),
        )
    ]


def ascent_count(budget: Budget, spending: Spending, *, reserved: float) -> int:
    """Of how many classes the score is raised; 0 where the budget allows none. reserved: for what is measured meanwhile."""
    cost = 2 * (_ascent_steps(budget) + 1) * GRADIENT_COST
    count = min(_ASCENTS, int(spending.allowance(ASCENT, reserved=reserved) / cost))
    if not count:
        spending.omitted.append(ASCENT)
    return count


def ascend(data: LabelledImages, first: int, targets: list[int], budget: Budget) -> Arrays:
    """Gradient ascent on the scores of classes, from the image `first` and from noise: (2, ...) starts, and (2, classes,
    ...) results.

    Szegedy et al. 2014.
    """
    model, steps = data.model, _ascent_steps(budget)
    classes = torch.tensor(targets, device=model.device)
    image, _, _ = data.select(torch.tensor([first]))
    noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(budget.seed)).to(image)
    starts = torch.cat([start.expand(len(classes), -1, -1, -1) for start in (image, noise)])
    ascent = ascend_class_score(model, starts, classes.repeat(2), steps=steps, confidence=_CONFIDENCE)
    tensors = {
        "starts": torch.cat([image, noise]),
        "pixels": ascent.pixels.view(2, len(classes), *image.shape[1:]),
        "norms": perturbation_norm(ascent.pixels - starts, "l2").view(2, -1),
        "confidences": ascent.probability[-1].view(2, -1),
        "prediction": predict(model, image).argmax(1),
    }
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}


def _ascent_steps(budget: Budget) -> int:
    return 5 * budget.pgd.steps


def ascent_grid(arrays: Arrays, names: list[str], classes: tuple[str, ...]) -> ImageGrid:
    """What `ascend` returns for the classes called `names`."""
    norms, confidences = arrays["norms"], arrays["confidences"]
    prediction = classes[int(arrays["prediction"][0])]
    images, labels = [], []
    for row, name in enumerate((prediction, "noise")):
        images += [pixels.transpose(1, 2, 0) for pixels in (arrays["starts"][row], *arrays["pixels"][row])]
        labels += [name] + [
            f"{target} ({confidence:.0%}), L2 {norm:.1f}"
            for target, confidence, norm in zip(names, confidences[row], norms[row], strict=True)
        ]
    findings = AscentFindings(
        start=prediction,
        reached=int((confidences >= _CONFIDENCE).sum()),
        n=confidences.size,
        confidence=_CONFIDENCE,
        from_image=float(np.median(norms[0])),
        from_noise=float(np.median(norms[1])),
    )
    return ImageGrid(
        title="Gradient ascent on class scores",
        caption=ascent_caption(findings),
        facts=facts_of(findings),
        images=images,
        labels=labels,
        columns=1 + len(names),
        column_headers=["start", *names],
        row_headers=["image", "noise"],
    )
