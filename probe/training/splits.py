"""On which images is a network trained and tested? Opened, checked, brought to its input."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from probe.data.images import Images
from probe.data.preprocess import Preprocess
from probe.data.sources import open_images, sources
from probe.errors import UserError
from probe.zoo import Architecture

_HELD_OUT = 0.2  # of a folder that has no test images of its own
_CLOSE = 4 / 3  # up to this ratio of sizes, images are padded or cut rather than resized


@dataclass(frozen=True)
class Splits:
    """Images for a training. preprocess: the rule that brings any image to `shape` (c, h, w).

    train may be larger than `shape`, for crops to move in. tested_on: what `test` is, in words.
    """

    train: Images
    test: Images
    validation: Images | None
    shape: tuple[int, int, int]
    preprocess: str
    tested_on: str

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.train.classes or ())


def open_training(
    data: str,
    architecture: Architecture,
    *,
    preprocess: str = "",
    crop: bool = False,
    validation: float = 0.0,
    seed: int = 0,
    root: Path | None = None,
    download: bool = False,
) -> Splits:
    """The training and test images of `data`, such as mnist, digits or folder:PATH, for `architecture`.

    A folder with train/ and test/ gives both; of one without, a fifth of each class is the test set.
    crop: leave training images larger than the input where the rule ends in a centre crop.
    Raises UserError for data that the network cannot be trained on.
    """
    if not architecture.reads_images:
        raise UserError(
            f"{architecture.name} reads word numbers, and probe has no texts: `probe train` trains networks of images, "
            f"probe.zoo.build('{architecture.name}') makes this one for a loop of your own"
        )
    train, test, tested_on = open_pair(data, seed=seed, root=root, download=download)
    held = None
    if validation:
        train, held = _split(train, validation, seed + 1)
    _, height, width = architecture.shape
    coloured = architecture.name.startswith("torchvision:")  # its networks take no other images
    shape = (3 if coloured else train.channels or train.store.channels, height, width)
    rule = preprocess or default_preprocess(train, height)
    roomy = _before_crop(train, shape, rule) if crop else None
    return Splits(
        train=train.preprocessed(shape, rule) if roomy is None else roomy,
        test=test.preprocessed(shape, rule),
        validation=None if held is None else held.preprocessed(shape, rule),
        shape=shape,
        preprocess=rule,
        tested_on=tested_on,
    )


def open_pair(
    data: str, *, seed: int = 0, root: Path | None = None, download: bool = False
) -> tuple[Images, Images, str]:
    """The training and the test images of `data` as they are, and what the latter are, in words.

    Raises UserError for images without classes, for one class, and for a class without images.
    """
    train, test = _pair(data, root, download)
    tested_on = test.name if test is not None else f"a fifth of {train.name}, held out"
    _check(train)
    if test is None:
        train, test = _split(train, _HELD_OUT, seed)
    _check(test, train)
    return train, test, tested_on


def notes(train: Images, test: Images) -> list[str]:
    """What was done to the images on their way, each thing once."""
    return list(dict.fromkeys((*train.notes, *test.notes)))


def default_preprocess(images: Images, side: int) -> str:
    """The rule for an input of `side`: pad or cut images of nearly that size, resize all others.

    >>> default_fit(Images.from_tensor(torch.zeros(1, 1, 28, 28)), 32)
    'pad 32'
    >>> default_fit(Images.from_tensor(torch.zeros(1, 1, 8, 8)), 32)
    'resize 32, centre crop 32'
    """
    sizes = images.store.sizes_of(images.rows)
    height, width = next(iter(sizes))
    if len(sizes) == 1 and height == width and height != side:
        if side / _CLOSE <= height < side:
            return f"pad {side}"
        if side < height <= side * _CLOSE:
            return f"centre crop {side}"
    return f"resize {side}, centre crop {side}"


def _before_crop(images: Images, shape: tuple[int, int, int], rule: str) -> Images | None:
    """The images before the centre crop that ends `rule`, where that leaves them larger than `shape` and alike."""
    steps = Preprocess.parse(rule).steps
    if not steps or steps[-1].kind != "centre crop":
        return None
    before = Preprocess(steps[:-1])
    sizes = {before.size(size) for size in images.store.sizes_of(images.rows)}
    if len(sizes) > 1 or sizes == {shape[1:]}:
        return None
    height, width = sizes.pop()
    return images.preprocessed((shape[0], height, width), str(before))


def _pair(data: str, root: Path | None, download: bool) -> tuple[Images, Images | None]:
    name, _, rest = data.partition(":")
    if name != "folder":
        known = sources()
        splits = known[name].splits if name in known else ()
        if rest and rest in splits:
            raise UserError(f"training takes both splits of a source: write --data {name}, not {data}")
        if name in known and not splits:
            raise UserError(f"{name} has no classes to train on")
        return (
            open_images(f"{name}:train" if splits else data, root=root, download=download),
            open_images(f"{name}:test", root=root, download=download),
        )
    folder = Path(rest).expanduser()
    if rest and (folder / "train").is_dir():
        other = next((part for part in ("test", "val", "validation") if (folder / part).is_dir()), None)
        return _folder(folder / "train"), None if other is None else _folder(folder / other)
    return _folder(folder) if rest else open_images(data), None


def _folder(folder: Path) -> Images:
    """The images of a folder per class; a UserError for a class whose folder holds none."""
    images = open_images(f"folder:{folder}")
    inside = sorted(one.name for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []
    for name in inside:
        if images.classes and name not in images.classes and not name.startswith((".", "_")):
            raise UserError(
                f"class {name} of {images.name} has no image that can be read: add some, or remove its folder"
            )
    return images


def _split(images: Images, share: float, seed: int) -> tuple[Images, Images]:
    """The rest, and `share` of the images, as even over the classes as they allow; both in their old order."""
    assert images.labels is not None
    apart = torch.zeros(len(images), dtype=torch.bool)
    rng = torch.Generator().manual_seed(seed)
    for label in range(len(images.classes or ())):
        own = (images.labels == label).nonzero()[:, 0]
        count = max(1, round(share * len(own)))
        apart[own[torch.randperm(len(own), generator=rng)[:count]]] = True
    rest, held = images.select(~apart), images.select(apart)
    return rest, replace(held, name=f"{images.name} (held out)")


def _check(images: Images, train: Images | None = None) -> None:
    """Refuse images that say no class, or say other classes than the training images do."""
    if images.labels is None or images.classes is None:
        raise UserError(f"{images.name} has no classes to train on: a folder per class is expected")
    classes = images.classes
    if train is not None and classes != train.classes:
        ours, theirs = set(classes), set(train.classes or ())
        odd = sorted(ours ^ theirs)[:3]
        raise UserError(
            f"{images.name} has {len(classes)} classes and {train.name} has {len(theirs)}: "
            f"{', '.join(odd)} {'is' if len(odd) == 1 else 'are'} not in both"
        )
    if len(classes) < 2:
        raise UserError(f"{images.name} has one class ({classes[0]}): training needs at least two")
    counts = images.labels.bincount(minlength=len(classes))
    fewest = 1 if train is not None else 2
    if int(counts.min()) < fewest:
        short = classes[int(counts.argmin())]
        found = "no image" if int(counts.min()) == 0 else "one image"
        raise UserError(
            f"class {short} of {images.name} has {found}: training needs at least {fewest} of each"
        )
