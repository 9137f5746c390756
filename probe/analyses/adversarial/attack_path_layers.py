"""How far does each layer move under an attack, and where does the answer turn?"""

import numpy as np
import torch
from torch import Tensor

from probe.exhibits.exhibits import Chart, Exhibit, Line
from probe.exhibits.wording import counted
from probe.methods.adversarial.activation_shift import movement, turned
from probe.model.model import Model


def layers_chart(
    model: Model, addresses: list[str], before: Tensor, after: Tensor, noised: Tensor, size: int
) -> Chart:
    """How far each layer moves: under the attack, and under noise of the same size."""
    moved: dict[str, dict[str, list[Tensor]]] = {"attack": {}, "noise": {}}
    for part in torch.arange(len(before)).split(size):
        for name, other in (("attack", after), ("noise", noised)):
            for address, found in movement(model, before[part], other[part], addresses).items():
                moved[name].setdefault(address, []).append(torch.stack([found.distance, found.cosine]))
    x, lines, middle = np.arange(len(addresses), dtype=float), [], {}
    for k, what in enumerate(("relative distance", "cosine")):
        for name, by_layer in moved.items():
            values = np.stack([torch.cat(by_layer[a], 1)[k].cpu().numpy() for a in addresses])
            low, mid, high = np.quantile(values, (0.25, 0.5, 0.75), axis=1)
            middle[name, what] = mid
            lines.append(Line(name=f"{what}, {name}", x=x, y=mid, low=low, high=high, dashed=name == "noise"))
    attack, chance = (middle[name, "relative distance"] for name in ("attack", "noise"))
    return Chart(
        title="How far each layer moves",
        caption=f"The attack moves {addresses[0]} by {attack[0]:.0%} of its length and {addresses[-1]} by {attack[-1]:.0%}, where noise "
        f"of the same L2 norm moves them by {chance[0]:.0%} and {chance[-1]:.0%}; the cosine of the last is "
        f"{middle['attack', 'cosine'][-1]:.2f}. Medians and quartiles of {counted(len(before))}.",
        lines=lines,
        x_label="layer",
        y_label="relative L2 distance, cosine",
        ticks=addresses,
    )


def turning_chart(
    model: Model, after: Tensor, source: Tensor, goal: Tensor, means: dict[str, Tensor], count: Tensor, addresses: list[str],
) -> list[Exhibit]:  # fmt: skip
    """At which layer are attacked images nearer to those of the new class than of the old one?"""
    known = ((source != goal) & (count[goal] > 0)).nonzero()[:, 0]
    if not len(known):
        return []
    shares = []
    parts = [turned(model, after[p], source[p], goal[p], means) for p in known.split(model.batch())]
    for address in addresses:
        shares.append(float(torch.cat([part[address] for part in parts]).float().mean()))
    most = next((k for k, share in enumerate(shares) if share > 0.5), None)
    finding = (
        f"In {addresses[most]} for the first time most attacked images ({shares[most]:.0%}) are nearer to the mean of the new class "
        if most is not None
        else f"In no layer are most attacked images nearer to the mean of the new class (at most {max(shares):.0%}) "
    )
    return [
        Chart(
            title="Where the answer turns",
            caption=finding + f"than to that of the old one; in {addresses[0]} it is {shares[0]:.0%}, in {addresses[-1]} {shares[-1]:.0%} "
            f"of {len(known)}.",
            lines=[Line(name="nearer to the new class", x=np.arange(len(shares), dtype=float), y=np.array(shares))],
            x_label="layer",
            y_label="share of the attacked images",
            y_range=(0, 1),
            ticks=addresses,
        )
    ]  # fmt: skip
