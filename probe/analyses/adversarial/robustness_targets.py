"""Can an image be led to a class that is chosen, and what does it look like on the way?"""

import numpy as np
import torch

from probe.data.images import Images
from probe.exhibits.exhibits import Exhibit, ImageGrid, Matrix, Scale
from probe.exhibits.wording import format_eps
from probe.methods.adversarial.criteria import predict
from probe.methods.adversarial.norms import perturbation_norm
from probe.methods.adversarial.score_ascent import ascend_class_score
from probe.methods.adversarial.suite import Arrays
from probe.model.model import Model

_CLIMBED = 5


def target_matrix(
    flows: list[Arrays], targets: list[int], classes: tuple[str, ...], eps: float, steps: int
) -> list[Exhibit]:
    """How often an image of one class can be led to another."""
    values = np.full((len(targets), len(targets)), np.nan, dtype=np.float32)
    for column, flow in enumerate(flows):
        for row, c in enumerate(targets):
            of = flow["success"][flow["label"] == c]
            if len(of):
                values[row, column] = of.mean()
    if not np.isfinite(values).any():
        return []
    hits, tries = (
        sum(int(v) for v in counts)
        for counts in ((f["success"].sum() for f in flows), (len(f["label"]) for f in flows))
    )
    easiest, by_target = (
        int(np.nanargmax(values)),
        np.array([np.nanmean(c) if np.isfinite(c).any() else np.nan for c in values.T]),
    )
    a, b = divmod(easiest, len(targets))
    return [
        Matrix(
            title="Can an image be led to a chosen class?",
            caption=f"PGD of {steps} steps at eps {format_eps(eps)} reaches the chosen class in {hits} of {tries} tries ({hits / tries:.0%})"
            + (
                f"; easiest is {classes[targets[a]]} to {classes[targets[b]]} ({values[a, b]:.0%}), hardest to reach "
                f"{classes[targets[int(np.nanargmin(by_target))]]} ({np.nanmin(by_target):.0%})."
                if np.nanmin(values) < np.nanmax(values)
                else "."
            ),
            values=values,
            row_labels=[classes[c] for c in targets],
            column_labels=[classes[c] for c in targets],
            row_title="true class",
            column_title="chosen class",
            format="{:.0%}",
            scale=Scale(low=0, high=1, kind="sequential", label="reached"),
        )
    ]


def ascent_pictures(
    model: Model, images: Images, table: Arrays, targets: list[int], steps: int, seed: int
) -> ImageGrid:
    """Where climbing the score of a class leads, from an image and from noise."""
    chosen = torch.tensor(targets[:_CLIMBED], device=model.device)
    row = int(table["right"].argmax())
    image = images.select([row]).pixels(model.device)
    draw = torch.rand(image.shape, generator=torch.Generator().manual_seed(seed)).to(image)
    begin = torch.cat([image.expand(len(chosen), -1, -1, -1), draw.expand(len(chosen), -1, -1, -1)])
    climbed = ascend_class_score(model, begin, chosen.repeat(2), steps=5 * steps, confidence=0.95)
    moved = perturbation_norm(climbed.pixels - begin, "l2").tolist()
    sure = climbed.probability[-1].tolist()
    said = model.classes[int(predict(model, image).argmax())]
    grid, labels = [], []
    for half, (start, name) in enumerate(((image, said), (draw, "noise"))):
        grid.append(start[0].permute(1, 2, 0).cpu().numpy())
        labels.append(name)
        for k, c in enumerate(chosen.tolist()):
            at = half * len(chosen) + k
            grid.append(climbed.pixels[at].permute(1, 2, 0).cpu().numpy())
            labels.append(f"{model.classes[c]} ({sure[at]:.0%}), L2 {moved[at]:.1f}")
    reached = sum(p >= 0.95 for p in sure)
    return ImageGrid(
        title="Climbing the score of a class",
        caption=f"{reached} of {len(sure)} climbs reach 95 %: from an image of {said} after a change of L2 norm "
        f"{np.median(moved[: len(chosen)]):.1f}, from noise after {np.median(moved[len(chosen) :]):.1f} (medians). "
        "The more robust the network, the longer the climb and the more of the class is to be seen.",
        images=grid,
        labels=labels,
        columns=1 + len(chosen),
        column_headers=["start", *(model.classes[c] for c in chosen.tolist())],
        row_headers=["image", "noise"],
    )
