"""What does each channel look for? The patches that drive it most, and what in them does."""

from collections import Counter

import torch
from pydantic import Field

from probe.analyses.analysis import Analysis, Job
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Cell, Exhibit, Pictures, Table
from probe.exhibits.result import Number, Result
from probe.methods.backward import Rule
from probe.methods.crops import figure, mosaic, shown
from probe.methods.features import stages
from probe.methods.strongest import Strongest, selectivity, strongest
from probe.params import Names
from probe.subject.layers import Layer
from probe.subject.subject import Subject


class Patches(Analysis):
    """What does each channel look for?"""

    name = "patches"
    title = "Strongest patches of each channel"
    source = "Zeiler and Fergus 2014, arXiv 1311.2901, figure 2; Springenberg et al. 2015; Morcos et al. 2018"

    layers: Names = Field(
        (), description="layers, or channels as in features.7:12 (default: one at each size of map)"
    )
    count: int = Field(9, ge=1, le=36, description="patches of a channel, each from another image")
    channels: int = Field(
        6, ge=1, le=64, description="channels to draw of a layer whose channels are not named"
    )
    rule: Rule = Field("guided", description="how the unit is run back to the pixels")

    def run(self, subject: Subject, images: Images, job: Job) -> Result:
        asked = self._asked(subject)
        size = subject.batch()
        batches = job.progress(images.batches(size, subject.device), "patches", -(-len(images) // size))
        found = strongest(subject, batches, list(asked), k=self.count)
        exhibits: list[Exhibit] = []
        warnings: dict[str, None] = {}
        if images.labels is None:
            warnings["The images have no labels: class composition and selectivity are left out."] = None
        if len(images) < self.count:
            warnings[
                f"There are {len(images)} images, so {len(images)} patches of a channel instead of {self.count}."
            ] = None
        dead = 0
        for address, channels in job.progress(list(asked.items()), "reconstructions"):
            layer, top = subject.layers.find(address), found[address]
            silent = top.value[:, 0] <= 0
            dead += int(silent.sum())
            for channel in channels:
                exhibits.append(self._channel(subject, images, layer, top, channel, warnings))
            if not channels:
                live = (~silent).nonzero()[:, 0]
                if not len(live):
                    warnings[f"No channel of {address} ever answers above zero: nothing is drawn of it."] = (
                        None
                    )
                    continue
                drawn = live[torch.randperm(len(live), generator=job.rng)[: self.channels]].sort().values
                exhibits.append(self._layer(subject, images, layer, top, drawn.tolist(), warnings))
        total = sum(len(top.value) for top in found.values())
        exhibits.append(self._table(subject, images, found))
        numbers = {
            "channels": Number(value=total, format="{:,.0f}"),
            "channels never above zero": Number(value=dead, n=total, format="{:,.0f}"),
        }
        if images.labels is not None:
            for address, top in found.items():
                if top.by_class is not None:
                    middle = float(selectivity(top.by_class).median())
                    numbers[f"median selectivity of {address}"] = Number(
                        value=middle, n=len(top.value), format="{:.2f}"
                    )
        return Result(exhibits=exhibits, numbers=numbers, warnings=list(warnings))

    def _asked(self, subject: Subject) -> dict[str, list[int]]:
        """The layers, each with the channels that were named."""
        if not self.layers:
            return {layer.address: [] for layer in stages(subject.layers)}
        asked: dict[str, list[int]] = {}
        for text in self.layers:
            address = subject.layers.parse(text)
            if address.position is not None:
                raise UserError(
                    f"patches looks for the place itself: write {address.layer}:{address.channel}, got {text}"
                )
            channels = asked.setdefault(address.layer, [])
            if address.channel is not None and address.channel not in channels:
                channels.append(address.channel)
        return asked

    def _layer(
        self,
        subject: Subject,
        images: Images,
        layer: Layer,
        top: Strongest,
        drawn: list[int],
        warnings: dict[str, None],
    ) -> Pictures:
        pictures, labels, rules = [], [], set()
        across = max(1, round(self.count**0.5))
        for channel in drawn:
            made = figure(subject, images, layer, top, channel, rule=self.rule, limit=96)
            pictures += [mosaic(made.crops, across), mosaic(made.reconstructions, across)]
            labels += [f"channel {channel}", composition(subject, images, top, channel)]
            rules.add(made.rule)
            if made.warning:
                warnings[made.warning] = None
        rule = "/".join(sorted(rules))
        silent = int((top.value[:, 0] <= 0).sum())
        return Pictures(
            title=f"What channels of {layer.address} look for",
            caption=f"{len(drawn)} of the {len(top.value)} channels of {layer.address}, drawn at random; {silent} never"
            f" answer above zero on these {len(images):,} images. Left of each pair the {top.value.shape[1]} strongest"
            f" patches, {_field(layer)}; right of it what in each of them drove that one unit ({_how(rule)}), each on its"
            " own scale." + _beware(rule),
            images=pictures,
            labels=labels,
            columns=4 if len(drawn) > 1 else 2,
            column_heads=["strongest patches", rule] * (2 if len(drawn) > 1 else 1),
        )

    def _channel(
        self,
        subject: Subject,
        images: Images,
        layer: Layer,
        top: Strongest,
        channel: int,
        warnings: dict[str, None],
    ) -> Pictures:
        made = figure(subject, images, layer, top, channel, rule=self.rule, limit=160)
        if made.warning:
            warnings[made.warning] = None
        value, image = top.value[channel].tolist(), top.image[channel].tolist()
        labels = [_short(v) for v in value[: len(made.crops)]]
        if images.labels is not None:
            names = [subject.classes[int(images.labels[i])] for i in image]
            labels = [f"{name}\n{text}" for name, text in zip(names, labels, strict=False)]
        dead = value[0] <= 0
        said = composition(subject, images, top, channel)
        selective = (
            f" Selectivity {float(selectivity(top.by_class)[channel]):.2f}."
            if top.by_class is not None
            else ""
        )
        across = min(len(made.crops), 9)
        rows = -(-len(made.crops) // across)
        heads, pictures, texts = [], [], []
        for at in range(rows):
            here = slice(at * across, (at + 1) * across)
            filler = across - len(made.crops[here])
            for head, parts, under in (
                ("patch", made.crops, labels),
                (made.rule, made.reconstructions, [""] * len(labels)),
                ("whole image", made.wholes, [""] * len(labels)),
            ):
                heads.append(head)
                pictures += [shown(p) for p in parts[here]] + [shown(torch.ones_like(parts[0]))] * filler
                texts += under[here] + [""] * filler
        return Pictures(
            title=f"What channel {channel} of {layer.address} looks for",
            caption=(f"The channel never answers above zero on these {len(images):,} images; its least negative answers:"
                     if dead else f"The strongest answers of the channel, from {_short(value[0])} down to"
                     f" {_short(value[len(made.crops) - 1])}: {said or 'the images have no labels'}. It is above zero somewhere in"
                     f" {float(top.active[channel]):.0%} of {len(images):,} images.{selective}")
            + f" First row: {_field(layer)}; second: what in it drove the unit ({_how(made.rule)}), each on its own scale;"
            " third: where it lies." + _beware(made.rule),
            images=pictures,
            labels=texts,
            columns=across,
            row_heads=heads,
        )  # fmt: skip

    def _table(self, subject: Subject, images: Images, found: dict[str, Strongest]) -> Table:
        columns = ["layer", "channel", "strongest", "images above 0"]
        labelled = images.labels is not None
        if labelled:
            columns += ["selectivity", "favourite class", "patches are of"]
        rows: list[list[Cell]] = []
        for address, top in found.items():
            chosen = selectivity(top.by_class) if top.by_class is not None else None
            for channel in range(len(top.value)):
                row: list[Cell] = [address, channel, float(top.value[channel, 0]), float(top.active[channel])]
                if labelled:
                    alive = float(top.value[channel, 0]) > 0
                    favourite = (
                        int(top.by_class[:, channel].nan_to_num(-1).argmax())
                        if top.by_class is not None
                        else 0
                    )
                    row += [
                        float(chosen[channel]) if chosen is not None else None,
                        subject.classes[favourite] if alive else "",
                        composition(subject, images, top, channel),
                    ]
                rows.append(row)
        dead = sum(int((top.value[:, 0] <= 0).sum()) for top in found.values())
        return Table(
            title="Every channel",
            caption=f"{dead} of {len(rows)} channels never answer above zero on these {len(images):,} images."
            + (
                " Selectivity: how much more a channel answers to its favourite class than to the others, 0 to 1."
                if labelled
                else ""
            ),
            columns=columns,
            rows=rows,
            formats={"strongest": "{:,.2f}", "images above 0": "{:.0%}"}
            | ({"selectivity": "{:.2f}"} if labelled else {}),
        )


def composition(subject: Subject, images: Images, top: Strongest, channel: int) -> str:
    """What the strongest patches of a channel show, such as "5 cat, 3 dog, 1 other"; empty without labels."""
    live = top.image[channel][top.value[channel] > 0]
    if images.labels is None or not len(live):
        return ""
    counts = Counter(images.labels[live].tolist()).most_common()
    named = counts[:2] if len(counts) > 3 else counts
    rest = len(live) - sum(n for _, n in named)
    if named[0][1] == 1 and len(live) > 2:
        return f"{len(counts)} different classes"
    return ", ".join([f"{n} {subject.classes[c]}" for c, n in named] + ([f"{rest} other"] if rest else []))


def _field(layer: Layer) -> str:
    if layer.receptive is None or not layer.spatial:
        return "the whole image"
    tall, wide = layer.receptive.size
    return f"the {tall} x {wide} pixels that the unit sees"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _how(rule: str) -> str:
    return {"guided": "guided backprop", "deconvnet": "deconvnet"}.get(rule, rule)


def _beware(rule: str) -> str:
    if "guided" in rule or "deconvnet" in rule:
        return " Such reconstructions sharpen edges and change little when later weights do: read them with the patches."
    return ""
