"""Tests of DeepDream: its octaves, its gain, its tiles."""

import torch

from probe.methods.synthesis.dream import Octaves, dream, zoom
from probe.methods.synthesis.objectives import LayerEnergy
from probe.model.model import Model


def picture(height: int = 40, width: int = 48) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_octaves_grow_by_their_scale_to_the_size_of_the_picture():
    assert Octaves(3, 2.0, smallest=8).sizes((40, 48)) == [(10, 12), (20, 24), (40, 48)]
    assert Octaves(9, 2.0, smallest=15).sizes((40, 48)) == [(20, 24), (40, 48)]
    assert Octaves(2, 2.0).sizes((4, 4)) == [(4, 4)]


def test_the_layer_responds_more_at_every_size(convnet: Model):
    dreamt = dream(convnet, picture(), LayerEnergy("4"), Octaves(3, 1.4, 6, smallest=12), seed=1)
    assert dreamt.pixels.shape == (1, 3, 40, 48)
    assert len(dreamt.history) == len(dreamt.octaves) == 3
    assert all(values[-1] > values[0] for values in dreamt.history)
    with torch.no_grad():
        before, after = (
            convnet.at_size(40, 48).features(p, "4")["4"].square().sum() for p in (picture(), dreamt.pixels)
        )
    assert after > 1.3 * before
    assert not dreamt.diverged


def test_a_step_changes_pixels_by_its_size_on_average(convnet: Model):
    grey = torch.full((1, 3, 40, 48), 0.5) + 0.01 * picture()
    dreamt = dream(convnet, grey, LayerEnergy("4"), Octaves(1, steps=1, step=0.02), seed=1)
    torch.testing.assert_close((dreamt.pixels - grey).abs().mean(), torch.tensor(0.02), rtol=1e-4, atol=0)


def test_the_same_seed_gives_the_same_bytes(convnet: Model):
    def run(seed: int) -> torch.Tensor:
        return dream(convnet, picture(), LayerEnergy("4"), Octaves(2, steps=3), seed=seed).pixels

    assert torch.equal(run(3), run(3))
    assert not torch.equal(run(3), run(4))


def test_tiles_and_the_whole_give_nearly_the_same_dream(convnet: Model):
    wholes, tiles = (
        dream(convnet, picture(64, 64), LayerEnergy("4"), Octaves(1, steps=5, tile=t), seed=1).pixels
        for t in (None, 48)
    )
    change = (wholes - picture(64, 64)).abs().mean()
    assert (wholes - tiles).abs().mean() < 0.4 * change


def test_each_frame_of_a_zoom_is_the_centre_of_the_one_before():
    first = torch.zeros(1, 1, 20, 20)
    first[:, :, 5:15, 5:15] = 1
    frames = zoom(first, lambda now, number: now, 9, factor=1.1)
    assert len(frames) == 9
    assert all(frame.shape == first.shape for frame in frames)
    assert [float(f.mean()) for f in frames] == sorted(float(f.mean()) for f in frames)
    assert frames[-1].mean() > 0.9
