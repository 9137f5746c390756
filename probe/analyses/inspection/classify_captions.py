"""Captions and warnings of `classify` for images with labels."""

from dataclasses import dataclass

from probe.exhibits.wording import counted, sentences

CONFIDENT = 0.9


@dataclass(frozen=True, kw_only=True)
class ConfusionFindings:
    """The most frequent confusion: `true` classified as `predicted`.

    n: images. pair_count, class_size: images of this pair, and of its true class. error_fraction: of the pair among
    all misclassified images. ties: how many other pairs are as frequent. empty_rows: whether some class has no images.
    repeated: pairs that are confused more than once. listed: rows of the table where there is no matrix.
    """

    n: int
    misclassified: int
    true: str = ""
    predicted: str = ""
    pair_count: int = 0
    class_size: int = 0
    error_fraction: float = 0
    ties: int = 0
    empty_rows: bool = False
    repeated: int = 0
    listed: int = 0


def confusion_matrix_caption(f: ConfusionFindings) -> str:
    return sentences(
        most_frequent_confusion(f),
        "Each row gives the percentages of the predictions for the images of one class.",
        f.empty_rows and "Classes without images have an empty row.",
    )


def confused_classes_caption(f: ConfusionFindings) -> str:
    """Of a table of pairs of classes, where these are too many for a matrix."""
    all_listed = f.listed == (f.repeated or f.misclassified)
    return sentences(
        most_frequent_confusion(f),
        f.repeated > 1
        and (
            f"The {f.repeated} pairs that occur twice or more are listed."
            if all_listed
            else f"The {f.listed} most frequent of {f.repeated:,} pairs that occur twice or more are listed."
        ),
        f.repeated == 0
        and f.misclassified > 1
        and ("All" if all_listed else f"The {f.listed} most confident")
        + " are listed, the most confident first.",
    )


def most_frequent_confusion(f: ConfusionFindings) -> str:
    """How many images are misclassified, and which confusion is the most frequent."""
    if not f.misclassified:
        return (
            f"None of {counted(f.n)} is misclassified." if f.n > 1 else "The image is classified correctly."
        )
    if f.misclassified == 1:
        of = f"1 of {counted(f.n)} is misclassified" if f.n > 1 else "The image is misclassified"
        return f"{of}: {f.true} as {f.predicted}."
    pair = f"{f.true} classified as {f.predicted}"
    return sentences(
        f"{f.misclassified:,} of {counted(f.n)} are misclassified.",
        f.pair_count == 1 and "No confusion occurs twice.",
        f.pair_count > 1
        and f"The most frequent confusion is {pair}: {f.pair_count:,} of {f.class_size:,} images,"
        f" {f.error_fraction:.0%} of all misclassifications.",
        f.pair_count > 1
        and f.ties > 0
        and f"{f.ties:,} other {'pair is' if f.ties == 1 else 'pairs are'} as frequent.",
    )


@dataclass(frozen=True, kw_only=True)
class ClassAccuracyFindings:
    """The extremes of the accuracy by class, and of the number of images.

    listed, classes: how many classes are in the exhibit, and how many have images.
    """

    worst: str
    worst_accuracy: float
    best: str
    best_accuracy: float
    fewest_images: int
    most_images: int
    listed: int
    classes: int


def class_accuracy_caption(f: ClassAccuracyFindings) -> str:
    worst, best = f"{f.worst} ({f.worst_accuracy:.1%})", f"{f.best} ({f.best_accuracy:.1%})"
    images = (
        f"{f.fewest_images:,}"
        if f.fewest_images == f.most_images
        else f"{f.fewest_images:,} to {f.most_images:,}"
    )
    return sentences(
        f"The accuracy is {f.worst_accuracy:.1%} for every class."
        if f.worst_accuracy == f.best_accuracy
        else f"The accuracy is lowest for {worst} and highest for {best}.",
        f"The error bars are 95% intervals, from {images} images per class.",
        f.listed < f.classes and f"The {f.listed:,} least accurate of {f.classes:,} classes are listed.",
    )


@dataclass(frozen=True, kw_only=True)
class MisclassificationFindings:
    """misclassified, shown: counts. confident: how many are above 90%. min_confidence: of those that are shown."""

    misclassified: int
    shown: int
    confident: int
    min_confidence: float
    threshold: float = CONFIDENT


