"""Images: batches, draws, digests and classes."""

# Labels, masks and bytes may be None in general, and are not in these cases.

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from probe.data.images import Images
from probe.errors import UserError


def noise(n=20, classes=4, **more):
    rng = torch.Generator().manual_seed(n)
    pixels = torch.randint(0, 256, (n, 3, 5, 6), dtype=torch.uint8, generator=rng)
    names = [f"class {i}" for i in range(classes)]
    return Images.from_tensor(pixels, torch.arange(n) % classes, classes=names, **more)


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 40))
def test_consecutive_batches_are_the_pixels(n, size):
    images = noise(n)
    batches = list(images.batches(size))
    assert torch.equal(torch.cat([batch.pixels for batch in batches]), images.pixels())
    assert torch.equal(torch.cat([batch.labels for batch in batches]), images.labels)
    assert torch.cat([batch.positions for batch in batches]).tolist() == list(range(n))
    assert torch.equal(images.pixels(), images.bytes().float() / 255)


def test_changing_a_batch_in_place_does_not_change_the_images():
    images = Images.from_tensor(torch.full((4, 1, 3, 3), 0.5))
    for batch in images.batches(2):
        batch.pixels.zero_()
    assert bool((images.pixels() == 0.5).all())


def test_a_selection_keeps_everything_aligned():
    masks = torch.rand(20, 5, 6) > 0.5
    boxes = torch.arange(80).view(20, 4)
    images = noise(masks=masks, boxes=boxes)
    chosen = images.select([7, 3, -1, 3])
    at = torch.tensor([7, 3, 19, 3])
    assert torch.equal(chosen.pixels(), images.pixels()[at])
    assert torch.equal(chosen.labels, images.labels[at])
    assert torch.equal(chosen.masks, masks[at])
    assert torch.equal(chosen.boxes, boxes[at])
    assert list(chosen.ids) == ["images/7", "images/3", "images/19", "images/3"]
    assert torch.equal(images.select(images.labels == 2).labels, torch.full((5,), 2))
    with pytest.raises(IndexError, match="has 20 images"):
        images.select([20])


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 70), st.integers(0, 5))
def test_a_sample_is_as_balanced_as_the_classes_allow(labels, n, seed):
    images = Images.from_tensor(torch.zeros(len(labels), 1, 1, 1), labels)
    drawn = images.take(n, seed)
    assert len(drawn) == min(n, len(labels))
    assert len(set(drawn.ids)) == len(drawn)
    there, got = np.bincount(labels, minlength=6), drawn.labels.bincount(minlength=6).numpy()
    left = got < there
    # A class that has images left was never passed over by more than one for another.
    assert not left.any() or got.max() <= got[left].min() + 1


def test_a_sample_is_determined_by_its_seed_shuffled_and_noted():
    images = noise(1000, 4)
    drawn = images.take(100, seed=3)
    assert list(drawn.ids) == list(images.take(100, seed=3).ids)
    assert list(drawn.ids) != list(images.take(100, seed=4).ids)
    assert drawn.labels.bincount().tolist() == [25] * 4
    assert drawn.labels.tolist() != sorted(drawn.labels.tolist())
    assert drawn.notes == ("100 of 1,000 images, the same number of each class, sampled with seed 3.",)
    assert images.take(1000) is images
    assert "the same number of each class to within one, sampled" in images.take(3).notes[0]
    unlabelled = Images.from_tensor(torch.zeros(9, 1, 1, 1)).take(2)
    assert unlabelled.notes == ("2 of 9 images, sampled with seed 0.",)
    before = torch.get_rng_state()
    images.take(5)
    assert torch.equal(before, torch.get_rng_state())
    with pytest.raises(UserError, match="n must be at least 1, got 0"):
        images.take(0)


