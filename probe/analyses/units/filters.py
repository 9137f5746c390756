"""What do the filters look for?"""

import numpy as np
from pydantic import Field

from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.data.images import Images
from probe.errors import UserError, unknown
from probe.exhibits.exhibits import Array, Exhibit, ImageGrid, Matrix, Scale, Table
from probe.exhibits.result import Number, Result
from probe.methods.inspection import filters as measured
from probe.methods.inspection.filters import Filters as LayerFilters
from probe.model.model import Model
from probe.params import Names


class Filters(Analysis):
    """What do the filters look for, and are there dead, doubled or noisy ones among them?"""

    name = "filters"
    title = "Filters"
    source = "Krizhevsky et al. 2012, figure 3; Zeiler & Fergus 2014, section 4.1"
    needs_images = 0

    layers: Names = Field(
        (),
        description="layers to show (default: the first, and of those after it the first and last convolution)",
    )
    own_scale: bool = Field(False, description="give each filter a scale of its own, so that weak ones show")
    most: int = Field(256, ge=1, le=4096, description="pictures of filters to show of a layer")
    slices: int = Field(12, ge=1, le=64, description="outputs and inputs to show of a deeper layer")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        found = measured.filters(model)
        if not found:
            raise UserError(f"{model.name} has neither a convolution nor a dense layer that sees maps")
        shapes = {one.address: measured.shape(one.weights) for one in found}
        exhibits: list[Exhibit] = []
        for one in self._chosen(found, model):
            smooth = _smoothness(shapes[one.address])
            if one.weights.shape[1] == 1 or (one.sees_image and one.weights.shape[1] == 3):
                exhibits.append(self._pictures(one, model, len(found) == 1, smooth))
            elif one.weights[0, 0].size == 1:
                exhibits.append(self._mixing(one))
            else:
                exhibits.append(self._slices(one, smooth))
        first = shapes[found[0].address]
        n = len(first.dead)
        numbers: dict[str, Number] = {}
        warnings = []
        if np.isfinite(first.smooth).any():
            smoothness = float(np.nanmedian(first.smooth))
            numbers["first layer: smoothness"] = Number(value=smoothness, n=n, format="{:.2f}")
            numbers["first layer: noisy"] = _share(first.noisy)
            if first.noisy.mean() > 0.5:
                warnings.append(
                    f"{first.noisy.mean():.0%} of the first filters are as noisy as random weights: the network may be "
                    "untrained, or was trained too briefly or without weight decay."
                )
        numbers |= {
            "first layer: dead": _share(first.dead),
            "first layer: near-duplicates": _share(first.alike),
        }
        return Result(exhibits=[*exhibits, _table(found, shapes)], numbers=numbers, warnings=warnings)

    def _chosen(self, found: list[LayerFilters], model: Model) -> list[LayerFilters]:
        by_address = {one.address: one for one in found}
        for address in self.layers:
            model.layers.find(address)
            if address not in by_address:
                raise unknown("layer with filters", address, by_address)
        convolutions = [one for one in found[1:] if not one.dense]
        wide = [one for one in convolutions if one.weights[0, 0].size > 1] or convolutions
        default = [found[0], *wide[:1], *wide[-1:]]
        return list({one.address: one for one in [by_address[a] for a in self.layers] or default}.values())

    def _pictures(self, one: LayerFilters, model: Model, only: bool, smooth: str) -> Exhibit:
        shown = one.weights[: self.most]
        peak = np.abs(shown).max((1, 2, 3), keepdims=True)
        limit = float(max(peak.max(), 1e-12))
        high = 1.0 if self.own_scale else limit
        scaled = shown / np.maximum(peak, 1e-12) if self.own_scale else shown
        colour = one.sees_image and one.weights.shape[1] == 3
        templates = only and one.dense and len(one.weights) == len(model.classes)
        if colour:
            share = float((measured.colourful(shown) > 0.5).mean())
            meaning = (
                f"mid-grey is 0; {share:.0%} of them look more at differences of colour than at brightness"
            )
            images = [np.moveaxis(0.5 + picture / (2 * high), 0, -1).astype(np.float32) for picture in scaled]
        else:
            share = float((shown.sum((1, 2, 3)) > 0).mean())
            meaning = f"red is positive, blue negative; the weights of {share:.0%} of them sum to more than 0"
            images = [picture[0].astype(np.float32) for picture in scaled]
        scale = "each on a scale of its own" if self.own_scale else f"all on one scale up to {limit:.3g}"
        what = "class templates" if templates else "filters"
        count = (
            f"All {len(shown)}"
            if len(shown) == len(one.weights)
            else f"The first {len(shown)} of {len(one.weights)}"
        )
        label = "weight over the filter's largest" if self.own_scale else "weight"
        return ImageGrid(
            title=f"{what.capitalize()} of {one.address}",
            caption=f"{count} {what} of {one.address}, {one.weights.shape[2]} x {one.weights.shape[3]}, {scale}: {meaning}. "
            f"{smooth}",
            images=images,
            labels=list(model.classes) if templates else _numbers(len(shown)),
            scale=None if colour else Scale(low=-high, high=high, kind="diverging", label=label),
        )

    def _slices(self, one: LayerFilters, smooth: str) -> Exhibit:
        """What the strongest outputs take from the strongest inputs."""
        energy = (one.weights**2).sum((2, 3))
        outputs = np.sort(np.argsort(-energy.sum(1), kind="stable")[: self.slices])
        inputs = np.sort(np.argsort(-energy.sum(0), kind="stable")[: self.slices])
        shown = one.weights[np.ix_(outputs, inputs)]
        if self.own_scale:
            shown = shown / np.maximum(np.abs(shown).max((1, 2, 3), keepdims=True), 1e-12)
        limit = float(max(np.abs(shown).max(), 1e-12))
        total = one.weights.shape
        share = float(energy[np.ix_(outputs, inputs)].sum() / max(energy.sum(), 1e-12))
        group = " of its group" if one.groups > 1 else ""
        scale = "each row on a scale of its own" if self.own_scale else f"one scale up to {limit:.3g}"
        return ImageGrid(
            title=f"Filters of {one.address} by slices",
            caption=f"Rows are outputs, columns inputs{group} of {one.address}: the {len(outputs)} of {total[0]} and "
            f"{len(inputs)} of {total[1]} with the largest weights, {share:.0%} of the layer's energy; {scale}. {smooth}",
            images=[shown[i, j].astype(np.float32) for i in range(len(outputs)) for j in range(len(inputs))],
            columns=len(inputs),
            row_headers=[f"out {i}" for i in outputs],
            column_headers=[str(j) for j in inputs],
            scale=Scale(low=-limit, high=limit, kind="diverging", label="weight"),
        )

    def _mixing(self, one: LayerFilters) -> Exhibit:
        """A 1 x 1 convolution has no shape to look at: it mixes channels."""
        values = one.weights[:, :, 0, 0]
        outputs = np.sort(np.argsort(-(values**2).sum(1), kind="stable")[: 4 * self.slices])
        inputs = np.sort(np.argsort(-(values**2).sum(0), kind="stable")[: 4 * self.slices])
        shown = values[np.ix_(outputs, inputs)]
        limit = float(max(np.abs(shown).max(), 1e-12))
        half = np.sort(values**2, axis=1)[:, ::-1].cumsum(1)
        needed = (half < 0.5 * half[:, -1:]).sum(1) + 1
        return Matrix(
            title=f"Mixing weights of {one.address}",
            caption=f"{one.address} is 1 x 1 and mixes channels: half of an output's energy comes from {np.median(needed):.0f} of "
            f"{values.shape[1]} inputs (median). Shown are {len(outputs)} of {values.shape[0]} outputs and {len(inputs)} inputs.",
            values=shown.astype(np.float32),
            row_labels=[str(i) for i in outputs],
            column_labels=[str(j) for j in inputs],
            row_title="output",
            column_title="input" + (" of its group" if one.groups > 1 else ""),
            scale=Scale(low=-limit, high=limit, kind="diverging", label="weight"),
        )


