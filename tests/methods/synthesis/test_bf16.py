"""A copy of a model in bfloat16 has the activations and gradients of the model, to its precision."""

import torch

from probe.data.images import Images
from probe.methods.synthesis.bf16 import in_bf16
from probe.methods.synthesis.optimise import activations
from probe.model.model import Model
from probe.runs.execute import run


def test_activations_and_gradients_are_those_of_the_model(convnet: Model) -> None:
    pixels = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    layers = ("0", "1", "4", "")  # the convolution before a batch norm, that, a later layer, the logits
    for layer in layers:
        values, gradients = [], []
        for model in (convnet, in_bf16(convnet, {layer})):
            leaf = pixels.clone().requires_grad_(True)
            read = activations(model, leaf, [layer])[layer]
            values.append(read.detach())
            gradients.append(torch.autograd.grad(read.square().sum(), leaf)[0])
        assert values[1].dtype == gradients[1].dtype == torch.float32
        for (exact, fast), limit in ((values, 0.02), (gradients, 0.25)):  # ReLUs and maxima switch
            assert (fast - exact).norm() / exact.norm() < limit, layer
    assert next(convnet.network.parameters()).dtype == torch.float32


def test_maximise_in_bf16_reaches_the_same_activations(convnet: Model, noise_images: Images) -> None:
    options = {"layer": "4", "n_units": 4, "steps": 30}
    exact, fast = (run("maximise", convnet, noise_images, bf16=flag, **options) for flag in (False, True))
    rows = [result.exhibits[1].rows for result in (exact, fast)]
    for a, b in zip(*rows, strict=True):
        assert abs(b[1] / a[1] - 1) < 0.2  # another course of 30 steps
