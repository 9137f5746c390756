"""How often is the network right, where is it wrong, and does it know?"""

import numpy as np
from pydantic import Field

from probe.analyses.analysis import Analysis, Job
from probe.data.images import Images
from probe.exhibits.exhibits import Array, Chart, Exhibit, Line, Matrix, Pictures, Scale, Table
from probe.exhibits.result import Number, Result
from probe.methods.answering import TOP, Answers, Reliability, answers, confusion, reliability
from probe.methods.intervals import wilson
from probe.subject.subject import Subject

_MATRIX = 20
_FEW = 100
_LISTED = 40


class Classify(Analysis):
    """How often is the network right, where is it wrong, and does it know how sure it may be?"""

    name = "classify"
    title = "Classification"
    source = "Guo et al. 2017, arXiv 1706.04599 (calibration); Wilson 1927 (intervals)"

    bins: int = Field(15, ge=2, le=100, description="bins of the reliability diagram")
    pictures: int = Field(
        20, ge=1, le=200, description="most confident mistakes to show (without labels: answers)"
    )

    def run(self, subject: Subject, images: Images, job: Job) -> Result:
        found = answers(subject, images, progress=lambda b, n: job.progress(b, "classify", n))
        warnings = _warnings(found, subject)
        if found.labels is None:
            return Result(
                exhibits=[self._answers(found, subject, images), *_distribution(found, subject, images)],
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
        calibration = reliability(found.sure[:, 0], found.right, self.bins)
        exhibits = [
            _confusion(found, subject.classes),
            *_by_class(found, subject.classes),
            *self._mistakes(found, subject, images),
            _reliability(calibration, found),
            _confidence(found, self.bins),
        ]
        n = len(found.labels)
        numbers = {"accuracy": _share(found.right)}
        if len(subject.classes) > TOP:
            numbers["top-5 accuracy"] = _share(found.among)
        numbers["expected calibration error"] = Number(value=calibration.error, n=n, format="{:.3f}")
        numbers["mean confidence"] = Number(value=float(found.sure[:, 0].mean()), n=n, format="{:.1%}")
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)

    def _mistakes(self, found: Answers, subject: Subject, images: Images) -> list[Exhibit]:
        assert found.labels is not None
        wrong = np.flatnonzero(~found.right)
        if not len(wrong):
            return []
        worst = wrong[np.argsort(-found.sure[wrong, 0], kind="stable")][: self.pictures]
        labels = [
            f"{subject.classes[found.labels[i]]}\n\u2192 {subject.classes[found.said[i, 0]]} ({found.sure[i, 0]:.2f})"
            for i in worst
        ]
        sure = int((found.sure[wrong, 0] >= 0.9).sum())
        caption = (
            f"The {len(worst)} of {len(wrong):,} mistakes that the network is surest of: the true class, what it said and "
            f"how sure it was, never below {found.sure[worst[-1], 0]:.3f}. {sure:,} mistakes are made with 90 % and more."
        )
        return [
            Pictures(
                title="Most confident mistakes",
                caption=caption,
                images=_pixels(images, worst),
                labels=labels,
            )
        ]

    def _answers(self, found: Answers, subject: Subject, images: Images) -> Exhibit:
        shown = np.arange(min(self.pictures, len(images)))
        labels = [f"{subject.classes[found.said[i, 0]]} ({found.sure[i, 0]:.2f})" for i in shown]
        lowest = int(found.sure[shown, 0].argmin())
        return Pictures(
            title="Answers",
            caption=f"The first {len(shown)} of {len(images):,} images with the likeliest class and its probability; the "
            f"network is least sure of {labels[lowest].rpartition(' ')[0]}, {found.sure[lowest, 0]:.0%}.",
            images=_pixels(images, shown),
            labels=labels,
        )


def _pixels(images: Images, rows: Array) -> list[Array]:
    return [picture.permute(1, 2, 0).numpy() for picture in images.select(rows).pixels()]


def _share(hits: Array) -> Number:
    low, high = wilson(int(hits.sum()), len(hits))
    return Number(value=float(hits.mean()), low=low, high=high, n=len(hits), format="{:.1%}")


