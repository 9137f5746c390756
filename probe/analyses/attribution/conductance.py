"""Layer conductance of single images: the channels through which a score passes, from the first layers to the last."""

from contextlib import suppress

import torch
from pydantic import Field
from torch import Tensor

from probe.analyses.attribution import conductance_exhibits as show
from probe.analyses.attribution.explanations import MAX_ERROR
from probe.analyses.attribution.selection import TARGET_HELP, Selection, select
from probe.analyses.job import Arrays, Job
from probe.analyses.single_images import SingleImages
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Number, Result
from probe.methods.adversarial.activation_shift import spread_layers
from probe.methods.attribution.conductance import layer_conductances
from probe.methods.attribution.gradcam import MIN_SIDE, gradcam_layer
from probe.model.budget import GRADIENT_COST, affordable
from probe.model.model import Model
from probe.model.targets import UnitTargets, scores
from probe.params import Fraction, Names

_SECONDS = 45  # of one core, of which the rest is left for larger activations
_FEWEST, _MOST = 16, 128  # steps
_LAYERS = 8


class Conductance(SingleImages):
    """Which channels of each layer does the score of a class pass through?"""

    name = "conductance"
    title = "Layer conductance"
    source = "Dhamdhere et al. 2019, arXiv 1805.12233; Shrikumar et al. 2018, arXiv 1807.09946"
    quick = {"examples": 2, "steps": 8}

    layers: Names = Field(
        (),
        description="layers to measure; the channels of the first one are shown (default: up to eight layers, and the "
        "feature maps that the classifier reads)",
    )
    target: str = Field("predicted", description=TARGET_HELP)
    examples: int = Field(4, ge=1, le=32, description="number of images to explain")
    channels: int = Field(
        5,
        ge=1,
        le=12,
        description="number of channels shown per image, those with the largest conductance first",
    )
    steps: int = Field(
        0,
        ge=0,
        le=10_000,
        description=f"number of steps from the baseline to the image (0: {_FEWEST} to {_MOST}, as many as fit into a minute)",
    )
    baseline: Fraction = Field(0.0, ge=0, le=1, description="value of all pixels of the baseline")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        seed = job.seed()
        count = self.count(self.examples)
        selection = select(self, model, images, count=count, tests=0, target=self.target, seed=seed).shown
        addresses, shown = self._layers(model, selection)
        steps = self.steps or affordable(
            _SECONDS / count, model, passes=GRADIENT_COST, low=_FEWEST, high=_MOST
        )

        def compute(rows: Tensor, _: torch.Generator) -> Arrays:
            measured = layer_conductances(
                model,
                selection.pixels[rows],
                selection.targets[rows],
                addresses,
                steps=steps,
                baseline=self.baseline,
            )
            return {f"layer {i}": measured[address].cpu().numpy() for i, address in enumerate(addresses)}

        chunks = list(job.chunks("conductance", torch.arange(len(selection)).split(1), compute))
        difference = self._difference(model, selection)
        findings = [
            show.LayerFindings.of(
                model.layers.find(address), [chunk[f"layer {i}"][0] for chunk in chunks], difference
            )
            for i, address in enumerate(addresses)
        ]
        exhibits: list[Exhibit] = [
            show.layer_chart(findings, selection.description),
            show.layer_table(findings, steps, self.baseline),
        ]
        if shown:
            maps = [chunk[f"layer {addresses.index(shown)}"][0] for chunk in chunks]
            exhibits.insert(0, show.channel_grid(model, selection, shown, maps, self.channels))
        errors = [f.error for f in findings if f.on_every_path]
        numbers = {}
        if errors:
            numbers["completeness_error"] = Number(
                value=max(errors),
                label="largest completeness error of a layer (median)",
                n=len(selection),
                format="{:.2%}",
            )
        return Result(exhibits=exhibits, numbers=numbers, warnings=_warnings(max(errors, default=0), steps))

    def _layers(self, model: Model, selection: Selection) -> tuple[list[str], str]:
        """The addresses to measure in the order of the network, and the one whose channels are shown as maps, or none."""
        if self.layers:
            given = [model.layers.find(address) for address in dict.fromkeys(self.layers)]
            maps = [layer.address for layer in given if layer.spatial]
            return [layer.address for layer in given], maps[0] if maps else ""
        order = [layer.address for layer in model.layers]
        chosen = [model.layers.find(address) for address in spread_layers(model.layers, _LAYERS)]
        with suppress(UserError):
            chosen.append(gradcam_layer(model))
        if not isinstance(selection.targets, UnitTargets):
            # Where there is a channel for each class, all passes through that of the class.
            chosen = [layer for layer in chosen if layer.channels != len(model.classes)] or chosen
        if isinstance(selection.targets, UnitTargets):
            end = order.index(selection.targets.layer)
            chosen = [layer for layer in chosen if order.index(layer.address) < end]
            if not chosen:
                raise UserError(
                    f"no layer comes before {selection.description}: name one with --layers, or a later target"
                )
        addresses = sorted({layer.address for layer in chosen}, key=order.index)
        maps = [layer for layer in chosen if layer.spatial and min(layer.shape[1:]) >= MIN_SIDE]
        shown = max((layer.address for layer in maps), key=order.index, default="")
        return addresses, shown

    def _difference(self, model: Model, selection: Selection) -> Tensor:
        """The score of each image minus that of the baseline, (n,) on the CPU."""
        flat = torch.full_like(selection.pixels, float(self.baseline))
        with torch.inference_mode():
            image, baseline = (scores(model, x, selection.targets) for x in (selection.pixels, flat))
        return (image - baseline).double().cpu()


def _warnings(error: float, steps: int) -> list[str]:
    if not error > MAX_ERROR:
        return []
    return [
        f"The conductances of a layer miss the differences of scores by {error:.0%} (median), more than "
        f"{MAX_ERROR:.0%}: raise steps, as in --steps {4 * steps}."
    ]
