"""Do two models look at the same pixels?"""

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from probe.analyses.analysis import Analysis
from probe.analyses.attribution.explanations import explain, within_means, without
from probe.analyses.attribution.selection import HELP, Selection, select
from probe.analyses.job import Job
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Chart, ImageGrid, Line
from probe.exhibits.heatmaps import heatmap_scale
from probe.exhibits.result import Number, Result
from probe.methods.attribution.registry import METHODS, Method, Settings, chosen, macs
from probe.methods.attribution.sanity_checks import rank_correlation
from probe.model.model import Model
from probe.model.targets import Targets, UnitTargets
from probe.params import Names


class Compare(Analysis):
    """Do two models look at the same pixels?"""

    name = "compare"
    title = "Two models side by side"
    source = "Spearman 1904 (likeness of maps); the sources of each method"
    needs_compare_to = 1
    quick = {"examples": 2, "steps": 4}

    methods: Names = Field(
        ("gradient", "integrated_gradients", "gradcam"), description=f"which of {', '.join(METHODS)}"
    )
    target: str = Field(
        "predicted", description=f"{HELP}; predicted and contrast by the first model, of both"
    )
    examples: int = Field(4, ge=1, le=64, description="images to compare on")
    steps: int = Field(
        0,
        ge=0,
        le=1000,
        description="points on the way of integrated gradients (0: 32, fewer where a network is dear)",
    )
    samples: int = Field(
        0, ge=0, le=1000, description="noisy copies of SmoothGrad (0: 16, fewer where a network is dear)"
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        methods = chosen(self.methods)
        seed = job.seed()
        models = [model, *job.compare_to]
        dearest = max(models, key=macs)
        told = Settings(steps=self.steps, samples=self.samples, seed=seed)
        settings, tested = within_means(methods, dearest, told, examples=self.examples)
        asked = select(model, images, max(self.examples, tested), self.target, seed)
        for other in job.compare_to:
            _comparable(model, other, asked.targets)
        found = [
            explain(methods, one, asked, settings, job, tested=tested, what=one.name, seed=seed)
            for one in models
        ]
        asked = asked.first(self.examples)
        exhibits: list[ImageGrid | Chart] = []
        numbers: dict[str, Number] = {}
        missing: dict[str, UserError] = {}
        for method in methods:
            left_out = [one.left_out[method.name] for one in found if method.name in one.left_out]
            if left_out:
                missing[method.name] = left_out[0]
                continue
            maps = [one.map(method.name)[: len(asked)] for one in found]
            alike = [rank_correlation(maps[0], other) for other in maps[1:]]
            for other, values in zip(job.compare_to, alike, strict=True):
                numbers[f"likeness of {method.title}, {other.name}"] = Number(
                    value=float(values.mean()), n=len(asked), format="{:.2f}"
                )
            said = " ".join(
                f"On {one.name}: {result.verdict(method.name)}"
                for one, result in zip(models, found, strict=True)
            )
            exhibits.append(_pictures(method, asked, models, maps, alike, said))
        if not exhibits:
            raise next(iter(missing.values()), UserError("no attribution method was asked for"))
        return Result(
            exhibits=[*exhibits, _answers(models, asked)], numbers=numbers, warnings=without(missing)
        )


def _comparable(model: Model, other: Model, targets: Targets) -> None:
    """Refuse what cannot be asked of both."""
    if other.shape != model.shape:
        sizes = [" x ".join(map(str, one.shape)) for one in (model, other)]
        raise UserError(
            f"{model.name} takes {sizes[0]} images and {other.name} {sizes[1]}: models to compare must see the same pixels"
        )
    if isinstance(targets, UnitTargets):
        other.layers.find(targets.layer)
    elif other.classes != model.classes:
        raise UserError(
            f"{model.name} and {other.name} have different classes: the same score cannot be asked of both"
        )


def _pictures(
    method: Method,
    asked: Selection,
    models: list[Model],
    maps: list[Tensor],
    alike: list[np.ndarray],
    said: str,
) -> ImageGrid:
    """A row an image, a column a model; all maps on one scale."""
    heat = torch.stack(maps, 1).float().cpu().numpy()
    scale = heatmap_scale(heat, method.kind, method.title)
    sizes = np.abs(heat).mean((0, 2, 3))
    found = ", ".join(
        f"{values.mean():.2f} to {other.name} (from {values.min():.2f} to {values.max():.2f})"
        for other, values in zip(models[1:], alike, strict=True)
    )
    ratios = ", ".join(
        f"those of {other.name} are {size / max(float(sizes[0]), 1e-30):.2g} times as large"
        for other, size in zip(models[1:], sizes[1:], strict=True)
    )
    images = [one for face, row in zip(asked.faces, heat, strict=True) for one in (face, *row)]
    labels = [
        text
        for i in range(len(asked))
        for text in ("", "", *(f"likeness {values[i]:.2f}" for values in alike))
    ]
    return ImageGrid(
        title=f"{method.title}: {asked.what}",
        caption=f"Maps of {models[0].name} have a rank correlation of {found}; on average {ratios}. One scale for all. {said}",
        images=images,
        labels=labels,
        columns=1 + len(models),
        column_headers=["image", *(one.name for one in models)],
        row_headers=asked.heads(models[0]),
        scale=scale,
    )


def _answers(models: list[Model], asked: Selection) -> Chart:
    """What each model thinks of the first one's answer."""
    with torch.inference_mode():
        chance = [
            one.logits(asked.pixels).softmax(1).gather(1, asked.answer[:, None])[:, 0].float().cpu().numpy()
            for one in models
        ]
    same = [
        f"{other.name} gives it {float(values.mean()):.0%}"
        for other, values in zip(models[1:], chance[1:], strict=True)
    ]
    return Chart(
        title="How sure each model is of the first one's answer",
        caption=f"{models[0].name} gives its answer a mean probability of {float(chance[0].mean()):.0%}, {', '.join(same)}.",
        kind="bar",
        lines=[
            Line(name=one.name, x=np.arange(len(asked)), y=values)
            for one, values in zip(models, chance, strict=True)
        ],
        ticks=asked.heads(models[0]),
        x_label="image",
        y_label="probability",
        y_range=(0.0, 1.0),
    )
