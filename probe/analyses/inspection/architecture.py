"""Which layers is the network made of, what do they cost, and what do its structures save?"""

from collections.abc import Sequence

from pydantic import Field

from probe.analyses.analysis import Analysis
from probe.analyses.inspection import architecture_convolutions as forms
from probe.analyses.inspection import architecture_exhibits as show
from probe.analyses.inspection.architecture_layers import DENSE, LeafLayers
from probe.analyses.job import Job
from probe.data.images import Images
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Number, Result
from probe.exhibits.wording import listed
from probe.methods.inspection.cost import Convolution, ConvolutionCost, compact_blocks, convolutions
from probe.model.model import Model
from probe.model.observer import scripted_parts


class Architecture(Analysis):
    """Which layers is the network made of, what do they cost, and what do its structures save?"""

    name = "architecture"
    title = "Architecture: sizes, costs and receptive fields"
    source = "Simonyan & Zisserman 2015; He et al. 2016; Howard et al. 2017, section 3.1"
    needs_images = 0
    uses_predictions = False

    max_layers: int = Field(
        24, ge=4, le=400, description="number of layers to list, those with the most MACs"
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        leaves = LeafLayers.of(model)
        chain = convolutions(model)
        mismatches = formula_mismatches(model, chain)
        findings = show.cost_findings(
            leaves, convolutions=len(chain), mismatches=len(mismatches), max_layers=self.max_layers
        )
        numbers = {
            "parameters": Number(value=model.parameters, label="parameters", format="{:,.0f}"),
            "macs": Number(value=leaves.macs, label="MACs per image", format="{:,.0f}"),
            "dense_parameter_fraction": Number(
                value=leaves.parameters(DENSE) / max(1, model.parameters),
                label="parameters in dense layers",
                format="{:.1%}",
            ),
        }
        exhibits: list[Exhibit] = [
            show.cost_table(leaves, findings, max_layers=self.max_layers),
            show.fraction_chart(leaves),
        ]
        if receptive_fields := show.receptive_field_chart(leaves):
            exhibits.append(receptive_fields)
        if blocks := compact_blocks(chain):
            compact = forms.compact_findings(blocks)
            exhibits.append(forms.compact_block_table(blocks, compact))
            numbers["compact_weight_ratio"] = Number(
                value=compact.ratio, label="weights relative to plain convolutions", format="{:.1%}"
            )
        if alternatives := forms.alternative_table(chain):
            exhibits.append(alternatives)
        warnings = [
            f"{address} does not cost what the closed formulas give: {difference}."
            for address, difference in mismatches.items()
        ]
        if parts := scripted_parts(model.network):
            names = listed([part or "the whole network" for part in parts])
            warnings.append(
                f"Scripted: {names}. The layers inside have no addresses: they are not listed, and their MACs not counted."
            )
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)


def formula_mismatches(model: Model, chain: Sequence[Convolution]) -> dict[str, str]:
    """The convolutions whose counted cost is not that of the closed formulas, with both costs."""
    differences = {}
    for conv in chain:
        layer = model.layers.find(conv.address)
        counted, formula = (
            ConvolutionCost(layer.parameters, layer.macs, conv.output_size),
            conv.formula_cost(),
        )
        if counted != formula:
            differences[conv.address] = f"counted {_cost(counted)}, formula {_cost(formula)}"
    return differences


def _cost(cost: ConvolutionCost) -> str:
    height, width = cost.map_size
    return f"{cost.parameters:,} parameters, {cost.macs:,} MACs, {height} x {width} outputs"
