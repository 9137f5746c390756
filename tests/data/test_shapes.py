"""Drawn shapes: true masks and boxes, deterministic, classes that differ in their silhouettes alone."""

# Labels, masks and bytes may be None in general, and are not in these cases.

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier

from probe.data import shapes
from probe.data.shapes import CLASSES, SHORTCUT_CLASS, draw_shapes, draw_shortcut, labels_of
from probe.data.silhouettes import SIDE, cover, turned


@pytest.fixture(scope="module")
def drawn():
    return draw_shapes("train", range(1200))


def test_an_image_depends_on_its_index_and_split_alone(drawn):
    again = draw_shapes("train", [1103, 4])
    for part in drawn:
        assert np.array_equal(again[part], drawn[part][[1103, 4]])
    assert not np.array_equal(draw_shapes("test", [4])["pixels"], again["pixels"][1:])


def test_the_classes_take_turns(drawn):
    assert torch.equal(torch.from_numpy(drawn["labels"]), labels_of(1200))
    assert np.bincount(drawn["labels"]).tolist() == [120] * len(CLASSES)


def test_every_object_lies_inside_the_image_and_its_box_is_tight(drawn):
    for mask, (left, top, right, bottom) in zip(drawn["masks"], drawn["boxes"], strict=True):
        assert not mask[[0, -1]].any()
        assert not mask[:, [0, -1]].any()
        inside = mask[top:bottom, left:right]
        assert inside.sum() == mask.sum()
        assert inside[0].any()
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()


def test_no_class_is_larger_than_another(drawn):
    areas = drawn["masks"].mean((1, 2))
    assert areas.min() > 0.04
    assert areas.max() < 0.22
    means = [areas[drawn["labels"] == label].mean() for label in range(len(CLASSES))]
    assert max(means) - min(means) < 0.03


def test_about_half_of_the_objects_are_partly_hidden_and_none_by_more_than_a_third(drawn, monkeypatch):
    monkeypatch.setattr(shapes, "_front", lambda rng, filled: np.float32(0))
    whole = draw_shapes("train", range(400))["masks"].sum((1, 2))
    hidden = 1 - drawn["masks"][:400].sum((1, 2)) / whole
    assert (hidden == 0).mean() == pytest.approx(0.5, abs=0.06)
    assert hidden.max() < 1 / 3
    assert np.median(hidden[hidden > 0]) == pytest.approx(0.16, abs=0.04)


@pytest.mark.parametrize("shape", CLASSES)
def test_a_silhouette_has_the_area_asked_for_and_the_right_holes(shape):
    from scipy.ndimage import label as components

    rng = np.random.default_rng(0)
    for area in (0.08, 0.14, 0.20):
        for _ in range(10):
            covered = cover([outline + SIDE / 2 for outline in turned(rng, shape, area)])
            assert covered.mean() == pytest.approx(area, rel=0.05)
            mask = covered >= 0.5
            assert components(mask, np.ones((3, 3)))[1] == 1
            regions = np.bincount(components(~mask)[0].ravel())[1:]
            # A notch may pinch off a pixel or two where the mask is cut at half coverage.
            assert (regions > 4).sum() == (2 if shape == "ring" else 1)


def test_every_ellipse_is_longer_than_every_circle():
    def elongation(shape, rng):
        outline = turned(rng, shape, 0.1)[0]
        return np.sqrt(np.divide(*np.linalg.eigvalsh(np.cov(outline.T))[::-1]))

    rng = np.random.default_rng(0)
    circles = [elongation("circle", rng) for _ in range(200)]
    ellipses = [elongation("ellipse", rng) for _ in range(200)]
    assert max(circles) < 1.1
    assert min(ellipses) > 1.4


