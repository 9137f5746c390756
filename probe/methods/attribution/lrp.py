"""Layer-wise relevance propagation by captum, on a copy of the network whose batch norms are merged."""

from functools import partial
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from probe.errors import UserError
from probe.methods.attribution.captum_hooks import RESHAPES, detached, hookable, quiet, require_hooks
from probe.methods.attribution.method import GRADIENT_COST, AttributionMethod
from probe.methods.attribution.scores import class_logits, differentiable, uncompiled
from probe.model.batching import in_batches
from probe.model.model import Model
from probe.model.outputs import find_logits
from probe.model.targets import Targets, UnitTargets, expanded

_RULES = {
    "Convolution": nn.Conv2d,
    "Addmm": nn.Linear,
    "Mm": nn.Linear,
    "Relu": nn.ReLU,
    "Tanh": nn.Tanh,
    "MaxPool2DWithIndices": nn.MaxPool2d,
    "AvgPool2D": nn.AvgPool2d,
    "AdaptiveAvgPool2D": nn.AdaptiveAvgPool2d,
    "Mean": nn.AdaptiveAvgPool2d,
}


class LRP(AttributionMethod):
    """The score of a class, redistributed layer by layer to the inputs that contributed to it."""

    name = "lrp"
    title = "LRP"
    source = "Bach et al. 2015; Montavon et al. 2019"
    kind = "signed"

    gamma: float = Field(
        0.25,
        ge=0,
        le=100,
        description="emphasis on positive weights in convolutions (0: none, the LRP-0 rule)",
    )
    epsilon: float = Field(
        1e-9, gt=0, le=1, description="stabiliser of the denominator; larger values absorb relevance"
    )

    def attribute(self, model: Model, pixels: Tensor, targets: Targets, *, seed: int = 0) -> Tensor:
        """(n, c, h, w) in units of the score: the gamma rule in convolutions, the epsilon rule elsewhere.

        Raises UserError for targets other than classes, and where captum's hooks would miss an operation: one that is
        a function, a residual sum, a module that is called twice, or a batch norm that does not follow a convolution.
        Montavon et al. 2019, section 10.2.
        """
        pixels, targets = expanded(model, pixels, targets)
        if isinstance(targets, UnitTargets) or targets.is_floating_point():
            raise UserError("LRP redistributes the score of a class: choose a class as the target")
        copied = hookable(model)
        merge_batch_norms(copied)
        module = _ClassScores(copied)

        def score() -> Tensor:
            with differentiable(copied.normalise(pixels[:1])) as leaf, uncompiled():
                return module(leaf, targets[:1])

        require_hooks("LRP", copied, score, rules=_RULES, harmless=RESHAPES)
        class_logits(copied, pixels)  # refused where they are not finite: relevance of NaN would be zero

        def of_rows(rows: Tensor) -> Tensor:
            with quiet(), uncompiled(), differentiable(copied.normalise(pixels[rows])) as leaf:
                lrp = self._captum(module)
                relevance = lrp.attribute(leaf, additional_forward_args=(targets[rows],))
                return detached(relevance).to(pixels)

        with torch.inference_mode(False):
            rows = torch.arange(len(pixels), device=pixels.device)
            return in_batches(of_rows, rows, batch=model.batch(gradient=True))

    def forward_passes(self, model: Model) -> int:
        return 1 + 2 * GRADIENT_COST

    def _captum(self, module: nn.Module) -> Any:
        from captum.attr import LRP as CaptumLRP
        from captum.attr._utils.lrp_rules import EpsilonRule, GammaRule

        for layer in module.modules():
            if type(layer) is nn.Conv2d and self.gamma > 0:
                layer.rule = GammaRule(gamma=self.gamma)  # type: ignore[assignment]
            elif not any(True for _ in layer.children()) and type(layer) not in (
                nn.ReLU,
                nn.Dropout,
                nn.Tanh,
            ):
                layer.rule = EpsilonRule(epsilon=self.epsilon)  # type: ignore[assignment]
        return CaptumLRP(module)


class _ClassScores(nn.Module):
    """The logits of classes (n,), from what the network itself takes: relevance passes no normalisation."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network = model.network
        self.logits = partial(find_logits, classes=len(model.classes), owner=model.name)

    def forward(self, normalised: Tensor, classes: Tensor) -> Tensor:
        return self.logits(self.network(normalised)).gather(1, classes[:, None])[:, 0]


def merge_batch_norms(model: Model) -> None:
    """Merge each batch norm into the convolution before it, in place, where nothing else reads that convolution."""
    readers: dict[str, int] = {}
    for layer in model.layers:
        if layer.leaf and layer.given:
            readers[layer.given] = readers.get(layer.given, 0) + 1
    modules = dict(model.network.named_modules())
    for layer in model.layers:
        norm, before = modules.get(layer.address), modules.get(layer.given or "")
        if not isinstance(norm, nn.BatchNorm2d) or type(before) is not nn.Conv2d:
            continue
        if layer.calls == 1 and readers.get(layer.given or "") == 1:
            fused = fuse_conv_bn_eval(before, norm)
            before.weight, before.bias = fused.weight, fused.bias
            before.requires_grad_(False)
            owner, _, name = layer.address.rpartition(".")
            setattr(model.network.get_submodule(owner), name, nn.Identity())
