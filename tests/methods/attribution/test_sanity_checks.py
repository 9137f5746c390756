"""Randomisation changes the weights that it names and nothing else; similarities and outcomes are as computed by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from probe.methods.attribution.backprop import GuidedBackprop
from probe.methods.attribution.edges import EDGES
from probe.methods.attribution.gradients import Gradient
from probe.methods.attribution.method import AttributionMethod
from probe.methods.attribution.sanity_checks import (
    MAX_SIMILARITY,
    NOT_TESTED,
    RandomisationResult,
    cascading_randomisation,
    duplicate,
    half_randomised,
    last_layer_similarity,
    layers_behind,
    randomise,
    rank_correlation,
    stages,
    varying,
)
from probe.model.cards import Card, Input
from probe.model.model import Model
from probe.model.targets import UnitTargets
from probe.zoo import build


def model_of(network: nn.Module, side: int = 16) -> Model:
    card = Card(
        name="small",
        architecture="file.py:small",
        classes=("a", "b", "c"),
        input=Input(shape=(3, side, side), mean=(0.5,) * 3, std=(0.25,) * 3, preprocess=""),
    )
    return Model(network, card)


def convnet() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(8 * 64, 3),
        )


CLASSES = torch.tensor([0, 1, 2, 0])


def images(n: int = 4) -> torch.Tensor:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def test_the_layers_go_from_the_last_to_the_first_with_each_norm_beside_its_convolution():
    model = model_of(convnet())
    layers = layers_behind(model, CLASSES)
    assert layers == [["8"], ["4", "5"], ["0", "1"]]
    assert stages(layers, 10) == layers
    assert stages(layers, 2) == [["8", "4", "5"], ["0", "1"]]
    with torch.random.fork_rng(devices=[]):
        deep = model_of(build("resnet20", classes=3), 32)
    groups = stages(layers_behind(deep, CLASSES), 6)
    assert len(groups) == 6
    assert groups[0][0] == "linear"
    assert groups[-1][-2:] == ["conv1", "bn1"]
    owners = {
        name for name, m in deep.network.named_modules() if any(True for _ in m.parameters(recurse=False))
    }
    flat = [name for names in groups for name in names]
    assert set(flat) == owners
    assert len(flat) == len(owners)


def test_only_the_layers_behind_a_unit_are_randomised():
    model = model_of(convnet())
    assert layers_behind(model, UnitTargets("5", torch.tensor([2]))) == [["4", "5"], ["0", "1"]]
    assert layers_behind(model, UnitTargets("2", torch.tensor([2]))) == [["0", "1"]]
    units = UnitTargets("5", torch.tensor([1, 2, 3, 4]))
    before = model.features(images(), "5")["5"]
    randomised = half_randomised(model, images(), units, torch.Generator().manual_seed(0))
    assert not torch.allclose(randomised.features(images(), "5")["5"], before)


class Functional(nn.Module):
    """Its ReLUs and its residual sum are functions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.dense = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.first(x))
        x = F.relu(self.second(x) + x)
        return self.dense(x.mean((2, 3)))


def test_functions_have_no_weights_but_may_be_targets():
    model = model_of(Functional())
    assert layers_behind(model, CLASSES) == [["dense"], ["second"], ["first"]]
    channel = torch.tensor([2])
    assert layers_behind(model, UnitTargets("/relu", channel)) == [["first"]]
    assert layers_behind(model, UnitTargets("/relu#2", channel)) == [["second"], ["first"]]


def test_a_module_of_two_names_is_one_layer():
    shared = nn.Conv2d(3, 3, 3, padding=1)
    model = model_of(nn.Sequential(shared, nn.ReLU(), shared, nn.Flatten(), nn.Linear(3 * 256, 3)))
    assert layers_behind(model, CLASSES) == [["4"], ["0"]]


def test_what_lies_before_a_randomised_layer_stays_as_it_was():
    model = model_of(convnet())
    copied = duplicate(model)
    randomise(copied, ["8"], images(), torch.Generator().manual_seed(0))
    before, after = model.network.state_dict(), copied.network.state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == ["8.weight", "8.bias"]