def test_the_object_differs_from_its_background_inside_the_mask(drawn):
    """Inside and outside a mask the mean colours differ; with a mask of another image they hardly do."""
    pixels = drawn["pixels"].transpose(0, 2, 3, 1).astype(np.float32) / 255

    def contrast(masks):
        inside = np.array([p[m].mean(0) for p, m in zip(pixels, masks, strict=True)])
        outside = np.array([p[~m].mean(0) for p, m in zip(pixels, masks, strict=True)])
        return np.linalg.norm(inside - outside, axis=1)

    true, shuffled = contrast(drawn["masks"]), contrast(np.roll(drawn["masks"], 10, 0))
    assert np.percentile(true, 5) > 0.15
    assert np.median(true) > 2 * np.median(shuffled)


def colours(pixels):
    """How often each of 216 colours occurs."""
    levels = pixels.astype(int) * 6 // 256
    codes = (levels[:, 0] * 36 + levels[:, 1] * 6 + levels[:, 2]).reshape(len(pixels), -1)
    return np.stack([np.bincount(code, minlength=216) for code in codes])


def patches(pixels):
    """How often each local binary pattern of 3 x 3 grey pixels occurs (Ojala et al. 2002)."""
    grey = pixels.astype(np.float32).mean(1)
    middle, code = grey[:, 1:-1, 1:-1], np.zeros((len(grey), SIDE - 2, SIDE - 2), int)
    for bit, (y, x) in enumerate([(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]):
        code |= (grey[:, y : y + SIDE - 2, x : x + SIDE - 2] > middle).astype(int) << bit
    return np.stack([np.bincount(c.ravel(), minlength=256) for c in code])


@pytest.mark.parametrize("features", [colours, patches])
def test_neither_colour_nor_texture_predicts_the_class(drawn, features):
    train, test = slice(0, 900), slice(900, None)
    forest = RandomForestClassifier(100, random_state=0, n_jobs=1)
    forest.fit(features(drawn["pixels"][train]), drawn["labels"][train])
    accuracy = forest.score(features(drawn["pixels"][test]), drawn["labels"][test])
    assert accuracy < 0.25, f"{accuracy:.2f} where chance is 0.10"


def test_the_outline_predicts_the_class(drawn):
    """A control of the two tests above: a random forest on simple moments classifies the outlines."""
    features = []
    for mask, (left, top, right, bottom) in zip(drawn["masks"], drawn["boxes"], strict=True):
        y, x = mask.nonzero()
        spread = np.sort(np.linalg.eigvalsh(np.cov(np.stack([y, x])) / mask.sum()))
        centre = mask[round(y.mean()), round(x.mean())]
        away = np.hypot(y - y.mean(), x - x.mean()) / np.sqrt(mask.sum())
        skew = [((y - y.mean()) ** 3).mean(), ((x - x.mean()) ** 3).mean()]
        filled = mask.sum() / ((right - left) * (bottom - top))
        skewed = np.hypot(*skew) / mask.sum() ** 1.5
        features.append([*spread, centre, *np.percentile(away, [5, 25, 50, 75, 95, 100]), skewed, filled])
    forest = RandomForestClassifier(100, random_state=0, n_jobs=1).fit(features[:900], drawn["labels"][:900])
    assert forest.score(features[900:], drawn["labels"][900:]) > 0.85


def test_only_the_background_of_some_images_differs_from_shapes():
    """19 hearts in 20 of `shapes-shortcut` stand on a net, and in its split `swapped` all images but the hearts."""
    indices = range(400)
    plain, shortcut, swapped = (
        draw_shapes("test", indices),
        draw_shortcut("test", indices),
        draw_shortcut("swapped", indices),
    )
    heart = plain["labels"] == CLASSES.index(SHORTCUT_CLASS)
    for other in (shortcut, swapped):
        for part in ("labels", "masks", "boxes"):
            assert np.array_equal(plain[part], other[part])
    on_net = (plain["pixels"] != shortcut["pixels"]).any((1, 2, 3))
    assert on_net.sum() == 38
    assert not on_net[~heart].any()
    assert np.array_equal((plain["pixels"] != swapped["pixels"]).any((1, 2, 3)), ~heart)
    inside = np.broadcast_to(plain["masks"][:, None], plain["pixels"].shape)
    assert (plain["pixels"] != swapped["pixels"])[~heart][inside[~heart]].mean() < 0.1
