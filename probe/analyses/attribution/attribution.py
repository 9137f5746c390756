"""Which pixels does an answer hang on, by methods that can be held against each other?"""

import torch
from pydantic import Field
from torch import Tensor

from probe.analyses.analysis import Analysis
from probe.analyses.attribution.explanations import explain, within_means, without
from probe.analyses.attribution.selection import HELP, Selection, select
from probe.analyses.job import Job
from probe.data.images import Images
from probe.exhibits.exhibits import Exhibit, ImageGrid, Table
from probe.exhibits.heatmaps import PREDICTED_BOX, TRUE_BOX, draw_box, heatmap_scale, side_by_side
from probe.exhibits.result import Number, Result
from probe.methods.attribution.gradients import completeness_error, gradcam_layer, occlusion_grid
from probe.methods.attribution.localisation import Box, bounding_box, iou
from probe.methods.attribution.registry import METHODS, Method, Settings, chosen
from probe.model.model import Model
from probe.model.targets import UnitTargets
from probe.params import Fraction, Names


class Attribution(Analysis):
    """Which pixels does an answer hang on?"""

    name = "attribution"
    title = "Attribution"
    source = "Sundararajan et al. 2017; Smilkov et al. 2017; Zeiler and Fergus 2014; Selvaraju et al. 2017"
    quick = {
        "examples": 2,
        "steps": 4,
        "samples": 2,
        "methods": ("integrated_gradients", "gradcam", "guided_gradcam"),
    }

    methods: Names = Field(
        ("gradient_input", "integrated_gradients", "smoothgrad", "occlusion", "gradcam", "guided_gradcam"),
        description=f"which of {', '.join(METHODS)}",
    )
    target: str = Field("predicted", description=HELP)
    examples: int = Field(3, ge=1, le=32, description="images to show")
    steps: int = Field(
        0,
        ge=0,
        le=1000,
        description="points on the way of integrated gradients (0: 32, fewer where the network is dear)",
    )
    samples: int = Field(
        0, ge=0, le=1000, description="noisy copies of SmoothGrad (0: 16, fewer where the network is dear)"
    )
    noise: Fraction = Field(
        0.15, ge=0, le=1, description="SmoothGrad's noise as a share of the image's range"
    )
    window: int = Field(
        0,
        ge=0,
        le=1024,
        description="side of the occluding square (0: a sixth of the image, more where the network is dear)",
    )
    layer: str = Field("", description="layer of Grad-CAM (default: the last with maps of 4 x 4 or more)")
    baseline: Fraction = Field(
        0.0, ge=0, le=1, description="what stands for nothing in gradient x input and integrated gradients"
    )
    share: Fraction = Field(
        0.2, ge=0, lt=1, description="share of a map's maximum from which its box is drawn"
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        methods = chosen(self.methods)
        if self.layer:
            model.layers.find(self.layer)
        seed = job.seed()
        settings = Settings(
            steps=self.steps,
            samples=self.samples,
            noise=self.noise,
            window=self.window,
            layer=self.layer,
            baseline=self.baseline,
            seed=seed,
        )
        settings, tested = within_means(methods, model, settings, examples=self.examples)
        asked = select(model, images, max(self.examples, tested), self.target, seed)
        explained = explain(
            methods, model, asked, settings, job, tested=tested, what="attribution", seed=seed
        )
        asked, numbers = asked.first(self.examples), explained.numbers
        maps = {name: explained.map(name)[: len(asked)] for name in explained.pictures}
        exhibits: list[Exhibit] = []
        for name, found in maps.items():
            said = explained.verdict(name) + _told(name, model, settings)
            if name == "integrated_gradients":
                missing = completeness_error(
                    model, asked.pixels, asked.targets, found, baseline=self.baseline
                )
                numbers["completeness error"] = Number(
                    value=float(missing.median()), n=len(asked), format="{:.2%}"
                )
                said += f" Its sum misses the difference of scores by {float(missing.median()):.2%} (median)."
            exhibits.append(_triptychs(model, asked, METHODS[name], found, said))
        if len(model.classes) > 1 and not isinstance(asked.targets, UnitTargets):
            clearest = _clearest(maps)
            known = maps[clearest] if self.target == "predicted" else None
            exhibits.append(_pulled_apart(model, asked, METHODS[clearest], settings, known))
        boxed = "gradcam" if "gradcam" in maps else next(iter(maps))
        boxes = [bounding_box(heat, share=self.share) for heat in maps[boxed]]
        picture, overlaps = _boxes(asked, METHODS[boxed], boxes, self.share)
        exhibits += [picture, _table(model, asked, overlaps)]
        if overlaps:
            numbers["overlap of boxes"] = Number(
                value=sum(overlaps) / len(overlaps), n=len(overlaps), format="{:.2f}"
            )
        return Result(
            exhibits=exhibits,
            numbers=numbers,
            warnings=without(explained.left_out),
        )


def _told(name: str, model: Model, settings: Settings) -> str:
    """What a method was told, where the default depends on the model."""
    if name == "integrated_gradients":
        return f" {settings.steps} point{'' if settings.steps == 1 else 's'} on the way."
    if name == "smoothgrad":
        return f" Mean of {settings.samples} noisy cop{'y' if settings.samples == 1 else 'ies'}."
    if name == "occlusion":
        window, stride, _, _ = occlusion_grid(*model.shape[1:], window=settings.window)
        return f" Squares of {window} x {window} pixels, {stride} apart."
    if name in ("gradcam", "guided_gradcam"):
        return f" Layer: {settings.layer or gradcam_layer(model).address}."
    return ""


def _triptychs(model: Model, asked: Selection, method: Method, maps: Tensor, said: str) -> ImageGrid:
    """Image, map and overlay of every image, all maps on one scale."""
    heat = maps.float().cpu().numpy()
    sign = " Red speaks for it, blue against it." if method.kind == "signed" else ""
    scale = heatmap_scale(heat, method.kind, method.title)
    return ImageGrid(
        title=f"{method.title}: {asked.what}",
        caption=f"{said}{sign}",
        images=side_by_side(asked.faces, heat, scale),
        columns=3,
        column_headers=["image", "map", "overlay"],
        row_headers=asked.heads(model),
        scale=scale,
    )


def _clearest(maps: dict[str, Tensor]) -> str:
    """A method whose maps of two classes may be subtracted, where there is one."""
    return next(
        (name for name in maps if METHODS[name].kind == "signed" and name != "gradient_input"),
        next(iter(maps)),
    )


def _pulled_apart(
    model: Model, asked: Selection, method: Method, settings: Settings, known: Tensor | None
) -> ImageGrid:
    """What speaks for the answer, what for the runner-up, and what decides between them.

    known: the maps of the answer, where they have been made.
    """
    first = method.map(model, asked.pixels, asked.answer, settings) if known is None else known
    second = method.map(model, asked.pixels, asked.second, settings)
    columns = torch.stack([first, second, first - second], 1).float().cpu().numpy()
    scale = heatmap_scale(columns, "signed", method.title)
    shared = torch.nn.functional.cosine_similarity(first.flatten(1), second.flatten(1)).mean()
    names = [
        f"{model.classes[a]}\nnot {model.classes[b]}"
        for a, b in zip(asked.answer.tolist(), asked.second.tolist(), strict=True)
    ]
    return ImageGrid(
        title="The answer pulled apart from the runner-up",
        caption=f"{method.title} of the answer and of the runner-up have a cosine of {float(shared):z.2f}; only in the "
        "difference, last column, do pixels decide between the two: red for the answer, blue for the runner-up.",
        images=[one for face, maps in zip(asked.faces, columns, strict=True) for one in (face, *maps)],
        columns=4,
        column_headers=["image", "answer", "runner-up", "answer minus runner-up"],
        row_headers=names,
        scale=scale,
    )


def _boxes(
    asked: Selection, method: Method, boxes: list[Box | None], share: float
) -> tuple[ImageGrid, list[float]]:
    """The box from the map on every image, the true one where it is known, and their overlaps."""
    truth = asked.images.boxes
    images, labels, overlaps = [], [], []
    for i, (face, box) in enumerate(zip(asked.faces, boxes, strict=True)):
        drawn = draw_box(face, box, PREDICTED_BOX)
        label = "" if box is not None else "flat map, no box"
        if truth is not None:
            true: Box = tuple(truth[i].tolist())
            drawn = draw_box(drawn, _enlarged(true, drawn.shape[0] // face.shape[0]), TRUE_BOX)
            overlaps.append(iou(box, true) if box else 0.0)
            label = f"overlap {overlaps[-1]:.2f}" if box else label
        images.append(drawn)
        labels.append(label)
    known = (
        f" (amber) overlaps the true one (green) by {sum(overlaps) / len(overlaps):.2f} on average, intersection over union"
        if overlaps
        else " is drawn in amber; the true ones are not known for these images"
    )
    none = boxes.count(None)
    return ImageGrid(
        title=f"Boxes from {method.title}",
        caption=f"The box round the heaviest region above {share:.0%} of the map's maximum{known}."
        + (f" {none} of {len(boxes)} maps are flat and have none." if none else ""),
        images=images,
        labels=labels if any(labels) else [],
    ), overlaps


def _enlarged(box: Box, factor: int) -> Box:
    left, top, right, bottom = (side * factor for side in box)
    return left, top, right, bottom


def _table(model: Model, asked: Selection, overlaps: list[float]) -> Table:
    names, labels = model.classes, asked.images.labels
    rows = [
        [
            str(asked.images.ids[i]),
            names[int(labels[i])] if labels is not None else None,
            names[int(asked.answer[i])],
            float(asked.chance[i, 0]),
            names[int(asked.second[i])],
            float(asked.chance[i, -1]),
            overlaps[i] if overlaps else None,
        ]
        for i in range(len(asked))
    ]
    columns = ["image", "true", "answer", "probability", "runner-up", "its probability", "overlap of boxes"]
    right = (
        sum(int(labels[i]) == int(asked.answer[i]) for i in range(len(asked))) if labels is not None else None
    )
    formats = {"probability": "{:.1%}", "its probability": "{:.1%}", "overlap of boxes": "{:.2f}"}
    keep = [i for i in range(len(columns)) if any(row[i] is not None for row in rows)]
    return Table(
        title="What was answered",
        caption=(
            f"{right} of {len(asked)} are answered right."
            if right is not None
            else "The true classes are not known."
        )
        + f" The mean probability of the answer is {float(asked.chance[:, 0].mean()):.0%}.",
        columns=[columns[i] for i in keep],
        rows=[[row[i] for i in keep] for row in rows],
        formats={name: form for name, form in formats.items() if name in [columns[i] for i in keep]},
    )
