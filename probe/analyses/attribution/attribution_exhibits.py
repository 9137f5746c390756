"""Exhibits of `attribution`: maps beside images, the contrast of two classes, bounding boxes and predictions."""

from dataclasses import dataclass

import torch
from torch import Tensor

from probe.analyses.attribution.explanations import Explanation
from probe.analyses.attribution.randomisation_captions import (
    RANDOMISATION_FACTS,
    blank_facts,
    randomisation_verdict,
)
from probe.analyses.attribution.selection import Selection, wrapped
from probe.exhibits.exhibits import ImageGrid, Table
from probe.exhibits.heatmaps import (
    PREDICTED_BOX,
    QUANTILE,
    TRUE_BOX,
    draw_box,
    in_full_colours,
    overlay_sigma,
    side_by_side,
    smoothed,
    unit_scale,
)
from probe.exhibits.wording import counted, percent, sentences, unsigned
from probe.methods.attribution.localisation import Box, focused_box, iou
from probe.methods.attribution.method import AttributionMethod
from probe.methods.attribution.sanity_checks import RandomisationResult
from probe.model.model import Model

MAX_BOX = 0.75
"""Of an image, covered by a box: of a larger one the threshold is raised."""


@dataclass(frozen=True, kw_only=True)
class MapFindings:
    """What the caption of the maps of one method states.

    notation: the method with its parameters, as in "smoothgrad(samples=8)"; tested: as it was tested, if that differs.
    completeness_error: median, where the method promises completeness. blur, overlay_blur: pixels.
    """

    title: str
    notation: str
    signed: bool
    randomisation: RandomisationResult
    tested: str = ""
    completeness_error: float | None = None
    blur: float = 0.0
    overlay_blur: float = 0.0


def maps_caption(f: MapFindings) -> str:
    return sentences(
        randomisation_verdict(f.title, f.randomisation),
        "(" in f.notation and f"Computed as {f.notation}.",
        f.tested and f.tested != f.notation and f"Tested as {f.tested}.",
        f.completeness_error is not None
        and f"The sum of a map differs from the difference of scores that it should equal by {f.completeness_error:.2%} (median).",
        f.signed and "Red pixels raise the score, blue pixels lower it.",
        f"Each map has full colour at the {QUANTILE:.0%} quantile of its own magnitudes, which is printed below it.",
        f.blur > 0 and f"Maps are blurred by {f.blur:g} {'pixel' if f.blur == 1 else 'pixels'}.",
        f"Overlays are smoothed by {f.overlay_blur:.1f} pixels and scaled separately.",
    )


def maps_exhibit(
    model: Model,
    selection: Selection,
    explanation: Explanation,
    completeness_error: float | None,
    blur: float,
) -> ImageGrid:
    """Image, map and overlay of every image, each map on a scale of its own. blur: of the maps, in pixels."""
    raw = explanation.maps.float().cpu().numpy()
    maps, limits = in_full_colours(smoothed(raw, blur))
    method = explanation.method
    scale = unit_scale(method.kind, explanation.title)
    findings = MapFindings(
        title=explanation.title,
        notation=str(method),
        tested="" if explanation.tested is None else str(explanation.tested),
        signed=method.kind == "signed",
        randomisation=explanation.randomisation,
        completeness_error=completeness_error,
        blur=blur,
        overlay_blur=overlay_sigma(*maps.shape[1:]),
    )
    facts = {
        "full_colour_quantile": QUANTILE,
        "blur": blur,
        "overlay_blur": findings.overlay_blur,
    }
    for each in (method, explanation.tested):
        prefix = "" if each is method else "tested_"
        facts |= {} if each is None else {f"{prefix}{k}": v for k, v in numeric_parameters(each).items()}
    return ImageGrid(
        title=f"{explanation.title}: {selection.description}",
        caption=maps_caption(findings),
        facts=RANDOMISATION_FACTS | blank_facts(explanation.key, explanation.randomisation) | facts,
        images=side_by_side(selection.images, maps, scale),
        labels=[text for limit in limits for text in ("", full_colour(limit), "")],
        columns=3,
        column_headers=["image", "map", "overlay"],
        row_headers=selection.headers(model),
        scale=scale,
    )


