"""Specs and the sources that they name, on the real data where they are there."""

# Labels, masks and bytes may be None in general, and are not in these cases.

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from probe.data import shapes
from probe.data.cache import cached, load_cached
from probe.data.sources import open_images, sources
from probe.errors import UserError

DATA = Path(os.environ.get("PROBE_DATA") or "/nowhere")


def needs(part):
    return pytest.mark.skipif(not (DATA / part).exists(), reason=f"PROBE_DATA has no {part}")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_the_table_of_sources_needs_no_torch():
    code = "import sys; from probe.data.catalogue import sources; print(*sources()); assert 'torch' not in sys.modules"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == list(sources())


def test_digits_always_have_the_same_split():
    from sklearn.datasets import load_digits

    test, train = open_images("digits"), open_images("digits:train")
    assert (test.name, train.name) == ("digits:test", "digits:train")
    assert (len(train), len(test)) == (1347, 450)
    assert test.shape == (1, 8, 8)
    both = torch.cat([train.pixels(), test.pixels()]).mul(16).view(-1, 64)
    values, target = load_digits(return_X_y=True)
    assert sorted(map(tuple, both.int().tolist())) == sorted(map(tuple, values.astype(int).tolist()))
    share = test.labels.bincount() / torch.from_numpy(np.bincount(target))
    assert share.min() > 0.23
    assert share.max() < 0.27
    assert open_images("digits:test").digest == test.digest


def test_photos_are_the_two_of_scikit_learn():
    photos = open_images("photos")
    assert photos.shape == (3, 427, 640)
    assert list(photos.ids) == ["china.jpg", "flower.jpg"]
    assert photos.labels is None
    assert photos.name == "photos"
    fitted = photos.preprocessed((1, 28, 28), "resize 28, centre crop 28")
    assert fitted.notes == (
        "427 x 640 colour images were resized to 28 x 41, cropped at the centre to 28 x 28 and converted to grey "
        "(Rec. 601 luma).",
    )
    assert fitted.pixels().min() >= 0
    assert fitted.pixels().max() <= 1


def test_shapes_are_drawn_in_any_number(monkeypatch):
    monkeypatch.setitem(shapes.SIZES, "test", 60)
    few = open_images("shapes", n=20, seed=1)
    assert few.shape == (3, 64, 64)
    assert few.classes == shapes.CLASSES
    assert few.labels.bincount().tolist() == [2] * 10
    assert few.notes == ("20 of 60 images, the same number of each class, sampled with seed 1.",)
    every = open_images("shapes")
    assert len(every) == 60
    assert every.notes == ()
    assert load_cached(f"shapes-test-{shapes.VERSION}") is not None
    again = open_images("shapes", n=20, seed=1)
    assert again.digest == few.digest, "the cache and a fresh drawing are the same images"
    assert every.take(20, seed=1).digest == few.digest
    more = open_images("shapes", n=75)
    assert len(more) == 75
    assert torch.equal(more.bytes()[:60], every.bytes())
    assert torch.equal(more.masks[:60], every.masks)
    assert torch.equal(more.boxes[:60], every.boxes)


def test_the_shortcut_is_cached_apart_from_shapes(monkeypatch):
    monkeypatch.setitem(shapes.SIZES, "swapped", 60)
    monkeypatch.setitem(shapes.SIZES, "test", 60)
    swapped, plain = open_images("shapes-shortcut:swapped"), open_images("shapes")
    assert swapped.ids[3] == "swapped/3"
    assert not torch.equal(swapped.bytes(), plain.bytes())
    assert torch.equal(swapped.masks, plain.masks)
    assert open_images("shapes-shortcut:swapped").digest == swapped.digest


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mnits", "there is no data source 'mnits'. Did you mean mnist"),
        ("mnist:tset", "mnist has no split 'tset'. Did you mean test"),
        ("photos:test", "photos has no splits: write photos"),
        ("", "there is no data source ''"),
    ],
)
def test_a_mistyped_spec_gets_the_nearest_valid_one(spec, message):
    with pytest.raises(UserError) as caught:
        open_images(spec)
    assert message in str(caught.value)


