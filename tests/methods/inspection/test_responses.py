"""Tests of the responses of layers over many images."""

import pytest
import torch

from probe.data.images import Images
from probe.methods.inspection.responses import responses
from probe.model.model import Model


def test_counts_over_batches_are_those_over_all_images_at_once(convnet: Model, noise_images: Images) -> None:
    together = convnet.features(noise_images.pixels(), "2", "9")
    measured = responses(convnet, noise_images.batches(7), ["2", "9"])
    maps = together["2"]
    assert measured["2"].count == maps.numel()
    assert measured["2"].zeros == pytest.approx(float((maps == 0).float().mean()), abs=1e-6)
    torch.testing.assert_close(measured["2"].maximum, maps.amax((0, 2, 3)))
    torch.testing.assert_close(measured["9"].minimum, together["9"].amin(0))


def test_a_channel_of_one_value_is_dead(convnet: Model, noise_images: Images) -> None:
    convnet.network[1].bias.data[3] = -1e4  # type: ignore[index]
    dead = responses(convnet, noise_images.batches(16), ["2"])["2"].dead
    assert dead.nonzero()[:, 0].tolist() == [3]


def test_no_images_are_refused(convnet: Model) -> None:
    with pytest.raises(ValueError, match="no images"):
        responses(convnet, [], ["2"])
