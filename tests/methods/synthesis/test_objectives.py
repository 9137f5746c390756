"""Tests of the objectives: their values, their sums, and that no image depends on another."""

import pytest
import torch

from probe.methods.synthesis.objectives import LOGITS, PIXELS, Channel, Logit, LogProbability, Objective
from probe.methods.synthesis.regularisers import TotalVariation

MAPS = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
DENSE = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
ACTIVATIONS = {"conv": MAPS, "dense": DENSE, LOGITS: DENSE * 2}
ROWS = torch.tensor([3, 0, 0])


def test_each_image_has_the_value_of_its_own_class_or_channel():
    rows = torch.arange(3)
    torch.testing.assert_close(Logit(ROWS).value(ACTIVATIONS), 2 * DENSE[rows, ROWS])
    torch.testing.assert_close(Channel("conv", ROWS).value(ACTIVATIONS), MAPS[rows, ROWS].mean((1, 2)))
    torch.testing.assert_close(Channel("dense", ROWS).value(ACTIVATIONS), DENSE[rows, ROWS])
    torch.testing.assert_close(
        LogProbability(ROWS).value(ACTIVATIONS).exp(), (2 * DENSE).softmax(1)[rows, ROWS]
    )


def test_objectives_add_up_and_take_factors_and_name_all_their_layers():
    a, b = Logit(ROWS), Channel("conv", ROWS)
    total = 2 * a - b * 0.5 + a
    torch.testing.assert_close(
        total.value(ACTIVATIONS), 3 * a.value(ACTIVATIONS) - 0.5 * b.value(ACTIVATIONS)
    )
    assert total.layers == {LOGITS, "conv"}


def test_a_factor_may_be_one_for_each_image():
    a, factors = Channel("conv", ROWS), torch.tensor([1.0, 2.0, -3.0])
    torch.testing.assert_close((a * factors).value(ACTIVATIONS), factors * a.value(ACTIVATIONS))
    torch.testing.assert_close((factors[1] * a).value(ACTIVATIONS), 2 * a.value(ACTIVATIONS))


def test_without_its_regularisers_an_objective_reads_the_network_alone():
    a, smooth = Channel("conv", ROWS), TotalVariation()
    left = (a + 3 * (Logit(ROWS) + 2 * smooth)).without_regularisers()
    torch.testing.assert_close(
        left.value(ACTIVATIONS), a.value(ACTIVATIONS) + 3 * Logit(ROWS).value(ACTIVATIONS)
    )
    assert a.without_regularisers() is a
    assert smooth.without_regularisers().layers == (2 * smooth).without_regularisers().layers == {PIXELS}


@pytest.mark.parametrize(
    "objective",
    [
        Logit(ROWS),
        Channel("conv", ROWS),
        Logit(ROWS) + Channel("conv", ROWS),
        LogProbability(ROWS),
    ],
)
def test_no_image_depends_on_another(objective: Objective):
    activations = {name: value.clone().requires_grad_(True) for name, value in ACTIVATIONS.items()}
    gradients = torch.autograd.grad(
        objective.value(activations)[1], list(activations.values()), allow_unused=True
    )
    used = [gradient for gradient in gradients if gradient is not None]
    assert any(gradient[1].any() for gradient in used)
    assert not any(gradient[[0, 2]].any() for gradient in used)


def test_a_wrong_number_of_channels_is_refused():
    with pytest.raises(ValueError, match="2 channels for 3 images"):
        Channel("conv", ROWS[:2]).value(ACTIVATIONS)