def test_a_randomised_layer_holds_the_same_values_in_another_order():
    model = model_of(convnet())
    copied = duplicate(model)
    randomise(copied, ["4"], images(), torch.Generator().manual_seed(0))
    before, after = model.network.state_dict(), copied.network.state_dict()
    assert not torch.equal(before["4.weight"], after["4.weight"])
    assert torch.equal(before["4.weight"].flatten().sort().values, after["4.weight"].flatten().sort().values)
    untouched = [name for name in before if name.startswith(("0.", "8.")) or name == "5.weight"]
    assert all(torch.equal(before[name], after[name]) for name in untouched)


def test_randomisation_leaves_the_model_as_it_was():
    model = model_of(convnet())
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    state, digest = torch.get_rng_state(), model.digest
    randomised = half_randomised(model, images(), CLASSES, torch.Generator().manual_seed(0))
    after = model.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(module.training for module in model.network.modules())
    assert torch.equal(state, torch.get_rng_state())
    assert model.digest == digest != randomised.digest
    assert not any(module.training for module in randomised.network.modules())


def test_batch_norm_estimates_its_statistics_anew_so_that_a_deep_network_does_not_explode():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = model_of(build("resnet56", classes=3), 32)
    pixels = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    randomised = half_randomised(model, pixels, CLASSES, torch.Generator().manual_seed(0))
    logits = randomised.logits(pixels)
    assert torch.isfinite(logits).all()
    assert 1e-3 < logits.std() < 1e3


def test_similarity_is_spearmans_correlation():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, (2, 3, 5, 5)).astype(np.float32)
    wanted = [spearmanr(first.ravel(), second.ravel()).statistic for first, second in zip(a, b, strict=True)]
    np.testing.assert_allclose(rank_correlation(torch.from_numpy(a), torch.from_numpy(b)), wanted, atol=1e-6)


def test_a_constant_map_has_no_correlation_with_any_other():
    assert np.isnan(
        rank_correlation(torch.zeros(1, 4, 4), torch.rand(1, 4, 4, generator=torch.Generator()))[0]
    )


def test_edges_stay_the_same_while_the_network_is_randomised():
    model = model_of(convnet())
    edges = EDGES.attribute(model, images(), CLASSES)
    rng = torch.Generator().manual_seed(0)
    stages = 0
    for randomised in cascading_randomisation(model, images(), CLASSES, rng, count=3):
        stages += 1
        assert not torch.equal(randomised.logits(images()), model.logits(images()))
        assert rank_correlation(edges, EDGES.attribute(randomised, images(), CLASSES)) == pytest.approx(1)
    assert stages == 3


