"""What in an image runs back from an answer: by gradient, deconvnet and guided backprop."""

from typing import Literal

import numpy as np
import torch
from pydantic import Field

from probe.analyses.analysis import Analysis, Job
from probe.analyses.parts.asked import HELP, Asked, ask
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Array, Exhibit, Pictures, Scale
from probe.exhibits.maps import signed_pictures
from probe.exhibits.result import Number, Result
from probe.methods.backward import RULES, NoRelu, Rule, backward_picture
from probe.methods.explainers import METHODS, Settings, flat
from probe.methods.randomisation import BLIND, memory_test, verdict
from probe.methods.randomisation import likeness as alike
from probe.subject.subject import Subject


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

    def run(self, subject: Subject, images: Images, job: Job) -> Result:
        seed = int(torch.randint(2**31, (1,), generator=job.rng))
        asked = ask(subject, images, self.examples, self.target, seed)
        pictures: dict[Rule, Array] = {}
        likeness: dict[str, float] = {}
        same: dict[Rule, float] = {}
        warnings: list[str] = []
        rules: tuple[Rule, ...] = RULES if self.rule == "all" else (self.rule,)
        for rule in job.progress(rules, "backprop"):
            try:
                found = backward_picture(subject, asked.pixels, asked.targets, rule=rule)
            except UserError as error:
                if self.rule != "all":
                    raise
                if isinstance(error, NoRelu):
                    warnings.append(
                        f"There is no ReLU in {subject.name} on the way to {asked.what}: "
                        "deconvnet and guided backprop would show the gradient, so the gradient alone is shown."
                    )
                    break
                warnings.append(f"{METHODS[rule].title} is left out: {error}.")
                continue
            pictures[rule] = found.permute(0, 2, 3, 1).cpu().numpy()
            heat = flat(found, "magnitude")
            likeness |= memory_test({str(rule): heat}, subject, asked.pixels, asked.targets, Settings(), seed)
            if len(asked) > 1:
                others = backward_picture(subject, asked.pixels.roll(1, 0), asked.targets, rule=rule)
                same[rule] = float(alike(heat, flat(others, "magnitude")).mean())
        numbers = {
            f"likeness after randomisation, {rule}": Number(value=value, n=len(asked), format="{:.2f}")
            for rule, value in likeness.items()
        }
        return Result(
            exhibits=[_grid(subject, asked, pictures, likeness, same)],
            numbers=numbers,
            warnings=warnings,
        )


def _grid(
    subject: Subject,
    asked: Asked,
    pictures: dict[Rule, Array],
    likeness: dict[str, float],
    same: dict[Rule, float],
) -> Exhibit:
    """A row an image, a column a rule; each rule on a scale of its own, the same for every image."""
    limits = {rule: float(np.quantile(np.abs(found), 0.998)) or 1.0 for rule, found in pictures.items()}
    colour = subject.shape[0] == 3
    shown = {
        rule: signed_pictures(found, limits[rule]) if colour else np.clip(found[..., 0] / limits[rule], -1, 1)
        for rule, found in pictures.items()
    }
    tests = " ".join(verdict(METHODS[rule].title, likeness[rule]) for rule in pictures)
    tests += "".join(
        f" {METHODS[rule].title} is blind to the image: for the same question two images give pictures {value:.2f} alike."
        for rule, value in same.items()
        if value > BLIND
    )
    return Pictures(
        title=f"What runs back from {asked.what}",
        caption=f"{tests} {_agreement(pictures)}Grey is 0, full colour is "
        + ", ".join(f"{limits[rule]:.3g} ({rule})" for rule in pictures)
        + " score per unit of pixel value.",
        images=[
            one for i, face in enumerate(asked.faces) for one in (face, *(shown[rule][i] for rule in shown))
        ],
        columns=1 + len(pictures),
        column_heads=["image", *(METHODS[rule].title for rule in pictures)],
        row_heads=asked.heads(subject),
        scale=None
        if colour
        else Scale(low=-1, high=1, kind="diverging", label="share of the rule's full colour"),
    )


def _agreement(pictures: dict[Rule, Array]) -> str:
    """How near the other rules come to the gradient."""
    if "gradient" not in pictures or len(pictures) == 1:
        return ""
    plain = pictures["gradient"].ravel()
    parts = [
        f"{float(plain @ found.ravel() / max(np.linalg.norm(plain) * np.linalg.norm(found), 1e-30)):.2f} ({rule})"
        for rule, found in pictures.items()
        if rule != "gradient"
    ]
    return f"Cosine of the angle to the gradient: {', '.join(parts)}. "
