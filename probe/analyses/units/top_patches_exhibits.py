"""Exhibits of top patches: sheets of channels, one channel patch by patch, a table of all channels."""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from probe.data.images import Images
from probe.exhibits.exhibits import Cell, Exhibit, ImageGrid, Table
from probe.exhibits.heatmaps import draw_box
from probe.exhibits.tiles import centred_on_grey, contact_sheet, framed_crop, to_image
from probe.exhibits.wording import capitalised, counted, selected, sentences
from probe.methods.attribution.relu_rules import Rule
from probe.methods.units.top_patches import Patches, TopActivations, class_selectivity, patch_size
from probe.model.layers import Layer
from probe.model.model import Model

LAYER_SIDE, CHANNEL_SIDE = 96, 160
"""Longest side of a tile in pixels: of many channels together, and of one channel."""

_ORANGE = (1.0, 0.35, 0.0)
_MOST_COLUMNS = 9


@dataclass(frozen=True)
class Setting:
    """What all exhibits refer to. selective: whether the labels allow to compare classes."""

    model: Model
    images: Images
    selective: bool


@dataclass(frozen=True)
class Tiles:
    """Patches as tiles (c, h, w): crops, reconstructions, and whole images with the crop outlined."""

    crops: list[Tensor]
    reconstructions: list[Tensor]
    wholes: list[Tensor]
    rule: Rule


@dataclass(frozen=True)
class LayerFindings:
    """Channels of a layer. inactive: number of channels never above zero over n images. rules: of the reconstructions."""

    address: str
    shown: int
    total: int
    inactive: int
    n: int
    patches: int
    field: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class ChannelFindings:
    """Top patches of one channel. largest, smallest: of the activations shown. active: proportion of the n images.

    composition: classes of the patches, and selectivity: between classes, where they are known. field: words for the
    receptive field.
    """

    largest: float
    smallest: float
    patches: int
    active: float
    composition: str
    selectivity: float | None
    n: int
    field: str
    rule: Rule


def cut(patches: Patches, layer: Layer, *, limit: int) -> Tiles:
    """The patches as tiles whose longest side is at most `limit` pixels."""
    size = (patches.pixels.shape[2], patches.pixels.shape[3])
    frame, whole = patch_size(layer, size), (0, 0, size[1], size[0])
    crops, parts, wholes = [], [], []
    for image, signal, box in zip(patches.pixels, patches.reconstructions, patches.boxes, strict=True):
        left, top, right, bottom = box
        crops.append(framed_crop(image, box, frame, limit=limit))
        part = torch.full_like(signal, 0.5)
        part[:, top:bottom, left:right] = centred_on_grey(signal[:, top:bottom, left:right])
        parts.append(framed_crop(part, box, frame, limit=limit, blank=0.5))
        outlined = torch.from_numpy(draw_box(to_image(image), box, _ORANGE, min_side=1)).movedim(2, 0)
        wholes.append(framed_crop(outlined, whole, size, limit=limit))
    return Tiles(crops, parts, wholes, patches.rule)


def layer_grid(setting: Setting, layer: Layer, top: TopActivations, tiles: dict[int, Tiles]) -> Exhibit:
    """Some channels of a layer, each as a sheet of patches beside a sheet of reconstructions."""
    images, labels = [], []
    columns = max(1, round(top.value.shape[1] ** 0.5))
    for channel, part in tiles.items():
        images += [contact_sheet(part.crops, columns), contact_sheet(part.reconstructions, columns)]
        labels += [f"channel {channel}", composition(setting, top, channel)]
    findings = LayerFindings(
        address=layer.address,
        shown=len(tiles),
        total=len(top.value),
        inactive=int(top.inactive.sum()),
        n=len(setting.images),
        patches=top.value.shape[1],
        field=receptive_field(layer, setting.model),
        rules=tuple(sorted({part.rule for part in tiles.values()})),
    )
    headers = ["top patches", "/".join(findings.rules)]
    return ImageGrid(
        title=f"Top patches of channels of {layer.address}",
        caption=caption_of_layer(findings),
        images=images,
        labels=labels,
        columns=4 if len(tiles) > 1 else 2,
        column_headers=headers * (2 if len(tiles) > 1 else 1),
        facts=_facts(layer) | {"inactive": findings.inactive, "channels": findings.total},
    )


