"""Does an objective give each image its own value?"""

import pytest
import torch

from probe.methods.synthesis.objectives import LOGITS, Channel, Logit, LogProbability, Objective, Unit

MAPS = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
DENSE = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
SEEN = {"conv": MAPS, "dense": DENSE, LOGITS: DENSE * 2}
ROWS = torch.tensor([3, 0, 0])


def test_values_are_the_ones_asked_for():
    each = torch.arange(3)
    torch.testing.assert_close(Logit(ROWS).value(SEEN), 2 * DENSE[each, ROWS])
    torch.testing.assert_close(Channel("conv", ROWS).value(SEEN), MAPS[each, ROWS].mean((1, 2)))
    torch.testing.assert_close(Channel("dense", ROWS).value(SEEN), DENSE[each, ROWS])
    torch.testing.assert_close(LogProbability(ROWS).value(SEEN).exp(), (2 * DENSE).softmax(1)[each, ROWS])
    unit = Unit("conv", ROWS, torch.tensor([4, 0, 1]), torch.tensor([5, 0, 2]))
    assert unit.value(SEEN).tolist() == [MAPS[0, 3, 4, 5], MAPS[1, 0, 0, 0], MAPS[2, 0, 1, 2]]


def test_objectives_add_up_and_take_factors_and_say_all_their_layers():
    a, b = Logit(ROWS), Channel("conv", ROWS)
    mixed = 2 * a - b * 0.5 + a
    torch.testing.assert_close(mixed.value(SEEN), 3 * a.value(SEEN) - 0.5 * b.value(SEEN))
    assert mixed.layers == {LOGITS, "conv"}


@pytest.mark.parametrize(
    "objective",
    [
        Logit(ROWS),
        Channel("conv", ROWS),
        Unit("conv", ROWS, ROWS, ROWS),
        Logit(ROWS) + Channel("conv", ROWS),
        LogProbability(ROWS),
    ],
)
def test_no_image_is_changed_for_another(objective: Objective):
    seen = {name: value.clone().requires_grad_(True) for name, value in SEEN.items()}
    gradients = torch.autograd.grad(objective.value(seen)[1], list(seen.values()), allow_unused=True)
    reached = [gradient for gradient in gradients if gradient is not None]
    assert any(gradient[1].any() for gradient in reached)
    assert not any(gradient[[0, 2]].any() for gradient in reached)


def test_wrong_numbers_of_channels_and_units_without_maps_are_refused():
    with pytest.raises(ValueError, match="2 channels are asked for in 3 images"):
        Channel("conv", ROWS[:2]).value(SEEN)
    with pytest.raises(ValueError, match="dense has no maps"):
        Unit("dense", ROWS, ROWS, ROWS).value(SEEN)
