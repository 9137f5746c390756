"""How a network's answers are shown: right and wrong, class by class, and how sure."""

import numpy as np

from probe.data.images import Images
from probe.exhibits.exhibits import Array, Chart, Exhibit, ImageGrid, Line, Matrix, Scale, Table
from probe.exhibits.wording import counted
from probe.methods.inspection.predictions import Answers, Reliability, confusion
from probe.model.model import Model
from probe.statistics import wilson_interval

_MATRIX = 20
_LISTED = 40


def mistakes(found: Answers, model: Model, images: Images, *, most: int) -> list[Exhibit]:
    """The mistakes that the network is surest of; nothing where it made none."""
    assert found.labels is not None
    wrong = np.flatnonzero(~found.right)
    if not len(wrong):
        return []
    worst = wrong[np.argsort(-found.sure[wrong, 0], kind="stable")][:most]
    labels = [
        f"{model.classes[found.labels[i]]}\n\u2192 {model.classes[found.said[i, 0]]} ({found.sure[i, 0]:.2f})"
        for i in worst
    ]
    sure = int((found.sure[wrong, 0] >= 0.9).sum())
    if len(wrong) == 1:
        which = "The only mistake"
    elif len(worst) == len(wrong):
        which = f"All {len(wrong):,} mistakes, the surest first"
    else:
        which = f"The {len(worst)} of {len(wrong):,} mistakes that the network is surest of"
    caption = f"{which}: the true class, what the network said and how sure it was"
    if len(wrong) == 1:
        caption += f", {found.sure[worst[0], 0]:.3f}."
    else:
        caption += (
            f", here never below {found.sure[worst[-1], 0]:.3f}. {sure:,} of all {len(wrong):,} mistakes "
            f"{'was' if sure == 1 else 'were'} made with 90 % and more."
        )
    return [
        ImageGrid(
            title="Most confident mistakes",
            caption=caption,
            images=_pixels(images, worst),
            labels=labels,
        )
    ]


def first_answers(found: Answers, model: Model, images: Images, *, most: int) -> Exhibit:
    """What is said of the first images, where nothing is known of right and wrong."""
    shown = np.arange(min(most, len(images)))
    labels = [f"{model.classes[found.said[i, 0]]} ({found.sure[i, 0]:.2f})" for i in shown]
    lowest = int(found.sure[shown, 0].argmin())
    return ImageGrid(
        title="Answers",
        caption=f"{_first(len(shown), len(images))} with the likeliest class and its probability"
        + (
            f"; of these the network is least sure of {labels[lowest].rpartition(' ')[0]}, {found.sure[lowest, 0]:.0%}."
            if len(shown) > 1
            else "."
        ),
        images=_pixels(images, shown),
        labels=labels,
    )


