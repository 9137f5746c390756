"""The measures of faithfulness give the closed-form values of maps made by hand."""

import torch
from torch import Tensor, nn

from probe.methods.attribution.faithfulness import (
    auc,
    dilated_boxes,
    insertion_deletion,
    max_sensitivity,
    peak_in_mask,
    pointing_game,
    relevance_mass,
    relevance_rank,
)
from probe.model.cards import Card, Input
from probe.model.model import Model

SIDE = 8


def masks() -> Tensor:
    """Two objects of 4 pixels each."""
    made = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    made[0, 2:4, 2:4] = True
    made[1, 5, 1:5] = True
    return made


def test_a_map_that_is_the_object_has_every_measure_at_one():
    heat = masks().float()
    assert pointing_game(heat, masks()).all()
    assert relevance_mass(heat, masks()).tolist() == [1, 1]
    assert relevance_rank(heat, masks()).tolist() == [1, 1]


def test_a_map_of_everything_else_has_every_measure_at_zero():
    heat = (~dilated_boxes(masks(), margin=0.2)).float()
    assert not pointing_game(heat, masks()).any()
    assert relevance_mass(heat, masks()).tolist() == [0, 0]
    assert relevance_rank(heat, masks()).tolist() == [0, 0]


def test_a_flat_map_points_nowhere_and_its_mass_is_the_fraction_of_the_object():
    heat = torch.full((2, SIDE, SIDE), 0.3)
    assert not pointing_game(heat, masks()).any()
    assert relevance_mass(torch.zeros(2, SIDE, SIDE), masks()).tolist() == [0, 0]
    torch.testing.assert_close(relevance_mass(heat, masks()), torch.full((2,), 4 / 64))


def test_negative_relevance_is_no_mass():
    heat = masks().float() - (~masks()).float()
    assert relevance_mass(heat, masks()).tolist() == [1, 1]


def test_half_of_the_highest_pixels_on_the_object_is_a_rank_of_a_half():
    heat = torch.zeros(1, SIDE, SIDE)
    heat[0, 2, 2:4] = 3
    heat[0, 7, 6:8] = 2
    heat[0, 3, 2:4] = 1
    assert relevance_rank(heat, masks()[:1]).item() == 0.5


def test_a_peak_within_the_margin_of_the_objects_box_is_a_hit():
    heat = torch.zeros(1, SIDE, SIDE)
    heat[0, 2, 5] = 1  # two pixels right of the object
    assert not pointing_game(heat, masks()[:1], margin=0.2)
    assert pointing_game(heat, masks()[:1], margin=0.25)
    assert not peak_in_mask(heat, masks()[:1])


def test_the_middle_of_a_ring_is_in_its_box_but_not_on_it():
    ring = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    ring[0, 2:6, 2:6] = True
    ring[0, 3:5, 3:5] = False
    heat = torch.zeros(1, SIDE, SIDE)
    heat[0, 4, 4] = 1
    assert pointing_game(heat, ring, margin=0)
    assert not peak_in_mask(heat, ring)
    assert dilated_boxes(ring, margin=0).sum() == 16


def test_an_object_that_is_not_there_is_never_hit():
    heat = torch.rand(1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    assert not pointing_game(heat, torch.zeros(1, SIDE, SIDE, dtype=torch.bool))


def test_the_sensitivity_of_a_constant_map_is_zero_and_that_of_the_image_itself_is_its_noise():
    pixels = torch.full((2, 1, SIDE, SIDE), 0.5)
    maps = pixels[:, 0]
    rng = torch.Generator().manual_seed(0)
    assert not max_sensitivity(lambda perturbed: maps, pixels, maps, radius=0.1, draws=3, rng=rng).any()
    change = max_sensitivity(lambda perturbed: perturbed[:, 0], pixels, maps, radius=0.1, draws=3, rng=rng)
    assert ((change > 0.08) & (change < 0.14)).all()  # 0.1 / sqrt(3) / 0.5, the largest of three


class Brightness(nn.Module):
    """Two classes; the log-odds of the first are the sum of the pixels of the object."""

    def forward(self, x: Tensor) -> Tensor:
        lit = (x[:, 0] * masks()[:1]).sum((1, 2))
        return torch.stack([lit, torch.zeros_like(lit)], 1)


def test_insertion_and_deletion_of_an_additive_network_are_known_at_every_point():
    card = Card(
        name="bright",
        architecture="file.py:bright",
        classes=("on", "off"),
        input=Input(shape=(1, SIDE, SIDE), mean=(0.0,), std=(1.0,), preprocess=""),
    )
    model = Model(Brightness(), card)
    pixels = torch.ones(1, 1, SIDE, SIDE)
    first = torch.zeros(1, dtype=torch.long)
    heat, nothing = masks()[:1].float(), torch.zeros_like(pixels)
    put_in = insertion_deletion(model, pixels, first, heat, nothing, points=17, insert=True)
    taken = insertion_deletion(model, pixels, first, heat, nothing, points=17, insert=False)
    torch.testing.assert_close(put_in[0], torch.sigmoid(torch.tensor([0.0] + [4.0] * 16)))
    torch.testing.assert_close(taken[0], torch.sigmoid(torch.tensor([4.0] + [0.0] * 16)))
    last = insertion_deletion(model, pixels, first, -heat, nothing, points=17, insert=True)
    torch.testing.assert_close(last[0], torch.sigmoid(torch.tensor([0.0] * 16 + [4.0])))


def test_the_area_under_a_straight_line_is_its_middle():
    torch.testing.assert_close(auc(torch.linspace(0, 1, 7)[None]), torch.tensor([0.5]))
