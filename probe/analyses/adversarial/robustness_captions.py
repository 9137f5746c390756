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

    attacked: by the title of the attack. own_eps: whether some attacks have another largest radius. robust: under the strongest attack on each image. nested: the attacks that
    are run at a radius only on the images that they fool at the next larger one.
    """

    n: int
    eps: float
    clean: float
    attacked: dict[str, float]
    robust: float
    nested: tuple[str, ...]
    own_eps: bool = False


def accuracy_caption(f: AccuracyFindings) -> str:
    return sentences(
        f"The clean accuracy is {f.clean:.1%} ({counted(f.n)}).",
        f"At eps {format_eps(f.eps)}{', or at their own eps' if f.own_eps else ''}: "
        + ", ".join(f"{title} {accuracy:.1%}" for title, accuracy in f.attacked.items())
        + f"; {f.robust:.1%} under the strongest attack on each image.",
        bool(f.nested)
        and f"{listed(f.nested)}: smaller radii are tried only on the images that are fooled at the larger ones.",
        "Bands: 95% confidence intervals.",
    )


@dataclass(frozen=True)
class StrongestFindings:
    """The attack of the highest success rate at radius `eps`; None where no image is classified correctly.

    universal: whether a universal perturbation was evaluated, which takes two images.
    """

    eps: float
    strongest: str | None
    success: float
    universal: bool


def strongest_caption(f: StrongestFindings) -> str:
    return sentences(
        f"At eps {format_eps(f.eps)} the strongest is {f.strongest}: it fools {f.success:.0%} of the correctly classified"
        " images."
        if f.strongest is not None
        else NO_CORRECT,
        "Queries: forward passes until the first success, median over the fooled images.",
        f.universal
        and "The universal perturbation is computed from every second image and evaluated on the others.",
        "The one-pixel attack may change a pixel to any colour.",
    )


@dataclass(frozen=True)
class ChecksFindings:
    """The names of the checks that failed, of `checks`, on `n` images."""

    failed: tuple[str, ...]
    checks: int
    n: int


def checks_caption(f: ChecksFindings) -> str:
    if not f.failed:
        return f"None of {f.checks} checks fails on {counted(f.n)}: there is no sign of gradient masking."
    return (
        f"{len(f.failed)} of {f.checks} checks fail{'s' if len(f.failed) == 1 else ''} on {counted(f.n)}"
        f" ({listed(f.failed)}): the accuracies under attack may be overestimated."
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
