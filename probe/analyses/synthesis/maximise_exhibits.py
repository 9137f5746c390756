"""What the pictures of an ascent show, said in exhibits, numbers and warnings."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from probe.data.images import Images
from probe.exhibits.exhibits import Cell, Chart, Exhibit, ImageGrid, Line, Table
from probe.exhibits.result import Number, Result
from probe.methods.synthesis.evaluation import N_TRANSFORMS
from probe.methods.synthesis.objectives import LOGITS
from probe.methods.synthesis.optimise import activations
from probe.model.model import Model


class Asked(Protocol):
    """What was asked for: the parameters of the analysis."""

    @property
    def layer(self) -> str: ...

    @property
    def steps(self) -> int: ...

    @property
    def canvas(self) -> str: ...


class Found:
    """What an ascent came to, said in exhibits, numbers and warnings."""

    def __init__(
        self,
        asked: Asked,
        model: Model,
        layer: str,
        names: list[str],
        units: Tensor,
        pixels: Tensor,
        best: Tensor,
        dead: Tensor,
    ) -> None:
        self.asked, self.model, self.layer, self.names = asked, model, layer, names
        self.units, self.pixels, self.best, self.dead = units, pixels, best, dead
        with torch.inference_mode():
            answer = activations(model, pixels, [layer])[layer].float().cpu()
        self.answer = answer.flatten(2).mean(2) if answer.ndim > 2 else answer
        self.values = self.answer[torch.arange(len(units)), units]
        self.beats = self.values >= best

    def classes(self, fresh: Tensor) -> Result:
        own = self.answer.softmax(1)[torch.arange(len(self.units)), self.units]
        labels = [
            f"{name}\n{p:.2f}, moved {moved:.2f}"
            for name, p, moved in zip(self.names, own.tolist(), fresh.tolist(), strict=True)
        ]
        weakest = int(fresh.argmin())
        caption = (
            f"{'Pictures' if len(own) > 1 else 'A picture'} made to raise one class{' each' if len(own) > 1 else ''}, by "
            f"{self.asked.steps} steps from a faint random start"
            f"{self._ground()}. {self._surely(own, fresh, weakest)} They show what is enough for an answer, not what the "
            "class looks like to us."
        )
        rows: list[list[Cell]] = [
            [name, value, best, p, moved]
            for name, value, best, p, moved in zip(
                self.names,
                self.values.tolist(),
                self.best.tolist(),
                own.tolist(),
                fresh.tolist(),
                strict=True,
            )
        ]
        head = ["class", "logit", "largest in the data", "probability", f"mean of {N_TRANSFORMS} moved"]
        exhibits: list[Exhibit] = [
            self._pictures("What raises each class", caption, labels),
            self._table(head, rows),
        ]
        numbers = {
            "class probability (least)": Number(value=float(own.min()), n=len(own), format="{:.3f}"),
            f"mean probability when moved (least of {len(own)})": Number(
                value=float(fresh.min()), n=N_TRANSFORMS, format="{:.3f}"
            ),
            "share beyond the data": self._share(),
        }
        warnings = self._warnings()
        low = [self.names[i] for i in ((own < 0.99) & self.beats).nonzero()[:, 0].tolist()]
        if low:
            warnings.append(
                f"The network is less than 99 % sure of {_listed(low)}: more steps or smaller moves may help, or it is never so "
                "sure."
            )
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)

    def channels(self) -> Result:
        top = self.answer.argmax(1) == self.units
        labels = [
            f"{name}\n{value:.3g} ({best:.3g})"
            for name, value, best in zip(self.names, self.values.tolist(), self.best.tolist(), strict=True)
        ]
        where = self.layer
        if self.asked.layer != self.layer:
            where = f"{self.layer} (which feeds {self.asked.layer})"
        caption = (
            f"{'Pictures' if len(self.units) > 1 else 'A picture'} made to raise the mean of one channel of {where}"
            f"{' each' if len(self.units) > 1 else ''}, by {self.asked.steps} steps from a faint "
            f"random start{self._ground()}. Below each its value and, in brackets, the largest over the data: "
            f"{int(self.beats.sum())} of {len(self.units)} lie beyond it, and {int(top.sum())} of {len(self.units)} are the "
            "strongest channel of the layer in their picture."
        )
        rows: list[list[Cell]] = [
            [name, value, best, "yes" if first else "no"]
            for name, value, best, first in zip(
                self.names, self.values.tolist(), self.best.tolist(), top.tolist(), strict=True
            )
        ]
        head = ["channel", "value", "largest in the data", "strongest of the layer"]
        return Result(
            exhibits=[
                self._pictures(f"What raises channels of {where}", caption, labels),
                self._table(head, rows),
            ],
            numbers={
                "share beyond the data": self._share(),
                "share strongest of the layer": Number(
                    value=float(top.float().mean()), n=len(self.units), format="{:.0%}"
                ),
            },
            warnings=self._warnings(),
        )

    def _surely(self, own: Tensor, fresh: Tensor, weakest: int) -> str:
        moved = f"when moved, turned and zoomed at random {N_TRANSFORMS} times"
        if len(own) == 1:
            return f"The network is {_percent(own[0])} sure of it, and {_percent(fresh[0])} {moved}."
        if float(torch.minimum(own, fresh).min()) >= 0.9999:
            return f"The network is more than 99.99 % sure of every one, also {moved}."
        return (
            f"The network is {_percent(own.min())} sure of the least certain, {self.names[int(own.argmin())]}; {moved}, it is "
            f"{_percent(fresh.mean())} sure on average and {_percent(fresh[weakest])} of {self.names[weakest]}."
        )

    def nearest(self, images: Images) -> Exhibit:
        pictures = [picture.permute(1, 2, 0).numpy() for picture in images.pixels()]
        what = "logit" if self.layer == LOGITS else "mean of the channel"
        gap = float((self.values - self.best).median())
        return ImageGrid(
            title="What raises the same most in the data",
            caption=f"Of all the images, the one with the largest {what} for each, in the same order as the pictures "
            f"that were made. The pictures reach {abs(gap):.3g} {'more' if gap >= 0 else 'less'} (median).",
            images=pictures,
            labels=[f"{name}\n{v:.3g}" for name, v in zip(self.names, self.best.tolist(), strict=True)],
        )

    def ascent(self, history: Tensor) -> Exhibit:
        steps = np.arange(1, len(history) + 1)
        shown = min(10, len(self.names))
        last = history[-max(1, len(history) // 10) :].mean()
        half = history[len(history) // 2 :][:1].mean()
        more = f" The first {shown} of {len(self.names)} are drawn." if shown < len(self.names) else ""
        return Chart(
            title="The ascent",
            caption=f"Value of the moved picture at each step. From half-way to the end the mean goes from {float(half):.3g} "
            f"to {float(last):.3g}{': more steps would go further' if float(last) > float(half) else ''}.{more}",
            lines=[Line(name=self.names[i], x=steps, y=history[:, i].float().numpy()) for i in range(shown)],
            x_label="step",
            y_label="logit + logarithm of the probability"
            if self.layer == LOGITS
            else f"mean of the channel in {self.layer}",
        )

    def _ground(self) -> str:
        if self.asked.canvas == "pixels":
            return " on grey"
        ground = f" on the mean {'colour' if self.asked.layer else 'image'} of the data"
        return ground + (", in colours that vary as the data's" if self.pixels.shape[1] > 1 else "")

    def _pictures(self, title: str, caption: str, labels: list[str]) -> ImageGrid:
        images = [picture.permute(1, 2, 0).numpy() for picture in self.pixels.float().cpu()]
        return ImageGrid(title=title, caption=caption, images=images, labels=labels)

    def _table(self, head: list[str], rows: list[list[Cell]]) -> Table:
        return Table(
            title="How far the pictures go",
            caption=f"The value of each picture as it is, not moved, beside the largest over the data: "
            f"{int(self.beats.sum())} of {len(rows)} lie beyond every image.",
            columns=head,
            rows=rows,
            formats={
                column: "{:.3g}" for column in head if column not in (head[0], "strongest of the layer")
            },
        )

    def _share(self) -> Number:
        alive = self.beats[~self.dead]
        return Number(value=float(alive.float().mean()) if len(alive) else 0.0, n=len(alive), format="{:.0%}")

    def _warnings(self) -> list[str]:
        warnings = []
        dead = [self.names[i] for i in self.dead.nonzero()[:, 0].tolist()]
        if dead:
            warnings.append(
                f"No start gave a gradient for {_listed(dead)}: what is shown is a faint random picture."
            )
        below = (~self.beats & ~self.dead).nonzero()[:, 0].tolist()
        if below:
            worst = min(below, key=lambda i: float(self.values[i] - self.best[i]))
            what = "logit" if self.layer == LOGITS else "mean"
            gap = f"{what} {float(self.best[worst]):.3g} against {float(self.values[worst]):.3g}"
            warnings.append(
                f"The ascent fell short for {_listed([self.names[i] for i in below])}: an image of the data raises "
                f"{self.names[worst]} more than its picture does ({gap}). Do not take such a picture for what is looked for most."
            )
        return warnings


def _percent(share: Tensor) -> str:
    value = float(share)
    return (
        "more than 99.99 %"
        if value >= 0.9999
        else f"{100 * value:.1f} %"
        if value < 0.999
        else f"{100 * value:.2f} %"
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
