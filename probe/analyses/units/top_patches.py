"""Top patches of the channels, with reconstructions of what in each patch activates the unit."""

from dataclasses import dataclass, field

import torch
from pydantic import Field

from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.analyses.units import top_patches_exhibits as show
from probe.analyses.units.top_patches_chunks import chunked_top_activations
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Number, Result
from probe.exhibits.wording import counted
from probe.methods.attribution.relu_rules import Rule
from probe.methods.representation.features import stages
from probe.methods.units.top_patches import TopActivations, class_selectivity, top_patches
from probe.model.layer_kinds import SATURATING_ACTIVATIONS, pre_activation_layer
from probe.model.model import Model
from probe.params import Names


@dataclass(frozen=True)
class Selection:
    """The addresses to rank, each with the channels that were named, and warnings of layers that saturate."""

    channels: dict[str, list[int]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class TopPatches(Analysis):
    """Which image patches activate each channel most, and which of their pixels are responsible?"""

    name = "top-patches"
    title = "Top patches of each channel"
    source = "Zeiler and Fergus 2014, arXiv 1311.2901, figure 2; Springenberg et al. 2015; Morcos et al. 2018"

    layers: Names = Field(
        (), description="layers, or channels as in features.7:12 (default: one layer per size of feature map)"
    )
    top_k: int = Field(
        9, ge=1, le=36, description="number of patches per channel, each from a different image"
    )
    channels: int = Field(
        6, ge=1, le=64, description="number of channels shown per layer, for layers given without channels"
    )
    rule: Rule = Field("guided", description="backward rule of the ReLU for the reconstructions")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        selection = self._selection(model)
        results = chunked_top_activations(model, images, list(selection.channels), self.top_k, job)
        unknown_classes = images.no_class_comparison
        setting = show.Setting(model, images, selective=not unknown_classes)
        warnings = [*selection.warnings]
        if unknown_classes:
            skipped = (
                "selectivity is" if images.labels is not None else "class composition and selectivity are"
            )
            warnings.append(f"{unknown_classes}: {skipped} left out.")
        if len(images) < self.top_k:
            warnings.append(
                f"A channel has {self.top_k} patches of different images, but there are {counted(len(images))}."
            )
        exhibits: list[Exhibit] = []
        fallbacks: set[str] = set()
        for address, named in job.progress(list(selection.channels.items()), "reconstructions"):
            layer, top = model.layers.find(address), results[address]
            active = (~top.inactive).nonzero()[:, 0]
            drawn = named
            if not named and len(active):
                order = torch.randperm(len(active), generator=job.rng)
                drawn = active[order[: self.channels]].sort().values.tolist()
            elif not named:
                warnings.append(f"No channel of {address} is ever above zero: none is shown.")
            side = show.CHANNEL_SIDE if named else show.LAYER_SIDE
            tiles: dict[int, show.Tiles] = {}
            for channel in drawn:
                patches = top_patches(model, images, layer, top, channel, rule=self.rule)
                tiles[channel] = show.cut(patches, layer, limit=side)
                fallbacks |= {f"{patches.fallback}."} if patches.fallback else set()
            if named:
                exhibits += [show.channel_grid(setting, layer, top, c, tiles[c]) for c in named]
            elif drawn:
                exhibits.append(show.layer_grid(setting, layer, top, tiles))
        return Result(
            exhibits=[*exhibits, show.table(setting, results)],
            numbers=_numbers(results, selective=setting.selective),
            warnings=[*warnings, *sorted(fallbacks)],
        )

    def _selection(self, model: Model) -> Selection:
        named = [model.layers.parse(text) for text in self.layers]
        for text, address in zip(self.layers, named, strict=True):
            if address.position is not None:
                raise UserError(
                    f"{self.name} searches all positions of a map: write {address.layer}:{address.channel}, got {text}"
                )
        requested = [(address.layer, address.channel) for address in named] or [
            (layer.address, None) for layer in stages(model.layers)
        ]
        selection = Selection()
        for layer, channel in requested:
            ranked = layer
            if model.layers.find(layer).kind in SATURATING_ACTIVATIONS:
                ranked = pre_activation_layer(model, layer)
            if ranked != layer:
                # Many patches reach the maximum of the function; which of them activate most is known before it.
                warning = f"{layer} saturates: its channels are ranked by its input, {ranked}."
                selection.warnings.extend([warning] if warning not in selection.warnings else [])
            channels = selection.channels.setdefault(ranked, [])
            if channel is not None and channel not in channels:
                channels.append(channel)
        return selection


def _numbers(results: dict[str, TopActivations], *, selective: bool) -> dict[str, Number]:
    channels = sum(len(top.value) for top in results.values())
    inactive = sum(int(top.inactive.sum()) for top in results.values())
    numbers = {
        "channels": Number(value=channels, label="channels", format="{:,.0f}"),
        "inactive_channels": Number(
            value=inactive, label="channels never above zero", n=channels, format="{:,.0f}"
        ),
    }
    for address, top in results.items():
        if selective and top.class_means is not None:
            numbers[f"median_selectivity_{address}"] = Number(
                value=float(class_selectivity(top.class_means).median()),
                label=f"median class selectivity of {address}",
                n=len(top.value),
                format="{:.2f}",
            )
    return numbers
