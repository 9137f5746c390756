"""Tests of the objectives that match features, Gram matrices and statistics, and of the regularisers."""

import pytest
import torch
from torch import nn

from probe.methods.synthesis.matching import BatchNormStatistics, FeatureMatch, GramMatch, GuideMatch, gram
from probe.methods.synthesis.objectives import (
    LOGITS,
    PIXELS,
    Direction,
    Diversity,
    LayerEnergy,
    Objective,
    Unit,
)
from probe.methods.synthesis.optimise import activations
from probe.methods.synthesis.regularisers import L2, AlphaNorm, TotalVariation
from probe.model.model import Model
from tests.conftest import model_of

DRAW = torch.Generator().manual_seed(0)
MAPS = torch.randn(4, 3, 5, 6, generator=DRAW, dtype=torch.float64)
PICTURES = torch.rand(4, 3, 7, 6, generator=DRAW, dtype=torch.float64)
ACTIVATIONS = {"conv": MAPS, PIXELS: PICTURES, LOGITS: MAPS[:, :, 0, 0]}


def test_a_gram_matrix_is_the_sum_over_positions_written_out():
    slow = torch.zeros(4, 3, 3, dtype=torch.float64)
    for y in range(5):
        for x in range(6):
            slow += MAPS[:, :, None, y, x] * MAPS[:, None, :, y, x]
    torch.testing.assert_close(gram(MAPS), slow / 30)
    left = torch.zeros(1, 1, 5, 6, dtype=torch.float64)
    left[..., :2] = 1
    torch.testing.assert_close(gram(MAPS, left), gram(MAPS[..., :2]))


def test_the_gram_loss_is_that_of_the_paper():
    """Gatys et al. 2016, equation 4, with N^2 M^2 in place of its 4 N^2 M^2 and one layer."""
    target = gram(MAPS[:1])
    flat = MAPS.flatten(2)
    difference = flat @ flat.transpose(1, 2) - (flat[:1] @ flat[:1].transpose(1, 2))
    paper = difference.square().sum((1, 2)) / (3**2 * 30**2)
    torch.testing.assert_close(GramMatch("conv", target, relative=False).value(ACTIVATIONS), -paper)
    relative = GramMatch("conv", target).value(ACTIVATIONS)
    torch.testing.assert_close(relative, -paper * 9 / target.square().sum())
    assert relative[0] == 0


def test_features_are_matched_relative_to_the_target_or_on_average():
    target = MAPS[1:2]
    error = (MAPS - target).square().sum((1, 2, 3))
    torch.testing.assert_close(
        FeatureMatch("conv", target).value(ACTIVATIONS), -error / target.square().sum()
    )
    torch.testing.assert_close(FeatureMatch("conv", target, relative=False).value(ACTIVATIONS), -error / 90)
    nothing = {"conv": torch.zeros_like(MAPS)}
    torch.testing.assert_close(FeatureMatch("conv", target).value(nothing), -torch.ones(4).double())


def test_the_gradient_of_half_the_energy_is_the_activation():
    maps = MAPS.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(LayerEnergy("conv").value({"conv": maps}).sum(), maps)
    torch.testing.assert_close(gradient, MAPS)
    some = LayerEnergy("conv", torch.tensor([2, 0])).value({"conv": MAPS})
    torch.testing.assert_close(some, 0.5 * MAPS[:, [0, 2]].square().sum((1, 2, 3)))


def test_the_gradient_of_a_guide_is_its_best_matching_activation():
    guide = torch.randn(3, 8, generator=DRAW, dtype=torch.float64)
    maps = MAPS.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(GuideMatch("conv", guide).value({"conv": maps}).sum(), maps)
    for y in range(5):
        for x in range(6):
            best = (guide.T @ MAPS[2, :, y, x]).argmax()
            torch.testing.assert_close(gradient[2, :, y, x], guide[:, best])


def test_directions_and_units_are_read_off_the_map():
    vectors = torch.randn(4, 3, generator=DRAW, dtype=torch.float64)
    product = (MAPS.mean((2, 3)) * vectors).sum(1)
    torch.testing.assert_close(Direction("conv", vectors).value(ACTIVATIONS), product)
    cosine = torch.cosine_similarity(MAPS.mean((2, 3)), vectors).clamp_min(0.1)
    torch.testing.assert_close(Direction("conv", vectors, cosine=2).value(ACTIVATIONS), product * cosine**2)
    logits = Direction(LOGITS, vectors).value(ACTIVATIONS)
    torch.testing.assert_close(logits, (ACTIVATIONS[LOGITS] * vectors).sum(1))
    channels = torch.tensor([0, 1, 2, 0])
    centre = Unit("conv", channels).value(ACTIVATIONS)
    torch.testing.assert_close(centre, MAPS[torch.arange(4), channels, 2, 3])
    corner = Unit("conv", channels, (4, 0), signs=torch.tensor([1, -1, 1, 1])).value(ACTIVATIONS)
    assert corner[1] == -MAPS[1, 1, 4, 0]


