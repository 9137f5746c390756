"""What does the answer hang on before and after an attack, and how fine is the change?"""

import numpy as np
from scipy.stats import spearmanr
from torch import Tensor

from probe.exhibits.exhibits import Chart, ImageGrid, Line, Scale
from probe.exhibits.wording import counted, format_eps
from probe.methods.adversarial.activation_shift import spectrum
from probe.methods.adversarial.evaluate import Evaluation
from probe.methods.attribution.registry import METHODS, Settings, reduce_channels
from probe.model.model import Model


def attribution_pictures(
    model: Model, name: str, before: Tensor, after: Tensor, source: Tensor, goal: Tensor,
    outcome: Evaluation, rows: Tensor, examples: int,
) -> tuple[float, ImageGrid]:  # fmt: skip
    """The attribution of the answer before and after, and the mean rank correlation of the two."""
    n = min(examples, len(rows))
    method, settings = METHODS[name], Settings()
    maps = [
        reduce_channels(method.picture(model, p[:n], own[:n], settings), method.kind).detach().cpu().numpy()
        for p, own in ((before, source), (after, goal), (after, source))
    ]
    alike = [[_rank(maps[0][k], other[k]) for k in range(n)] for other in maps[1:]]
    images, labels = [], []
    for k in range(n):
        # One scale an image, so that before and after may be compared; the colours are those of the exhibit.
        reach = max(float(np.abs(m[k]).max()) for m in maps) or 1.0
        images += [
            _picture(before[k]),
            maps[0][k] / reach,
            _picture(after[k]),
            maps[1][k] / reach,
            maps[2][k] / reach,
        ]
        old, new = model.classes[int(source[k])], model.classes[int(goal[k])]
        row = int(rows[k])
        labels += [
            f"{old} ({float(outcome.clean_confidence[row]):.1%})", f"for {old}", f"{new} ({float(outcome.confidence[row]):.1%})",
            f"for {new}, {alike[0][k]:.2f}", f"for {old}, {alike[1][k]:.2f}",
        ]  # fmt: skip
    kind = "diverging" if method.kind == "signed" else "sequential"
    mean = float(np.mean(alike[0]))
    return mean, ImageGrid(
        title="What the answer hangs on, before and after",
        caption=f"{method.title} of {counted(n)} before and after. The rank correlation of the map for the new answer with that for the old "
        f"one is {mean:.2f}; for the old class on the attacked image it is {float(np.mean(alike[1])):.2f}. One scale an image.",
        images=images,
        labels=labels,
        columns=5,
        column_headers=["image", "before", "attacked", "new answer", "old class"],
        scale=Scale(low=-1 if kind == "diverging" else 0, high=1, kind=kind, label="of the largest value"),
    )


def spectrum_chart(before: Tensor, after: Tensor, noised: Tensor, eps: float) -> Chart:
    """Is the change coarse or fine?"""
    lines, high = [], {}
    for name, picture, dashed in (
        ("change by the attack", after - before, False),
        ("noise of the same norm", noised - before, True),
        ("the images", before, False),
    ):
        frequency, shares = spectrum(picture)
        high[name] = float(shares[frequency > 0.25].sum())
        lines.append(Line(name=name, x=frequency, y=shares, dashed=dashed))
    values = list(high.values())
    return Chart(
        title="How fine the change is",
        caption=f"Above half of the highest frequency lie {values[0]:.0%} of the energy of the change, {values[1]:.0%} of the noise's and "
        f"{values[2]:.0%} of the images' ({counted(len(before))} at eps {format_eps(eps)}).",
        lines=lines,
        x_label="spatial frequency, cycles a pixel (the last point: 0.5 and above)",
        y_label="share of the energy",
    )


def _picture(pixels: Tensor) -> np.ndarray:
    return pixels.permute(1, 2, 0).cpu().numpy()


def _rank(a: np.ndarray, b: np.ndarray) -> float:
    return float(spearmanr(a.ravel(), b.ravel()).statistic) if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0
