"""DeepLIFT and LRP are complete where they are given, agree with captum where it is right, and are refused elsewhere."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from probe.errors import UserError
from probe.methods.attribution.deeplift import DeepLIFT, DeepLIFTShap
from probe.methods.attribution.lrp import LRP
from probe.methods.attribution.relu_rules import backpropagate
from probe.model.model import Model
from tests.methods.attribution.networks import CLASSES, LABELS, images, model_of, small_convnet


def overlapping() -> nn.Sequential:
    """Batch norm, an in-place ReLU and pools that overlap, as in AlexNet and SqueezeNet."""
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, CLASSES),
    )


class Residual(nn.Module):
    """A skip that reads what a ReLU reads: a hook on that tensor would see the gradients of both."""

    def __init__(self, relu: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.relu, self.last = relu or nn.ReLU(), nn.ReLU()
        self.dense = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = x + self.second(self.relu(x))
        return self.dense(self.last(x).mean((2, 3)))


def difference(model: Model, baselines: Tensor) -> Tensor:
    rows = torch.arange(len(LABELS))
    with torch.no_grad():
        return model.logits(images())[rows, LABELS] - model.logits(baselines)[:, LABELS].mean(0)


@pytest.mark.parametrize("network", [small_convnet(), small_convnet(nn.Tanh), overlapping(), Residual()])
def test_the_sum_of_deeplift_is_the_difference_of_scores(network):
    model = model_of(network)
    baseline = torch.full_like(images(1), 0.2)
    found = DeepLIFT(baseline=0.2)(model, images(), LABELS)
    torch.testing.assert_close(found.sum((1, 2, 3)), difference(model, baseline))
    found = DeepLIFTShap()(model, images(), LABELS, seed=1)
    torch.testing.assert_close(
        found.sum((1, 2, 3)), difference(model, DeepLIFTShap().references(images(), 1))
    )


def test_they_agree_with_captum_where_no_two_of_its_hooks_share_a_tensor():
    from captum.attr import DeepLift, DeepLiftShap

    network = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(6, 8, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(32, CLASSES)
    )  # fmt: skip
    model = model_of(network)

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: Tensor) -> Tensor:
            return model.logits(pixels)

    references = torch.rand(5, *images().shape[1:], generator=torch.Generator().manual_seed(9)).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = DeepLift(Whole()).attribute(images(), torch.zeros_like(images()), target=LABELS)
        shap = DeepLiftShap(Whole()).attribute(images(), references, target=LABELS)
    torch.testing.assert_close(DeepLIFT()(model, images(), LABELS), plain.detach())
    found = DeepLIFTShap().with_references(references)(model, images(), LABELS)
    torch.testing.assert_close(found, shap.detach())


class Functional(Residual):
    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.last(F.relu(self.first(x))).mean((2, 3)))


class Gated(Residual):
    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.dense((x * self.relu(x)).mean((2, 3)))


class Clamped(Residual):
    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.first(x).clamp(min=0).mean((2, 3)))


class Summed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.relu = nn.Conv2d(2, 6, 3), nn.Conv2d(2, 6, 3), nn.ReLU()
        self.pool, self.dense = nn.AdaptiveAvgPool2d(1), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.pool(self.first(x) + self.relu(self.second(x))).flatten(1))


class Reused(Residual):
    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.relu(self.second(self.relu(self.first(x)))).mean((2, 3)))


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (
            Functional(),
            "of 2 Relu operations before the target only 1 are modules: it would miss the functions",
        ),
        (Reused(), r"relu \(ReLU\) is called 2 times"),
        (Gated(), "no rule for products of activations"),
        (Clamped(), "no rule for the operation Clamp"),
        (Residual(nn.GELU()), "no rule for the operation Gelu"),
        (Residual(nn.Hardtanh(0, 1)), "no rule for the operation Hardtanh"),
        (
            nn.Sequential(nn.InstanceNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(200, CLASSES)),
            "normalisation by the statistics of the image",
        ),
    ],
)
def test_deeplift_is_refused_with_the_reason_where_hooks_would_miss_something(network, reason):
    for method in (DeepLIFT(), DeepLIFTShap()):
        with pytest.raises(UserError, match=reason) as error:
            method(model_of(network), images(), LABELS)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("network", [small_convnet(), overlapping()])
def test_plain_lrp_of_relus_without_biases_is_gradient_times_input_and_adds_up(network):
    model = model_of(network)
    for module in network.modules():
        if getattr(module, "bias", None) is not None:
            module.bias.data.zero_()
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.zero_()
    std = torch.tensor([0.25, 0.5], dtype=torch.float64).view(1, 2, 1, 1)
    wanted = backpropagate(model, images(), LABELS) * std * model.normalise(images())
    found = LRP(gamma=0, epsilon=1e-12)(model, images(), LABELS)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-8)
    scores = model.logits(images()).gather(1, LABELS[:, None])[:, 0]
    torch.testing.assert_close(found.sum((1, 2, 3)), scores, rtol=1e-4, atol=1e-8)
    composite = LRP()(model, images(), LABELS)
    torch.testing.assert_close(composite.sum((1, 2, 3)), scores, rtol=1e-4, atol=1e-8)
    assert not torch.allclose(composite, found)


def test_lrp_is_refused_where_relevance_would_be_lost():
    for network, reason in (
        (Residual(), "of 1 Mean operation before the target only 0 are modules"),
        (Summed(), "no rule for the operation Add"),
        (Reused(), "relu .* is called 2 times"),
        (nn.Sequential(nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(200, CLASSES)), "NativeBatchNorm"),
    ):
        with pytest.raises(UserError, match=reason):
            LRP()(model_of(network), images(), LABELS)
