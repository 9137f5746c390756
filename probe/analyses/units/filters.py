"""Filters of the layers, shown as images, slices or matrices, with statistics of all of them."""

import numpy as np
from pydantic import Field

from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.analyses.units import filters_exhibits as show
from probe.data.images import Images
from probe.errors import UserError, unknown
from probe.exhibits.exhibits import Array, Exhibit
from probe.exhibits.result import Number, Result
from probe.methods.inspection.filters import FilterBank, FilterStatistics, filter_banks, filter_statistics
from probe.model.model import Model
from probe.params import Names


class Filters(Analysis):
    """What do the filters look like, and are some of them dead, noisy or near-duplicates?"""

    name = "filters"
    title = "Filters"
    source = "Krizhevsky et al. 2012, figure 3; Zeiler & Fergus 2014, section 4.1"
    needs_images = 0
    uses_predictions = False

    layers: Names = Field(
        (),
        description="layers to show (default: the first layer, and the first and the last convolution after it)",
    )
    own_scale: bool = Field(
        False, description="scale the colours of each filter separately, so that weak filters are visible"
    )
    max_filters: int = Field(256, ge=1, le=4096, description="maximum number of filters shown per layer")
    slices: int = Field(
        12, ge=1, le=64, description="number of output and input channels shown of deeper layers"
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        banks = filter_banks(model)
        if not banks:
            raise UserError(f"{model.name} has neither a convolution nor a dense layer that reads maps")
        statistics = {bank.address: filter_statistics(bank.weights) for bank in banks}
        first = statistics[banks[0].address]
        exhibits: list[Exhibit] = []
        for bank in self._selected(banks, model):
            smoothness = show.Smoothness.of(statistics[bank.address])
            channels = bank.weights.shape[1]
            if channels == 1 or (bank.reads_image and channels == 3):
                templates = len(banks) == 1 and bank.dense and len(bank.weights) == len(model.classes)
                names = list(model.classes) if templates else []
                exhibits.append(show.grid(bank, smoothness, names, self.max_filters, self.own_scale))
            elif bank.weights[0, 0].size == 1:
                exhibits.append(show.mixing(bank, 4 * self.slices))
            else:
                exhibits.append(show.slices(bank, smoothness, self.slices, self.own_scale))
        return Result(
            exhibits=[*exhibits, show.table(banks, statistics)],
            numbers=_numbers(first),
            warnings=show.warnings(first),
        )

    def _selected(self, banks: list[FilterBank], model: Model) -> list[FilterBank]:
        """The layers that were named, or the first and two of the convolutions after it."""
        by_address = {bank.address: bank for bank in banks}
        for address in self.layers:
            model.layers.find(address)
            if address not in by_address:
                raise unknown("layer with filters", address, by_address)
        convolutions = [bank for bank in banks[1:] if not bank.dense]
        wide = [bank for bank in convolutions if bank.weights[0, 0].size > 1] or convolutions
        default = [banks[0], *wide[:1], *wide[-1:]]
        chosen = [by_address[address] for address in self.layers] or default
        return list({bank.address: bank for bank in chosen}.values())


def _numbers(first: FilterStatistics) -> dict[str, Number]:
    """Headline numbers of the first layer."""
    numbers = {}
    if np.isfinite(first.smoothness).any():
        numbers["first_layer_smoothness"] = Number(
            value=float(np.nanmedian(first.smoothness)),
            label="smoothness of the filters of the first layer",
            n=len(first.dead),
            format="{:.2f}",
        )
        numbers["first_layer_noisy"] = _proportion(first.noisy, "noisy filters in the first layer")
    return numbers | {
        "first_layer_dead": _proportion(first.dead, "dead filters in the first layer"),
        "first_layer_near_duplicates": _proportion(first.duplicate, "near-duplicates in the first layer"),
    }


def _proportion(hits: Array, label: str) -> Number:
    return Number(value=float(hits.mean()), label=label, n=len(hits), format="{:.0%}")