def test_randomising_the_last_layer_of_a_linear_network_randomises_its_gradient():
    """The gradient of a linear network is its row of weights: permuted rows have nothing to do with it."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 3))
    network.get_parameter("1.weight").data = torch.randn(3, 768, generator=torch.Generator().manual_seed(5))
    model, attribute = model_of(network), Gradient().attribute
    gradients = attribute(model, images(), CLASSES)
    similarity = last_layer_similarity(attribute, gradients, model, images(), CLASSES, draws=3, seed=0)
    assert similarity.shape == (4,)
    assert np.abs(similarity).max() < 4 / np.sqrt(3 * 768)
    again = last_layer_similarity(attribute, gradients, model, images(), CLASSES, draws=3, seed=0)
    assert (similarity == again).all()


def test_a_rule_that_ignores_the_sign_of_the_signal_stays_similar_where_the_gradient_does_not():
    """All weights positive but for the last layer: guided backprop loses the class, the gradient keeps it."""
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 144, 3)
    )
    rng = torch.Generator().manual_seed(0)
    for layer in ("0", "2"):
        weight = network.get_parameter(f"{layer}.weight")
        weight.data = torch.rand(weight.shape, generator=rng)
        network.get_parameter(f"{layer}.bias").data.zero_()
    network.get_parameter("5.weight").data = torch.randn(3, 16 * 144, generator=rng)
    model = model_of(network)

    def similarity(method: AttributionMethod) -> float:
        maps = method.attribute(model, images(), CLASSES)
        values = last_layer_similarity(method.attribute, maps, model, images(), CLASSES, draws=4, seed=0)
        return float(values.mean())

    assert similarity(GuidedBackprop()) > MAX_SIMILARITY > similarity(Gradient())


def result(last: float, half: float, spread: float, n: int) -> RandomisationResult:
    noise = np.linspace(-spread, spread, n) if n > 1 else np.zeros(1)
    return RandomisationResult(last + noise, half + noise, images=n)


@pytest.mark.parametrize(
    ("last", "half", "spread", "outcome"),
    [(0.6, 0.83, 0.05, "fails"), (0.7, 0.1, 0.05, "fails"), (0.1, 0.7, 0.05, "fails"), (0.2, 0.1, 0.2, "passes")],
)  # fmt: skip
def test_the_test_fails_where_either_similarity_is_above_the_limit(last, half, spread, outcome):
    assert result(last, half, spread, 8).outcome == outcome


@pytest.mark.parametrize(
    ("last", "spread", "n"), [(0.3, 0.6, 3), (0.9, 0.0, 1), (0.1, 0.0, 1), (0.52, 0.2, 16)]
)
def test_the_outcome_is_undecided_on_too_few_images(last: float, spread: float, n: int):
    assert result(last, 0.1, spread, n).outcome == "undecided"


def test_only_attributions_that_differ_between_pixels_are_varying():
    attributions = torch.zeros(3, 1, 4, 4)
    attributions[1, 0, 2, 2] = 1
    assert varying(attributions).tolist() == [False, True, False]


def test_a_value_with_rounding_errors_is_constant():
    attributions = torch.full((1, 8, 8), 0.3)
    attributions[0, 3, 3] += 1e-8
    assert varying(attributions).tolist() == [False]


def test_maps_of_which_all_are_blank_neither_pass_nor_fail():
    nothing = np.full(4, np.nan)
    assert RandomisationResult.of(nothing, nothing, np.zeros(4, dtype=bool)).outcome == "constant"
    assert NOT_TESTED.outcome == "not tested"


def test_blank_maps_are_left_out_and_counted():
    last = np.array([0.1, 0.12, np.nan, 0.11, np.nan])
    half = np.array([0.0, 0.02, 0.01, np.nan, np.nan])
    result = RandomisationResult.of(last, half, np.array([True, True, True, True, False]))
    assert result.last.tolist() == [0.1, 0.12, 0.11]
    assert (result.images, result.blank, result.blank_last, result.blank_half) == (5, 1, 1, 1)
    assert result.outcome == "passes"


@pytest.mark.parametrize(("last", "outcome"), [(0.1, "blank"), (0.9, "fails")])
def test_a_network_that_dies_when_randomised_gives_no_pass(last: float, outcome: str):
    """A map of zeros is unlike the original one whatever the method: it used to count as a pass."""
    similarity = last + np.linspace(-0.02, 0.02, 16)
    dead = np.full(16, np.nan)
    dead[:4] = 0.0
    assert RandomisationResult.of(similarity, dead, np.ones(16, dtype=bool)).outcome == outcome


def test_layers_that_die_when_they_are_shuffled_are_no_evidence():
    """SqueezeNet's case: with its last layers permuted the ReLU before the pooling is dead, and every map is blank."""
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    model = model_of(network)
    network.get_parameter("2.weight").data = torch.full((3, 8, 1, 1), -1.0)
    network.get_parameter("2.weight").data[:, 0] = 1
    network.get_parameter("2.bias").data = torch.tensor([-9.0, -9.0, -9.0])
    with torch.no_grad():
        for name in ("0.weight", "0.bias"):
            network.get_parameter(name)[1:] *= 0.01
            network.get_parameter(name)[0] = 1
    maps = Gradient().attribute(model, images(), CLASSES)
    assert varying(maps).all()
    similarity = last_layer_similarity(Gradient().attribute, maps, model, images(), CLASSES, draws=1, seed=0)
    result = RandomisationResult.of(similarity, similarity, varying(maps))
    assert result.blank_last >= 3
    assert result.outcome == "blank"
