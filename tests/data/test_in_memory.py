"""Images made of arrays, tensors, Pillow images, data sets and loaders."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import probe
from probe.errors import UserError

BYTES = torch.randint(0, 256, (6, 3, 8, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = [0, 1, 2, 0, 1, 2]


def pictures() -> list[Image.Image]:
    return [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in BYTES]


class Pairs(Dataset[Any]):
    """Pillow images with labels, as torchvision's folders; counts what is read."""

    classes = ["a", "b", "c"]
    targets = LABELS

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(LABELS)

    def __getitem__(self, index: int) -> Any:
        self.read.append(index)
        return pictures()[index], LABELS[index]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return zip(BYTES, LABELS, strict=True)


@pytest.mark.parametrize(
    "source",
    [
        BYTES,
        BYTES.numpy(),
        BYTES.permute(0, 2, 3, 1).numpy(),
        BYTES.float() / 255,
        list(BYTES.float() / 255),
        pictures(),
        [image.permute(1, 2, 0).numpy() for image in BYTES],
    ],
    ids=["tensor", "array", "channels last", "floats", "list", "pillow", "arrays"],
)
def test_the_same_pixels_come_of_every_kind(source: Any) -> None:
    images = probe.images(source, labels=LABELS, classes=["a", "b", "c"])
    assert torch.allclose(images.pixels(), BYTES / 255, atol=1e-6)
    assert images.labels is not None
    assert images.labels.tolist() == LABELS
    assert images.classes == ("a", "b", "c")


@pytest.mark.parametrize(
    "source",
    [
        Pairs(),
        TensorDataset(BYTES, torch.tensor(LABELS)),
        DataLoader(TensorDataset(BYTES, torch.tensor(LABELS)), batch_size=4),
        Stream(),
        DataLoader(Stream(), batch_size=2),
        [{"image": image, "label": label} for image, label in zip(pictures(), LABELS, strict=True)],
    ],
    ids=["dataset", "tensors", "loader", "stream", "loader of a stream", "dictionaries"],
)
def test_labels_of_data_sets_and_loaders_are_taken(source: Any) -> None:
    images = probe.images(source)
    assert torch.equal(images.pixels(), BYTES / 255)
    assert images.labels is not None
    assert images.labels.tolist() == LABELS


def test_only_the_sampled_items_of_a_data_set_are_read_equally_many_of_each_class() -> None:
    data = Pairs()
    images = probe.images(data, n=3, seed=1)
    assert len(data.read) == 3
    assert images.labels is not None
    assert sorted(images.labels.tolist()) == [0, 1, 2]
    assert images.classes == ("a", "b", "c")
    assert any("3 of 6 images" in note for note in images.notes)


def test_a_shuffled_loader_does_not_touch_the_global_random_state() -> None:
    loader = DataLoader(TensorDataset(BYTES, torch.tensor(LABELS)), batch_size=2, shuffle=True)
    before = torch.get_rng_state()
    images = probe.images(loader, n=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(images) == 3
    assert any("The first 3 images" in note for note in images.notes)


def test_pillow_images_of_several_sizes_are_brought_to_the_size_of_the_model(convnet: probe.Model) -> None:
    sizes = [pictures()[0].resize(size) for size in ((40, 50), (64, 33), (32, 32))]
    sizes.append(Image.new("RGBA", (60, 60), (255, 0, 0, 128)))
    images = probe.images(sizes, labels=[0, 1, 2, 3])
    result = probe.run("classify", convnet, images)
    assert result.numbers["accuracy"].n == 4


def test_grey_images_need_no_channel() -> None:
    assert probe.images(np.zeros((4, 9, 9))).shape == (1, 9, 9)
    assert probe.images(Image.new("L", (9, 7))).shape == (1, 7, 9)


@pytest.mark.parametrize(
    ("source", "more", "message"),
    [
        (BYTES.float(), {}, r"\[0, 1\], got \[0, 255\]: divide grey levels by 255"),
        (torch.randn(4, 3, 8, 8), {}, "pass pixels that are not normalised"),
        (torch.full((2, 3, 8, 8), float("nan")), {}, "got NaN"),
        (torch.zeros(3, 8, 9), {}, "one colour image or 3 grey images"),
        (BYTES, {"labels": [0, 1]}, "labels must be 6 whole numbers"),
        (BYTES, {"labels": [0, 1, 2, 3, 4, 5], "classes": ["a"]}, "labels must lie in 0 to 0"),
        ([], {}, "the list of images is empty"),
        ([torch.zeros(3, 8, 8), torch.zeros(3, 9, 8)], {}, "differ in shape"),
        (["a.png"], {}, "an image must be an array, a tensor or a Pillow image, got str"),
        ([{"picture": 1}], {}, "the key of its image must be 'image'"),
        (7, {}, "cannot create images from int"),
        ("digits", {"classes": ["a"]}, "digits has its own class names"),
        ("digits", {"labels": [1]}, "'prefix' or the path of a CSV file, got list"),
        (Image.new("F", (4, 4)), {}, "mode F has no defined value range"),
    ],
)
def test_what_is_no_images_is_refused_in_one_line(source: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        probe.images(source, **more)
    assert "\n" not in str(error.value)


def test_a_normalising_data_set_is_refused() -> None:
    class Normalised(Pairs):
        def __getitem__(self, index: int) -> Any:
            return (BYTES[index] / 255 - 0.5) / 0.2, LABELS[index]

    with pytest.raises(UserError, match="pass pixels that are not normalised"):
        probe.images(Normalised())
