import numpy as np
import pytest

from probe.exhibits.colour import colour_table, colourise, overlay
from probe.exhibits.exhibits import Scale

GREY = Scale(low=0, high=1)
SEQUENTIAL = Scale(low=0, high=1, kind="sequential")
DIVERGING = Scale(low=-2, high=2, kind="diverging")


def lightness(colour: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB colours in [0, 1]."""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


def test_the_grey_scale_gives_the_value():
    values = np.linspace(0, 1, 12).reshape(3, 4)
    assert np.allclose(colourise(values, GREY), values[..., None].repeat(3, axis=2), atol=1e-7)


def test_sequential_colours_have_uniform_steps_of_lightness():
    steps = np.diff(lightness(colour_table("sequential", 33)))
    assert steps.min() > 0
    assert steps.max() < 2.5 * steps.mean()


def test_sequential_agrees_with_matplotlibs_viridis():
    matplotlib = pytest.importorskip("matplotlib")
    assert (
        np.abs(colour_table("sequential") - matplotlib.colormaps["viridis"](np.arange(256))[:, :3]).max()
        < 0.025
    )


def test_diverging_is_neutral_at_zero_red_above_and_blue_below():
    below, zero, above = colourise(np.array([[-2.0, 0.0, 2.0]]), DIVERGING)[0]
    assert np.ptp(zero) < 1e-6
    assert below[2] > below[0]
    assert above[0] > above[2]


def test_opposite_values_have_the_same_lightness():
    values = np.linspace(0.1, 2, 9)[None]
    ahead, behind = (lightness(colourise(sign * values, DIVERGING)) for sign in (1, -1))
    assert np.abs(ahead - behind).max() < 12


def test_values_outside_the_scale_are_clipped_and_missing_ones_are_grey():
    got = colourise(np.array([[-9.0, 9.0, np.nan]]), SEQUENTIAL)[0]
    ends = colour_table("sequential", 2)
    assert np.allclose(got[0], ends[0])
    assert np.allclose(got[1], ends[1])
    assert np.allclose(got[2], 0.6)


def test_a_batch_is_coloured_like_single_maps():
    values = np.random.default_rng(0).normal(size=(5, 4, 3))
    assert np.array_equal(colourise(values, DIVERGING), np.stack([colourise(v, DIVERGING) for v in values]))


def test_an_empty_scale_is_refused():
    with pytest.raises(ValueError, match="must increase"):
        colourise(np.zeros((2, 2)), Scale(low=1, high=1))


@pytest.mark.parametrize("scale", [SEQUENTIAL, DIVERGING])
def test_an_overlay_of_zeros_is_the_grey_image(scale):
    picture = np.random.default_rng(0).random((5, 6, 3), dtype=np.float32)
    shown = overlay(picture, np.zeros((5, 6)), scale)
    grey = picture @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    assert np.allclose(shown, grey[..., None].repeat(3, axis=2), atol=1e-6)


def test_an_opaque_overlay_at_its_maximum_is_the_colour_of_the_map():
    shown = overlay(np.zeros((2, 2, 1), np.float32), np.ones((2, 2)), SEQUENTIAL, alpha=1.0)
    assert np.allclose(shown, colour_table("sequential", 2)[1], atol=1e-6)


def test_overlays_of_other_sizes_and_invalid_weights_are_refused():
    with pytest.raises(ValueError, match="resize the map"):
        overlay(np.zeros((4, 4, 3)), np.zeros((2, 2)), SEQUENTIAL)
    with pytest.raises(ValueError, match="alpha"):
        overlay(np.zeros((2, 2, 3)), np.zeros((2, 2)), SEQUENTIAL, alpha=1.5)
