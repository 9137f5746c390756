"""Occlusion gives the closed form on a linear network, else what captum gives."""

import pytest
import torch

from probe.errors import UserError
from probe.methods.attribution.occlusion import Occlusion
from tests.methods.attribution.networks import LABELS, images, linear, model_of, small_convnet


def test_occlusion_of_a_linear_network_is_the_mean_of_what_its_squares_hold():
    model, weights = linear()
    pixels = images()
    held = (weights[LABELS] * (pixels - 0.3)).sum(1)
    windows = held.unfold(1, 4, 2).unfold(2, 4, 2).sum((3, 4))
    wanted, times = torch.zeros_like(held), torch.zeros_like(held)
    for i in range(4):
        for j in range(4):
            wanted[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += windows[:, i, j, None, None]
            times[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += 1
    found = Occlusion(window=4, stride=2, fill=0.3)(model, pixels, LABELS)
    torch.testing.assert_close(found, wanted / times)


@pytest.mark.parametrize(("window", "stride"), [(3, 3), (4, 3), (5, 2), (10, 1), (1, 1)])
def test_occlusion_agrees_with_captum_also_where_squares_stick_out(window, stride):
    from captum import attr

    model = model_of(small_convnet())
    with torch.no_grad():
        wanted = attr.Occlusion(model.logits).attribute(
            images(),
            sliding_window_shapes=(2, window, window),
            strides=(2, stride, stride),
            baselines=0.4,
            target=LABELS,
        )
    found = Occlusion(window=window, stride=stride, fill=0.4)(model, images(), LABELS)
    torch.testing.assert_close(found[:, None].expand_as(wanted), wanted.double(), rtol=0, atol=1e-6)


def test_a_window_or_stride_that_does_not_fit_is_refused_in_one_line():
    model = model_of(small_convnet())
    with pytest.raises(UserError, match=r"window must lie in \[1, 10\].* got 11"):
        Occlusion(window=11)(model, images(), LABELS)
    with pytest.raises(UserError, match=r"stride must lie in \[1, 3\].* got 4"):
        Occlusion(window=3, stride=4)(model, images(), LABELS)


def test_the_default_window_covers_an_eighth_to_a_third_of_the_side():
    model = model_of(small_convnet())
    assert [Occlusion().resolved(model, p).window for p in ("fine", "medium", "coarse")] == [1, 2, 3]
    assert Occlusion(window=4).resolved(model, "coarse") == Occlusion(window=4, stride=2)
    default, explicit = (
        method(model, images(), LABELS) for method in (Occlusion(), Occlusion(window=1, stride=1))
    )
    assert torch.equal(default, explicit)
