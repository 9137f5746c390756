"""Captions of `architecture`."""

from dataclasses import dataclass

from probe.exhibits.wording import counted, sentences


@dataclass(frozen=True, kw_only=True)
class CostFindings:
    """The size of a network, its layer with the most MACs and the one with the most parameters.

    convolutions, mismatches: how many there are, and how many do not cost what the closed formulas give.
    unlisted: how many layers that multiply or pool are not in the table, of at most `unlisted_macs` each.
    """

    model: str
    parameters: int
    macs: int
    costliest: str
    mac_fraction: float
    largest: str
    parameter_fraction: float
    convolutions: int
    mismatches: int
    unlisted: int
    unlisted_macs: int


def cost_caption(f: CostFindings) -> str:
    return sentences(
        f"{f.model} has {f.parameters:,} parameters and takes {f.macs:,} multiply-accumulates (MACs) per image.",
        f"The costliest layer, {f.costliest}, takes {f.mac_fraction:.1%} of the MACs; the largest, {f.largest}, holds "
        f"{f.parameter_fraction:.1%} of the parameters."
        if f.costliest != f.largest
        else f"{f.costliest} takes {f.mac_fraction:.1%} of the MACs and holds {f.parameter_fraction:.1%} of the "
        "parameters.",
        f.convolutions > 0
        and (
            f"{f.mismatches:,} of {counted(f.convolutions, 'convolution')} {'does' if f.mismatches == 1 else 'do'} not "
            "cost what the closed formulas give."
            if f.mismatches
            else "The cost of every convolution agrees with the closed formulas."
        ),
        f.unlisted > 0
        and f"Not listed {'are' if f.unlisted > 1 else 'is'} {counted(f.unlisted, 'layer')} with "
        + (
            f"at most {f.unlisted_macs:,} MACs{' each' if f.unlisted > 1 else ''}."
            if f.unlisted_macs
            else "no MACs."
        ),
    )


@dataclass(frozen=True, kw_only=True)
class FractionFindings:
    """Fractions of all parameters and MACs in convolutions and in dense layers."""

    convolution_parameters: float
    convolution_macs: float
    dense_parameters: float
    dense_macs: float


def fraction_caption(f: FractionFindings) -> str:
    return sentences(
        f"Convolutions hold {f.convolution_parameters:.1%} of the parameters and take {f.convolution_macs:.1%} of the "
        "MACs."
        if f.convolution_parameters
        else "There is no convolution.",
        f"Dense layers hold {f.dense_parameters:.1%} and take {f.dense_macs:.1%}."
        if f.dense_parameters
        else "There is no dense layer.",
    )


@dataclass(frozen=True, kw_only=True)
class ReceptiveFieldFindings:
    """The receptive field of the last layer, and the last layer whose field is smaller than the image; "" if none."""

    last: str
    receptive_field: int
    image_side: int
    last_local: str


def receptive_field_caption(f: ReceptiveFieldFindings) -> str:
    return sentences(
        f"The receptive field grows to {f.receptive_field} pixels at {f.last}; the image has {f.image_side}.",
        f"The last layer with a receptive field smaller than the image is {f.last_local}."
        if f.last_local
        else "The receptive field of every layer covers the image.",
    )


@dataclass(frozen=True, kw_only=True)
class CompactFindings:
    """Weights of all structures that save weights, and of plain convolutions in their place."""

    weights: int
    plain_weights: int

    @property
    def ratio(self) -> float:
        return self.weights / self.plain_weights


def compact_block_caption(f: CompactFindings) -> str:
    return sentences(
        f"These structures have {f.weights:,} weights, {f.ratio:.1%} of the {f.plain_weights:,} of plain convolutions with the "
        "same receptive fields.",
        "The last two columns, counted and by the closed formula, should agree.",
    )


@dataclass(frozen=True, kw_only=True)
class AlternativeFindings:
    """The convolutions with the most weights, and what they would take as depthwise separable ones."""

    kernel: int
    in_channels: int
    out_channels: int
    separable_ratio: float
    bottleneck: bool
    stack: bool


def alternative_caption(f: AlternativeFindings) -> str:
    return sentences(
        f"As depthwise separable convolutions, the {f.kernel} x {f.kernel} convolutions from {f.in_channels} to "
        f"{f.out_channels} channels would take {f.separable_ratio:.1%} of their weights.",
        f.bottleneck and "The bottleneck has half of the channels.",
        f.stack and "The stack of small convolutions has the same receptive field.",
    )
