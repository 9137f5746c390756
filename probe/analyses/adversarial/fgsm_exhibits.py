"""Exhibits, numbers and captions of fgsm."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probe.data.images import Images
from probe.exhibits.exhibits import Array, Chart, ImageGrid, Line, facts_of
from probe.exhibits.result import Number, proportion
from probe.exhibits.wording import capitalised, counted, format_eps, sentences
from probe.methods.adversarial.gradient_attacks import FGSM
from probe.methods.adversarial.single_step import SingleStep
from probe.model.model import Model
from probe.statistics import wilson_interval


@dataclass(frozen=True)
class FgsmFindings:
    """Accuracy under one gradient step of each radius, and under noise of the same size.

    eps: (radii,), the first 0. target: name of the target class; empty for an untargeted attack. robust, noise_robust:
    (radii,) numbers of images that do not meet the criterion: without a target those classified correctly. n: images.
    correct: images classified correctly without an attack. confidence: mean confidence of the images that are
    adversarial at the largest eps, None where there are none. candidates: images classified correctly that do not
    meet the criterion without an attack; median_min_eps: over these, None where half of them are never adversarial.
    zero_gradient: images whose gradient is zero or NaN. available: images from which these were drawn because more
    would take more than a minute, None where the number was given or all were taken.
    """

    eps: Array
    target: str
    robust: Array
    noise_robust: Array
    n: int
    correct: int
    confidence: float | None
    candidates: int
    median_min_eps: float | None
    zero_gradient: int
    available: int | None = None

    @classmethod
    def of(
        cls, steps: SingleStep, eps: Array, target: str | None, available: int | None = None
    ) -> "FgsmFindings":
        adversarial = steps.adversarial[:, -1]
        min_eps = steps.min_eps[steps.correct & ~steps.adversarial[:, 0]]
        median = float(min_eps.kthvalue((len(min_eps) + 1) // 2).values) if len(min_eps) else np.inf
        return cls(
            eps=eps,
            target=target or "",
            robust=(~steps.adversarial).sum(0).numpy(),
            noise_robust=(~steps.noise_adversarial).sum(0).numpy(),
            n=len(steps),
            correct=int(steps.correct.sum()),
            confidence=float(steps.confidence[adversarial, -1].mean()) if adversarial.any() else None,
            candidates=len(min_eps),
            median_min_eps=median if np.isfinite(median) else None,
            zero_gradient=int(steps.zero_gradient.sum()),
            available=available,
        )

    @property
    def largest_eps(self) -> float:
        return float(self.eps[-1])

    @property
    def metric(self) -> str:
        """What the curves show."""
        return f"proportion not classified as {self.target}" if self.target else "accuracy"


def numbers(f: FgsmFindings) -> dict[str, Number]:
    """Accuracy with and without the attack, and the median minimal eps where there is one."""
    eps = format_eps(f.largest_eps)
    key = "not_target_attacked" if f.target else "accuracy_attacked"
    headline = {
        key: proportion(int(f.robust[-1]), f.n, label=f"{f.metric} at eps {eps}"),
        "accuracy_clean": proportion(f.correct, f.n, label="clean accuracy"),
    }
    if f.median_min_eps is not None:
        headline["median_min_eps"] = Number(
            value=f.median_min_eps, label="median minimal eps", n=f.candidates, format="{:.4f}"
        )
    return headline


def accuracy_caption(f: FgsmFindings) -> str:
    """What the step does to the accuracy, against noise."""
    before, after, noise = f.robust[0] / f.n, f.robust[-1] / f.n, f.noise_robust[-1] / f.n
    median = f.median_min_eps
    return sentences(
        f"{capitalised(f.metric)} {_trend(before, after)} at eps {format_eps(f.largest_eps)}"
        f" ({_grey_levels(f'{255 * f.largest_eps:.3g}')}); under random noise of the same size it is {noise:.1%}.",
        f.confidence is not None
        and f"The {'images classified as ' + f.target if f.target else 'misclassified images'} have a mean confidence"
        f" of {f.confidence:.0%}.",
        median is not None
        and f"Half of the correctly classified images are fooled at eps {median:.4f} ({_grey_levels(f'{255 * median:.1f}')})"
        " or less.",
        f.candidates > 0
        and median is None
        and "Fewer than half of the correctly classified images are fooled at any eps, so there is no median minimal eps.",
        f"Bands: 95% intervals, {counted(f.n)}"
        + (
            f" of {f.available:,}, as many as this network allows in a minute on two cores."
            if f.available
            else "."
        ),
    )


def _grey_levels(number: str) -> str:
    return f"{number} grey level{'' if number == '1' else 's'}"


def _trend(before: float, after: float) -> str:
    if before == after:
        return f"stays at {after:.1%}"
    return f"{'falls' if after < before else 'rises'} from {before:.1%} to {after:.1%}"


def accuracy_chart(f: FgsmFindings) -> Chart:
    """Accuracy against the radius of the step and of noise."""
    return Chart(
        title=f"{capitalised(f.metric)} against eps",
        caption=accuracy_caption(f),
        lines=[
            _line("one signed gradient step", f.eps, f.robust, f.n),
            _line("random signs of the same size", f.eps, f.noise_robust, f.n, dashed=True),
        ],
        x_label="eps: change of every pixel value, in [0, 1]",
        y_label=f.metric,
        y_range=(0, 1),
        facts=facts_of(f),
    )


def _line(name: str, eps: Array, counts: Array, n: int, *, dashed: bool = False) -> Line:
    low, high = np.array([wilson_interval(count, n) for count in counts.tolist()]).T
    return Line(name=name, x=eps, y=counts / n, low=low, high=high, dashed=dashed)


@dataclass(frozen=True)
class ExampleFindings:
    """The images shown: how many, how many of them are fooled at eps, and how much the change is enlarged."""

    shown: int
    fooled: int
    eps: float
    enlargement: float


def example_caption(f: ExampleFindings) -> str:
    """What the pictures show."""
    return sentences(
        f"{_fooled(f.fooled, f.shown)} at eps {format_eps(f.eps)}.",
        0 < f.fooled < f.shown and "Fooled images come first.",
        f"The change is magnified {f.enlargement:.3g} times, and grey means no change; below each image are its predicted class"
        " and confidence.",
    )


def _fooled(fooled: int, shown: int) -> str:
    if shown == 1:
        return f"The image shown is {'' if fooled else 'not '}fooled"
    if fooled == shown:
        return f"{'Both' if shown == 2 else f'All {shown}'} images shown are fooled"
    if fooled == 0:
        return f"None of the {shown} images shown is fooled"
    return f"{fooled} of the {shown} images shown {'is' if fooled == 1 else 'are'} fooled"


def example_grid(
    model: Model, images: Images, steps: SingleStep, attack: FGSM, count: int, target: int | None
) -> ImageGrid:
    """Image, change and attacked image of up to `count` images, fooled ones first."""
    adversarial = steps.adversarial[:, -1]
    rows = select_examples(
        steps.labels, steps.correct & adversarial, steps.correct & ~adversarial, count=count
    )
    pixels, labels = images.select(steps.ids[rows]).pixels(model.device), steps.labels[rows].to(model.device)
    attacked = attack(model, pixels, labels, targets=target).pixels
    findings = ExampleFindings(
        shown=len(rows),
        fooled=int((steps.correct & adversarial)[rows].sum()),
        eps=attack.eps,
        enlargement=0.5 / attack.eps,
    )
    tiles, captions = [], []
    for k, row in enumerate(rows.tolist()):
        before, after = (p[k].permute(1, 2, 0).cpu().numpy() for p in (pixels, attacked))
        change = np.clip(0.5 + findings.enlargement * (after - before), 0, 1)
        predicted = [
            f"{model.classes[int(steps.prediction[row, e])]} ({float(steps.confidence[row, e]):.1%})"
            for e in (0, -1)
        ]
        tiles += [before, change, after]
        captions += [predicted[0], f"enlarged {findings.enlargement:.3g} x", predicted[1]]
    columns = min(2, len(rows))
    return ImageGrid(
        title="Attacked images",
        caption=example_caption(findings),
        images=tiles,
        labels=captions,
        columns=3 * columns,
        column_headers=["image", "change, enlarged", "attacked"] * columns,
        facts=facts_of(findings),
    )


def select_examples(labels: Tensor, *preferred: Tensor, count: int) -> Tensor:
    """Up to `count` rows: those of the first mask, then of the second, ..., one of each class before two of any."""
    chosen: list[int] = []
    for mask in (*preferred, torch.ones_like(labels, dtype=torch.bool)):
        rows, turn = mask.nonzero()[:, 0], torch.zeros(int(mask.sum()), dtype=torch.long)
        for c in labels[rows].unique().tolist():
            same = labels[rows] == c
            turn[same] = torch.arange(int(same.sum()))
        chosen += [row for row in rows[turn.argsort(stable=True)].tolist() if row not in chosen]
        if len(chosen) >= count:
            break
    return torch.tensor(chosen[:count])


def zero_gradient_warning(f: FgsmFindings) -> list[str]:
    """A warning of images that the step does not change, if any."""
    if not f.zero_gradient:
        return []
    return [
        f"{f.zero_gradient:,} of {counted(f.n)} {'has' if f.zero_gradient == 1 else 'have'} a zero or NaN gradient, so the"
        " step does not change them: they are not fooled, but this is not robustness. `probe robustness` includes attacks"
        " that need no gradient."
    ]