def misclassifications_caption(f: MisclassificationFindings) -> str:
    if f.misclassified == 1:
        which = "The only misclassified image"
    elif f.shown == f.misclassified:
        which = (
            f"{'Both' if f.shown == 2 else f'All {f.shown:,}'} misclassified images, the most confident first"
        )
    else:
        count = f"{f.shown:,} " if f.shown > 1 else ""
        which = f"The {count}most confident of {f.misclassified:,} misclassified images"
    return sentences(
        f"{which}, with the true class, the predicted class and the confidence"
        + (f", which is at least {f.min_confidence:.0%}." if f.shown > 1 else "."),
        confident_misclassifications(f.confident, f.misclassified),
    )


def confident_misclassifications(confident: int, misclassified: int) -> str:
    """How many misclassified images have a confidence above 90%; empty where only one is misclassified.

    >>> confident_misclassifications(0, 5)
    'No misclassification has a confidence above 90%.'
    """
    if misclassified == 1:
        return ""
    if confident == 0:
        return "No misclassification has a confidence above 90%."
    if confident == misclassified:
        return "All misclassifications have a confidence above 90%."
    verb = "has" if confident == 1 else "have"
    return f"{confident:,} of {misclassified:,} misclassifications {verb} a confidence above 90%."


@dataclass(frozen=True, kw_only=True)
class CalibrationFindings:
    """Mean confidence beside accuracy. significant: whether the first lies outside the second's 95% interval."""

    mean_confidence: float
    accuracy: float
    significant: bool
    calibration_error: float
    bins: int
    empty_bins: bool

    @property
    def verdict(self) -> str:
        """overconfident, underconfident, or "difference not significant"."""
        if not self.significant:
            return "difference not significant"
        return "overconfident" if self.mean_confidence > self.accuracy else "underconfident"


def calibration_caption(f: CalibrationFindings) -> str:
    return sentences(
        f"The mean confidence is {f.mean_confidence:.1%} and the accuracy {f.accuracy:.1%}: {f.verdict}.",
        f"The expected calibration error is {f.calibration_error:.3f} over {f.bins} bins.",
        "The dashed line is perfect calibration; bands are 95% intervals of the accuracy in a bin.",
        f.empty_bins and "Bins without predictions are omitted.",
    )


@dataclass(frozen=True, kw_only=True)
class ConfidenceFindings:
    """Median confidence of correct and of incorrect predictions; None where there are none."""

    median_correct: float | None
    median_incorrect: float | None


def confidence_caption(f: ConfidenceFindings) -> str:
    correct, incorrect = f.median_correct, f.median_incorrect
    if incorrect is None:
        return f"All predictions are correct; their median confidence is {correct:.2f}."
    if correct is None:
        return f"No prediction is correct; the median confidence is {incorrect:.2f}."
    return (
        f"The median confidence is {correct:.2f} for correct and {incorrect:.2f} for incorrect predictions."
    )


@dataclass(frozen=True, kw_only=True)
class WarningFindings:
    """What may make the predictions unreliable.

    classes: number of classes of the model. mode, mode_fraction: the most frequent prediction; mode_true_fraction:
    the fraction of images that are of this class, None without labels.
    """

    n: int
    classes: int
    softmax_outputs: bool
    mode: str
    mode_fraction: float
    mode_true_fraction: float | None

    @property
    def collapsed(self) -> bool:
        """Whether nearly all predictions are of one class that is less frequent among the images."""
        expected = 0.5 if self.mode_true_fraction is None else self.mode_true_fraction
        return self.n >= 5 and self.mode_fraction >= 0.9 and expected < (0.75 if self.n >= 20 else 0.5)


_FEW = 100


def prediction_warnings(f: WarningFindings) -> list[str]:
    labelled = f.mode_true_fraction is not None
    warnings = [
        f.softmax_outputs
        and "The network ends in a softmax: its outputs lie in [0, 1] and sum to 1. They are taken as probabilities "
        "here, but attacks and activation maximisation expect logits and have weak gradients behind a softmax.",
        f.n < _FEW and f"Only {counted(f.n)}: all proportions are rough.",
        labelled
        and _FEW <= f.n < 5 * f.classes
        and f"{f.n:,} images for {f.classes:,} classes: too few to assess single classes.",
        f.collapsed
        and f"{f.mode_fraction:.0%} of all predictions are {f.mode}: the network has collapsed to one class, or the "
        "images are not preprocessed as in its training (mean, std, size, order of channels).",
        not labelled and "The images have no labels: accuracy and calibration cannot be measured.",
    ]
    return [warning for warning in warnings if isinstance(warning, str)]