def full_colour(limit: float) -> str:
    """The line below a map: its value of full colour."""
    return f"full colour {limit:.2g}" if limit > 0 else "blank"


def numeric_parameters(method: AttributionMethod) -> dict[str, float]:
    """The parameters of a method that are numbers, for captions that state them."""
    return {name: value for name, value in dict(method).items() if isinstance(value, int | float)}


@dataclass(frozen=True, kw_only=True)
class ContrastFindings:
    """What the caption of the contrast of two classes states. cosine: mean over the images. blur: in pixels."""

    title: str
    cosine: float
    blur: float = 0.0


def contrast_caption(f: ContrastFindings) -> str:
    cosine = unsigned(f"{f.cosine:.2f}")
    return sentences(
        f"The maps of {f.title} for the predicted class and for the runner-up have a mean cosine similarity of {cosine}.",
        "The last column is their difference: red pixels favour the predicted class, blue pixels the runner-up.",
        f.blur > 0 and f"Maps are blurred by {f.blur:.1f} pixels.",
        f"The three maps of an image share a full colour, the {QUANTILE:.0%} quantile of their magnitudes.",
    )


def contrast_exhibit(
    model: Model,
    selection: Selection,
    explanation: Explanation,
    predicted: Tensor,
    runner_up: Tensor,
    blur: float,
) -> ImageGrid:
    """Maps (n, h, w) of the predicted class, of the runner-up, and their difference; a scale for each image."""
    raw = torch.stack([predicted, runner_up, predicted - runner_up], 1).float().cpu().numpy()
    height, width = raw.shape[2:]
    maps, limits = in_full_colours(smoothed(raw.reshape(-1, height, width), blur).reshape(raw.shape))
    scale = unit_scale("signed", explanation.title)
    cosine = float(torch.nn.functional.cosine_similarity(predicted.flatten(1), runner_up.flatten(1)).mean())
    headers = [
        f"{wrapped(model.classes[first])}\nnot {wrapped(model.classes[second])}"
        for first, second in zip(selection.prediction.tolist(), selection.runner_up.tolist(), strict=True)
    ]
    return ImageGrid(
        title="The predicted class against the runner-up",
        caption=contrast_caption(ContrastFindings(title=explanation.title, cosine=cosine, blur=blur)),
        facts={"cosine_similarity": cosine, "full_colour_quantile": QUANTILE, "blur": blur},
        images=[part for image, row in zip(selection.images, maps, strict=True) for part in (image, *row)],
        labels=[text for limit in limits for text in ("", full_colour(limit), "", "")],
        columns=4,
        column_headers=["image", "predicted class", "runner-up", "difference"],
        row_headers=headers,
        scale=scale,
    )


@dataclass(frozen=True, kw_only=True)
class BoxFindings:
    """What the caption of the bounding boxes states. mean_iou: None where the true boxes are not known.

    raised: for how many maps the threshold was raised because they are diffuse.
    """

    threshold: float
    n: int
    without_box: int
    mean_iou: float | None
    raised: int = 0


def boxes_caption(f: BoxFindings) -> str:
    return sentences(
        f"Amber: the bounding box of the heaviest region above {f.threshold:.0%} of the map's maximum.",
        f.raised
        and f"At that threshold the box of {f.raised} of {counted(f.n, 'map')} would cover more than {MAX_BOX:.0%} of the "
        "image, because the map is diffuse: the threshold is raised as printed.",
        f.mean_iou is not None
        and f"Its mean intersection over union (IoU) with the true box, green, is {f.mean_iou:.2f}.",
        f.mean_iou is None and "The true boxes are not known for these images.",
        f.without_box
        and f"{f.without_box} of {counted(f.n, 'map')} {'has' if f.without_box == 1 else 'have'} no positive pixel and no box.",
    )


