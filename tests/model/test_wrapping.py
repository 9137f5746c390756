"""Networks in memory become Models, and what does not fit is refused in one line."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, weight_norm

import probe
from probe.errors import UserError


def small(outputs: int = 10) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, outputs))


def wrap(network: nn.Module, **changed: Any) -> probe.Model:
    return probe.wrap(network, **{"shape": (1, 8, 8), "mean": 0.3, "std": 0.5, "classes": 10, **changed})


def test_logits_are_those_of_the_network_on_normalised_pixels() -> None:
    network, pixels = small(), torch.rand(5, 1, 8, 8)
    logits = wrap(network).logits(pixels)
    assert torch.allclose(logits, network((pixels - 0.3) / 0.5), atol=1e-6)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shape": None}, "wrap needs the shape of one input"),
        ({"shape": (1, 1, 8, 8)}, r"without the batch, got \(1, 1, 8, 8\)"),
        ({"shape": (3, 8, 8)}, "cannot process 3 x 8 x 8 images"),
        ({"mean": None}, "wrap needs the mean per channel.*mean=0, std=1 if they were not normalised"),
        ({"std": None}, "wrap needs the std"),
        ({"mean": (0.1, 0.2)}, "mean must have 1 numbers, one per channel, got 2"),
        ({"mean": 127.5}, r"mean must lie in \[0, 1\], got 127.5: pixels are in \[0, 1\]"),
        ({"mean": "imagenet"}, "mean must be a number, or one for each channel, got 'imagenet'"),
        ({"mean": [[0.1], [0.2, 0.3]]}, "mean must be a number, or one for each channel"),
        ({"classes": True}, "there must be at least one class, got classes=True"),
        ({"std": 58}, r"std must lie in \(0, 1\], got 58"),
        ({"std": 0}, r"std must lie in \(0, 1\], got 0"),
        ({"classes": None}, "wrap needs the classes"),
        ({"classes": []}, "classes is empty"),
        ({"classes": "cat"}, "a list of names or their number, got the text 'cat'"),
        ({"classes": 12}, r"must have shape \(1, 12\), one number per class, got \(1, 10\)"),
        ({"preprocess": "shrink 8"}, "is not a preprocessing step"),
        ({"device": "gpu"}, "device must be auto, cpu, cuda"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_one_line(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        wrap(small(), **changed)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("as_array", [np.array, torch.tensor, tuple])
def test_arrays_and_tensors_are_numbers_too(as_array: Callable[[list[float]], Any]) -> None:
    expected = wrap(small()).card.input
    model = wrap(small(), mean=as_array([0.3]), std=as_array([0.5]), shape=tuple(np.array([1, 8, 8])))
    assert model.card.input.shape == expected.shape
    assert model.card.input.mean == pytest.approx(expected.mean)
    assert model.card.input.std == expected.std


@dataclass
class Output:
    logits: Tensor
    features: Tensor


class Returning(nn.Module):
    def __init__(self, output: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.inner, self.output = small(), output

    def forward(self, x: Tensor) -> Any:
        return self.output(self.inner(x))


@pytest.mark.parametrize(
    "output",
    [
        lambda y: (y, y[:, :3]),
        lambda y: {"logits": y, "loss": y.sum()},
        lambda y: Output(y, y[:, :3]),
    ],
)
def test_a_tuple_dictionary_or_dataclass_with_one_tensor_of_logits_is_taken(output: Any) -> None:
    assert wrap(Returning(output)).logits(torch.rand(2, 1, 8, 8)).shape == (2, 10)


def test_a_network_without_logits_among_its_outputs_is_refused() -> None:
    with pytest.raises(UserError, match="returns a tuple without logits"):
        wrap(Returning(lambda y: (y[:, :3], y[:, :4])))


def test_a_network_in_half_precision_and_one_in_float64_are_taken() -> None:
    for dtype in (torch.float64, torch.bfloat16):
        model = wrap(small().to(dtype))
        assert model.logits(torch.rand(2, 1, 8, 8)).dtype == torch.float32
        assert model.dtype == dtype


def test_old_and_new_weight_norm_are_copied_and_the_network_keeps_its_own() -> None:
    for norm in (weight_norm, parametrizations.weight_norm):
        network = small()
        with pytest.warns(FutureWarning) if norm is weight_norm else torch.no_grad():
            norm(network[0])
        pixels = torch.rand(3, 1, 8, 8)
        before, names = network(pixels), list(network.state_dict())
        model = wrap(network, mean=0, std=1)
        assert torch.allclose(model.logits(pixels), before, atol=1e-6)
        assert list(network.state_dict()) == names
        assert network(pixels).requires_grad


def test_a_parallel_network_is_unwrapped() -> None:
    assert type(wrap(nn.DataParallel(small())).network) is nn.Sequential


@pytest.mark.slow
def test_a_compiled_network_is_unwrapped() -> None:
    assert type(wrap(torch.compile(small())).network) is nn.Sequential


def test_networks_without_weights_and_scripted_ones_are_refused() -> None:
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(10))
    with pytest.raises(UserError, match="lazy layers without weights: run one batch"):
        wrap(lazy)
    with pytest.raises(UserError, match="is on the meta device"):
        wrap(small().to("meta"))
    with pytest.raises(UserError, match=r"takes a torch\.nn\.Module, got str"):
        wrap("resnet18")  # pyrefly: ignore


def test_networks_with_the_same_weights_and_other_code_differ_in_their_digest() -> None:
    class Doubled(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    one, two = small(), Doubled(*small())
    assert wrap(one, name="net").digest == wrap(small(), name="net").digest
    two.__class__.__name__ = "Sequential"
    assert wrap(one, name="net").digest != wrap(two, name="net").digest


def one_output() -> nn.Module:
    """A binary classifier with one output."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1), nn.Sigmoid()
    )


def test_a_binary_classifier_with_one_output_is_told_to_return_two() -> None:
    settings: dict[str, Any] = {"shape": (3, 8, 8), "mean": 0.5, "std": 0.25}
    with pytest.raises(UserError, match=r"one output for two classes: let it return two logits, torch\.cat"):
        wrap(one_output(), classes=["no", "yes"], **settings)
    model = wrap(one_output(), classes=1, **settings)
    images = probe.images(torch.rand(4, 3, 8, 8), labels=[0, 0, 0, 0])
    warnings = probe.run("classify", model, images).warnings
    assert any(
        "has one output, so that its softmax confidence is 100% for every image" in w for w in warnings
    )
    assert not any("one output" in w for w in probe.run("architecture", model, images).warnings)
