"""The exhibit of `backprop`: signed attributions in colour, a column for each backward rule."""

from dataclasses import dataclass

import numpy as np

from probe.analyses.attribution.attribution_exhibits import full_colour
from probe.analyses.attribution.explanations import Explanation
from probe.analyses.attribution.randomisation_captions import (
    RANDOMISATION_FACTS,
    blank_facts,
    randomisation_verdict,
)
from probe.analyses.attribution.selection import Selection
from probe.exhibits.exhibits import Array, ImageGrid, Scale
from probe.exhibits.heatmaps import QUANTILE, in_full_colours, signed_images
from probe.exhibits.wording import listed, sentences, unsigned
from probe.methods.attribution.sanity_checks import RandomisationResult
from probe.model.model import Model

INDEPENDENT = 0.9
"""Maps of two images for the same target that are more similar than this do not depend on the image."""


@dataclass(frozen=True, kw_only=True)
class RuleFindings:
    """What the caption states of one rule.

    limits: (n,) the values of full colour, one for each image. cosine: with the gradient, None for the gradient itself
    and without it. other_image: similarity to the maps of another image for the same target, None where there is one
    image.
    """

    title: str
    randomisation: RandomisationResult
    limits: tuple[float, ...]
    cosine: float | None = None
    other_image: float | None = None


def backprop_caption(rules: list[RuleFindings]) -> str:
    cosines = [
        f"{unsigned(f'{rule.cosine:.2f}')} ({rule.title})" for rule in rules if rule.cosine is not None
    ]
    return sentences(
        *(randomisation_verdict(rule.title, rule.randomisation) for rule in rules),
        *(
            f"{rule.title} does not depend on the image: for the same target the maps of two images have a rank "
            f"correlation of {rule.other_image:.2f}."
            for rule in rules
            if rule.other_image is not None and rule.other_image > INDEPENDENT
        ),
        cosines and f"Cosine similarity to the gradient: {listed(cosines)}.",
        f"Grey is 0; each picture has full colour at the {QUANTILE:.0%} quantile of its own magnitudes, printed below it in "
        "units of the score per pixel value.",
        any(limit == 0 for rule in rules for limit in rule.limits) and "Blank pictures are zero everywhere.",
    )


def backprop_exhibit(
    model: Model, selection: Selection, explanations: list[Explanation], other_image: list[float | None]
) -> ImageGrid:
    """A row per image, a column per rule; each picture on a scale of its own."""
    attributions = [
        explanation.attributions.permute(0, 2, 3, 1).float().cpu().numpy() for explanation in explanations
    ]
    scaled = [in_full_colours(values) for values in attributions]
    colour = model.shape[0] == 3
    columns = [signed_images(values) if colour else np.clip(values[..., 0], -1, 1) for values, _ in scaled]
    gradient = next((a for e, a in zip(explanations, attributions, strict=True) if e.key == "gradient"), None)
    findings = [
        RuleFindings(
            title=explanation.title,
            randomisation=explanation.randomisation,
            limits=tuple(limits.tolist()),
            cosine=None if gradient is None or explanation.key == "gradient" else _cosine(gradient, values),
            other_image=other_image[i],
        )
        for i, (explanation, values, (_, limits)) in enumerate(
            zip(explanations, attributions, scaled, strict=True)
        )
    ]
    return ImageGrid(
        title=f"Backpropagation from {selection.description}",
        caption=backprop_caption(findings),
        facts=RANDOMISATION_FACTS | _facts(explanations, findings),
        images=[
            part
            for i, image in enumerate(selection.images)
            for part in (image, *(column[i] for column in columns))
        ],
        labels=[
            text
            for i in range(len(selection))
            for text in ("", *(full_colour(limits[i]) for _, limits in scaled))
        ],
        columns=1 + len(columns),
        column_headers=["image", *(explanation.title for explanation in explanations)],
        row_headers=selection.headers(model),
        scale=None if colour else Scale(low=-1, high=1, kind="diverging", label="fraction of full colour"),
    )


def _facts(explanations: list[Explanation], findings: list[RuleFindings]) -> dict[str, float]:
    facts: dict[str, float] = {"full_colour_quantile": QUANTILE}
    for explanation, rule in zip(explanations, findings, strict=True):
        facts |= blank_facts(explanation.key, explanation.randomisation)
        values = {"cosine": rule.cosine, "other_image_similarity": rule.other_image}
        facts |= {f"{name}_{explanation.key}": value for name, value in values.items() if value is not None}
    return facts


def _cosine(a: Array, b: Array) -> float:
    return float(a.ravel() @ b.ravel() / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30))