def _warnings(found: Answers, subject: Subject) -> list[str]:
    warnings, n = [], len(found.said)
    if found.already:
        warnings.append(
            "The outputs lie in [0, 1] and sum to 1: the network ends in a softmax. They are taken as probabilities here, "
            "but attacks and maximisation expect logits and have weak gradients behind a softmax."
        )
    if n < _FEW:
        warnings.append(f"Only {n} image{'s' if n > 1 else ''}: all shares are rough.")
    elif found.labels is not None and n < 5 * len(subject.classes):
        warnings.append(
            f"{n:,} images for {len(subject.classes):,} classes: nothing can be said of single classes."
        )
    counts = np.bincount(found.said[:, 0], minlength=len(subject.classes))
    most = int(counts.argmax())
    due = 0.5 if found.labels is None else float((found.labels == most).mean())
    if n >= 20 and counts[most] >= 0.9 * n and due < 0.75:
        warnings.append(
            f"{counts[most] / n:.0%} of all answers are {subject.classes[most]}: the network has collapsed on one class, "
            "or the images are not prepared as it was trained (mean, std, size, order of channels)."
        )
    return warnings


def _confusion(found: Answers, classes: tuple[str, ...]) -> Exhibit:
    assert found.labels is not None
    counts = confusion(found.labels, found.said[:, 0], len(classes))
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")
    pairs = [
        (int(flat) // len(classes), int(flat) % len(classes)) for flat in order[:_LISTED] if wrong.flat[flat]
    ]
    total, of_class = int(wrong.sum()), counts.sum(1)
    if pairs:
        true, said = pairs[0]
        finding = (
            f"Most often {classes[true]} is taken for {classes[said]}: {wrong[true, said]} of {of_class[true]} times, "
            f"{wrong[true, said] / total:.0%} of all {total:,} mistakes."
        )
    else:
        finding = f"No mistake among {int(counts.sum()):,} images."
    if len(classes) <= _MATRIX:
        shares = 100 * counts / np.maximum(of_class, 1)[:, None]
        return Matrix(
            title="Confusion",
            caption=f"{finding} Each row shows in per cent what the images of one class are taken for.",
            values=shares.astype(np.float32),
            row_labels=list(classes),
            column_labels=list(classes),
            row_title="true class",
            column_title="answer",
            format="{:.0f}" if len(found.labels) < 1000 else "{:.1f}",
            scale=Scale(low=0, high=100, kind="sequential", label="% of the true class"),
        )
    return Table(
        title="Most confused classes",
        caption=finding,
        columns=["true class", "answer", "times", "images of the class"],
        rows=[[classes[t], classes[s], int(wrong[t, s]), int(of_class[t])] for t, s in pairs],
    )


def _by_class(found: Answers, classes: tuple[str, ...]) -> list[Exhibit]:
    """Accuracy of each class where there are images enough: a chart, or the extremes where classes are many."""
    assert found.labels is not None
    n = np.bincount(found.labels, minlength=len(classes))
    hits = np.bincount(found.labels, weights=found.right, minlength=len(classes))
    seen = np.flatnonzero(n)
    if len(found.labels) < 5 * len(seen) or len(seen) < 2:
        return []
    share = hits[seen] / n[seen]
    low, high = np.array([wilson(hits[c], int(n[c])) for c in seen]).T
    worst, best = seen[share.argmin()], seen[share.argmax()]
    spread = f"From {classes[worst]} ({share.min():.1%}) to {classes[best]} ({share.max():.1%})"
    if share.min() == share.max():
        spread = f"{share.min():.1%} of every class"
    caption = f"{spread}, with 95 % intervals; {_range(n[seen])} images a class."
    if len(seen) <= 2 * _MATRIX:
        bars = Line(name="accuracy", x=np.arange(len(seen)), y=share, low=low, high=high)
        return [
            Chart(
                title="Accuracy of each class",
                caption=caption,
                lines=[bars],
                x_label="class",
                y_label="accuracy",
                kind="bar",
                y_range=(0, 1),
                ticks=[classes[c] for c in seen],
            )
        ]
    rows = np.argsort(share, kind="stable")[:_LISTED]
    return [
        Table(
            title="Least accurate classes",
            caption=caption,
            columns=["class", "accuracy", "from", "to", "images"],
            rows=[
                [classes[seen[r]], float(share[r]), float(low[r]), float(high[r]), int(n[seen[r]])]
                for r in rows
            ],
            formats={"accuracy": "{:.1%}", "from": "{:.1%}", "to": "{:.1%}"},
        )
    ]


def _reliability(found: Reliability, given: Answers) -> Exhibit:
    full = found.count > 0
    hits = found.right[full] * found.count[full]
    low, high = np.array([wilson(h, int(n)) for h, n in zip(hits, found.count[full], strict=True)]).T
    gap = float(given.sure[:, 0].mean() - given.right.mean())
    low_mean, high_mean = wilson(float(given.right.sum()), len(given.right))
    if low_mean <= float(given.sure[:, 0].mean()) <= high_mean:
        how = "too near to each other for these images to tell them apart"
    else:
        how = "surer than it is right" if gap > 0 else "less sure than it is right"
    return Chart(
        title="Calibration",
        caption=f"On average the network is {given.sure[:, 0].mean():.1%} sure and {given.right.mean():.1%} right: "
        f"{how}. Expected calibration error {found.error:.3f} over {len(found.count)} bins; a network that knows lies on "
        f"the dashed line. Bands are 95 % intervals of a bin; {int(full.sum())} bins hold answers "
        f"({_range(found.count[full])}).",
        lines=[
            Line(name="the network", x=found.sure[full], y=found.right[full], low=low, high=high),
            Line(name="a network that knows", x=np.array([0.0, 1.0]), y=np.array([0.0, 1.0]), dashed=True),
        ],
        x_label="probability of the answer (mean of the bin)",
        y_label="share that is right",
        y_range=(0, 1),
    )


def _confidence(found: Answers, bins: int) -> Exhibit:
    edges = np.linspace(0, 1, bins + 1)
    right, wrong = (
        np.histogram(found.sure[rows, 0].clip(0, 1), edges)[0] for rows in (found.right, ~found.right)
    )
    bars = np.arange(bins)
    top = (found.sure[:, 0] > edges[-2]).mean()
    return Chart(
        title="How sure the answers are",
        caption=f"{top:.0%} of the answers have a probability above {edges[-2]:.2f}; of right answers the median is "
        f"{_median(found.sure[found.right, 0])}, of wrong ones {_median(found.sure[~found.right, 0])}. "
        "How many answers lie in each bin of the calibration.",
        lines=[Line(name="right", x=bars, y=right), Line(name="wrong", x=bars, y=wrong)],
        x_label="probability of the answer",
        y_label="answers",
        kind="bar",
        ticks=[f"to {edge:.2f}" for edge in edges[1:]],
    )


def _range(counts: Array) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _median(values: Array) -> str:
    return f"{np.median(values):.2f}" if len(values) else "none"


def _distribution(found: Answers, subject: Subject, images: Images) -> list[Exhibit]:
    counts = np.bincount(found.said[:, 0], minlength=len(subject.classes))
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0][:_LISTED] if len(counts) > _MATRIX else np.arange(len(counts))
    most = int(counts.argmax())
    rest = f" The {len(order)} commonest are shown." if len(order) < (counts > 0).sum() else ""
    second = min(1, found.said.shape[1] - 1)
    rows = [
        [
            images.ids[i],
            subject.classes[said[0]],
            float(sure[0]),
            subject.classes[said[second]],
            float(sure[second]),
        ]
        for i, (said, sure) in enumerate(zip(found.said, found.sure, strict=True))
    ]
    unsure = int((found.sure[:, 0] < 0.5).sum())
    return [
        Chart(
            title="What is answered",
            caption=f"{(counts > 0).sum()} of {len(counts):,} classes are answered; most often {subject.classes[most]}, "
            f"{counts[most]:,} of {len(images):,} times.{rest}",
            lines=[Line(name="answers", x=np.arange(len(order)), y=counts[order])],
            x_label="class",
            y_label="answers",
            kind="bar",
            ticks=[subject.classes[c] for c in order],
        ),
        Table(
            title="Answer for each image",
            caption=f"{unsure:,} of {len(images):,} answers have a probability below one half."
            + (" The first 500 images." if len(rows) > 500 else ""),
            columns=["image", "answer", "probability", "second", "its probability"],
            rows=rows[:500],
            formats={"probability": "{:.3f}", "its probability": "{:.3f}"},
        ),
    ]