def test_equal_images_are_least_diverse_and_groups_do_not_mix():
    same = {"conv": MAPS[:1].expand(4, -1, -1, -1)}
    torch.testing.assert_close(Diversity("conv", 2).value(same), -torch.ones(4).double())
    pair = Diversity("conv", 2).value({"conv": MAPS[:2]})
    torch.testing.assert_close(Diversity("conv", 2).value(ACTIVATIONS)[:2], pair)
    with pytest.raises(ValueError, match="4 images do not make up groups of 3"):
        Diversity("conv", 3).value(ACTIVATIONS)


def test_regularisers_are_means_over_the_pixels_written_out():
    torch.testing.assert_close(L2(0.4).value(ACTIVATIONS), -(PICTURES - 0.4).square().mean((1, 2, 3)))
    torch.testing.assert_close(AlphaNorm(6).value(ACTIVATIONS), -(PICTURES - 0.5).pow(6).mean((1, 2, 3)))
    for beta, extra in ((2.0, 0.0), (1.0, 1e-6)):
        total = torch.zeros(4, dtype=torch.float64)
        for y in range(6):
            for x in range(5):
                here, right, below = PICTURES[..., y, x], PICTURES[..., y, x + 1], PICTURES[..., y + 1, x]
                total += ((right - here) ** 2 + (below - here) ** 2 + extra).pow(beta / 2).sum(1)
        torch.testing.assert_close(TotalVariation(beta).value(ACTIVATIONS), -total / (3 * 30))


def batch_normed() -> Model:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network(torch.rand(2, 3, 8, 8))
    return model_of(network, (3, 8, 8), 2)


def test_batch_norm_statistics_vanish_where_they_are_those_of_the_image(convnet: Model):
    model, image = batch_normed(), torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    objective = BatchNormStatistics(model)
    assert objective.layers == {"0"}
    maps = model.features(image, "0")["0"]
    norm = model.network[1]  # type: ignore[index]
    assert objective.value({"0": maps})[0] < -0.01
    norm.running_mean.copy_(maps.mean((0, 2, 3)))
    norm.running_var.copy_(maps.var((0, 2, 3), correction=0))
    assert BatchNormStatistics(model).value({"0": maps})[0] > -1e-8
    plain = model_of(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), (3, 8, 8), 2)
    with pytest.raises(ValueError, match="no batch-norm layers"):
        BatchNormStatistics(plain)


@pytest.mark.parametrize(
    "objective",
    [
        FeatureMatch("conv", MAPS),
        FeatureMatch("conv", MAPS[:1], relative=False),
        GramMatch("conv", gram(MAPS)),
        GuideMatch("conv", MAPS[0]),
        LayerEnergy("conv"),
        Direction("conv", MAPS[:, :, 0, 0], cosine=1.0),
        Unit("conv", torch.tensor([0, 1, 2, 0])),
        L2(0.3),
        AlphaNorm(),
        TotalVariation(1.5),
        2 * TotalVariation() - L2(),
        -FeatureMatch("conv", MAPS[:1]),
    ],
)
def test_no_image_depends_on_another(objective: Objective):
    inputs = {name: (value + 0.1).requires_grad_(True) for name, value in ACTIVATIONS.items()}
    gradients = torch.autograd.grad(objective.value(inputs)[1], list(inputs.values()), allow_unused=True)
    used = [gradient for gradient in gradients if gradient is not None]
    assert any(gradient[1].any() for gradient in used)
    assert not any(gradient[[0, 2, 3]].any() for gradient in used)


def test_the_image_itself_and_inner_layers_are_read_together(convnet: Model):
    pixels = torch.rand(2, 3, 32, 32, generator=DRAW)
    read = activations(convnet, pixels, {PIXELS, "4", LOGITS}, image=pixels / 2)
    assert set(read) == {PIXELS, "4", LOGITS}
    assert torch.equal(read[PIXELS], pixels / 2)
    assert set(activations(convnet, pixels, {PIXELS})) == {PIXELS}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_gradient_of_a_gram_matrix_is_that_of_its_formula(layout: torch.memory_format):
    weights = torch.randn(4, 3, 3, generator=DRAW, dtype=torch.float64)
    ours = MAPS.clone(memory_format=layout).requires_grad_(True)
    plain = MAPS.clone().requires_grad_(True)
    flat = plain.flatten(2)
    expected = flat @ flat.transpose(1, 2) / 30
    torch.testing.assert_close(gram(ours), expected)
    grads = [
        torch.autograd.grad((weights * value).sum(), leaf)[0]
        for value, leaf in ((gram(ours), ours), (expected, plain))
    ]
    torch.testing.assert_close(*grads)
