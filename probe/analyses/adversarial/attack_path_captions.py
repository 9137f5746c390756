"""Captions of the attack-path analysis, each from the findings that it states."""

from dataclasses import dataclass

from probe.exhibits.wording import counted, sentences, unsigned


@dataclass(frozen=True)
class ShiftFindings:
    """Medians over `n` images in the first and the last of the layers: relative L2 distances, cosine similarity."""

    n: int
    layers: tuple[str, str]
    attack: tuple[float, float]
    noise: tuple[float, float]
    cosine: float


def shift_caption(f: ShiftFindings) -> str:
    first, last = f.layers
    several = first != last
    return sentences(
        f"The attack changes the activations of {first} by {f.attack[0]:.0%} of their norm"
        + (f" and those of {last} by {f.attack[1]:.0%};" if several else ";")
        + f" random noise of the same L2 norm changes them by {f.noise[0]:.0%}"
        + (f" and {f.noise[1]:.0%}." if several else "."),
        f"The cosine similarity in {last} is {unsigned(f'{f.cosine:.2f}')}.",
        f"Medians and quartiles of {counted(f.n)}.",
    )


@dataclass(frozen=True)
class ClassChangeFindings:
    """Proportions of `n` adversarial images that are nearer to the mean of the new class, by layer."""

    n: int
    layers: tuple[str, ...]
    proportions: tuple[float, ...]

    @property
    def layer(self) -> int | None:
        """The position of the first layer in which most images are nearer to the new class."""
        return next((k for k, proportion in enumerate(self.proportions) if proportion > 0.5), None)


def class_change_caption(f: ClassChangeFindings) -> str:
    means = "the mean of the new class than to that of the original class"
    return sentences(
        f"{f.layers[f.layer]} is the first layer in which most adversarial images ({f.proportions[f.layer]:.0%}) are nearer to {means}."
        if f.layer is not None
        else f"In no layer are most adversarial images nearer to {means}: at most {max(f.proportions):.0%} are.",
        f"In {f.layers[0]} {f.proportions[0]:.0%} are"
        + (f", in {f.layers[-1]} {f.proportions[-1]:.0%}" if len(f.layers) > 1 else "")
        + f" ({counted(f.n)}).",
    )


@dataclass(frozen=True)
class AttributionFindings:
    """Mean rank correlation with the map of the original prediction on the original image, over `n` images.

    predictions: of the map of the new prediction on the adversarial image. original_class: of the map of the original
    class there.
    """

    n: int
    method: str
    predictions: float
    original_class: float


def attribution_caption(f: AttributionFindings) -> str:
    return sentences(
        f"{f.method} of {counted(f.n)} before and after the attack.",
        f"The rank correlation between the maps of the two predictions is {unsigned(f'{f.predictions:.2f}')};"
        f" between the maps of the original class it is {unsigned(f'{f.original_class:.2f}')}.",
        "The maps of an image share one scale.",
    )


@dataclass(frozen=True)
class SpectrumFindings:
    """Proportions of the energy above half of the highest spatial frequency."""

    n: int
    attack: float
    noise: float
    images: float


def spectrum_caption(f: SpectrumFindings) -> str:
    return (
        f"{f.attack:.0%} of the energy of the perturbation lies above half of the highest frequency, against {f.noise:.0%} "
        f"for random noise and {f.images:.0%} for the images ({counted(f.n)})."
    )


@dataclass(frozen=True)
class PathFindings:
    """The straight path from an image to its adversarial version, in the features of `layer`.

    changed: the proportion of the path after which the prediction is another one, None where it never is.
    length: of the path. distance: mean distance of the `n` other images from its line.
    """

    layer: str
    classes: tuple[str, str]
    changed: float | None
    length: float
    distance: float
    n: int


def path_caption(f: PathFindings) -> str:
    source, target = f.classes
    return sentences(
        f"From {source} to {target} in {f.layer}: the prediction changes after {f.changed:.0%} of the path."
        if f.changed is not None
        else f"In {f.layer} the prediction remains {source} along the whole path.",
        f"The path is {f.length:.2f} long; the mean distance of {counted(f.n)} from its line is {f.distance:.2f}.",
    )


@dataclass(frozen=True)
class SurfaceFindings:
    """Log-odds against `label` at both ends of the attack, their range along the noise, and how much is misclassified."""

    label: str
    attack: tuple[float, float]
    noise: tuple[float, float]
    misclassified: float


def surface_caption(f: SurfaceFindings) -> str:
    (start, end), (low, high) = (
        tuple(unsigned(f"{value:.1f}") for value in pair) for pair in (f.attack, f.noise)
    )
    return sentences(
        f"Log-odds against {f.label} in the plane of the perturbation and of random noise of the same norm:"
        f" from {start} to {end} along the perturbation, between {low} and {high} along the noise.",
        f"{f.misclassified:.0%} of the plane is classified as another class.",
    )
