"""What in an image runs back from an answer: by gradient, deconvnet and guided backprop."""

from typing import Literal

import numpy as np
from pydantic import Field

from probe.analyses.analysis import Analysis
from probe.analyses.attribution.explanations import Explanations, explain, within_means, without
from probe.analyses.attribution.selection import HELP, Selection, select
from probe.analyses.job import Job
from probe.data.images import Images
from probe.exhibits.exhibits import Array, Exhibit, ImageGrid, Scale
from probe.exhibits.heatmaps import signed_images
from probe.exhibits.result import Result
from probe.methods.attribution.registry import METHODS, Settings
from probe.methods.attribution.relu_rules import RULES, NoRelu, Rule
from probe.methods.attribution.sanity_checks import BLIND, rank_correlation
from probe.model.model import Model


class Backprop(Analysis):
    """What in an image runs back from an answer, a channel or a unit?"""

    name = "backprop"
    title = "Backward pictures"
    source = "Simonyan et al. 2014; Zeiler and Fergus 2014; Springenberg et al. 2015, arXiv 1412.6806"
    quick = {"examples": 2}

    rule: Literal["all", "gradient", "deconvnet", "guided"] = Field(
        "all", description="what a ReLU does on the way back; all puts the three side by side"
    )
    target: str = Field("predicted", description=HELP)
    examples: int = Field(4, ge=1, le=32, description="images to show")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        seed = job.seed()
        rules: tuple[Rule, ...] = RULES if self.rule == "all" else (self.rule,)
        methods = [METHODS[rule] for rule in rules]
        settings, tested = within_means(methods, model, Settings(), examples=self.examples)
        asked = select(model, images, max(self.examples, tested), self.target, seed)
        found = explain(methods, model, asked, settings, job, tested=tested, what="backprop", seed=seed)
        shown = asked.first(self.examples)
        warnings: list[str] = []
        if any(isinstance(why, NoRelu) for why in found.left_out.values()):
            warnings.append(
                f"There is no ReLU in {model.name} on the way to {asked.what}: "
                "deconvnet and guided backprop would show the gradient, so the gradient alone is shown."
            )
        else:
            warnings += without(found.left_out)
        same = {rule: _sameness(found, rule, model, asked) for rule in found.pictures if len(asked) > 1}
        return Result(exhibits=[_grid(model, shown, found, same)], numbers=found.numbers, warnings=warnings)


def _sameness(found: Explanations, rule: str, model: Model, asked: Selection) -> float:
    """How alike the maps are that two images give for the same question."""
    others = METHODS[rule].map(model, asked.pixels.roll(1, 0), asked.targets, Settings())
    return float(rank_correlation(found.map(rule), others).mean())


def _grid(model: Model, asked: Selection, found: Explanations, same: dict[str, float]) -> Exhibit:
    """A row an image, a column a rule; each rule on a scale of its own, the same for every image."""
    pictures = {
        rule: picture[: len(asked)].permute(0, 2, 3, 1).cpu().numpy()
        for rule, picture in found.pictures.items()
    }
    limits = {rule: float(np.quantile(np.abs(picture), 0.998)) or 1.0 for rule, picture in pictures.items()}
    colour = model.shape[0] == 3
    shown = {
        rule: signed_images(picture, limits[rule])
        if colour
        else np.clip(picture[..., 0] / limits[rule], -1, 1)
        for rule, picture in pictures.items()
    }
    tests = " ".join(found.verdict(rule) for rule in pictures)
    tests += "".join(
        f" {METHODS[rule].title} is blind to the image: for the same question two images give pictures {value:.2f} alike."
        for rule, value in same.items()
        if value > BLIND
    )
    return ImageGrid(
        title=f"What runs back from {asked.what}",
        caption=f"{tests} {_agreement(pictures)}Grey is 0, full colour is "
        + ", ".join(f"{limits[rule]:.3g} ({rule})" for rule in pictures)
        + " score per unit of pixel value.",
        images=[
            one for i, face in enumerate(asked.faces) for one in (face, *(shown[rule][i] for rule in shown))
        ],
        columns=1 + len(pictures),
        column_headers=["image", *(METHODS[rule].title for rule in pictures)],
        row_headers=asked.heads(model),
        scale=None
        if colour
        else Scale(low=-1, high=1, kind="diverging", label="share of the rule's full colour"),
    )


def _agreement(pictures: dict[str, Array]) -> str:
    """How near the other rules come to the gradient."""
    if "gradient" not in pictures or len(pictures) == 1:
        return ""
    plain = pictures["gradient"].ravel()
    parts = [
        f"{float(plain @ found.ravel() / max(np.linalg.norm(plain) * np.linalg.norm(found), 1e-30)):z.2f} ({rule})"
        for rule, found in pictures.items()
        if rule != "gradient"
    ]
    return f"Cosine of the angle to the gradient: {', '.join(parts)}. "
