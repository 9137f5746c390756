"""Attribution before and after an attack, and the spatial frequencies of the perturbation."""

import numpy as np
from torch import Tensor

from probe.analyses.adversarial.attack_path_captions import (
    AttributionFindings,
    SpectrumFindings,
    attribution_caption,
    spectrum_caption,
)
from probe.analyses.adversarial.attack_path_pairs import Pairs
from probe.exhibits.exhibits import Chart, ImageGrid, Line, Scale, facts_of
from probe.methods.adversarial.activation_shift import radial_spectrum
from probe.methods.attribution.method import AttributionMethod
from probe.model.model import Model


def attribution_grid(
    model: Model, method: AttributionMethod, pairs: Pairs, examples: int
) -> tuple[float, ImageGrid]:
    """The attribution of the prediction before and after, and the mean rank correlation of the two."""
    n = min(examples, len(pairs))
    maps = [
        method.map(model, pixels[:n], classes[:n]).detach().cpu().numpy()
        for pixels, classes in (
            (pairs.before, pairs.source),
            (pairs.after, pairs.target),
            (pairs.after, pairs.source),
        )
    ]
    before, after, original = maps
    correlations = [[_rank_correlation(before[k], other[k]) for k in range(n)] for other in (after, original)]
    images, labels = [], []
    for k in range(n):
        # One scale an image, so that its maps can be compared.
        largest = max(float(np.abs(m[k]).max()) for m in maps) or 1.0
        images += [_image(pairs.before[k]), before[k] / largest, _image(pairs.after[k]), after[k] / largest,
                   original[k] / largest]  # fmt: skip
        source, target = (model.classes[int(classes[k])] for classes in (pairs.source, pairs.target))
        labels += [
            f"{source} ({float(pairs.source_confidence[k]):.1%})",
            f"for {source}",
            f"{target} ({float(pairs.target_confidence[k]):.1%})",
            f"for {target}, {correlations[0][k]:.2f}",
            f"for {source}, {correlations[1][k]:.2f}",
        ]
    findings = AttributionFindings(
        n=n,
        method=method.title,
        predictions=float(np.mean(correlations[0])),
        original_class=float(np.mean(correlations[1])),
    )
    signed = method.kind == "signed"
    return findings.predictions, ImageGrid(
        title="Attribution before and after the attack",
        caption=attribution_caption(findings),
        facts=facts_of(findings),
        images=images,
        labels=labels,
        columns=5,
        column_headers=["image", "attribution", "adversarial", "attribution", "original class"],
        scale=Scale(
            low=-1 if signed else 0,
            high=1,
            kind="diverging" if signed else "sequential",
            label="of the largest value",
        ),
    )


def spectrum_chart(pairs: Pairs) -> Chart:
    """Is the perturbation coarse or fine?"""
    lines, above = [], []
    for name, images, dashed in (
        ("perturbation", pairs.after - pairs.before, False),
        ("noise of the same norm", pairs.noisy - pairs.before, True),
        ("images", pairs.before, False),
    ):
        frequency, energy = radial_spectrum(images)
        above.append(float(energy[frequency > 0.25].sum()))
        lines.append(Line(name=name, x=frequency, y=energy, dashed=dashed))
    attack, noise, clean = above
    findings = SpectrumFindings(n=len(pairs), attack=attack, noise=noise, images=clean)
    return Chart(
        title="Spatial frequencies of the perturbation",
        caption=spectrum_caption(findings),
        facts=facts_of(findings),
        lines=lines,
        x_label="spatial frequency, cycles per pixel (last point: 0.5 and above)",
        y_label="proportion of the energy",
    )


def _image(pixels: Tensor) -> np.ndarray:
    return pixels.permute(1, 2, 0).cpu().numpy()


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.stats import spearmanr  # not at the top: its import adds filters of warnings

    return float(spearmanr(a.ravel(), b.ravel()).statistic) if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0