def channel_grid(setting: Setting, layer: Layer, top: TopActivations, channel: int, tiles: Tiles) -> Exhibit:
    """One channel, patch by patch: the crop, its reconstruction, the whole image."""
    count = len(tiles.crops)
    values, positions = top.value[channel, :count].tolist(), top.image[channel, :count].tolist()
    labels = [_format(value) for value in values]
    if setting.images.labels is not None:
        names = [setting.model.classes[int(setting.images.labels[i])] for i in positions]
        labels = [f"{name}\n{value}" for name, value in zip(names, labels, strict=True)]
    columns = min(count, _MOST_COLUMNS)
    blank = to_image(torch.ones_like(tiles.crops[0]))
    headers, images, texts = [], [], []
    for start in range(0, count, columns):
        row = slice(start, start + columns)
        missing = columns - len(tiles.crops[row])
        for header, parts, below in (
            ("patch", tiles.crops, labels),
            (tiles.rule, tiles.reconstructions, [""] * count),
            ("whole image", tiles.wholes, [""] * count),
        ):
            headers.append(header)
            images += [to_image(part) for part in parts[row]] + [blank] * missing
            texts += below[row] + [""] * missing
    selectivity = None
    if setting.selective and top.class_means is not None:
        selectivity = float(class_selectivity(top.class_means)[channel])
    findings = ChannelFindings(
        largest=values[0],
        smallest=values[-1],
        patches=count,
        active=float(top.active[channel]),
        composition=composition(setting, top, channel),
        selectivity=selectivity,
        n=len(setting.images),
        field=receptive_field(layer, setting.model),
        rule=tiles.rule,
    )
    return ImageGrid(
        title=f"Top patches of channel {channel} of {layer.address}",
        caption=caption_of_channel(findings),
        images=images,
        labels=texts,
        columns=columns,
        row_headers=headers,
        facts=_facts(layer) | {"largest": values[0], "smallest": values[-1], "patches": count},
    )


def table(setting: Setting, results: dict[str, TopActivations]) -> Exhibit:
    """A row for each channel of each layer."""
    classes = setting.model.classes
    columns = ["layer", "channel", "largest activation", "images above 0"]
    columns += ["selectivity", "preferred class"] if setting.selective else []
    columns += ["classes of the patches"] if setting.images.labels is not None else []
    rows: list[list[Cell]] = []
    for address, top in results.items():
        for channel in range(len(top.value)):
            row: list[Cell] = [address, channel, float(top.value[channel, 0]), float(top.active[channel])]
            if setting.selective and top.class_means is not None:
                preferred = int(top.class_means[:, channel].nan_to_num(-1).argmax())
                row += [
                    float(class_selectivity(top.class_means[:, channel : channel + 1])),
                    "" if bool(top.inactive[channel]) else classes[preferred],
                ]
            if setting.images.labels is not None:
                row.append(composition(setting, top, channel))
            rows.append(row)
    inactive = sum(int(top.inactive.sum()) for top in results.values())
    formats = {"largest activation": "{:,.2f}", "images above 0": "{:.0%}"}
    return Table(
        title="All channels",
        caption=caption_of_table(inactive, len(rows), len(setting.images), selective=setting.selective),
        columns=columns,
        rows=rows,
        formats=formats | ({"selectivity": "{:.2f}"} if setting.selective else {}),
        facts={"inactive": inactive, "channels": len(rows)},
    )


