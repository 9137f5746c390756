"""How far an attack shifts each layer's activations, and the layer in which images cross to the new class."""

import numpy as np
import torch
from torch import Tensor

from probe.analyses.adversarial.attack_path_captions import (
    ClassChangeFindings,
    ShiftFindings,
    class_change_caption,
    shift_caption,
)
from probe.analyses.adversarial.attack_path_pairs import Pairs
from probe.exhibits.exhibits import Chart, Exhibit, Line, facts_of
from probe.methods.adversarial.activation_shift import activation_shifts, nearer_to_target
from probe.model.model import Model


def shift_chart(model: Model, addresses: list[str], pairs: Pairs) -> Chart:
    """The shift of each layer's activations under the attack, and under noise of the same norm."""
    x, lines, medians = np.arange(len(addresses), dtype=float), [], {}
    shifts = {
        name: _shifts(model, addresses, pairs.before, changed, pairs.batch)
        for name, changed in (("attack", pairs.after), ("noise", pairs.noisy))
    }
    for k, quantity in enumerate(("relative distance", "cosine")):
        for name, values in shifts.items():
            low, middle, high = np.quantile(values[:, k], (0.25, 0.5, 0.75), axis=1)
            medians[name, quantity] = middle
            lines.append(
                Line(name=f"{quantity}, {name}", x=x, y=middle, low=low, high=high, dashed=name == "noise")
            )
    attack, noise = (medians[name, "relative distance"] for name in ("attack", "noise"))
    findings = ShiftFindings(
        n=len(pairs),
        layers=(addresses[0], addresses[-1]),
        attack=(attack[0], attack[-1]),
        noise=(noise[0], noise[-1]),
        cosine=medians["attack", "cosine"][-1],
    )
    return Chart(
        title="Activation shift by layer",
        caption=shift_caption(findings),
        facts=facts_of(findings),
        lines=lines,
        x_label="layer",
        y_label="relative L2 distance, cosine similarity",
        ticks=addresses,
    )


def _shifts(model: Model, addresses: list[str], before: Tensor, after: Tensor, batch: int) -> np.ndarray:
    """(layers, 2, n): relative distance and cosine similarity of each layer and image."""
    parts = []
    for rows in torch.arange(len(before)).split(batch):
        shifts = activation_shifts(model, before[rows], after[rows], addresses)
        parts.append(torch.stack([torch.stack([shifts[a].distance, shifts[a].cosine]) for a in addresses]))
    return torch.cat(parts, 2).cpu().numpy()


def class_change_chart(
    model: Model, addresses: list[str], pairs: Pairs, means: dict[str, Tensor], count: Tensor
) -> list[Exhibit]:
    """In which layer are adversarial images nearer to the mean of the new class than to that of the original one?

    means, count: as from `class_means`. Empty where no image has a new class whose mean is known.
    """
    rows = ((pairs.source != pairs.target) & (count[pairs.target] > 0)).nonzero()[:, 0]
    if not len(rows):
        return []
    parts = [
        nearer_to_target(model, pairs.after[part], pairs.source[part], pairs.target[part], means)
        for part in rows.split(model.batch())
    ]
    proportions = [
        float(torch.cat([part[address] for part in parts]).float().mean()) for address in addresses
    ]
    findings = ClassChangeFindings(n=len(rows), layers=tuple(addresses), proportions=tuple(proportions))
    return [
        Chart(
            title="Nearest class mean by layer",
            caption=class_change_caption(findings),
            facts=facts_of(findings),
            lines=[
                Line(
                    name="nearer to the new class",
                    x=np.arange(len(proportions), dtype=float),
                    y=np.array(proportions),
                )
            ],
            x_label="layer",
            y_label="proportion of the adversarial images",
            y_range=(0, 1),
            ticks=addresses,
        )
    ]
