"""What `probe adopt` prints of the model: its input, and its accuracy, from which wrong preprocessing is seen at once."""

from dataclasses import dataclass

from probe.data.images import Images
from probe.exhibits.result import proportion
from probe.exhibits.wording import counted
from probe.methods.inspection.predictions import predict_images
from probe.model.loading import IMAGENET_MEAN, IMAGENET_STD
from probe.model.model import Model
from probe.model.outputs import single_output_warning
from probe.runs.execute import prepare
from probe.statistics import wilson_interval

_NORMALISATIONS = {
    "ImageNet's mean and std": (IMAGENET_MEAN, IMAGENET_STD),
    "CIFAR-10's mean and std": ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
    "MNIST's mean and std": ((0.1307,), (0.3081,)),
    "--mean and --std of 0.5": (0.5, 0.5),
    "--mean 0 and --std 1": (0.0, 1.0),
}
_TRIED_IMAGES = 256
_NEARBY = 2


def input_lines(model: Model, *, mean_stated: bool, std_stated: bool) -> list[str]:
    """Preprocessing, normalisation, and what of it was assumed: wrong values lower the accuracy without any error."""
    card = model.card.input
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (card.mean, card.std))
    missing = [flag for flag, stated in (("--mean", mean_stated), ("--std", std_stated)) if not stated]
    source = "ImageNet's" if len(card.mean) == 3 else "0.5"
    assumed = f" ({source} assumed; set {' and '.join(missing)} if others were used)" if missing else ""
    lines = [
        f"origin: {model.card.training['origin']}",
        f"preprocessing: {card.preprocess}",
        f"normalisation: mean {mean}, std {std}{assumed}",
    ]
    if warning := single_output_warning(model.name, len(model.classes)):
        lines.append(f"warning: {warning}")
    return lines


@dataclass(frozen=True)
class AdoptionFindings:
    """Accuracy of an adopted model. hits of n images of `images`; best: another normalisation that has more hits, and
    its accuracy on `tried` images."""

    images: str
    hits: int
    n: int
    classes: int
    best: tuple[str, float] | None = None
    tried: int = 0


def accuracy_lines(f: AdoptionFindings) -> list[str]:
    """The accuracy, and what to check where it is near the chance level or another normalisation gives more."""
    lines = [f"accuracy: {proportion(f.hits, f.n)} on {counted(f.n)} of {f.images}"]
    if f.best is not None:
        name, accuracy = f.best
        lines.append(
            f"hint: with {name} it is {accuracy:.1%} on {counted(f.tried)}: was it trained with these?"
        )
    elif f.hits / f.n <= _NEARBY / f.classes:
        lines.append(
            f"hint: that is near the chance level of {1 / f.classes:.1%}: check --mean, --std, --size, --preprocess and the "
            "order of the classes"
        )
    return lines


def measure_accuracy(model: Model, images: Images) -> AdoptionFindings | None:
    """The accuracy on `images`, and whether a common other normalisation gives more; None for images without labels."""
    prepared = prepare(model, images)
    if prepared.labels is None:
        return None
    few = prepared.take(_TRIED_IMAGES)
    own = _hits(model, few) / len(few)
    channels = model.shape[0]
    best: tuple[str, float] | None = None
    for name, (mean, std) in _NORMALISATIONS.items():
        means = (mean,) * channels if isinstance(mean, float) else mean
        stds = (std,) * channels if isinstance(std, float) else std
        if len(means) != channels:
            continue
        changed = model.card.input.model_copy(update={"mean": means, "std": stds})
        other = Model(model.network, model.card.model_copy(update={"input": changed}), model.device)
        accuracy = _hits(other, few) / len(few)
        if accuracy > max(own, best[1] if best else 0.0):
            best = name, accuracy
    if (
        best is not None
        and wilson_interval(best[1] * len(few), len(few))[0] <= wilson_interval(own * len(few), len(few))[1]
    ):
        best = None  # the difference is not significant
    hits = _hits(model, prepared)
    return AdoptionFindings(images.name, hits, len(prepared), len(model.classes), best, len(few))


def _hits(model: Model, images: Images) -> int:
    predictions = predict_images(model, images)
    return int((predictions.top_classes[:, 0] == predictions.labels).sum())