def boxes_exhibit(
    selection: Selection, explanation: Explanation, threshold: float
) -> tuple[ImageGrid, list[float]]:
    """The box of the map on every image, the true one where it is known, and the IoU of each pair."""
    focused = [
        focused_box(heatmap, threshold=threshold, max_area=MAX_BOX) for heatmap in explanation.maps.cpu()
    ]
    truth = selection.dataset.boxes
    images, labels, overlaps = [], [], []
    for i, (image, (box, used)) in enumerate(zip(selection.images, focused, strict=True)):
        drawn = draw_box(image, box, PREDICTED_BOX)
        parts = [] if box is not None else ["no box"]
        if truth is not None:
            true: Box = tuple(truth[i].tolist())
            drawn = draw_box(drawn, _scaled(true, drawn.shape[0] // image.shape[0]), TRUE_BOX)
            overlaps.append(iou(box, true) if box else 0.0)
            parts = [f"IoU {overlaps[-1]:.2f}"] if box else parts
        parts += [f"above {used:.0%}"] if box is not None and used > threshold else []
        images.append(drawn)
        labels.append(", ".join(parts))
    findings = BoxFindings(
        threshold=threshold,
        n=len(focused),
        without_box=sum(box is None for box, _ in focused),
        mean_iou=sum(overlaps) / len(overlaps) if overlaps else None,
        raised=sum(box is not None and used > threshold for box, used in focused),
    )
    grid = ImageGrid(
        title=f"Bounding boxes from {explanation.title}",
        caption=boxes_caption(findings),
        facts={
            "images_without_box": findings.without_box,
            "raised_thresholds": findings.raised,
            "largest_box": MAX_BOX,
        },
        images=images,
        labels=labels if any(labels) else [],
    )
    return grid, overlaps


def _scaled(box: Box, factor: int) -> Box:
    left, top, right, bottom = (side * factor for side in box)
    return left, top, right, bottom


@dataclass(frozen=True, kw_only=True)
class PredictionFindings:
    """What the caption of the predictions states. correct: None where the true classes are not known."""

    n: int
    correct: int | None
    mean_confidence: float


def predictions_caption(f: PredictionFindings) -> str:
    return sentences(
        f.correct is not None
        and f"{f.correct} of {counted(f.n)} {'is' if f.n == 1 else 'are'} classified correctly.",
        f.correct is None and "The true classes are not known.",
        f"The mean confidence is {percent(f.mean_confidence)}.",
    )


def predictions_table(model: Model, selection: Selection, overlaps: list[float]) -> Table:
    """A row per image: its true class, its prediction and runner-up with their probabilities, the IoU of its box."""
    names, labels = model.classes, selection.dataset.labels
    rows = [
        [
            str(selection.dataset.ids[i]),
            names[int(labels[i])] if labels is not None else None,
            names[int(selection.prediction[i])],
            float(selection.confidence[i, 0]),
            names[int(selection.runner_up[i])],
            float(selection.confidence[i, -1]),
            overlaps[i] if overlaps else None,
        ]
        for i in range(len(selection))
    ]
    columns = [
        "image",
        "true class",
        "prediction",
        "confidence",
        "runner-up",
        "its probability",
        "IoU of boxes",
    ]
    formats = {"confidence": "{:.1%}", "its probability": "{:.1%}", "IoU of boxes": "{:.2f}"}
    filled = [i for i in range(len(columns)) if any(row[i] is not None for row in rows)]
    findings = PredictionFindings(
        n=len(selection),
        correct=selection.correct,
        mean_confidence=float(selection.confidence[:, 0].mean()),
    )
    facts = {"mean_confidence": findings.mean_confidence}
    return Table(
        title="Predictions",
        caption=predictions_caption(findings),
        facts=facts if findings.correct is None else facts | {"correct": findings.correct},
        columns=[columns[i] for i in filled],
        rows=[[row[i] for i in filled] for row in rows],
        formats={name: text for name, text in formats.items() if name in [columns[i] for i in filled]},
    )
