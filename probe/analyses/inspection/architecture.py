"""What is this network made of, what does it cost, and what do its structures save?"""

from collections.abc import Sequence

from pydantic import Field

from probe.analyses.analysis import Analysis
from probe.analyses.inspection import architecture_exhibits as parts
from probe.analyses.job import Job
from probe.data.images import Images
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Number, Result
from probe.methods.inspection.cost import Convolution, convolutions, savings
from probe.model.model import Model


class Anatomy(Analysis):
    """What is this network made of, what does it cost, and what do its structures save?"""

    name = "anatomy"
    title = "Anatomy: sizes, costs and receptive fields"
    source = "Simonyan & Zisserman 2015; He et al. 2016; Howard et al. 2017, section 3.1"
    needs_images = 0

    rows: int = Field(24, ge=4, le=400, description="layers to list at most, the costliest first to be kept")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        modules = dict(model.network.named_modules())
        layers = [layer for layer in model.layers if layer.leaf]
        chain = convolutions(model)
        found = savings(chain)
        dense = sum(
            one.parameters
            for one in layers
            if parts.part(modules, one) == parts.DENSE and "#" not in one.address
        )
        macs = sum(layer.macs for layer in layers)
        wrong = disagreements(model, chain)
        numbers = {
            "parameters": Number(value=model.parameters, format="{:,.0f}"),
            "multiplications": Number(value=macs, format="{:,.0f}"),
            "share of parameters in dense layers": Number(
                value=dense / max(1, model.parameters), format="{:.1%}"
            ),
        }
        exhibits: list[Exhibit] = [
            parts.costs(model, layers, macs, count=len(chain), wrong=len(wrong), rows=self.rows),
            parts.shares(model, modules, layers),
        ]
        if field := parts.fields(model, modules, layers):
            exhibits.append(field)
        if found:
            exhibits.append(parts.saved(found))
            numbers["weights beside plain convolutions"] = Number(
                value=sum(one.weights for one in found) / sum(one.plain for one in found), format="{:.1%}"
            )
        if other := parts.alternatives(chain, found):
            exhibits.append(other)
        warnings = [
            f"{name} does not cost what the closed formulas say: {why}." for name, why in wrong.items()
        ]
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)


def disagreements(model: Model, chain: Sequence[Convolution]) -> dict[str, str]:
    """The convolutions whose counted parameters, multiplications or map are not those of the formulas, and how."""
    found = {}
    for one in chain:
        layer = model.layers.find(one.address)
        counted, formula = (layer.parameters, layer.macs, one.after), one.expected()
        if counted != formula:
            found[one.address] = f"counted {counted}, formula {formula}"
    return found