def test_invalid_labels_and_n_are_refused():
    with pytest.raises(UserError, match="can only be set for folder:PATH"):
        open_images("digits", labels="prefix")
    with pytest.raises(UserError, match="n must be at least 1, got 0"):
        open_images("shapes", n=0)


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ("mnist", "mnist/MNIST/raw/t10k-images-idx3-ubyte"),
        ("mnist:train", "mnist/MNIST/raw/train-images-idx3-ubyte"),
        ("fashion-mnist", "fashion-mnist/FashionMNIST/raw/t10k-images-idx3-ubyte"),
        ("cifar10", "cifar10/cifar-10-batches-py"),
    ],
)
def test_missing_data_are_one_line_with_the_path(tmp_path, spec, path):
    with pytest.raises(UserError) as caught:
        open_images(spec, root=tmp_path)
    assert str(tmp_path / path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir()), "nothing is created"


@pytest.mark.parametrize("spec", ["mnist", "fashion-mnist", "cifar10"])
def test_a_download_that_fails_is_one_line(tmp_path, spec, monkeypatch):
    import urllib.request

    def offline(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(UserError, match=f"{spec} .*{tmp_path}") as caught:
        open_images(spec, root=tmp_path, download=True)
    assert "\n" not in str(caught.value)


def idx(array):
    return (
        b"\0\0\x08"
        + bytes([array.ndim])
        + b"".join(n.to_bytes(4, "big") for n in array.shape)
        + array.tobytes()
    )


def test_fashion_mnist_is_read_in_torchvisions_layout_below_or_at_the_root(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for stem in ("train", "t10k"):
        (raw / f"{stem}-images-idx3-ubyte").write_bytes(idx(pixels))
        (raw / f"{stem}-labels-idx1-ubyte").write_bytes(idx(np.arange(10, dtype=np.uint8)))
    images = open_images("fashion-mnist", root=tmp_path)
    assert np.array_equal(images.bytes()[:, 0].numpy(), pixels)
    assert images.classes[9] == "Ankle boot"
    assert images.ids[3] == "test/3"
    assert open_images("fashion-mnist", root=tmp_path, n=5).labels.unique().numel() == 5
    (raw / "t10k-images-idx3-ubyte").write_bytes(idx(pixels)[:900])
    with pytest.raises(UserError, match="cannot be read"):
        open_images("fashion-mnist", root=tmp_path)


def test_cifar10_is_a_zip_or_a_folder_of_images_too(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("bird", "cat"):
            (tmp_path / "cifar10" / split / name).mkdir(parents=True)
            for i in range(3):
                image = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
                image.save(tmp_path / "cifar10" / split / name / f"{i}.png")
    folder = open_images("cifar10:train", root=tmp_path)
    assert folder.name == "cifar10:train"
    assert folder.labels.tolist() == [0, 0, 0, 1, 1, 1]
    with zipfile.ZipFile(tmp_path / "cifar10" / "any.zip", "w") as out:
        for file in sorted((tmp_path / "cifar10").rglob("*.png")):
            out.write(file, file.relative_to(tmp_path / "cifar10"))
    packed = open_images("cifar10:train", root=tmp_path)
    assert packed.bytes() is not None
    assert torch.equal(packed.pixels(), folder.pixels())
    assert packed.ids[0] == "train/bird/0.png"
    assert packed.notes == ()
    assert open_images("cifar10:train", root=tmp_path).digest == packed.digest


# The cache


def test_a_damaged_cache_file_is_computed_again(tmp_path, monkeypatch):
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "new"))
    made = []

    def make():
        made.append(1)
        return {"a": np.arange(3)}

    for _ in range(2):
        assert cached("key", make)["a"].tolist() == [0, 1, 2]
    assert len(made) == 1
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["key.npz"]
    for junk in (b"", b"PK\x03\x04junk", (tmp_path / "new" / "key.npz").read_bytes()[:100]):
        (tmp_path / "new" / "key.npz").write_bytes(junk)
        assert cached("key", make)["a"].tolist() == [0, 1, 2]
    assert len(made) == 4


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "file" / "cache"))
    assert cached("key", lambda: {"a": np.arange(3)})["a"].tolist() == [0, 1, 2]


