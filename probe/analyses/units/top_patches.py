"""What does each channel look for? The patches that drive it most, and what in them does."""

import torch
from pydantic import Field

from probe.analyses.analysis import Analysis
from probe.analyses.class_labels import why_not
from probe.analyses.job import Job
from probe.analyses.units import top_patches_exhibits as parts
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Number, Result
from probe.methods.attribution.relu_rules import Rule
from probe.methods.representation.features import stages
from probe.methods.units.top_patches import selectivity, top_activations
from probe.model.layer_kinds import SATURATING_ACTIVATIONS, pre_activation_layer
from probe.model.model import Model
from probe.params import Names


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

    def run(self, model: Model, images: Images, job: Job) -> Result:
        asked, warnings = self._asked(model)
        size = model.batch()
        batches = job.progress(images.batches(size, model.device), "patches", -(-len(images) // size))
        found = top_activations(model, batches, list(asked), k=self.count)
        why = why_not(images)
        selective = not why
        if why:
            both = "class composition and selectivity are left out."
            warnings.append(f"{why}: {both if images.labels is None else 'selectivity is left out.'}")
        if len(images) < self.count:
            few = f"{len(images)} images" if len(images) > 1 else "1 image"
            warnings.append(f"Of {few} there can be no {self.count} patches of a channel, each from another.")
        exhibits: list[Exhibit] = []
        said: set[str] = set()
        for address, channels in job.progress(list(asked.items()), "reconstructions"):
            layer, top = model.layers.find(address), found[address]
            for channel in channels:
                made, heard = parts.one(
                    model, images, layer, top, channel, rule=self.rule, selective=selective
                )
                exhibits, said = [*exhibits, made], said | heard
            if channels:
                continue
            live = (top.value[:, 0] > 0).nonzero()[:, 0]
            if len(live):
                drawn = live[torch.randperm(len(live), generator=job.rng)[: self.channels]].sort().values
                made, heard = parts.several(model, images, layer, top, drawn.tolist(), rule=self.rule)
                exhibits, said = [*exhibits, made], said | heard
            else:
                warnings.append(f"No channel of {address} ever answers above zero: nothing is drawn of it.")
        total = sum(len(top.value) for top in found.values())
        dead = sum(int((top.value[:, 0] <= 0).sum()) for top in found.values())
        numbers = {
            "channels": Number(value=total, format="{:,.0f}"),
            "channels never above zero": Number(value=dead, n=total, format="{:,.0f}"),
        }
        for address, top in found.items():
            if selective and top.by_class is not None:
                middle = float(selectivity(top.by_class).median())
                numbers[f"median selectivity of {address}"] = Number(
                    value=middle, n=len(top.value), format="{:.2f}"
                )
        exhibits.append(parts.every(model, images, found, selective=selective))
        return Result(exhibits=exhibits, numbers=numbers, warnings=[*warnings, *sorted(said)])

    def _asked(self, model: Model) -> tuple[dict[str, list[int]], list[str]]:
        """The layers, each with the channels that were named, and what to say of them."""
        named = [model.layers.parse(text) for text in self.layers]
        for text, address in zip(self.layers, named, strict=True):
            if address.position is not None:
                raise UserError(
                    f"patches looks for the place itself: write {address.layer}:{address.channel}, got {text}"
                )
        wanted = [(address.layer, address.channel) for address in named] or [
            (layer.address, None) for layer in stages(model.layers)
        ]
        asked: dict[str, list[int]] = {}
        warnings: dict[str, None] = {}
        for layer, channel in wanted:
            read = layer
            if model.layers.find(layer).kind in SATURATING_ACTIVATIONS:
                read = pre_activation_layer(model, layer)
            if read != layer:
                # Many patches reach the ceiling; which of them are the strongest is known before it.
                warnings[f"{layer} has a ceiling: its channels are compared by what {read} gives it."] = None
            channels = asked.setdefault(read, [])
            if channel is not None and channel not in channels:
                channels.append(channel)
        return asked, list(warnings)
