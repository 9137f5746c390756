"""Datasets on the device: batches, shards, normalisation and default preprocessing."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from probe.data.images import Images
from probe.training.augmentation import Augmentation
from probe.training.datasets import DeviceDataset, even_batches, measure_normalisation
from probe.training.splits import default_preprocess

CPU = torch.device("cpu")


@given(count=st.integers(1, 500), batch_size=st.integers(1, 100))
def test_batches_hold_every_image_once_and_differ_by_one(count, batch_size):
    batches = even_batches(torch.arange(count), batch_size)
    sizes = [len(batch) for batch in batches]
    assert torch.cat(batches).tolist() == list(range(count))
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert len(batches) == math.ceil(count / batch_size)


@pytest.mark.parametrize("max_resident_bytes", [0, 2**20])
def test_mean_and_deviation_are_those_of_all_pixels(max_resident_bytes):
    rng = torch.Generator().manual_seed(0)
    raw = torch.randint(0, 256, (50, 3, 6, 5), dtype=torch.uint8, generator=rng)
    images = Images.from_tensor(raw, torch.arange(50) % 2, classes=("a", "b"))
    dataset = DeviceDataset(images, CPU, max_resident_bytes=max_resident_bytes)
    normalisation = measure_normalisation(dataset)
    values = raw.double() / 255
    assert normalisation.mean == pytest.approx(values.mean((0, 2, 3)).tolist(), abs=1e-4)
    assert normalisation.std == pytest.approx(values.std((0, 2, 3), correction=0).tolist(), abs=1e-4)


def test_where_images_stream_those_that_are_measured_come_from_all_classes():
    raw = (torch.arange(90) // 30 * 100).to(torch.uint8).view(90, 1, 1, 1).expand(90, 1, 4, 4).contiguous()
    images = Images.from_tensor(raw, torch.arange(90) // 30, classes=("a", "b", "c"))
    normalisation = measure_normalisation(DeviceDataset(images, CPU, max_resident_bytes=0), max_streamed=9)
    assert normalisation.mean == pytest.approx((100 / 255,), abs=1e-4)
    assert normalisation.std == pytest.approx((100 * (2 / 3) ** 0.5 / 255,), abs=1e-4)


@pytest.mark.parametrize("max_resident_bytes", [0, 2**20])
def test_the_shards_of_a_batch_together_are_the_batch(max_resident_bytes):
    rng = torch.Generator().manual_seed(0)
    raw = torch.randint(0, 256, (23, 3, 8, 8), dtype=torch.uint8, generator=rng)
    images = Images.from_tensor(raw, torch.arange(23) % 4, classes=tuple("abcd"))
    dataset = DeviceDataset(images, CPU, max_resident_bytes=max_resident_bytes)
    augmentation = Augmentation(("crop", "flip", "brightness"), (8, 8))
    batches = even_batches(torch.randperm(23, generator=rng), 6)

    def load(shard: slice) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return list(dataset.batches(batches, augmentation, torch.Generator().manual_seed(5), shard))

    whole, halves = load(slice(None)), [load(slice(rank, None, 2)) for rank in (0, 1)]
    for step, (pixels, labels) in enumerate(whole):
        for rank in (0, 1):
            assert torch.equal(halves[rank][step][0], pixels[rank::2])
            assert torch.equal(halves[rank][step][1], labels[rank::2])


@pytest.mark.parametrize(
    ("size", "side", "rule"),
    [
        (28, 32, "pad 32"),
        (32, 24, "centre crop 24"),
        (32, 32, "resize 32, centre crop 32"),
        (8, 32, "resize 32, centre crop 32"),
    ],
)
def test_images_of_nearly_the_right_size_are_padded_or_cropped_and_others_resized(size, side, rule):
    assert default_preprocess(Images.from_tensor(torch.zeros(1, 1, size, size)), side) == rule
