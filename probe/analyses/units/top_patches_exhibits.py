"""How the strongest patches of channels are shown: nine a channel, what drove them beside, and a table of all."""

from collections import Counter

import torch

from probe.data.images import Images
from probe.exhibits.exhibits import Cell, ImageGrid, Table
from probe.methods.attribution.relu_rules import Rule
from probe.methods.units.crops import figure, mosaic, shown
from probe.methods.units.top_patches import Strongest, selectivity
from probe.model.layers import Layer
from probe.model.model import Model

_RULES = {"guided": "guided backprop"}


def several(
    model: Model, images: Images, layer: Layer, top: Strongest, drawn: list[int], *, rule: Rule
) -> tuple[ImageGrid, set[str]]:
    """Some channels of a layer, each as a sheet of patches beside a sheet of reconstructions; and warnings."""
    pictures, labels, rules, warnings = [], [], set(), set()
    across = max(1, round(top.value.shape[1] ** 0.5))
    for channel in drawn:
        made = figure(model, images, layer, top, channel, rule=rule, limit=96)
        pictures += [mosaic(made.crops, across), mosaic(made.reconstructions, across)]
        labels += [f"channel {channel}", composition(model, images, top, channel)]
        rules.add(made.rule)
        warnings.add(made.warning)
    how = "/".join(sorted(rules))
    count, total = top.value.shape[1], len(top.value)
    which = (
        f"All {total} channels"
        if len(drawn) == total
        else f"{len(drawn)} of the {total} channels of {layer.address}, drawn at random"
    )
    patches = f"the {count} strongest patches" if count > 1 else "the strongest patch"
    exhibit = ImageGrid(
        title=f"What channels of {layer.address} look for",
        caption=f"{which}; {_silent(top)} of {total} {_never(_silent(top))} above zero on {_these(images)}. Left of each"
        f" pair {patches}, {_field(layer, model)}; right of it what in each of them drove that one unit"
        f" ({_RULES.get(how, how)}), each on its own scale.{_beware(how)}",
        images=pictures,
        labels=labels,
        columns=4 if len(drawn) > 1 else 2,
        column_headers=["strongest patches", how] * (2 if len(drawn) > 1 else 1),
    )
    return exhibit, warnings - {""}


def one(
    model: Model,
    images: Images,
    layer: Layer,
    top: Strongest,
    channel: int,
    *,
    rule: Rule,
    selective: bool,
) -> tuple[ImageGrid, set[str]]:
    """One channel, patch by patch: the crop, what drove the unit, the whole image; and warnings."""
    made = figure(model, images, layer, top, channel, rule=rule, limit=160)
    value, image = top.value[channel].tolist(), top.image[channel].tolist()
    count = len(made.crops)
    labels = [_short(v) for v in value[:count]]
    if images.labels is not None:
        names = [model.classes[int(images.labels[i])] for i in image[:count]]
        labels = [f"{name}\n{text}" for name, text in zip(names, labels, strict=True)]
    across = min(count, 9)
    blank = shown(torch.ones_like(made.crops[0]))
    heads, pictures, texts = [], [], []
    for start in range(0, count, across):
        here = slice(start, start + across)
        filler = across - len(made.crops[here])
        for head, parts, under in (
            ("patch", made.crops, labels),
            (made.rule, made.reconstructions, [""] * count),
            ("whole image", made.wholes, [""] * count),
        ):
            heads.append(head)
            pictures += [shown(part) for part in parts[here]] + [blank] * filler
            texts += under[here] + [""] * filler
    if value[0] <= 0:
        said = f"The channel never answers above zero on {_these(images)}; its least negative answers."
    else:
        reach = f"from {_short(value[0])} down to {_short(value[count - 1])}"
        said = (
            f"The strongest answer of the channel, {_short(value[0])}"
            if count == 1
            else f"The {count} strongest answers of the channel, {reach}"
        )
        found = composition(model, images, top, channel)
        said += f": {found}." if found else "."
        said += f" It is above zero somewhere in {float(top.active[channel]):.0%} of the images."
    if selective and top.by_class is not None:
        said += f" Selectivity {float(selectivity(top.by_class)[channel]):.2f}."
    exhibit = ImageGrid(
        title=f"What channel {channel} of {layer.address} looks for",
        caption=f"{said} First row: {_field(layer, model)}; second: what in it drove the unit"
        f" ({_RULES.get(made.rule, made.rule)}), each on its own scale; third: where it lies.{_beware(made.rule)}",
        images=pictures,
        labels=texts,
        columns=across,
        row_headers=heads,
    )
    return exhibit, {made.warning} - {""}


def every(model: Model, images: Images, found: dict[str, Strongest], *, selective: bool) -> Table:
    """A row for each channel of each layer."""
    columns = ["layer", "channel", "strongest", "images above 0"]
    columns += ["selectivity", "favourite class"] if selective else []
    columns += ["patches are of"] if images.labels is not None else []
    rows: list[list[Cell]] = []
    for address, top in found.items():
        for channel in range(len(top.value)):
            row: list[Cell] = [address, channel, float(top.value[channel, 0]), float(top.active[channel])]
            if selective and top.by_class is not None:
                alive = float(top.value[channel, 0]) > 0
                favourite = int(top.by_class[:, channel].nan_to_num(-1).argmax())
                row += [
                    float(selectivity(top.by_class[:, channel : channel + 1])),
                    model.classes[favourite] if alive else "",
                ]
            if images.labels is not None:
                row.append(composition(model, images, top, channel))
            rows.append(row)
    silent = sum(_silent(top) for top in found.values())
    said = " Selectivity: how much more a channel answers to its favourite class than to the others, 0 to 1."
    return Table(
        title="Every channel",
        caption=f"{silent} of {len(rows):,} channels {_never(silent)} above zero on {_these(images)}."
        + (said if selective else ""),
        columns=columns,
        rows=rows,
        formats={"strongest": "{:,.2f}", "images above 0": "{:.0%}"}
        | ({"selectivity": "{:.2f}"} if selective else {}),
    )


def composition(model: Model, images: Images, top: Strongest, channel: int) -> str:
    """What the strongest patches of a channel show, such as "5 × cat, 3 × dog, 1 other"; empty without labels."""
    live = top.image[channel][top.value[channel] > 0]
    if images.labels is None or not len(live):
        return ""
    counts = Counter(images.labels[live].tolist()).most_common()
    if counts[0][1] == 1 and len(live) > 2:
        return f"{len(counts)} different classes"
    named = counts[:2] if len(counts) > 3 else counts
    rest = len(live) - sum(n for _, n in named)
    parts = [f"{n} \u00d7 {model.classes[c]}" for c, n in named]
    return ", ".join([*parts, f"{rest} other"] if rest else parts)


def _silent(top: Strongest) -> int:
    return int((top.value[:, 0] <= 0).sum())


def _never(count: int) -> str:
    return "never answers" if count == 1 else "never answer"


def _these(images: Images) -> str:
    return f"these {len(images):,} images" if len(images) > 1 else "this one image"


def _field(layer: Layer, model: Model) -> str:
    if layer.receptive_field is None or not layer.spatial:
        return "the whole image"
    tall, wide = layer.receptive_field.size
    if tall >= model.shape[1] and wide >= model.shape[2]:
        return f"as much of the image as the unit sees of it ({tall} x {wide} pixels, more than there are)"
    return f"the {tall} x {wide} pixels that the unit sees"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _beware(rule: str) -> str:
    if "guided" in rule or "deconvnet" in rule:
        return " Such reconstructions sharpen edges and change little when later weights do: read them with the patches."
    return ""
