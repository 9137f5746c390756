"""Class activation maps: Grad-CAM and guided Grad-CAM, HiResCAM, LayerCAM and Finer-CAM."""

from abc import abstractmethod
from typing import Self

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from probe.errors import UserError
from probe.methods.attribution.method import GRADIENT_COST, AttributionMethod, Precision
from probe.methods.attribution.relu_rules import backpropagate
from probe.methods.attribution.scores import class_logits, differentiable, uncompiled
from probe.model.batching import in_batches
from probe.model.layers import Layer
from probe.model.model import Model
from probe.model.observer import recording
from probe.model.targets import Targets, UnitTargets, expanded, scores
from probe.params import Fraction

MIN_SIDE = 4
"""Smaller maps are not chosen by default: they tell too little of where."""


class ClassActivationMap(AttributionMethod):
    """The maps of a layer, combined with the gradient of the score with respect to them. A subclass combines them."""

    kind = "magnitude"

    layer: str = Field(
        "",
        description="address of a layer with feature maps (default: the feature maps that the classifier reads)",
    )

    @abstractmethod
    def combine(self, maps: Tensor, gradient: Tensor) -> Tensor:
        """One map of each image: two (n, channels, h, w) of the layer -> (n, h, w); what is negative is cut off."""

    def attribute(self, model: Model, pixels: Tensor, targets: Targets, *, seed: int = 0) -> Tensor:
        """(n, h, w), 0 and up, resized to the pixels.

        Raises UserError for a layer without maps, or one that the score does not depend on.
        """
        pixels, targets = expanded(model, pixels, targets)
        layer = model.layers.find(self.layer) if self.layer else gradcam_layer(model)
        if not layer.spatial:
            raise UserError(
                f"layer {layer.address} has no maps, and {self.title} needs them: name a convolution, or omit the layer to have one chosen"
            )

        def of_rows(rows: Tensor) -> Tensor:
            maps, gradient = _maps_and_gradient(model, pixels[rows], targets[rows], layer)
            cam = self.combine(maps, gradient).clamp(min=0).detach()[:, None]
            return F.interpolate(cam, size=pixels.shape[2:], mode="bilinear", align_corners=False)[:, 0]

        with torch.inference_mode(False):
            rows = torch.arange(len(pixels), device=pixels.device)
            return in_batches(of_rows, rows, batch=model.batch(gradient=True))

    def resolved(self, model: Model, precision: Precision = "fine") -> Self:
        return self.model_copy(update={"layer": _resolved_layer(model, self.layer)})


class GradCAM(ClassActivationMap):
    """The positive part of the sum of a layer's feature maps, weighted by the mean gradients of the score."""

    name = "gradcam"
    title = "Grad-CAM"
    source = "Selvaraju et al. 2017"

    def combine(self, maps: Tensor, gradient: Tensor) -> Tensor:
        """Selvaraju et al. 2017, equations 1 and 2."""
        return (gradient.mean((2, 3), keepdim=True) * maps).sum(1)


class HiResCAM(ClassActivationMap):
    """The positive part of the sum of a layer's feature maps, weighted at each position by the gradient of the score.

    Where global average pooling and a linear layer follow, it equals Grad-CAM.
    """

    name = "hirescam"
    title = "HiResCAM"
    source = "Draelos and Carin 2020, arXiv 2011.08891"

    def combine(self, maps: Tensor, gradient: Tensor) -> Tensor:
        """Draelos and Carin 2020, equation 6."""
        return (gradient * maps).sum(1)


class LayerCAM(ClassActivationMap):
    """The sum of a layer's feature maps, weighted at each position by the positive part of the gradient of the score.

    Before strided layers its maps show a grid.
    """

    name = "layercam"
    title = "LayerCAM"
    source = "Jiang et al. 2021, IEEE TIP 30"

    def combine(self, maps: Tensor, gradient: Tensor) -> Tensor:
        """Jiang et al. 2021, equations 7 to 9."""
        return (gradient.clamp(min=0) * maps).sum(1)