def test_the_digest_depends_on_content_order_labels_and_preprocessing():
    images = noise()
    raw = images.bytes().clone()
    raw[3, 0, 0, 0] ^= 1
    names = images.classes
    others = [
        Images.from_tensor(raw, images.labels, classes=names),
        Images.from_tensor(images.bytes().float() / 255, images.labels, classes=names),
        Images.from_tensor(images.bytes(), images.labels.flip(0), classes=names),
        Images.from_tensor(images.bytes(), images.labels),
        Images.from_tensor(images.bytes(), images.labels, classes=names, masks=torch.ones(20, 5, 6)),
        images.select(range(19)),
        images.select(list(reversed(range(20)))),
        images.preprocessed((3, 8, 8), "pad 8"),
        images.preprocessed((3, 8, 8), "resize 8, centre crop 8"),
        images.preprocessed((1, 5, 6), ""),
    ]
    assert len({images.digest, *(other.digest for other in others)}) == len(others) + 1
    assert noise().digest == images.digest
    assert images.select(range(20)).digest == images.digest


def test_classes_are_matched_by_name_then_by_position_else_labels_are_removed():
    images = Images.from_tensor(torch.zeros(3, 1, 2, 2), [0, 1, 2], classes=["Sea Lion", "fire-truck", "cat"])
    named = images.matched(["dog", "CAT", "fire_truck", "sea lion"])
    assert named.labels.tolist() == [3, 2, 1]
    assert named.notes == ()
    assert named.classes == ("dog", "CAT", "fire_truck", "sea lion")
    placed = images.matched(["a", "b", "c"])
    assert placed.labels.tolist() == [0, 1, 2]
    assert placed.classes == ("a", "b", "c")
    assert "matched by position (Sea Lion with a)" in placed.notes[0]
    dropped = images.matched(["cat", "dog"])
    assert dropped.labels is None
    assert "'Sea Lion' is not one of the model's 2 classes" in dropped.notes[0]
    assert next(dropped.batches(2)).labels is None


def test_a_name_that_a_model_has_twice_matches_no_class():
    images = Images.from_tensor(torch.zeros(1, 1, 2, 2), [0], classes=["crane"])
    assert images.matched(["crane", "dog", "crane"]).labels is None
    twice = Images.from_tensor(torch.zeros(2, 1, 2, 2), [0, 1], classes=["crane", "Crane"])
    assert twice.matched(["crane", "crane"]).labels.tolist() == [0, 1]


def test_labels_without_names_are_the_models_classes_if_it_has_as_many():
    images = Images.from_tensor(torch.zeros(2, 1, 2, 2), [0, 5])
    assert images.matched("abcdef").labels.tolist() == [0, 5]
    assert images.matched("abc").labels is None


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (torch.zeros(3, 4, 4), None, r"\(n, c, h, w\), got \(3, 4, 4\)"),
        (torch.zeros(0, 1, 4, 4), None, "are empty"),
        (torch.full((1, 1, 2, 2), 255.0), None, r"\[0, 1\], got \[255, 255\]"),
        (torch.full((1, 1, 2, 2), -0.1), None, r"got \[-0.1"),
        (torch.full((1, 1, 2, 2), torch.nan), None, "got NaN"),
        (torch.zeros(1, 1, 2, 2, dtype=torch.int64), None, "uint8"),
        (torch.zeros(2, 1, 2, 2), [0], "labels must be 2 whole numbers"),
        (torch.zeros(2, 1, 2, 2), [0, 2], "labels must lie in 0 to 1, got 2"),
        (torch.zeros(2, 1, 2, 2), [0, -1], "got -1"),
    ],
)
def test_invalid_pixels_and_labels_are_refused(pixels, labels, message):
    with pytest.raises(UserError, match=message):
        Images.from_tensor(pixels, labels, classes=["a", "b"])


@pytest.mark.parametrize(
    "more", [{"masks": torch.ones(2, 3, 2)}, {"boxes": torch.ones(2, 3)}, {"ids": ["a"]}]
)
def test_masks_boxes_and_ids_of_another_number_are_refused(more):
    with pytest.raises(UserError):
        Images.from_tensor(torch.zeros(2, 1, 2, 2), **more)
