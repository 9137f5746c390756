"""Training, validation and test images: opened, checked, split and preprocessed to the input shape."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from probe.data.images import Images
from probe.data.preprocess import Preprocess
from probe.data.sources import open_images, sources
from probe.errors import UserError
from probe.regular_files import user_path
from probe.training.config import TrainingConfig
from probe.zoo import Architecture

_TEST_FRACTION = 0.2  # of a folder without test images of its own
_MAX_PAD_RATIO = 4 / 3  # up to this ratio of sizes, images are padded or cropped rather than resized


@dataclass(frozen=True)
class Splits:
    """The images of a training. preprocess: the rule that brings any image to `shape` (c, h, w).

    train: larger than `shape` where a random crop is to be taken from it. test_split: what `test` is, in words.
    """

    train: Images
    test: Images
    validation: Images | None
    shape: tuple[int, int, int]
    preprocess: str
    test_split: str

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.train.classes or ())


def open_splits(
    data: str,
    architecture: Architecture,
    config: TrainingConfig = TrainingConfig(),  # noqa: B008  it is frozen
    *,
    root: Path | None = None,
    download: bool = False,
) -> Splits:
    """The training and test images of `data`, such as mnist, digits or folder:PATH, for `architecture`.

    A folder with train/ and test/ gives both; of a folder without them, a fifth of each class becomes the test set.
    config: its seed, validation fraction and preprocessing apply; with the augmentation "crop", training images stay
    larger than the input where preprocessing ends in a centre crop.
    Raises UserError for data that the network cannot be trained on.
    """
    if not architecture.takes_images:
        raise UserError(
            f"{architecture.name} classifies text, and probe has no texts: `probe train` trains image classifiers, "
            f"probe.zoo.build('{architecture.name}') builds the network for a training loop of your own"
        )
    train, test, test_split = open_train_and_test(data, seed=config.seed, root=root, download=download)
    validation = None
    if config.validation:
        train, validation = _hold_out(train, config.validation, config.seed + 1)
    _, height, width = architecture.shape
    needs_colour = architecture.name.startswith("torchvision:")  # its networks take three channels only
    shape = (3 if needs_colour else train.channels or train.store.channels, height, width)
    rule = config.preprocess or default_preprocess(train, height)
    uncropped = _before_final_crop(train, shape, rule) if "crop" in config.augment else None
    return Splits(
        train=train.preprocessed(shape, rule) if uncropped is None else uncropped,
        test=test.preprocessed(shape, rule),
        validation=None if validation is None else validation.preprocessed(shape, rule),
        shape=shape,
        preprocess=rule,
        test_split=test_split,
    )


def open_train_and_test(
    data: str, *, seed: int = 0, root: Path | None = None, download: bool = False
) -> tuple[Images, Images, str]:
    """The training images of `data`, its test images, and what the test images are, in words.

    Raises UserError for images without classes, for a single class, and for a class without images.
    """
    train, test = _open_pair(data, root, download)
    test_split = test.name if test is not None else f"a fifth of {train.name}, held out"
    _check_classes(train)
    if test is None:
        train, test = _hold_out(train, _TEST_FRACTION, seed)
    _check_classes(test, train)
    return train, test, test_split


def image_notes(train: Images, test: Images) -> list[str]:
    """How the images were read and preprocessed, each note once."""
    return list(dict.fromkeys((*train.notes, *test.notes)))


def default_preprocess(images: Images, side: int) -> str:
    """The preprocessing for an input of `side`: pad or crop images of nearly that size, resize all others.

    >>> default_preprocess(Images.from_tensor(torch.zeros(1, 1, 28, 28)), 32)
    'pad 32'
    >>> default_preprocess(Images.from_tensor(torch.zeros(1, 1, 8, 8)), 32)
    'resize 32, centre crop 32'
    """
    sizes = images.store.sizes_of(images.rows)
    height, width = next(iter(sizes))
    if len(sizes) == 1 and height == width and height != side:
        if side / _MAX_PAD_RATIO <= height < side:
            return f"pad {side}"
        if side < height <= side * _MAX_PAD_RATIO:
            return f"centre crop {side}"
    return f"resize {side}, centre crop {side}"


def _before_final_crop(images: Images, shape: tuple[int, int, int], rule: str) -> Images | None:
    """The images as `rule` leaves them before its final centre crop; None unless all are of one size, not `shape`."""
    steps = Preprocess.parse(rule).steps
    if not steps or steps[-1].kind != "centre crop":
        return None
    before = Preprocess(steps[:-1])
    sizes = {before.size(size) for size in images.store.sizes_of(images.rows)}
    if len(sizes) > 1 or sizes == {shape[1:]}:
        return None
    height, width = sizes.pop()
    return images.preprocessed((shape[0], height, width), str(before))


def _open_pair(data: str, root: Path | None, download: bool) -> tuple[Images, Images | None]:
    name, _, rest = data.partition(":")
    if name != "folder":
        known = sources()
        splits = known[name].splits if name in known else ()
        if rest and rest in splits:
            raise UserError(f"training uses both splits of a data set: write --data {name}, not {data}")
        if name in known and not splits:
            raise UserError(f"{name} has no classes to train on")
        return (
            open_images(f"{name}:train" if splits else data, root=root, download=download),
            open_images(f"{name}:test", root=root, download=download),
        )
    folder = user_path(rest)
    if rest and (folder / "train").is_dir():
        test = next((part for part in ("test", "val", "validation") if (folder / part).is_dir()), None)
        return _open_folder(folder / "train"), None if test is None else _open_folder(folder / test)
    return _open_folder(folder) if rest else open_images(data), None


def _open_folder(folder: Path) -> Images:
    """The images of a folder per class. Raises UserError for a class whose folder holds none."""
    images = open_images(f"folder:{folder}")
    subfolders = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    for name in subfolders:
        if images.classes and name not in images.classes and not name.startswith((".", "_")):
            raise UserError(
                f"class {name} of {images.name} has no image that can be read: add some, or remove its folder"
            )
    return images


def _hold_out(images: Images, fraction: float, seed: int) -> tuple[Images, Images]:
    """The rest, and `fraction` of the images, stratified by class; both in their old order."""
    assert images.labels is not None
    held_out = torch.zeros(len(images), dtype=torch.bool)
    rng = torch.Generator().manual_seed(seed)
    for label in range(len(images.classes or ())):
        positions = (images.labels == label).nonzero()[:, 0]
        count = max(1, round(fraction * len(positions)))
        held_out[positions[torch.randperm(len(positions), generator=rng)[:count]]] = True
    rest, held = images.select(~held_out), images.select(held_out)
    return rest, replace(held, name=f"{images.name} (held out)")


def _check_classes(images: Images, train: Images | None = None) -> None:
    """Refuse images without classes, and images whose classes are not those of the training images."""
    if images.labels is None or images.classes is None:
        raise UserError(f"{images.name} has no classes to train on: a folder per class is expected")
    classes = images.classes
    if train is not None and classes != train.classes:
        ours, theirs = set(classes), set(train.classes or ())
        unshared = sorted(ours ^ theirs)[:3]
        raise UserError(
            f"{images.name} has {len(classes)} classes and {train.name} has {len(theirs)}: "
            f"{', '.join(unshared)} {'is' if len(unshared) == 1 else 'are'} not in both"
        )
    if len(classes) < 2:
        raise UserError(f"{images.name} has one class ({classes[0]}): training needs at least two")
    counts = images.labels.bincount(minlength=len(classes))
    minimum, smallest = 1 if train is not None else 2, int(counts.argmin())
    if (count := int(counts[smallest])) < minimum:
        raise UserError(
            f"class {classes[smallest]} of {images.name} has {'no image' if count == 0 else 'one image'}: "
            f"training needs at least {minimum} of each"
        )