def composition(setting: Setting, top: TopActivations, channel: int) -> str:
    """The classes of the top patches of a channel, such as "5 × cat, 3 × dog, 1 other"; empty without labels."""
    labels = setting.images.labels
    shown = top.image[channel][top.value[channel] > 0]
    if labels is None or not len(shown):
        return ""
    counts = Counter(labels[shown].tolist()).most_common()
    if counts[0][1] == 1 and len(shown) > 2:
        return f"{len(counts)} different classes"
    named = counts[:2] if len(counts) > 3 else counts
    rest = len(shown) - sum(n for _, n in named)
    parts = [f"{n} \u00d7 {setting.model.classes[c]}" for c, n in named]
    return ", ".join([*parts, f"{rest} other"] if rest else parts)


def receptive_field(layer: Layer, model: Model) -> str:
    """What a patch of the layer is, in words."""
    if layer.receptive_field is None or not layer.spatial:
        return "the whole image"
    if not layer.receptive_field.exact:
        return "the whole image, since the receptive field of a unit is not known here"
    height, width = layer.receptive_field.size
    whole = height >= model.shape[1] and width >= model.shape[2]
    within = ", of which the part inside the image is shown" if whole else ""
    return f"the receptive field of one unit ({height} x {width} pixels{within})"


def caption_of_layer(findings: LayerFindings) -> str:
    f = findings
    many = f"the {f.patches} patches of different images that activate it most, each {f.field}"
    return sentences(
        f"{capitalised(selected(f.shown, f.total, 'channel'))} of {f.address}{_drawn(f)}.",
        f"Left of each pair: {many if f.patches > 1 else f'the patch that activates it most, {f.field}'}.",
        f"Right: the pixels of each patch that activate that unit, reconstructed by {_method(f.rules)} from this unit only, "
        "each scaled separately.",
        f"Channels never above zero on {counted(f.n)}: {f.inactive} of {f.total}.",
        _insensitive(f.rules),
    )


def _drawn(findings: LayerFindings) -> str:
    if findings.shown == findings.total:
        return ""
    return ", drawn at random" + (" from the active ones" if findings.inactive else "")


def caption_of_channel(findings: ChannelFindings) -> str:
    f = findings
    positive = f.largest > 0
    return sentences(
        not positive
        and f"The channel is never above zero on {counted(f.n)}; its largest activations are shown.",
        positive and f.patches == 1 and f"The largest activation of the channel is {_format(f.largest)}.",
        positive
        and f.patches > 1
        and f"The {f.patches} largest activations of the channel range from {_format(f.largest)} to {_format(f.smallest)}.",
        f.composition and f"Classes of the patches: {f.composition}.",
        positive and f"The channel is above zero in {f.active:.0%} of the images.",
        f.selectivity is not None and f"Class selectivity is {f.selectivity:.2f}.",
        f"Rows: the patch, {f.field}; the pixels in it that activate the unit, reconstructed by {_method((f.rule,))} from this unit "
        "only, each scaled separately; the whole image with the patch outlined.",
        _insensitive((f.rule,)),
    )


def caption_of_table(inactive: int, channels: int, n: int, *, selective: bool) -> str:
    return sentences(
        f"Channels never above zero on {counted(n)}: {inactive:,} of {channels:,}.",
        selective
        and "Selectivity compares the mean activation of the preferred class with that of the others, from 0 "
        "(equal) to 1 (only one class).",
    )


def _method(rules: tuple[Rule, ...]) -> str:
    names = {"guided": "guided backprop", "gradient": "the gradient", "deconvnet": "deconvnet"}
    return " or ".join(names[rule] for rule in rules)


def _insensitive(rules: tuple[Rule, ...]) -> str:
    names = {"guided": "Guided backprop", "deconvnet": "Deconvnet"}
    shown = [names[rule] for rule in rules if rule in names]
    if not shown:
        return ""
    return f"{shown[0]} barely changes when later weights are randomised: it sharpens edges and does not explain the activation."


def _facts(layer: Layer) -> dict[str, float]:
    """The receptive field, which captions name."""
    if layer.receptive_field is None:
        return {}
    height, width = layer.receptive_field.size
    return {"receptive_field_height": height, "receptive_field_width": width}


def _format(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
