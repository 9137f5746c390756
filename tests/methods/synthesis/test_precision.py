"""A copy of a model in bfloat16 has the activations and gradients of the model, to its precision."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from probe.data.images import Images
from probe.errors import UserError
from probe.methods.synthesis.optimise import activations
from probe.methods.synthesis.precision import in_bf16, in_precision
from probe.model.model import Model
from probe.runs.execute import run
from tests.conftest import model_of


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
    exact, fast = (
        run("maximise", convnet, noise_images, precision=name, **options) for name in ("float32", "bf16")
    )
    rows = [result.exhibits[1].rows for result in (exact, fast)]
    for a, b in zip(*rows, strict=True):
        assert abs(b[1] - a[1]) < 0.15 * (
            a[1] - a[2]
        )  # beyond the data's maximum; another course of 30 steps


class AddsFloat32(nn.Module):
    """A network whose own code mixes precisions: its dense layer gets float32 whatever the weights are."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.dense = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.convolution(x).float().mean((2, 3)))


class Cancels(nn.Module):
    """A network whose logits are small differences of large numbers, which bfloat16 rounds away."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        large = self.convolution(x).mean((2, 3)) + 1e4
        return large - 1e4


class Unlike(nn.Module):
    """A network that does `change` to what it computes in bfloat16."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 2, 3)
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        logits = self.convolution(x).mean((2, 3))
        return logits if x.dtype == torch.float32 else self.change(logits)


class NoBackward(torch.autograd.Function):
    """The identity, whose gradient is not implemented."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, signal):  # pyrefly: ignore[bad-override]
        raise RuntimeError("not implemented for 'BFloat16'")


@pytest.fixture
def hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hardware that computes in bfloat16."""
    monkeypatch.setattr("probe.precision.computes_in_bf16", lambda device: True)


@pytest.mark.usefixtures("hardware")
def test_auto_takes_bf16_where_the_network_agrees_with_itself(convnet: Model) -> None:
    assert in_precision(convnet, {""}, "auto").dtype == torch.bfloat16
    assert in_precision(convnet, {""}, "float32") is convnet
    for network in (AddsFloat32(), Cancels(), convnet.network.to(torch.float64)):
        model = model_of(network, (3, 32, 32), 2)
        assert in_precision(model, {""}, "auto") is model


@pytest.mark.usefixtures("hardware")
@pytest.mark.parametrize(
    "change",
    [
        lambda logits: logits * torch.nan,
        lambda logits: logits.detach(),
        NoBackward.apply,
        lambda logits: 1.2 * logits,
    ],
    ids=["NaN", "no gradient", "an error in the gradient", "20 % more"],
)
def test_auto_stays_in_float32_where_the_copy_computes_something_else(change: Callable) -> None:
    model = model_of(Unlike(change), (3, 32, 32), 2)
    for layers in (["convolution", ""], ["", "convolution"]):
        assert in_precision(model, layers, "auto") is model
    assert in_precision(model, ["convolution"], "auto").dtype == torch.bfloat16


def test_the_statistics_of_batch_norm_stay_in_float32(convnet: Model) -> None:
    (norm,) = [m for m in in_bf16(convnet, {"0"}).network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {value.dtype for value in norm.state_dict().values()} == {torch.float32, torch.int64}
    assert not [m for m in in_bf16(convnet, {"4"}).network.modules() if isinstance(m, nn.BatchNorm2d)]


def test_auto_stays_in_float32_where_the_hardware_has_no_bf16(
    convnet: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("probe.precision.computes_in_bf16", lambda device: False)
    assert in_precision(convnet, {""}, "auto") is convnet


def test_a_network_that_cannot_compute_in_bf16_is_refused_in_one_line() -> None:
    model = model_of(AddsFloat32(), (3, 32, 32), 2)
    with pytest.raises(UserError, match=r"^net cannot compute in bfloat16 \(.*\): use --precision float32$"):
        in_precision(model, {""}, "bf16")