class FinerCAM(ClassActivationMap):
    """Grad-CAM of a class against the classes with the nearest logits: why this class and not those?"""

    name = "finer-cam"
    title = "Finer-CAM"
    source = "Zhang et al. 2025, arXiv 2501.11309"

    alpha: Fraction = Field(1.0, ge=0, le=1, description="weight of the other classes (0: Grad-CAM)")
    rivals: int = Field(
        3, ge=1, le=1000, description="number of classes to compare with, those with the nearest logits"
    )

    def attribute(self, model: Model, pixels: Tensor, targets: Targets, *, seed: int = 0) -> Tensor:
        """(n, h, w), 0 and up, resized to the pixels. Raises UserError for targets other than classes.

        Zhang et al. 2025, section 3.2.
        """
        pixels, targets = expanded(model, pixels, targets)
        if isinstance(targets, UnitTargets) or targets.is_floating_point():
            raise UserError("Finer-CAM compares classes: choose a class as the target, or use gradcam")
        if len(model.classes) < 2:
            raise UserError(f"Finer-CAM compares classes and {model.name} has one: use gradcam")
        weights = self._against_rivals(class_logits(model, pixels), targets)
        return super().attribute(model, pixels, weights, seed=seed)

    def combine(self, maps: Tensor, gradient: Tensor) -> Tensor:
        return (gradient.mean((2, 3), keepdim=True) * maps).sum(1)

    def forward_passes(self, model: Model) -> int:
        return 1 + GRADIENT_COST

    def _against_rivals(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Weights of the logits (n, classes): z_n less the mean of alpha z_k over the rivals k, weighted by p_k."""
        own = F.one_hot(targets, logits.shape[1]).bool()
        distance = (logits - logits.gather(1, targets[:, None])).abs().masked_fill(own, torch.inf)
        rivals = distance.topk(min(self.rivals, logits.shape[1] - 1), dim=1, largest=False).indices
        chosen = torch.zeros_like(own).scatter_(1, rivals, True)
        share = logits.masked_fill(~chosen, -torch.inf).softmax(1)  # p_k / sum p_k over the rivals
        return own.to(share) - self.alpha * share


class GuidedGradCAM(AttributionMethod):
    """Guided backprop times Grad-CAM."""

    name = "guided-gradcam"
    title = "Guided Grad-CAM"
    source = "Selvaraju et al. 2017"
    kind = "magnitude"

    layer: str = Field(
        "",
        description="address of a layer with feature maps (default: the feature maps that the classifier reads)",
    )

    def attribute(self, model: Model, pixels: Tensor, targets: Targets, *, seed: int = 0) -> Tensor:
        """(n, c, h, w). Raises UserError where either of the two cannot be applied.

        Selvaraju et al. 2017, section 3.2.
        """
        coarse = GradCAM(layer=self.layer).attribute(model, pixels, targets)
        return backpropagate(model, pixels, targets, rule="guided") * coarse[:, None]

    def resolved(self, model: Model, precision: Precision = "fine") -> Self:
        return self.model_copy(update={"layer": _resolved_layer(model, self.layer)})

    def forward_passes(self, model: Model) -> int:
        return 2 * GRADIENT_COST


def gradcam_layer(model: Model) -> Layer:
    """The maps that the classifier reads, before pooling: the default of Grad-CAM.

    Found by following the computation back from the logits to what is pooled globally or flattened. Where those maps
    are smaller than 4 x 4, the last larger ones that are not a pooling. Raises UserError where there are none.
    """
    layer = model.layers.find(model.layers.feature_map) if model.layers.feature_map else None
    while layer is not None and _passes_on(layer):
        layer = model.layers.find(layer.given) if layer.given else None
    if layer is not None and layer.spatial and min(layer.shape[1:]) >= MIN_SIDE:
        return layer
    for layer in reversed(model.layers.maps):
        if min(layer.shape[1:]) >= MIN_SIDE and not _passes_on(layer):
            return layer
    raise UserError(
        f"{model.name} has no layer with maps of {MIN_SIDE} x {MIN_SIDE} or more, and Grad-CAM needs one"
    )


def _passes_on(layer: Layer) -> bool:
    return any(kind in layer.kind for kind in ("Pool", "Dropout", "Identity"))


def _resolved_layer(model: Model, address: str) -> str:
    """The address in its full form, or that of the default; empty where the model has no layer for it."""
    if address:
        return model.layers.find(address).address
    try:
        return gradcam_layer(model).address
    except UserError:
        return ""


def _maps_and_gradient(model: Model, pixels: Tensor, targets: Targets, layer: Layer) -> tuple[Tensor, Tensor]:
    """The maps of a layer and the gradient of the scores with respect to them, both (n, channels, h, w)."""
    with (
        differentiable(pixels) as leaf,
        uncompiled(),
        recording(model.network, [layer.address]) as recorded,
    ):
        score = scores(model, leaf, targets)
        if layer.address not in recorded:
            raise UserError(f"layer {layer.address} comes after the target: name an earlier one")
        maps = recorded[layer.address]
        (gradient,) = torch.autograd.grad(score.sum(), maps, allow_unused=True)
    if gradient is None:
        raise UserError(f"the target does not depend on layer {layer.address}: name another")
    return model.as_pixels(maps.detach(), pixels), model.as_pixels(gradient, pixels)
