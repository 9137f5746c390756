"""How often is the network right, where is it wrong, and does it know?"""

import numpy as np
from pydantic import Field

from probe.analyses.analysis import Analysis
from probe.analyses.inspection import classify_exhibits as parts
from probe.analyses.job import Job
from probe.data.images import Images
from probe.exhibits.exhibits import Array
from probe.exhibits.result import Number, Result
from probe.methods.inspection.predictions import TOP, Answers, answers, reliability
from probe.model.model import Model
from probe.statistics import wilson_interval

_FEW = 100


class Classify(Analysis):
    """How often is the network right, where is it wrong, and does it know how sure it may be?"""

    name = "classify"
    title = "Classification"
    source = "Guo et al. 2017, arXiv 1706.04599 (calibration); Wilson 1927 (intervals)"

    bins: int = Field(15, ge=2, le=100, description="bins of the reliability diagram")
    pictures: int = Field(
        20, ge=1, le=200, description="most confident mistakes to show (without labels: answers)"
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        found = answers(model, images, progress=lambda b, n: job.progress(b, "classify", n))
        warnings = _warnings(found, model)
        if found.labels is None:
            return Result(
                exhibits=[
                    parts.first_answers(found, model, images, most=self.pictures),
                    *parts.distribution(found, model, images),
                ],
                numbers={
                    "mean confidence": Number(
                        value=float(found.sure[:, 0].mean()), n=len(images), format="{:.1%}"
                    ),
                    "classes answered": Number(
                        value=len(np.unique(found.said[:, 0])), n=len(images), format="{:.0f}"
                    ),
                },
                warnings=[*warnings, "The images have no labels: nothing can be said of right and wrong."],
            )
        bins = reliability(found.sure[:, 0], found.right, self.bins)
        exhibits = [
            parts.confusions(found, model.classes),
            *parts.by_class(found, model.classes),
            *parts.mistakes(found, model, images, most=self.pictures),
            parts.calibration(bins, found),
            parts.confidence(found, self.bins),
        ]
        n = len(found.labels)
        numbers = {"accuracy": _share(found.right)}
        if len(model.classes) > TOP:
            numbers["top-5 accuracy"] = _share(found.among)
        numbers["expected calibration error"] = Number(value=bins.error, n=n, format="{:.3f}")
        numbers["mean confidence"] = Number(value=float(found.sure[:, 0].mean()), n=n, format="{:.1%}")
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)


def _share(hits: Array) -> Number:
    low, high = wilson_interval(int(hits.sum()), len(hits))
    return Number(value=float(hits.mean()), low=low, high=high, n=len(hits), format="{:.1%}")


def _warnings(found: Answers, model: Model) -> list[str]:
    warnings, n = [], len(found.said)
    if found.already:
        warnings.append(
            "The outputs lie in [0, 1] and sum to 1: the network ends in a softmax. They are taken as probabilities here, "
            "but attacks and maximisation expect logits and have weak gradients behind a softmax."
        )
    if n < _FEW:
        warnings.append(f"Only {n} image{'s' if n > 1 else ''}: all shares are rough.")
    elif found.labels is not None and n < 5 * len(model.classes):
        warnings.append(
            f"{n:,} images for {len(model.classes):,} classes: nothing can be said of single classes."
        )
    counts = np.bincount(found.said[:, 0], minlength=len(model.classes))
    most = int(counts.argmax())
    due = 0.5 if found.labels is None else float((found.labels == most).mean())
    if n >= 5 and counts[most] >= 0.9 * n and due < (0.75 if n >= 20 else 0.5):
        warnings.append(
            f"{counts[most] / n:.0%} of all answers are {model.classes[most]}: the network has collapsed on one class, "
            "or the images are not prepared as it was trained (mean, std, size, order of channels)."
        )
    return warnings