def confusions(found: Answers, classes: tuple[str, ...]) -> Exhibit:
    """What each class is taken for: all of them, or the most frequent pairs where classes are many."""
    assert found.labels is not None
    counts = confusion(found.labels, found.said[:, 0], len(classes))
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")
    pairs = [
        (int(flat) // len(classes), int(flat) % len(classes)) for flat in order[:_LISTED] if wrong.flat[flat]
    ]
    total, of_class = int(wrong.sum()), counts.sum(1)
    true, said = pairs[0] if pairs else (0, 0)
    if not pairs:
        finding = f"No mistake among {counted(int(counts.sum()))}."
    elif total == 1:
        finding = (
            f"One mistake among {counted(int(counts.sum()))}: {classes[true]} was taken for {classes[said]}."
        )
    elif wrong[true, said] == 1:
        finding = f"{total:,} mistakes among {counted(int(counts.sum()))}, no two of them alike."
    else:
        others = int((wrong == wrong[true, said]).sum()) - 1
        alike = f"; {others} other {'pair is' if others == 1 else 'pairs are'} as frequent" if others else ""
        finding = (
            f"Most often {classes[true]} is taken for {classes[said]}: {wrong[true, said]} of {of_class[true]} times, "
            f"{wrong[true, said] / total:.0%} of all {total:,} mistakes{alike}."
        )
    if len(classes) <= _MATRIX:
        shares = 100 * counts / np.where(of_class, of_class, np.nan)[:, None]
        empty = " Classes without images have an empty row." if not of_class.all() else ""
        return Matrix(
            title="Confusion",
            caption=f"{finding} Each row shows in per cent what the images of one class are taken for.{empty}",
            values=shares.astype(np.float32),
            row_labels=list(classes),
            column_labels=list(classes),
            row_title="true class",
            column_title="answer",
            format="{:.0f}" if len(found.labels) < 1000 else "{:.1f}",
            scale=Scale(low=0, high=100, kind="sequential", label="% of class"),
        )
    return Table(
        title="Most confused classes",
        caption=finding,
        columns=["true class", "answer", "times", "images of the class"],
        rows=[[classes[t], classes[s], int(wrong[t, s]), int(of_class[t])] for t, s in pairs],
    )


def by_class(found: Answers, classes: tuple[str, ...]) -> list[Exhibit]:
    """Accuracy of each class where there are images enough: a chart, or the extremes where classes are many."""
    assert found.labels is not None
    n = np.bincount(found.labels, minlength=len(classes))
    hits = np.bincount(found.labels, weights=found.right, minlength=len(classes))
    seen = np.flatnonzero(n)
    if len(found.labels) < 5 * len(seen) or len(seen) < 2:
        return []
    share = hits[seen] / n[seen]
    low, high = np.array([wilson_interval(hits[c], int(n[c])) for c in seen]).T
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


def calibration(found: Reliability, given: Answers) -> Exhibit:
    """How often answers of a given probability are right."""
    full = found.count > 0
    hits = found.right[full] * found.count[full]
    low, high = np.array([wilson_interval(h, int(n)) for h, n in zip(hits, found.count[full], strict=True)]).T
    gap = float(given.sure[:, 0].mean() - given.right.mean())
    low_mean, high_mean = wilson_interval(float(given.right.sum()), len(given.right))
    if low_mean <= float(given.sure[:, 0].mean()) <= high_mean:
        how = "too near to each other for these images to tell them apart"
    else:
        how = "surer than it is right" if gap > 0 else "less sure than it is right"
    return Chart(
        title="Calibration",
        caption=f"On average the network is {given.sure[:, 0].mean():.1%} sure and {given.right.mean():.1%} right: "
        f"{how}. Expected calibration error {found.error:.3f} over {len(found.count)} bins; a network that knows lies on "
        f"the dashed line. Bands are 95 % intervals of a bin; {int(full.sum())} of the bins hold answers "
        f"({_range(found.count[full])}{' each' if full.sum() > 1 else ''}).",
        lines=[
            Line(name="the network", x=found.sure[full], y=found.right[full], low=low, high=high),
            Line(name="a network that knows", x=np.array([0.0, 1.0]), y=np.array([0.0, 1.0]), dashed=True),
        ],
        x_label="probability of the answer (mean of the bin)",
        y_label="share that is right",
        y_range=(0, 1),
    )


def confidence(found: Answers, bins: int) -> Exhibit:
    """How many answers lie in each bin, from the first that holds any."""
    edges = np.linspace(0, 1, bins + 1)
    right, wrong = (
        np.histogram(found.sure[rows, 0].clip(0, 1), edges)[0] for rows in (found.right, ~found.right)
    )
    first = int(np.flatnonzero(right + wrong)[0])
    bars = np.arange(bins - first)
    top = (found.sure[:, 0] > edges[-2]).mean()
    return Chart(
        title="How sure the answers are",
        caption=f"{top:.0%} of the answers have a probability above {edges[-2]:.2f}; of right answers the median is "
        f"{_median(found.sure[found.right, 0])}, of wrong ones {_median(found.sure[~found.right, 0])}. "
        "How many answers lie in each bin of the calibration.",
        lines=[
            Line(name="right", x=bars, y=right[first:]),
            Line(name="wrong", x=bars, y=wrong[first:]),
        ],
        x_label="probability of the answer",
        y_label="answers",
        kind="bar",
        ticks=[f"to {edge:.2f}" for edge in edges[first + 1 :]],
    )


def _range(counts: Array) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _median(values: Array) -> str:
    return f"{np.median(values):.2f}" if len(values) else "none"


def distribution(found: Answers, model: Model, images: Images) -> list[Exhibit]:
    """Which classes are answered, and what each image is taken for."""
    counts = np.bincount(found.said[:, 0], minlength=len(model.classes))
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0][:_LISTED] if len(counts) > _MATRIX else np.arange(len(counts))
    most = int(counts.argmax())
    rest = f" The {len(order)} commonest are shown." if len(order) < (counts > 0).sum() else ""
    second = min(1, found.said.shape[1] - 1)
    rows = [
        [
            images.ids[i],
            model.classes[said[0]],
            float(sure[0]),
            model.classes[said[second]],
            float(sure[second]),
        ]
        for i, (said, sure) in enumerate(zip(found.said, found.sure, strict=True))
    ]
    unsure = int((found.sure[:, 0] < 0.5).sum())
    return [
        Chart(
            title="What is answered",
            caption=f"{(counts > 0).sum()} of {len(counts):,} classes {'is' if (counts > 0).sum() == 1 else 'are'} answered; "
            f"most often {model.classes[most]}, {counts[most]:,} of {len(images):,} times.{rest}",
            lines=[Line(name="answers", x=np.arange(len(order)), y=counts[order])],
            x_label="class",
            y_label="answers",
            kind="bar",
            ticks=[model.classes[c] for c in order],
        ),
        Table(
            title="Answer for each image",
            caption=f"{unsure:,} of {len(images):,} answers {'has' if unsure == 1 else 'have'} a probability below one half."
            + (" The first 500 images." if len(rows) > 500 else ""),
            columns=["image", "answer", "probability", "second", "its probability"],
            rows=rows[:500],
            formats={"probability": "{:.3f}", "its probability": "{:.3f}"},
        ),
    ]


def _first(shown: int, count: int) -> str:
    if count == 1:
        return "The image"
    return f"All {count:,} images" if shown == count else f"The first {shown} of {count:,} images"


def _pixels(images: Images, rows: Array) -> list[Array]:
    return [picture.permute(1, 2, 0).numpy() for picture in images.select(rows).pixels()]
