"""Captions of the robustness analysis on attacks, checks and files, each from the findings that it states."""

from dataclasses import dataclass

import numpy as np

from probe.exhibits.wording import counted, format_eps, listed, sentences

NO_CORRECT = "No image is classified correctly, so no attack can succeed."


def grey_levels(eps: float) -> str:
    """A radius as a number of grey levels.

    >>> grey_levels(8 / 255), grey_levels(0.01)
    ('8 grey levels', '2.55 grey levels')
    """
    levels = f"{255 * eps:.3g}"
    return f"{levels} grey level{'' if levels == '1' else 's'}"


@dataclass(frozen=True)
class AccuracyFindings:
    """Accuracies on `n` images: clean, and at the largest radius `eps`.

    attacked: by the title of the attack. own_eps: whether some attacks have another largest radius. robust: under the
    strongest attack on each image. nested: the attacks that are run at a radius only on the images that they fool at
    the next larger one. passes: forward passes of an image that were spent, on average. stages: the attacks on the
    survivors.
    """

    n: int
    eps: float
    clean: float
    attacked: dict[str, float]
    robust: float
    nested: tuple[str, ...]
    own_eps: bool = False
    passes: float = 0.0
    stages: tuple[str, ...] = ()


def accuracy_caption(f: AccuracyFindings) -> str:
    return sentences(
        f"The clean accuracy is {f.clean:.1%} ({counted(f.n)}).",
        f"At eps {format_eps(f.eps)}{', or at their own eps' if f.own_eps else ''}: "
        + ", ".join(f"{title} {accuracy:.1%}" for title, accuracy in f.attacked.items())
        + f"; at most {f.robust:.1%} under the strongest attack on each image"
        + (f", for which {f.passes:,.0f} forward passes per image were spent." if f.passes else "."),
        bool(f.stages) and f"Images that survive these attacks were attacked by {listed(f.stages)}.",
        bool(f.nested)
        and f"{listed(f.nested)}: smaller radii are tried only on the images that are fooled at the larger ones.",
        "Bands: 95% confidence intervals.",
    )


@dataclass(frozen=True)
class BudgetFindings:
    """A budget of `minutes` in forward passes, how many were `spent`, and the parts for which it did not suffice.

    images: how many were attacked. gradient_cost: of a forward and a backward pass together, in forward passes.
    """

    minutes: float
    passes: int
    spent: int
    images: int
    gradient_cost: int
    omitted: tuple[str, ...]


def budget_caption(f: BudgetFindings) -> str:
    return sentences(
        f"{counted(f.images)} were attacked with {f.spent:,} forward passes (a gradient counts as {f.gradient_cost});"
        f" {f.minutes:g} {'minute' if f.minutes == 1 else 'minutes'} on two cores are {f.passes:,} of this network.",
        bool(f.omitted) and f"Not measured because the budget does not suffice: {listed(f.omitted)}.",
    )


@dataclass(frozen=True)
class StrongestFindings:
    """The attack of the highest success rate at radius `eps`; None where no image is classified correctly.

    universal, one_pixel: whether a universal perturbation and the one-pixel attack were evaluated.
    """

    eps: float
    strongest: str | None
    success: float
    universal: bool
    one_pixel: bool = True


def strongest_caption(f: StrongestFindings) -> str:
    return sentences(
        f"At eps {format_eps(f.eps)} the strongest is {f.strongest}: it fools {f.success:.0%} of the correctly classified"
        " images."
        if f.strongest is not None
        else NO_CORRECT,
        "Queries: forward passes until the first success, median over the fooled images.",
        f.universal
        and "The universal perturbation is computed from every second image and evaluated on the others.",
        f.one_pixel and "The one-pixel attack may change a pixel to any colour.",
    )


@dataclass(frozen=True)
class ChecksFindings:
    """The names of the checks that failed, of `checks`, on `n` images. skipped: those that the budget did not allow."""

    failed: tuple[str, ...]
    checks: int
    n: int
    skipped: tuple[str, ...] = ()


def checks_caption(f: ChecksFindings) -> str:
    run = f.checks - len(f.skipped)
    return sentences(
        f"{len(f.failed)} of {run} checks fail{'s' if len(f.failed) == 1 else ''} on {counted(f.n)}"
        f" ({listed(f.failed)}): the accuracies under attack may be overestimated."
        if f.failed
        else f"None of {run} checks fails on {counted(f.n)}"
        + ("." if f.skipped else ": there is no sign of gradient masking."),
        bool(f.skipped)
        and f"The budget does not suffice for {listed(f.skipped)}: no conclusion can be drawn from this check.",
    )


@dataclass(frozen=True)
class QualityFindings:
    """Median ratio of the measured to the predicted rise of the loss at `length`, on `n` images.

    outside: proportion of images where the two differ by more than a factor of four there. fell: largest proportion
    whose loss falls. predicts: the verdict.
    """

    n: int
    length: float
    ratio: float
    outside: float
    fell: float
    predicts: bool


def quality_caption(f: QualityFindings) -> str:
    return sentences(
        f"A step of {f.length:.2g} ({grey_levels(f.length)}) along the gradient raises the loss by {f.ratio:.2f} times what"
        f" the gradient predicts (median of {counted(f.n)}); for {f.outside:.0%} the two differ by more than a factor of 4.",
        f.fell > 0 and f"Up to {f.fell:.0%} of the images have a lower loss after such a step.",
        not f.predicts
        and "The gradient does not describe the loss around these images: attacks that follow it fail.",
    )


@dataclass(frozen=True)
class MinimalFindings:
    """Median L2 norms of the smallest perturbation of `n` images by attack; infinite where most are never fooled."""

    n: int
    medians: dict[str, float]


def minimal_caption(f: MinimalFindings) -> str:
    if not f.medians:
        return NO_CORRECT
    known = [f"{title} {norm:.2f}" for title, norm in f.medians.items() if np.isfinite(norm)]
    unknown = [title for title, norm in f.medians.items() if not np.isfinite(norm)]
    return sentences(
        bool(known) and f"Median L2 norm that fools a correctly classified image: {listed(known)}.",
        bool(unknown)
        and f"{listed(unknown)} fool{'s' if len(unknown) == 1 else ''} fewer than half of these images.",
        f"{counted(f.n)}; Carlini-Wagner starts from the results of DeepFool.",
    )


@dataclass(frozen=True)
class ReencodingFindings:
    """What is left of an attack of radius `eps` that fools `fooled` images, as a proportion of these.

    png: after 8-bit PNG inside the eps ball. jpeg: after JPEG of quality 75. clean_jpeg: the accuracy without attack
    after JPEG of quality 75.
    """

    attack: str
    fooled: int
    eps: float
    png: float
    jpeg: float
    clean_jpeg: float


def reencoding_caption(f: ReencodingFindings) -> str:
    if not f.fooled:
        return f"{f.attack} fools no image at eps {format_eps(f.eps)}, so there is nothing to compress."
    return sentences(
        f"Of {counted(f.fooled)} fooled by {f.attack} at eps {format_eps(f.eps)} ({grey_levels(f.eps)}) {f.png:.0%}"
        f" {'is' if f.fooled == 1 else 'are'} still fooled as 8-bit PNG inside the eps ball and {f.jpeg:.0%} as JPEG of"
        " quality 75.",
        f"Without an attack the accuracy is {f.clean_jpeg:.1%} at quality 75.",
    )
