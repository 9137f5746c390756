"""Which image raises a class or a channel most?"""

from typing import Literal
from zlib import crc32

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from probe.analyses.analysis import Analysis, Job
from probe.data.images import Images
from probe.errors import UserError, unknown
from probe.exhibits.exhibits import Chart, Exhibit, Line, Pictures, Table
from probe.exhibits.result import Number, Result
from probe.methods.ascend import Adam, Ascent, ascend, look
from probe.methods.bends import before_activation
from probe.methods.canvas import Canvas, Fourier, Pixels, mean_and_covariance
from probe.methods.jitter import Jitter, warp
from probe.methods.objectives import LOGITS, Channel, Logit, LogProbability
from probe.params import Fraction, Names
from probe.subject.subject import Subject

_FRESH = 32


def largest(subject: Subject, images: Images, layer: str) -> tuple[Tensor, Tensor]:
    """Of each channel of a layer (each class for LOGITS) the largest value over the images, and in which image.

    A channel's value is the mean of its map. Returns (channels,) and (channels,) on the CPU.
    """
    best, where = torch.tensor([]), torch.tensor([], dtype=torch.long)
    with torch.inference_mode():
        for batch in images.batches(subject.batch(), subject.device):
            seen = look(subject, batch.pixels, [layer])[layer]
            values, rows = (seen.flatten(2).mean(2) if seen.ndim > 2 else seen).cpu().max(0)
            found = batch.index[rows]
            if len(best):
                better = values > best
                values, found = torch.where(better, values, best), torch.where(better, found, where)
            best, where = values, found
    return best, where


def under_moves(
    subject: Subject, pixels: Tensor, classes: Tensor, jitter: Jitter, rng: torch.Generator
) -> Tensor:
    """(n,) mean probability of each image's class over fresh random moves of the image."""
    size, total = (subject.shape[1], subject.shape[2]), torch.zeros(len(pixels), device=pixels.device)
    with torch.inference_mode():
        for _ in range(_FRESH):
            moved = warp(pixels, jitter.draw(len(pixels), size, rng))
            total += subject.logits(moved).softmax(1).gather(1, classes.to(pixels.device)[:, None])[:, 0]
    return total.cpu() / _FRESH


class Maximise(Analysis):
    """Which image does the network answer to most, for each class or for channels of a layer?"""

    name = "maximise"
    title = "Activation maximisation"
    source = "Olah et al. 2017, Feature Visualization; Simonyan et al. 2014, arXiv 1312.6034"
    quick = {"count": 4, "steps": 24}

    layer: str = Field("", description="layer whose channels are maximised (default: the classes)")
    units: Names = Field(
        (), description="classes by name or number, or channels by number (default: a spread)"
    )
    count: int = Field(10, ge=1, le=512, description="how many units, where none are named")
    steps: int = Field(128, ge=1, le=5000, description="steps of the ascent")
    rate: float = Field(0.05, gt=0, le=1, description="step length (Adam)")
    canvas: Literal["fourier", "pixels"] = Field(
        "fourier",
        description="what is changed: Fourier coefficients as natural images have them, or bare pixels",
    )
    decay: float = Field(
        1.0,
        ge=0,
        le=3,
        description="Fourier: power of the frequency that coefficients fall with (larger: smoother)",
    )
    moves: Fraction = Field(
        1.0,
        ge=0,
        le=5,
        description="how far the image is moved at each step; 0: not, 1: 3 pixels and 10 degrees at 32 pixels",
    )

    def run(self, subject: Subject, images: Images, job: Job) -> Result:
        layer = before_activation(subject, self.layer) if self.layer else LOGITS
        units, names = self._units(subject)
        best, where = largest(subject, images, layer)
        canvas = self._canvas(subject, images)
        jitter = Jitter.sized(min(subject.shape[1:]), self.moves)
        base = int(torch.randint(2**31, (), generator=job.rng))
        seeds = [base ^ crc32(f"{layer}:{unit}".encode()) for unit in units.tolist()]
        parts: list[Ascent] = []
        size = subject.batch(gradient=True)
        for start in range(0, len(units), size):
            some = units[start : start + size]
            parts.append(
                ascend(
                    subject,
                    Channel(layer, some) if layer else Logit(some) + LogProbability(some),
                    canvas,
                    seeds=seeds[start : start + size],
                    steps=self.steps,
                    jitter=jitter if self.moves else None,
                    step=Adam(self.rate),
                    progress=lambda steps: job.progress(steps, "maximise", self.steps),
                )
            )
        pixels = torch.cat([part.pixels for part in parts])
        history = torch.cat([part.history for part in parts], 1).cpu()
        dead = torch.cat([part.dead for part in parts]).cpu()
        best, where = best[units], where[units]
        found = Found(self, subject, layer, names, units, pixels, best, dead)
        if layer == LOGITS:
            fresh = under_moves(subject, pixels, units, Jitter.sized(min(subject.shape[1:])), job.rng)
            result = found.classes(fresh)
        else:
            result = found.channels()
        return Result(
            exhibits=[*result.exhibits, found.nearest(images.select(where)), found.ascent(history)],
            numbers=result.numbers,
            warnings=result.warnings,
        )

    def _units(self, subject: Subject) -> tuple[Tensor, list[str]]:
        """The numbers of the units, and what they are called."""
        if self.layer:
            total, names = subject.layers.find(self.layer).channels, None
        else:
            total, names = len(subject.classes), subject.classes
        if self.units:
            numbers = [_number(text, total, names, self.layer) for text in self.units]
        else:
            numbers = np.unique(
                np.linspace(0, total - 1, min(self.count, total)).round().astype(int)
            ).tolist()
        return torch.tensor(numbers), [names[i] if names else f"channel {i}" for i in numbers]

    def _canvas(self, subject: Subject, images: Images) -> Canvas:
        if self.canvas == "pixels":
            return Pixels(subject.shape)
        mean, covariance = mean_and_covariance(
            batch.pixels for batch in images.batches(subject.batch(), subject.device)
        )
        colours = covariance if subject.shape[0] > 1 else None
        # A class has its place in the image, and where the data are always black it has none; a channel has every place.
        ground = mean.mean((1, 2), keepdim=True) if self.layer else mean
        return Fourier(subject.shape, covariance=colours, ground=ground, decay=self.decay)


