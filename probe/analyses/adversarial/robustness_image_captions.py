"""Captions of the robustness analysis on single images, classes and targets, each from the findings that it states."""

from dataclasses import dataclass

import numpy as np

from probe.analyses.adversarial.robustness_captions import grey_levels
from probe.exhibits.wording import counted, format_eps, sentences, unsigned


@dataclass(frozen=True)
class MarginFindings:
    """Minimal Linf radii of the `n` images that can be fooled, and their rank correlations."""

    n: int
    median: float
    smallest: float
    with_margin: float
    with_confidence: float


def margin_caption(f: MarginFindings) -> str:
    return sentences(
        f"Half of the {counted(f.n)} that can be fooled need eps {f.median:.2g} ({grey_levels(f.median)}) or less; the least"
        f" robust one needs {f.smallest:.2g}.",
        f"The rank correlation of the minimal eps with the margin is {unsigned(f'{f.with_margin:.2f}')}, with the"
        f" confidence {unsigned(f'{f.with_confidence:.2f}')}.",
    )


@dataclass(frozen=True)
class ExamplesFindings:
    """`fooled` of `n` images that are shown, attacked at radii up to `eps`."""

    fooled: int
    n: int
    eps: float


def examples_caption(f: ExamplesFindings) -> str:
    if f.n == 1:
        shown = f"The image shown is{'' if f.fooled else ' not'} fooled"
    elif f.fooled == f.n:
        shown = f"{'Both' if f.n == 2 else f'All {f.n}'} images shown are fooled"
    else:
        shown = f"{f.fooled} of the {f.n} images shown {'is' if f.fooled == 1 else 'are'} fooled"
    return (
        f"{shown} at eps {f.eps:.2g} ({grey_levels(f.eps)}) or less; beside each is its adversarial version, below it"
        " the predicted class, its confidence and the minimal eps."
    )


@dataclass(frozen=True)
class ClassFindings:
    """Accuracies by class of the classes that are shown: names, clean, under the attack at radius `eps`."""

    attack: str
    eps: float
    names: tuple[str, ...]
    clean: tuple[float, ...]
    attacked: tuple[float, ...]


def class_caption(f: ClassFindings) -> str:
    """Which class loses the largest proportion of its correct predictions, and which the smallest."""
    clean, attacked = np.array(f.clean), np.array(f.attacked)
    rows = np.flatnonzero(clean > 0)
    under = f"Under {f.attack} at eps {format_eps(f.eps)}"
    if not len(rows):
        return "No image is classified correctly, so no class can lose accuracy."
    left = attacked[rows] / clean[rows]
    if np.ptp(left) < 1e-9:
        who = f.names[rows[0]] if len(rows) == 1 else "every class"
        if left[0] == 0:
            return f"{under} {who} loses all of its accuracy."
        return f"{under} {who} keeps {'all' if left[0] == 1 else f'{left[0]:.0%}'} of its accuracy."
    most, fewest = rows[int(left.argmin())], rows[int(left.argmax())]
    return (
        f"{under} {f.names[most]} loses most, from {clean[most]:.0%} to {attacked[most]:.0%}, and {f.names[fewest]}"
        f" least, from {clean[fewest]:.0%} to {attacked[fewest]:.0%}."
    )


@dataclass(frozen=True)
class ConfusionFindings:
    """How `fooled` images are classified after the attack.

    pair: the most frequent classes before and after. count: of that pair. ties: other pairs that are as frequent.
    attractor: the most frequent class after the attack. proportion: of the fooled images that are classified so.
    """

    attack: str
    eps: float
    fooled: int
    pair: tuple[str, str]
    count: int
    ties: int
    attractor: str
    proportion: float


def confusion_caption(f: ConfusionFindings) -> str:
    at = f"At eps {format_eps(f.eps)}"
    source, target = f.pair
    if f.fooled == 1:
        return f"{at} {f.attack} fools 1 image: {source} becomes {target}."
    if f.count == 1:
        return f"{at} {f.attack} fools {counted(f.fooled)}, no two from the same class into the same class."
    return sentences(
        f"{at} the most frequent change by {f.attack} is from {source} to {target}: {f.count} of {counted(f.fooled)}"
        + (f", as often as {counted(f.ties, 'other pair')}." if f.ties else "."),
        f"{f.proportion:.0%} of the fooled images are classified as {f.attractor}.",
    )


@dataclass(frozen=True)
class TargetFindings:
    """Success of targeted PGD: `proportion` of `attempts`.

    easiest: the pair of classes of the highest success rate, None where several have it. hardest: the target classes of
    the lowest mean success rate.
    """

    steps: int
    eps: float
    attempts: int
    proportion: float
    easiest: tuple[str, str, float] | None
    hardest: tuple[str, float] | None


def target_caption(f: TargetFindings) -> str:
    return sentences(
        f"PGD of {counted(f.steps, 'step')} at eps {format_eps(f.eps)} reaches the target class in {f.proportion:.0%} of"
        f" {counted(f.attempts, 'attempt')}.",
        f.easiest is not None and f"Easiest: {f.easiest[0]} to {f.easiest[1]} ({f.easiest[2]:.0%}).",
        f.hardest is not None and f"Hardest to reach: {f.hardest[0]} ({f.hardest[1]:.0%} on average).",
    )


@dataclass(frozen=True)
class AscentFindings:
    """How many of `n` ascents on the score of a class reach `confidence`; the medians of their L2 norms by start."""

    start: str
    reached: int
    n: int
    confidence: float
    from_image: float
    from_noise: float


def ascent_caption(f: AscentFindings) -> str:
    return sentences(
        f"{f.reached} of {f.n} ascents reach a confidence of {f.confidence:.0%}.",
        f"Median L2 norm of the change: {f.from_image:.1f} from the image of {f.start}, {f.from_noise:.1f} from noise.",
        "The more robust a network is, the larger is the change and the more the result resembles the class.",
    )