# The real data


@needs("mnist")
@pytest.mark.parametrize(
    ("split", "n", "md5"),
    [
        ("test", 10_000, "2646ac647ad5339dbf082846283269ea"),
        ("train", 60_000, "6bbc9ace898e44ae57da46a324031adb"),
    ],
)
def test_mnist_is_the_original_byte_for_byte(split, n, md5):
    images = open_images(f"mnist:{split}", root=DATA)
    raw = images.bytes()
    assert raw.shape == (n, 1, 28, 28)
    assert images.classes == tuple("0123456789")
    assert hashlib.md5(idx(raw[:, 0].numpy())).hexdigest() == md5
    assert open_images(f"mnist:{split}", root=DATA / "mnist").digest == images.digest


@needs("cifar10/cifar10-jpeg.zip")
def test_cifar10_has_a_thousand_images_a_class_and_a_note_on_compression():
    images = open_images("cifar10", root=DATA)
    assert images.bytes().shape == (10_000, 3, 32, 32)
    assert images.labels.bincount().tolist() == [1000] * 10
    assert images.classes[3] == "cat"
    assert "are JPEG-compressed" in images.notes[0]
    with (
        zipfile.ZipFile(DATA / "cifar10" / "cifar10-jpeg.zip") as packed,
        packed.open(images.ids[3456]) as file,
    ):
        assert np.array_equal(images.bytes()[3456].permute(1, 2, 0).numpy(), np.asarray(Image.open(file)))
    assert open_images("cifar10", root=DATA).digest == images.digest, "as decoded and as cached"


@pytest.mark.slow
@needs("cifar10/cifar10-jpeg.zip")
def test_cifar10_has_five_thousand_training_images_a_class():
    images = open_images("cifar10:train", root=DATA)
    assert images.labels.bincount().tolist() == [5000] * 10
    assert images.bytes().shape == (50_000, 3, 32, 32)


@needs("imagenet/images")
def test_the_imagenet_files_are_labelled_by_their_prefix():
    images = open_images(f"folder:{DATA}/imagenet/images", labels="prefix")
    assert images.labels.tolist() == list(range(0, 1000, 2))
    fitted = images.preprocessed((3, 227, 227), "resize 256, centre crop 227")
    assert next(fitted.batches(4)).pixels.shape == (4, 3, 227, 227)


@pytest.mark.slow
@needs("imagenet/images")
@pytest.mark.parametrize(("side", "top1", "top5"), [(227, 62.0, 82.4), (224, 60.2, 82.2)])
def test_squeezenet_has_its_published_accuracy_on_the_imagenet_files(side, top1, top5):
    from torchvision.models import squeezenet1_0

    network = squeezenet1_0().eval()
    weights = torch.load(DATA / "imagenet" / "squeezenet1_0.pth", weights_only=True)
    network.load_state_dict(weights.get("state_dict", weights))
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    images = open_images(f"folder:{DATA}/imagenet/images", labels="prefix")
    images = images.preprocessed((3, side, side), f"resize 256, centre crop {side}")
    hits = torch.zeros(5)
    with torch.inference_mode():
        for batch in images.batches(50):
            best = network((batch.pixels - mean) / std).topk(5).indices
            hits += (best == batch.labels[:, None]).sum(0)
    assert hits[0].item() / 5 == pytest.approx(top1)
    assert hits.sum().item() / 5 == pytest.approx(top5)