def _smoothness(shape: measured.Shape) -> str:
    if not np.isfinite(shape.smooth).any():
        return "A single weight a map has no shape."
    return (
        f"Neighbouring weights correlate by {np.nanmedian(shape.smooth):.2f} (median; random weights: 0), "
        f"{shape.noisy.mean():.0%} of the filters no more than by chance."
    )


def _numbers(count: int) -> list[str]:
    return [str(i) for i in range(count)] if count <= 64 else []


def _share(hits: Array) -> Number:
    return Number(value=float(hits.mean()), n=len(hits), format="{:.0%}")


def _table(found: list[LayerFilters], shapes: dict[str, measured.Shape]) -> Exhibit:
    rows, dead, alike = [], 0, 0
    for one in found:
        shape = shapes[one.address]
        out, into, height, width = one.weights.shape
        finite = np.isfinite(shape.smooth).any()
        dead, alike = dead + int(shape.dead.sum()), alike + int(shape.alike.sum())
        rows.append(
            [
                one.address,
                out,
                f"{into} x {height} x {width}",
                float(np.nanmedian(shape.smooth)) if finite else None,
                float(shape.noisy.mean()) if finite else None,
                float(shape.dead.mean()),
                float(shape.alike.mean()),
            ]
        )
    total = sum(len(one.weights) for one in found)
    return Table(
        title="Health of the filters",
        caption=f"Of {total:,} filters in {len(found)} layers {dead:,} are dead (norm below 5 % of the layer's median) and "
        f"{alike:,} point the same way as another of their layer (cosine above 0.95). Smoothness is the correlation of "
        "neighbouring weights; noisy are filters whose correlation is within two standard errors of 0.",
        columns=["layer", "filters", "size", "smoothness", "noisy", "dead", "near-duplicates"],
        rows=rows,
        formats={"smoothness": "{:.2f}", "noisy": "{:.0%}", "dead": "{:.0%}", "near-duplicates": "{:.0%}"},
    )