class Found:
    """What an ascent came to, said in exhibits, numbers and warnings."""

    def __init__(
        self,
        asked: Maximise,
        subject: Subject,
        layer: str,
        names: list[str],
        units: Tensor,
        pixels: Tensor,
        best: Tensor,
        dead: Tensor,
    ) -> None:
        self.asked, self.subject, self.layer, self.names = asked, subject, layer, names
        self.units, self.pixels, self.best, self.dead = units, pixels, best, dead
        with torch.inference_mode():
            answer = look(subject, pixels, [layer])[layer].float().cpu()
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
            f"Pictures made to raise one class each, by {self.asked.steps} steps from a faint random start"
            f"{self._ground()}. The network is {_percent(own.min())} sure of {'the least certain' if len(own) > 1 else 'it'} "
            f"and {_percent(fresh.mean())} on average when they are moved, turned and zoomed at random {_FRESH} times "
            f"(least: {self.names[weakest]}, {_percent(fresh[weakest])}). They show what is enough for an answer, "
            "not what the class looks like to us."
        )
        rows = [
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
        head = ["class", "logit", "largest in the data", "probability", f"mean of {_FRESH} moved"]
        exhibits: list[Exhibit] = [
            self._pictures("What raises each class", caption, labels),
            self._table(head, rows),
        ]
        numbers = {
            "class probability (least)": Number(value=float(own.min()), n=len(own), format="{:.3f}"),
            f"mean probability when moved (least of {len(own)})": Number(
                value=float(fresh.min()), n=_FRESH, format="{:.3f}"
            ),
            "share beyond the data": self._share(),
        }
        warnings = self._warnings()
        low = [self.names[i] for i in (own < 0.99).nonzero()[:, 0].tolist()]
        if low:
            warnings.append(
                f"The ascent did not reach 99 % for {_listed(low)}: more steps or smaller moves may help, or the network is never so sure."
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
            f"Pictures made to raise the mean of one channel of {where} each, by {self.asked.steps} steps from a faint "
            f"random start{self._ground()}. Below each its value and, in brackets, the largest over the data: "
            f"{int(self.beats.sum())} of {len(self.units)} lie beyond it, and {int(top.sum())} of {len(self.units)} are the "
            "strongest channel of the layer in their picture."
        )
        rows = [
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

    def nearest(self, images: Images) -> Exhibit:
        pictures = [picture.permute(1, 2, 0).numpy() for picture in images.pixels()]
        what = "logit" if self.layer == LOGITS else "mean of the channel"
        gap = float((self.values - self.best).median())
        return Pictures(
            title="What raises the same most in the data",
            caption=f"Of all the images, the one with the largest {what} for each, in the same order as the pictures "
            f"that were made: these are {abs(gap):.3g} {'lower' if gap >= 0 else 'higher'} than those (median).",
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
            f"to {float(last):.3g}: what is still rising would go further with more steps.{more}",
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

    def _pictures(self, title: str, caption: str, labels: list[str]) -> Pictures:
        images = [picture.permute(1, 2, 0).numpy() for picture in self.pixels.float().cpu()]
        return Pictures(title=title, caption=caption, images=images, labels=labels)

    def _table(self, head: list[str], rows: list[list]) -> Table:
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
                f"No start gave a gradient for {_listed(dead)}: what is shown for them is a faint random picture."
            )
        return warnings


def _number(text: str, total: int, names: tuple[str, ...] | None, layer: str) -> int:
    if names and text in names:
        return names.index(text)
    if text.isdigit() and int(text) < total:
        return int(text)
    if names and not text.isdigit():
        raise unknown("class", text, names)
    what = f"layer {layer} has {total} channels" if layer else f"the network has {total} classes"
    raise UserError(f"{what}, 0 to {total - 1}: there is no {text!r}")


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
